//! The reason table: every spelling has one meaning, and every meaning has help.

use std::collections::BTreeMap;

use serde_json::json;
use tollway_protocol::{Code, Dialect, Network, Reason, Refusal, Retry, Verdict};

const DIALECTS: [Dialect; 7] = Dialect::ALL;

/// Codes that two rows write in one dialect, on purpose: the specification has `invalid_scheme` both
/// for a scheme that isn't served and for one that isn't the offer's. It is read as the former;
/// both mean: choose an offer from this answer.
const SHARED: [&str; 1] = ["invalid_scheme"];

fn spellings(reason: &Reason) -> Vec<&'static str> {
    reason.row().spellings().collect()
}

#[test]
fn every_spelling_of_every_row_maps_back_to_it() {
    for reason in Reason::ALL {
        for code in spellings(reason).into_iter().filter(|code| !SHARED.contains(code)) {
            assert_eq!(Reason::of(code), *reason, "{code}");
            assert_eq!(Code::new(code).reason(), *reason, "{code} as it comes from the wire");
        }
    }
}

#[test]
fn no_code_is_claimed_by_two_rows() {
    let mut owners: BTreeMap<&str, Vec<&Reason>> = BTreeMap::new();
    for reason in Reason::ALL {
        let mut own = spellings(reason);
        own.sort_unstable();
        own.dedup();
        for code in own {
            owners.entry(code).or_default().push(reason);
        }
    }
    let shared: Vec<_> = owners.iter().filter(|(_, rows)| rows.len() > 1).map(|(code, _)| *code).collect();
    assert_eq!(shared, SHARED);
}

#[test]
fn a_code_written_in_a_dialect_is_read_as_what_was_meant() {
    for reason in Reason::ALL {
        for dialect in DIALECTS {
            let code = reason.code(dialect);
            assert!(code.reason() == *reason || SHARED.contains(&code.as_str()), "{reason:?} in {dialect:?}");
        }
    }
}

#[test]
fn every_row_has_help_a_status_and_a_retry_rule_that_agree() {
    for reason in Reason::ALL {
        let row = reason.row();
        assert!(row.help.len() > 15 && row.help.ends_with('.'), "{reason:?}");
        assert!(matches!(row.http, 400 | 402 | 409 | 412 | 500 | 503), "{reason:?}: {}", row.http);
        assert_eq!(row.http == 503, matches!(reason, Reason::SettlementPending) || row.retry == Retry::Later);
    }
}

#[test]
fn i13_only_an_outcome_that_is_final_allows_a_fresh_payment() {
    for unknown in [
        "settlement_pending",
        "unexpected_settle_error",
        "unexpected_verify_error",
        "brand_new",
        "Settlement failed",
    ] {
        assert_ne!(Reason::of(unknown).row().retry, Retry::Fresh, "{unknown}");
    }
}

/// `protocol.md` 3.1 to 3.3: what both reference SDKs say for exact on EVM.
const REFERENCE: &[&str] = &[
    "Payment required",
    "No matching payment requirements",
    "extension_echo_mismatch",
    "settlement_pending",
    "insufficient_funds",
    "invalid_network",
    "invalid_payload",
    "invalid_payment_requirements",
    "invalid_scheme",
    "unsupported_scheme",
    "invalid_x402_version",
    "invalid_transaction_state",
    "unexpected_verify_error",
    "unexpected_settle_error",
    "invalid_exact_evm_scheme",
    "invalid_exact_evm_network_mismatch",
    "network_mismatch",
    "invalid_exact_evm_missing_eip712_domain",
    "missing_eip712_domain",
    "invalid_exact_evm_signature",
    "invalid_exact_evm_payload_signature",
    "invalid_exact_evm_failed_to_verify_signature",
    "invalid_exact_evm_recipient_mismatch",
    "invalid_exact_evm_payload_recipient_mismatch",
    "invalid_exact_evm_payload_authorization_value_mismatch",
    "invalid_exact_evm_authorization_value",
    "invalid_exact_evm_payload_authorization_valid_before",
    "invalid_exact_evm_payload_authorization_valid_after",
    "invalid_exact_evm_payload_undeployed_smart_wallet",
    "eip6492_factory_not_allowed",
    "smart_wallet_deployment_failed",
    "asset_not_deployed_contract",
    "invalid_exact_evm_eip3009_not_supported",
    "invalid_exact_evm_nonce_already_used",
    "invalid_exact_evm_token_name_mismatch",
    "invalid_exact_evm_token_version_mismatch",
    "invalid_exact_evm_insufficient_balance",
    "invalid_exact_evm_transaction_simulation_failed",
    "invalid_exact_evm_transaction_failed",
    "transaction_failed",
    "invalid_exact_evm_transfer_event_mismatch",
    "invalid_exact_evm_failed_to_parse_signature",
    "invalid_exact_evm_failed_to_get_network_config",
    "invalid_exact_evm_failed_to_get_asset_info",
    "unsupported_payload_type",
    "invalid_permit2_spender",
    "invalid_permit2_recipient_mismatch",
    "permit2_deadline_expired",
    "permit2_not_yet_valid",
    "permit2_amount_mismatch",
    "permit2_token_mismatch",
    "invalid_permit2_signature",
    "permit2_allowance_required",
    "permit2_insufficient_balance",
    "permit2_proxy_not_deployed",
    "permit2_simulation_failed",
    "permit2_2612_amount_mismatch",
    "permit2_invalid_amount",
    "permit2_invalid_destination",
    "permit2_invalid_owner",
    "permit2_payment_too_early",
    "permit2_invalid_nonce",
    "invalid_permit2_payload_format",
    "invalid_permit2_owner",
    "invalid_permit2_destination",
    "invalid_permit2_amount",
    "invalid_eip2612_extension_format",
    "eip2612_from_mismatch",
    "eip2612_asset_mismatch",
    "eip2612_spender_not_permit2",
    "eip2612_deadline_expired",
    "invalid_erc20_approval_extension_format",
    "erc20_approval_from_mismatch",
    "erc20_approval_asset_mismatch",
    "erc20_approval_spender_not_permit2",
    "erc20_approval_tx_parse_failed",
    "erc20_approval_tx_wrong_target",
    "erc20_approval_tx_wrong_selector",
    "erc20_approval_tx_wrong_spender",
    "erc20_approval_tx_invalid_calldata",
    "erc20_approval_tx_signer_mismatch",
    "erc20_approval_tx_invalid_signature",
    "erc20_approval_tx_failed",
    "erc20_approval_broadcast_failed",
    "invalid_upto_evm_scheme",
    "invalid_upto_evm_network_mismatch",
    "upto_facilitator_mismatch",
    "upto_amount_exceeds_permitted",
    "upto_unauthorized_facilitator",
    "invalid_upto_evm_payload_settlement_exceeds_amount",
    "invalid_upto_evm_transaction_failed",
    "invalid_upto_evm_failed_to_get_network_config",
];

/// Said without a cause ("Settlement failed"), or about schemes and extensions that this version does not have: kept as
/// they came, and never taken for leave to pay again.
const UNKNOWN: &[&str] = &[
    "Settlement failed",
    "Payment verification failed",
    "Settlement aborted: hook",
    "invalid_batch_settlement_evm_channel_busy",
    "invalid_siwx_expired",
];

#[test]
fn every_code_of_both_reference_sdks_is_known() {
    let unknown: Vec<_> =
        REFERENCE.iter().filter(|code| matches!(Reason::of(code), Reason::Other(_))).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn an_unknown_code_is_kept_as_it_came_and_is_final() {
    for code in UNKNOWN {
        assert_eq!(Reason::of(code), Reason::Other((*code).into()));
        assert_eq!(Reason::of(code).row().retry, Retry::Never);
        for dialect in DIALECTS {
            assert_eq!(Reason::of(code).code(dialect).as_str(), *code);
        }
    }
}

#[test]
fn a_code_with_its_message_behind_a_colon_is_known_by_the_code() {
    let code =
        Code::new(&format!("invalid_exact_evm_transaction_failed: {}", "execution reverted ".repeat(30)));
    assert_eq!(code.reason(), Reason::TransactionFailed);
    assert!(code.as_str().len() <= 200, "and it is cut");
    assert_eq!(
        Reason::of("no_such_code: settlement_pending"),
        Reason::Other("no_such_code: settlement_pending".into())
    );
}

#[test]
fn i15_a_code_is_cut_at_a_character_and_not_inside_one() {
    let code: Code = serde_json::from_value(json!("é".repeat(1_000))).unwrap();
    assert_eq!(code.as_str().chars().count(), 200);
}

#[test]
fn a_refusal_becomes_a_verdict_in_its_dialect() {
    let refusal = Refusal::new(Reason::InsufficientBalance, "has 5").payer("0xabc");
    let verdict = Verdict::from(refusal.clone());
    assert_eq!(verdict.invalid_reason.unwrap().as_str(), "insufficient_funds");
    let evm = Verdict::from(refusal.dialect(Dialect::of("exact", &Network::eip155(1))));
    assert_eq!(evm.invalid_reason.unwrap().as_str(), "invalid_exact_evm_insufficient_balance");
    assert_eq!((evm.is_valid, evm.payer.as_deref()), (false, Some("0xabc")));
    assert_eq!(Dialect::of("exact", &Network::named("solana").unwrap()), Dialect::ExactSvm);
}

#[test]
fn permit2_and_upto_are_refused_in_the_codes_of_the_published_sdks() {
    let mut offer: tollway_protocol::Offer = crate::samples::offer();
    assert_eq!(Dialect::of_offer(&offer), Dialect::ExactEvm);
    offer.extra = offer.extra.with("assetTransferMethod", "permit2");
    let code =
        |offer: &tollway_protocol::Offer, reason: Reason| reason.code(Dialect::of_offer(offer)).to_string();
    assert_eq!(code(&offer, Reason::AllowanceRequired), "permit2_allowance_required");
    assert_eq!(Reason::AllowanceRequired.row().http, 412);
    assert_eq!(code(&offer, Reason::InsufficientBalance), "permit2_insufficient_balance");
    assert_eq!(code(&offer, Reason::AlreadyUsed), "permit2_invalid_nonce");
    assert_eq!(code(&offer, Reason::TransactionFailed), "invalid_exact_evm_transaction_failed");
    offer.scheme = "upto".into();
    assert_eq!(code(&offer, Reason::Expired), "permit2_deadline_expired");
    assert_eq!(code(&offer, Reason::TransactionFailed), "invalid_upto_evm_transaction_failed");
    assert_eq!(code(&offer, Reason::ExceedsPermitted), "invalid_upto_evm_payload_settlement_exceeds_amount");
    assert_eq!(code(&offer, Reason::FacilitatorMismatch), "upto_facilitator_mismatch");
}
