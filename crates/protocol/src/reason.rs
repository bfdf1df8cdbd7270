//! The reason table: each internal reason with its wire codes, HTTP status, whether to try again,
//! and one sentence of help. Docs and tests are generated from [`Reason::ALL`].

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Whose spelling of a code is written: the published SDKs use different texts for one meaning,
/// by scheme and protocol version. All spellings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// The specification's own codes.
    #[default]
    Core,
    /// `exact` on EVM.
    ExactEvm,
    /// `exact` on EVM for version 1 clients.
    ExactEvmV1,
}

impl Dialect {
    /// The dialect of a scheme on a network, in version 2.
    #[must_use]
    pub fn of(scheme: &str, network: &crate::Network) -> Self {
        match (scheme, network.namespace()) {
            ("exact", "eip155") => Self::ExactEvm,
            _ => Self::Core,
        }
    }
}

/// What the payer may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Nothing will make this payment good.
    Never,
    /// Sign a new payment: this one can't settle any more, or never could.
    Fresh,
    /// Send the same payment again; never a new one.
    Same,
    /// Ask again later; nothing happened.
    Later,
}

/// A row's contents.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The specification's code, or the reference SDK's where it has none.
    pub core: &'static str,
    /// The code in `exact` on EVM.
    pub exact_evm: Option<&'static str>,
    /// The code in `exact` on EVM, version 1.
    pub exact_evm_v1: Option<&'static str>,
    /// Other spellings that are read as this.
    pub also: &'static [&'static str],
    /// The HTTP status of a seller's answer with this reason.
    pub http: u16,
    /// What the payer may do next.
    pub retry: Retry,
    /// What to do, in one sentence.
    pub help: &'static str,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident { core: $core:literal $(, evm: $evm:literal)? $(, evm_v1: $v1:literal)? $(, also: [$($also:literal),*])?; $http:literal, $retry:ident, $help:literal })+) => {
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
                        also: &[$($($also),*)?],
                        http: $http,
                        retry: Retry::$retry,
                        help: $help,
                    },)+
                    Self::Other(_) => Row {
                        core: "", exact_evm: None, exact_evm_v1: None, also: &[], http: 402, retry: Retry::Never,
                        help: "The facilitator gave a reason that this version doesn't know; see its message.",
                    },
                }
            }
        }
    };
}

reasons! {
    /// The payment header or body can't be read.
    InvalidPayload { core: "invalid_payload", evm: "invalid_payload", also: ["invalid_exact_evm_payload", "unsupported_payload_type", "invalid_permit2_payload_format"];
        400, Never, "Send base64 of the payment's JSON, as the specification gives it." }
    /// The offer can't be read or makes no sense.
    InvalidOffer { core: "invalid_payment_requirements", also: ["invalid_exact_evm_failed_to_get_asset_info", "invalid_exact_evm_failed_to_get_network_config"];
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
    SchemeMismatch { core: "invalid_scheme", evm: "invalid_exact_evm_scheme";
        402, Fresh, "Pay one of the offers in this answer." }
    /// The payment's network is not the offer's.
    NetworkMismatch { core: "network_mismatch", evm: "invalid_exact_evm_network_mismatch";
        402, Fresh, "Pay one of the offers in this answer." }
    /// What the payer accepted is not an offer for this request.
    OfferMismatch { core: "No matching payment requirements", also: ["no_matching_payment_requirements", "No matching payment requirements found"];
        402, Fresh, "Pay one of the offers in this answer, echoed as it is in `accepted`." }
    /// An extension was echoed altered.
    ExtensionMismatch { core: "extension_echo_mismatch";
        402, Fresh, "Echo the challenge's extensions; add to them, but change nothing." }
    /// The asset would be another.
    AssetMismatch { core: "asset_mismatch", evm: "invalid_exact_evm_asset_mismatch", also: ["permit2_token_mismatch"];
        402, Fresh, "Sign for the offer's asset." }
    /// The asset is not one that the facilitator settles.
    AssetNotAllowed { core: "asset_not_allowed", evm: "invalid_exact_evm_asset_not_allowed";
        402, Fresh, "Use an asset that the facilitator's operator has allowed." }
    /// Someone else would be paid.
    RecipientMismatch { core: "recipient_mismatch", evm: "invalid_exact_evm_recipient_mismatch", also: ["invalid_exact_evm_payload_recipient_mismatch", "invalid_permit2_recipient_mismatch", "permit2_invalid_destination", "invalid_permit2_destination"];
        402, Fresh, "Sign for the offer's payTo." }
    /// Another amount would be paid.
    AmountMismatch { core: "amount_mismatch", evm: "invalid_exact_evm_payload_authorization_value_mismatch", evm_v1: "invalid_exact_evm_authorization_value", also: ["invalid_exact_evm_payload_authorization_value", "permit2_amount_mismatch", "permit2_invalid_amount", "invalid_permit2_amount", "permit2_2612_amount_mismatch"];
        402, Fresh, "Sign for exactly the offer's amount." }
    /// The payment would do something besides.
    UnexpectedEffect { core: "unexpected_effect", also: ["invalid_permit2_spender"];
        402, Never, "The payment must move the offered amount from payer to payTo and do nothing else." }
    /// Too late.
    Expired { core: "payment_expired", evm: "invalid_exact_evm_payload_authorization_valid_before", also: ["permit2_deadline_expired"];
        402, Fresh, "The payment's time is over: sign a new one, after making sure that the old one was not used." }
    /// Too early.
    NotYetValid { core: "payment_not_yet_valid", evm: "invalid_exact_evm_payload_authorization_valid_after", also: ["permit2_not_yet_valid", "permit2_payment_too_early"];
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
    BadSignature { core: "invalid_signature", evm: "invalid_exact_evm_signature", also: ["invalid_exact_evm_payload_signature", "invalid_exact_evm_failed_to_verify_signature", "invalid_permit2_signature", "permit2_invalid_owner", "invalid_permit2_owner"];
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
    InsufficientBalance { core: "insufficient_funds", evm: "invalid_exact_evm_insufficient_balance", also: ["insufficient_balance", "permit2_insufficient_balance"];
        402, Fresh, "Fund the payer's account with the offer's asset." }
    /// The payer has not approved the contract that would move the asset.
    AllowanceRequired { core: "permit2_allowance_required";
        412, Fresh, "Approve Permit2 for the offer's asset, then sign a new payment." }
    /// The payment was used before, or cancelled.
    AlreadyUsed { core: "payment_already_used", evm: "invalid_exact_evm_nonce_already_used", also: ["duplicate_settlement", "permit2_invalid_nonce"];
        402, Fresh, "This authorization has been used or cancelled: look at the payer's history before signing a new one." }
    /// The asset's address has no code.
    AssetNotDeployed { core: "asset_not_deployed_contract", also: ["invalid_exact_evm_asset_not_deployed"];
        402, Never, "There is no contract at the offer's asset on this network." }
    /// The asset can't do this kind of transfer.
    TransferNotSupported { core: "transfer_method_not_supported", evm: "invalid_exact_evm_eip3009_not_supported", also: ["permit2_proxy_not_deployed"];
        402, Never, "The token has no transferWithAuthorization: offer another transfer method." }
    /// The chain refused the transfer when it was tried.
    SimulationFailed { core: "transaction_simulation_failed", evm: "invalid_exact_evm_transaction_simulation_failed", also: ["simulation_failed", "permit2_simulation_failed"];
        402, Fresh, "The chain refuses this transfer; the message has its reason." }
    /// The transaction was mined and failed.
    TransactionFailed { core: "invalid_transaction_state", evm: "invalid_exact_evm_transaction_failed", also: ["transaction_failed"];
        402, Fresh, "The transaction failed on chain and nothing was paid." }
    /// The transaction was mined, but the asset's transfer is not in it.
    TransferNotFound { core: "transfer_event_mismatch", evm: "invalid_exact_evm_transfer_event_mismatch";
        402, Never, "The transaction does not contain the expected transfer: the token does not behave as its standard says." }
    /// Not known yet whether it settled.
    SettlementPending { core: "settlement_pending";
        503, Same, "The outcome is not known yet: send the same payment again, never a new one." }
    /// The chain can't be asked.
    ChainUnreachable { core: "unexpected_verify_error", also: ["chain_unreachable"];
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

impl Reason {
    /// The code in `dialect`; a code that is not known is given back as it came.
    #[must_use]
    pub fn code(&self, dialect: Dialect) -> Code {
        if let Self::Other(text) = self {
            return Code(text.clone());
        }
        let row = self.row();
        let text = match dialect {
            Dialect::Core => None,
            Dialect::ExactEvm => row.exact_evm,
            Dialect::ExactEvmV1 => row.exact_evm_v1.or(row.exact_evm),
        };
        Code(text.unwrap_or(row.core).into())
    }

    /// The reason that `code` stands for, in any dialect. The reference facilitator appends a
    /// message to some codes, `code: message`; then the code counts.
    #[must_use]
    pub fn of(code: &str) -> Self {
        let row_of = |code: &str| {
            let is = |reason: &&Self| {
                let row = reason.row();
                row.core == code
                    || row.exact_evm == Some(code)
                    || row.exact_evm_v1 == Some(code)
                    || row.also.contains(&code)
            };
            Self::ALL.iter().find(is).cloned()
        };
        row_of(code)
            .or_else(|| code.split_once(": ").and_then(|(code, _)| row_of(code)))
            .unwrap_or_else(|| Self::Other(code.into()))
    }
}

/// A reason as it is on the wire.
///
/// ```
/// use tollway_protocol::{Code, Reason};
/// let code: Code = serde_json::from_str("\"invalid_exact_evm_insufficient_balance\"")?;
/// assert_eq!(code.reason(), Reason::InsufficientBalance);
/// assert_eq!(Code::new("brand_new").reason(), Reason::Other("brand_new".into()));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Code(Box<str>);

impl Code {
    /// A code by its text; cut at 200 characters.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.chars().take(200).collect())
    }

    /// What it means.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason::of(&self.0)
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(d).map(|text| Self::new(&text))
    }
}

/// A payment turned away: a verdict, never a failure of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", reason.code(*dialect))]
pub struct Refusal {
    /// Which row.
    pub reason: Reason,
    /// What was wrong with this payment, without secrets.
    pub message: String,
    /// Who would have paid, where known.
    pub payer: Option<String>,
    /// How the code is spelt to this payer.
    pub dialect: Dialect,
}

impl Refusal {
    /// A refusal in the core dialect.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), payer: None, dialect: Dialect::Core }
    }

    /// Names the payer.
    #[must_use]
    pub fn payer(mut self, payer: &str) -> Self {
        self.payer = Some(payer.to_owned());
        self
    }

    /// Chooses the spelling of the code.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// The code for this refusal's dialect.
    #[must_use]
    pub fn code(&self) -> Code {
        self.reason.code(self.dialect)
    }
}

impl From<Refusal> for crate::wire::Verdict {
    fn from(refusal: Refusal) -> Self {
        Self {
            is_valid: false,
            invalid_reason: Some(refusal.code()),
            invalid_message: Some(refusal.message),
            payer: refusal.payer,
            ..Self::default()
        }
    }
}
