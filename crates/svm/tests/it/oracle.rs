//! Fuzzed transactions: never a panic, and never accepted unless an independent decoder finds in them what was offered.

use proptest::prelude::*;
use proptest::sample::Index;
use solana_message::VersionedMessage;
use solana_transaction::versioned::VersionedTransaction;
use tollway_devnet::svm::USDC_DEVNET;
use tollway_protocol::Offer;
use tollway_svm::SvmPayment;
use tollway_svm::layout::Limits;
use tollway_svm::programs::{COMPUTE_BUDGET, LIGHTHOUSE, MEMO, TOKEN, associated_token_account};

use crate::common::{AMOUNT, MEMO as TEXT, key, network};
use crate::draft::{Draft, base64};

fn good() -> Vec<u8> {
    let (fee_payer, payer) = (key(1), key(2));
    let to = key(3).address();
    Draft::good(fee_payer.address(), payer.address(), to, USDC_DEVNET, AMOUNT, TEXT).signed(&[&payer])
}

fn offer() -> Offer {
    serde_json::from_value(serde_json::json!({
        "scheme": "exact", "network": network().as_str(), "amount": AMOUNT.to_string(),
        "asset": USDC_DEVNET.to_string(), "payTo": key(3).address().to_string(), "maxTimeoutSeconds": 60,
        "extra": {"feePayer": key(1).address().to_string()},
    }))
    .unwrap()
}

/// What Solana's own crates say of the bytes, by the scheme's text.
fn is_acceptable(bytes: &[u8]) -> bool {
    let Ok(transaction) = wincode::deserialize_exact::<VersionedTransaction>(bytes) else { return false };
    if transaction.sanitize().is_err() || bytes.len() > 1_232 {
        return false;
    }
    let message = &transaction.message;
    if let VersionedMessage::V0(message) = message
        && !message.address_table_lookups.is_empty()
    {
        return false;
    }
    let keys = message.static_account_keys();
    let calls = message.instructions();
    let program = |place: usize| calls.get(place).map(|call| keys[usize::from(call.program_id_index)]);
    let optional =
        |place: usize| program(place).is_none_or(|program| program == MEMO || program == LIGHTHOUSE);
    let Some(transfer) = calls.get(2) else { return false };
    let accounts: Vec<_> = transfer.accounts.iter().filter_map(|i| keys.get(usize::from(*i))).collect();
    let destination = associated_token_account(&key(3).address(), &USDC_DEVNET, &TOKEN);
    message.header().num_required_signatures == 2
        && keys.first() == Some(&key(1).address())
        && (3..=6).contains(&calls.len())
        && program(0) == Some(COMPUTE_BUDGET)
        && matches!(calls[0].data.as_slice(), [2, units @ ..] if units.len() == 4)
        && program(1) == Some(COMPUTE_BUDGET)
        && matches!(calls[1].data.as_slice(), [3, price @ ..] if price.len() == 8)
        && program(2) == Some(TOKEN)
        && matches!(accounts.as_slice(), [_, mint, to, owner]
            if **mint == USDC_DEVNET && **to == destination && **owner == keys[1])
        && matches!(transfer.data.as_slice(), [12, amount @ .., _] if *amount == AMOUNT.to_le_bytes())
        && (3..6).all(optional)
        && calls.iter().all(|call| !call.accounts.contains(&0) && call.program_id_index != 0)
}

fn is_accepted(bytes: &[u8]) -> bool {
    let payload = serde_json::from_value(serde_json::json!({"transaction": base64(bytes)})).unwrap();
    let any = Limits::NONE;
    SvmPayment::decode(&offer(), &payload, &any).is_ok_and(|payment| {
        let transfer = payment.transfer;
        let destination = associated_token_account(&key(3).address(), &USDC_DEVNET, &transfer.program);
        transfer.mint == USDC_DEVNET && transfer.destination == destination && transfer.amount == AMOUNT
    })
}

/// One change of some bytes.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Copy(Index, Index, usize),
    Cut(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), 1..40usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (at(), at(), 1..40usize).prop_map(|(from, to, count)| Change::Copy(from, to, count)),
        at().prop_map(Change::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let end = |from: usize, count: usize, bytes: &[u8]| (from + count).min(bytes.len());
    match change {
        Change::Set(at, byte) => *at.get_mut(bytes) = *byte,
        Change::Flip(at, bit) => *at.get_mut(bytes) ^= 1 << bit,
        Change::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Change::Remove(at, count) => {
            let from = at.index(bytes.len());
            bytes.drain(from..end(from, *count, bytes));
        }
        Change::Copy(from, to, count) => {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            let count = *count.min(&(bytes.len() - to)).min(&(bytes.len() - from));
            bytes.copy_within(from..from + count, to);
        }
        Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
}

#[test]
fn the_oracle_and_the_facilitator_accept_the_scheme_s_own_transaction() {
    assert!(is_acceptable(&good()));
    assert!(is_accepted(&good()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn fa19_a_changed_transaction_is_accepted_only_when_the_oracle_agrees(
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let mut bytes = good();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        prop_assert!(!is_accepted(&bytes) || is_acceptable(&bytes));
    }

    #[test]
    fn fa19_what_the_oracle_accepts_is_accepted(at in 1..129usize, byte in any::<u8>()) {
        // Signatures are judged elsewhere.
        let mut bytes = good();
        bytes[at] = byte;
        prop_assert!(is_accepted(&bytes) && is_acceptable(&bytes));
    }

    #[test]
    fn i15_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1_400)) {
        prop_assert!(!is_accepted(&bytes) || is_acceptable(&bytes));
    }
}
