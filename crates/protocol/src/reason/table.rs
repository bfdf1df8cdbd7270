//! The rows.

use super::{Retry, Row};

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident { core: $core:literal $(, evm: $evm:literal)? $(, evm_v1: $v1:literal)? $(, permit2: $permit2:literal)? $(, upto: $upto:literal)? $(, svm: $svm:literal)? $(, svm_v1: $svm_v1:literal)? $(, also: [$($also:literal),*])?; $http:literal, $retry:ident, $help:literal })+) => {
        /// Why a payment was not accepted, verified or settled.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)+
            /// A code that no row has; kept as it came.
            Other(Box<str>),
        }

        impl Reason {
            /// Every row.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// This reason's row; a code that is not known counts as final.
            #[must_use]
            pub fn row(&self) -> Row {
                match self {
                    $(Self::$name => Row {
                        core: $core,
                        exact_evm: None$(.or(Some($evm)))?,
                        exact_evm_v1: None$(.or(Some($v1)))?,
                        permit2: None$(.or(Some($permit2)))?,
                        upto: None$(.or(Some($upto)))?,
                        exact_svm: None$(.or(Some($svm)))?,
                        exact_svm_v1: None$(.or(Some($svm_v1)))?,
                        also: &[$($($also),*)?],
                        http: $http,
                        retry: Retry::$retry,
                        help: $help,
                    },)+
                    Self::Other(_) => Row {
                        core: "", exact_evm: None, exact_evm_v1: None, permit2: None, upto: None, exact_svm: None,
                        exact_svm_v1: None, also: &[],
                        http: 402, retry: Retry::Never,
                        help: "The facilitator gave a reason that this version doesn't know; see its message.",
                    },
                }
            }
        }
    };
}

reasons! {
    /// The payment header or body can't be read.
    InvalidPayload { core: "invalid_payload", evm: "invalid_payload", svm: "invalid_exact_svm_payload_transaction", also: ["invalid_exact_evm_payload", "unsupported_payload_type", "invalid_permit2_payload_format", "invalid_exact_svm_payload"];
        400, Never, "Send base64 of the payment's JSON, as the specification gives it." }
    /// The offer can't be read or makes no sense.
    InvalidOffer { core: "invalid_payment_requirements", also: ["invalid_exact_evm_failed_to_get_asset_info", "invalid_exact_evm_failed_to_get_network_config", "invalid_upto_evm_failed_to_get_network_config"];
        402, Never, "The seller's offer is wrong: check its asset, payTo and extra." }
    /// A version other than 1 or 2.
    InvalidVersion { core: "invalid_x402_version";
        400, Never, "Use x402Version 2 (or 1)." }
    /// The scheme is not served.
    UnsupportedScheme { core: "unsupported_scheme", also: ["invalid_scheme", "unsupported_version"];
        402, Fresh, "Choose an offer whose scheme is in the facilitator's /supported." }
    /// The network is not served.
    UnsupportedNetwork { core: "invalid_network", also: ["unsupported_network"];
        402, Fresh, "Choose an offer whose network is in the facilitator's /supported." }
    /// The payment's scheme is not the offer's.
    SchemeMismatch { core: "invalid_scheme", evm: "invalid_exact_evm_scheme", upto: "invalid_upto_evm_scheme", svm: "invalid_exact_svm_unsupported_scheme";
        402, Fresh, "Pay one of the offers in this answer." }
    /// The payment's network is not the offer's.
    NetworkMismatch { core: "network_mismatch", evm: "invalid_exact_evm_network_mismatch", upto: "invalid_upto_evm_network_mismatch", svm: "invalid_exact_svm_network_mismatch", svm_v1: "network_mismatch";
        402, Fresh, "Pay one of the offers in this answer." }
    /// What the payer accepted is not an offer for this request.
    OfferMismatch { core: "No matching payment requirements", also: ["no_matching_payment_requirements", "No matching payment requirements found"];
        402, Fresh, "Pay one of the offers in this answer, echoed as it is in `accepted`." }
    /// An extension was echoed altered.
    ExtensionMismatch { core: "extension_echo_mismatch";
        402, Fresh, "Echo the challenge's extensions; add to them, but change nothing." }
    /// The asset would be another.
    AssetMismatch { core: "asset_mismatch", evm: "invalid_exact_evm_asset_mismatch", permit2: "permit2_token_mismatch", svm: "invalid_exact_svm_payload_mint_mismatch";
        402, Fresh, "Sign for the offer's asset." }
    /// The asset is not one that the facilitator settles.
    AssetNotAllowed { core: "asset_not_allowed", evm: "invalid_exact_evm_asset_not_allowed";
        402, Fresh, "Use an asset that the facilitator's operator has allowed." }
    /// Someone else would be paid.
    RecipientMismatch { core: "recipient_mismatch", evm: "invalid_exact_evm_recipient_mismatch", permit2: "invalid_permit2_recipient_mismatch", svm: "invalid_exact_svm_payload_recipient_mismatch", also: ["invalid_exact_evm_payload_recipient_mismatch", "permit2_invalid_destination", "invalid_permit2_destination"];
        402, Fresh, "Sign for the offer's payTo." }
    /// Another amount would be paid.
    AmountMismatch { core: "amount_mismatch", evm: "invalid_exact_evm_payload_authorization_value_mismatch", evm_v1: "invalid_exact_evm_authorization_value", permit2: "permit2_amount_mismatch", svm: "invalid_exact_svm_payload_amount_mismatch", also: ["invalid_exact_evm_payload_authorization_value", "permit2_invalid_amount", "invalid_permit2_amount", "invalid_exact_svm_payload_amount_insufficient"];
        402, Fresh, "Sign for exactly the offer's amount." }
    /// The payment would do something besides.
    UnexpectedEffect { core: "unexpected_effect";
        402, Never, "The payment must move the offered amount from payer to payTo and do nothing else." }
    /// Too late.
    Expired { core: "payment_expired", evm: "invalid_exact_evm_payload_authorization_valid_before", permit2: "permit2_deadline_expired";
        402, Fresh, "The payment's time is over: sign a new one, after making sure that the old one was not used." }
    /// Too early.
    NotYetValid { core: "payment_not_yet_valid", evm: "invalid_exact_evm_payload_authorization_valid_after", permit2: "permit2_not_yet_valid", also: ["permit2_payment_too_early"];
        402, Same, "The payment is valid from a later time: check the clock, then send it again." }
    /// Valid for far longer than the offer asked.
    WindowTooLong { core: "payment_window_too_long";
        402, Fresh, "Sign for no longer than the offer's maxTimeoutSeconds." }
    /// The token's EIP-712 name or version is not in the offer.
    MissingDomain { core: "missing_eip712_domain", evm: "invalid_exact_evm_missing_eip712_domain";
        402, Never, "The seller must put the token's EIP-712 name and version in the offer's extra." }
    /// The offer's token name is not the token's.
    DomainName { core: "token_name_mismatch", evm: "invalid_exact_evm_token_name_mismatch";
        402, Never, "The seller's offer has another EIP-712 name than the token." }
    /// The offer's token version is not the token's.
    DomainVersion { core: "token_version_mismatch", evm: "invalid_exact_evm_token_version_mismatch";
        402, Never, "The seller's offer has another EIP-712 version than the token." }
    /// The signature is not the payer's for this payment.
    BadSignature { core: "invalid_signature", evm: "invalid_exact_evm_signature", permit2: "invalid_permit2_signature", svm: "invalid_exact_svm_payload_signature_invalid", also: ["invalid_exact_evm_payload_signature", "invalid_exact_evm_failed_to_verify_signature", "permit2_invalid_owner", "invalid_permit2_owner"];
        402, Fresh, "Sign the offer's typed data with the payer's key, for the offer's network and asset." }
    /// The signature has no known form.
    SignatureForm { core: "invalid_signature_format", evm: "invalid_exact_evm_failed_to_parse_signature";
        402, Fresh, "Send 65 bytes (r, s, v; low s), or what the payer's contract wallet takes." }
    /// An undeployed wallet whose factory is not allowed.
    FactoryNotAllowed { core: "eip6492_factory_not_allowed", also: ["invalid_exact_evm_payload_undeployed_smart_wallet"];
        402, Never, "Deploy the wallet first, or use a facilitator that allows its factory." }
    /// Deploying the wallet failed.
    DeploymentFailed { core: "smart_wallet_deployment_failed";
        402, Fresh, "Deploy the wallet first." }
    /// The payer has too little.
    InsufficientBalance { core: "insufficient_funds", evm: "invalid_exact_evm_insufficient_balance", permit2: "permit2_insufficient_balance", also: ["insufficient_balance"];
        402, Fresh, "Fund the payer's account with the offer's asset." }
    /// The payer has not approved the contract that would move the asset.
    AllowanceRequired { core: "permit2_allowance_required";
        412, Fresh, "Approve Permit2 for the offer's asset, then sign a new payment." }
    /// The payer let another contract spend than the scheme's proxy.
    SpenderMismatch { core: "invalid_permit2_spender";
        402, Fresh, "Sign for the scheme's Permit2 proxy as the spender." }
    /// Only another facilitator may settle the payment.
    FacilitatorMismatch { core: "upto_facilitator_mismatch", also: ["upto_unauthorized_facilitator"];
        402, Fresh, "Sign for the offer's facilitatorAddress." }
    /// More would be charged than the payer signed for.
    ExceedsPermitted { core: "amount_exceeds_permitted", upto: "invalid_upto_evm_payload_settlement_exceeds_amount", also: ["upto_amount_exceeds_permitted"];
        500, Never, "The seller charged more than the payer signed for, and nothing was charged: charge at most the offer's amount." }
    /// The permit for Permit2 (EIP-2612) can't be read.
    PermitForm { core: "invalid_eip2612_extension_format";
        402, Fresh, "Send all members of eip2612GasSponsoring's info, as the specification gives them." }
    /// The permit is another account's.
    PermitOwner { core: "eip2612_from_mismatch";
        402, Fresh, "Sign the permit with the payer's key." }
    /// The permit is for another asset.
    PermitAsset { core: "eip2612_asset_mismatch";
        402, Fresh, "Sign the permit of the offer's asset." }
    /// The permit is for another spender than Permit2.
    PermitSpender { core: "eip2612_spender_not_permit2";
        402, Fresh, "Sign the permit for Permit2 as the spender." }
    /// The permit's time is over.
    PermitExpired { core: "eip2612_deadline_expired";
        402, Fresh, "Sign a permit with the payment's deadline." }
    /// The permit is for another amount than the payment.
    PermitAmount { core: "permit2_2612_amount_mismatch";
        402, Fresh, "Sign the permit for exactly the amount that the payment permits." }
    /// The approval's description can't be read.
    ApprovalForm { core: "invalid_erc20_approval_extension_format";
        402, Fresh, "Send all members of erc20ApprovalGasSponsoring's info, as the specification gives them." }
    /// The approval is another account's.
    ApprovalOwner { core: "erc20_approval_from_mismatch";
        402, Fresh, "Approve from the payer's account." }
    /// The approval is of another asset.
    ApprovalAsset { core: "erc20_approval_asset_mismatch";
        402, Fresh, "Approve the offer's asset." }
    /// The approval is for another spender than Permit2.
    ApprovalSpender { core: "erc20_approval_spender_not_permit2";
        402, Fresh, "Approve Permit2." }
    /// The approval's transaction can't be read, or is of a kind that is not relayed.
    ApprovalUnreadable { core: "erc20_approval_tx_parse_failed";
        402, Fresh, "Send a signed EIP-1559 transaction for the offer's network, without a value." }
    /// The approval's transaction goes to another contract.
    ApprovalTarget { core: "erc20_approval_tx_wrong_target";
        402, Fresh, "Send the approval's transaction to the offer's asset." }
    /// The approval's transaction calls another function.
    ApprovalSelector { core: "erc20_approval_tx_wrong_selector";
        402, Fresh, "The transaction must call approve and nothing else." }
    /// The approval's transaction approves another spender.
    ApprovalCallee { core: "erc20_approval_tx_wrong_spender";
        402, Fresh, "The transaction must approve Permit2." }
    /// The approval's arguments can't be read, or are not those described.
    ApprovalCalldata { core: "erc20_approval_tx_invalid_calldata";
        402, Fresh, "The transaction must call approve with Permit2 and the amount described." }
    /// The approval's transaction is signed by another account.
    ApprovalSigner { core: "erc20_approval_tx_signer_mismatch";
        402, Fresh, "Sign the approval's transaction with the payer's key." }
    /// The approval's transaction has no good signature.
    ApprovalSignature { core: "erc20_approval_tx_invalid_signature";
        402, Fresh, "Sign the approval's transaction with the payer's key." }
    /// The approval's transaction was mined and failed.
    ApprovalFailed { core: "erc20_approval_tx_failed";
        402, Fresh, "The approval failed on chain and nothing was paid: approve Permit2 yourself, then pay again." }
    /// The approval's transaction can't be sent.
    ApprovalNotSent { core: "erc20_approval_broadcast_failed";
        402, Fresh, "The chain does not take the approval's transaction: check its nonce and fees." }
    /// The offer names no fee payer.
    FeePayerMissing { core: "missing_fee_payer", svm: "invalid_exact_svm_payload_missing_fee_payer";
        402, Never, "The seller must put the facilitator's fee payer in the offer's extra.feePayer." }
    /// The offer's fee payer is none of the facilitator's.
    FeePayerUnknown { core: "fee_payer_not_managed_by_facilitator", svm: "invalid_exact_svm_fee_payer_not_managed_by_facilitator", svm_v1: "fee_payer_not_managed_by_facilitator";
        402, Fresh, "Use a fee payer that the facilitator's /supported names." }
    /// The transaction's fee payer is not the offer's.
    FeePayerMismatch { core: "fee_payer_mismatch", svm: "invalid_exact_svm_fee_payer_mismatch";
        402, Fresh, "Build the transaction with the offer's extra.feePayer as its fee payer." }
    /// The transaction can't be read.
    TransactionForm { core: "transaction_could_not_be_decoded", svm: "invalid_exact_svm_payload_transaction_could_not_be_decoded";
        402, Fresh, "Send one transaction, legacy or version 0, in base64." }
    /// Accounts would come from look-up tables.
    LookupTables { core: "lookup_tables_not_allowed", svm: "invalid_exact_svm_smart_wallet_alt_resolution_not_available";
        402, Fresh, "Name every account in the transaction itself: address look-up tables are not resolved." }
    /// Others than payer and fee payer would sign.
    ExcessiveSigners { core: "excessive_signers", svm: "invalid_exact_svm_payload_excessive_signers";
        402, Fresh, "Only the fee payer and the payer may sign: each signature costs the fee payer." }
    /// Too few or too many instructions.
    InstructionCount { core: "instructions_length", svm: "invalid_exact_svm_payload_transaction_instructions_length";
        402, Fresh, "Send 3 to 6 instructions: compute limit, compute price, transfer, and up to three of Lighthouse and Memo." }
    /// The first instruction does not set the compute limit.
    ComputeLimit { core: "compute_limit_instruction", svm: "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction";
        402, Fresh, "Set the compute unit limit in the first instruction." }
    /// The compute limit is more than the facilitator pays for.
    ComputeLimitTooHigh { core: "compute_limit_too_high", svm: "invalid_exact_svm_payload_transaction_instructions_compute_limit_instruction_too_high";
        402, Fresh, "Ask for fewer compute units: a transfer needs less than 20000." }
    /// The second instruction does not set the compute price.
    ComputePrice { core: "compute_price_instruction", svm: "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction";
        402, Fresh, "Set the compute unit price in the second instruction." }
    /// The compute price is more than the facilitator pays.
    ComputePriceTooHigh { core: "compute_price_too_high", svm: "invalid_exact_svm_payload_transaction_instructions_compute_price_instruction_too_high";
        402, Fresh, "Offer a lower price per compute unit." }
    /// The third instruction is not a token transfer.
    NoTransfer { core: "no_transfer_instruction", svm: "invalid_exact_svm_payload_no_transfer_instruction";
        402, Fresh, "Transfer the asset by TransferChecked in the third instruction." }
    /// The facilitator would pay.
    FeePayerTransferring { core: "fee_payer_transferring_funds", svm: "invalid_exact_svm_payload_transaction_fee_payer_transferring_funds";
        402, Never, "The payer must not be one of the facilitator's accounts." }
    /// The fee payer's account is used by an instruction.
    FeePayerNotIsolated { core: "fee_payer_not_isolated", svm: "invalid_exact_svm_smart_wallet_fee_payer_not_isolated";
        402, Never, "The fee payer may be in no instruction: it pays for the transaction and nothing else." }
    /// The fourth instruction is of a program that is not allowed.
    UnknownFourth { core: "unknown_fourth_instruction", svm: "invalid_exact_svm_payload_unknown_fourth_instruction";
        402, Fresh, "After the transfer only Lighthouse and Memo may follow." }
    /// The fifth instruction is of a program that is not allowed.
    UnknownFifth { core: "unknown_fifth_instruction", svm: "invalid_exact_svm_payload_unknown_fifth_instruction";
        402, Fresh, "After the transfer only Lighthouse and Memo may follow." }
    /// The sixth instruction is of a program that is not allowed.
    UnknownSixth { core: "unknown_sixth_instruction", svm: "invalid_exact_svm_payload_unknown_sixth_instruction", also: ["invalid_exact_svm_payload_unknown_seventh_instruction", "invalid_exact_svm_payload_unknown_optional_instruction"];
        402, Fresh, "After the transfer only Lighthouse and Memo may follow." }
    /// The offer's memo is not there, or not alone.
    MemoCount { core: "memo_count", svm: "invalid_exact_svm_payload_memo_count";
        402, Fresh, "Add exactly one Memo instruction, with the offer's extra.memo." }
    /// The memo is another than the offer's.
    MemoMismatch { core: "memo_mismatch", svm: "invalid_exact_svm_payload_memo_mismatch";
        402, Fresh, "Write the offer's extra.memo into the memo, byte by byte." }
    /// The payment was used before, or cancelled.
    AlreadyUsed { core: "payment_already_used", evm: "invalid_exact_evm_nonce_already_used", permit2: "permit2_invalid_nonce", svm: "duplicate_settlement";
        402, Fresh, "This authorization has been used or cancelled: look at the payer's history before signing a new one." }
    /// The asset's address has no code.
    AssetNotDeployed { core: "asset_not_deployed_contract", also: ["invalid_exact_evm_asset_not_deployed"];
        402, Never, "There is no contract at the offer's asset on this network." }
    /// The asset can't do this kind of transfer.
    TransferNotSupported { core: "transfer_method_not_supported", evm: "invalid_exact_evm_eip3009_not_supported", permit2: "permit2_proxy_not_deployed";
        402, Never, "The token or the network can't do this kind of transfer: offer another transfer method." }
    /// The chain refused the transfer when it was tried.
    SimulationFailed { core: "transaction_simulation_failed", evm: "invalid_exact_evm_transaction_simulation_failed", permit2: "permit2_simulation_failed", svm: "invalid_exact_svm_transaction_simulation_failed", svm_v1: "transaction_simulation_failed", also: ["simulation_failed"];
        402, Fresh, "The chain refuses this transfer; the message has its reason." }
    /// The transaction was mined and failed.
    TransactionFailed { core: "invalid_transaction_state", evm: "invalid_exact_evm_transaction_failed", upto: "invalid_upto_evm_transaction_failed", svm: "invalid_exact_svm_transaction_failed", svm_v1: "transaction_failed";
        402, Fresh, "The transaction failed on chain and nothing was paid." }
    /// The transaction was mined, but the asset's transfer is not in it.
    TransferNotFound { core: "transfer_event_mismatch", evm: "invalid_exact_evm_transfer_event_mismatch";
        402, Never, "The transaction does not contain the expected transfer: the token does not behave as its standard says." }
    /// Not known yet whether it settled.
    SettlementPending { core: "settlement_pending";
        503, Same, "The outcome is not known yet: send the same payment again, never a new one." }
    /// The chain can't be asked.
    ChainUnreachable { core: "unexpected_verify_error", also: ["chain_unreachable", "invalid_exact_svm_verification_failed", "verification_failed"];
        503, Later, "The facilitator can't reach the chain just now: send the same payment again later." }
    /// The facilitator's store can't be used.
    StoreUnavailable { core: "unexpected_settle_error", also: ["store_unavailable"];
        503, Later, "The service can't record payments just now: send the same payment again later." }
    /// The facilitator can't pay for gas, or is shutting down.
    FacilitatorUnavailable { core: "facilitator_unavailable", also: ["facilitator_insufficient_balance"];
        503, Later, "The facilitator can't settle just now: send the same payment again later." }
    /// The payer's payments keep failing on chain.
    PayerSuspended { core: "payer_suspended";
        402, Never, "Payments from this account passed every check and then failed on chain: try again in a day." }
    /// The facilitator's operator does not serve this payer, payee, asset or network.
    NotAllowed { core: "payment_not_allowed";
        402, Never, "The facilitator's operator does not allow this payment; nothing was sent." }
    /// The payment has bought something already.
    PaymentSpent { core: "payment_already_spent";
        409, Fresh, "This payment has been used for a delivery; the transaction is named. Pay again for another." }
    /// The payment is being used by another request.
    PaymentBusy { core: "payment_in_progress";
        409, Same, "This payment is being processed: send the same request again after Retry-After." }
    /// The payment was presented for another request before.
    PaymentElsewhere { core: "payment_bound_to_another_request";
        409, Fresh, "This payment belongs to another request: send it there, or pay for this one." }
    /// No payment came with the request.
    PaymentRequired { core: "Payment required", also: ["X-PAYMENT header is required", "PAYMENT-SIGNATURE header is required"];
        402, Fresh, "Pay one of the offers and send the request again with the payment." }
}
