//! Payments for the suite, made as a mechanism makes them.

use serde_json::json;
use tollway_protocol::bind::{Bound, Effects, Move, PaymentKey, Presented, Verified, Window};
use tollway_protocol::door::{Address, Amount, UnixTime};
use tollway_protocol::{IdempotencyKey, Network, Offer, Payment, Settlement};

use crate::{Batch, Journal, RequestId, SignedTransaction};

/// When the suite's payments are verified.
pub const NOW: UnixTime = UnixTime(1_800_000_000);
/// When they can't settle any more.
pub const CLOSES: UnixTime = UnixTime(1_800_000_060);
/// Who pays.
pub const PAYER: &str = "0x857b06519e91e3a54538791bdbb0e22373e36b66";
/// The account that the suite sends from.
pub const SIGNER: &str = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
/// What the suite's transactions may cost, in gwei.
pub const BID: u64 = 1_000;
const ASSET: &str = "0x036cbd53842c5426634e7929541ec2318f3dcf7e";
const PAY_TO: &str = "0x209693bc6afc0c5328ba36faf03c514ef312287c";

/// Where the suite's payments are made.
#[must_use]
pub fn network() -> Network {
    Network::eip155(84_532)
}

/// The `n`-th payment.
#[must_use]
pub fn payment(n: u64) -> Bound {
    payment_of(&network(), n, 10_000, "0x01")
}

/// A payment with the key of [`payment`]`(n)` on `network`, but this amount and signature.
#[must_use]
pub fn payment_of(network: &Network, n: u64, amount: u64, signature: &str) -> Bound {
    make(network, PAYER, n, amount, signature)
}

/// The `n`-th payment of `payer`, verified.
#[must_use]
pub fn verified_of(payer: &str, n: u64) -> Verified {
    make(&network(), payer, n, 10_000, "0x01").at(NOW).unwrap()
}

fn make(network: &Network, payer: &str, n: u64, amount: u64, signature: &str) -> Bound {
    let offer: Offer = serde_json::from_value(json!({
        "scheme": "exact", "network": network, "amount": amount.to_string(), "asset": ASSET,
        "payTo": PAY_TO, "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"},
    }))
    .unwrap();
    let payment: Payment = serde_json::from_value(json!({
        "x402Version": 2, "accepted": offer, "payload": {"signature": signature, "nonce": n},
    }))
    .unwrap();
    let address = |text| Address::on(network, text).unwrap();
    let only = Move {
        asset: address(ASSET),
        from: address(payer),
        to: address(PAY_TO),
        amount: Amount::from(amount),
    };
    let effects = Effects {
        scheme: "exact".into(),
        network: network.clone(),
        payer: address(payer),
        moves: vec![only],
        window: Window { opens: NOW.minus(60), closes: CLOSES },
        key: PaymentKey::new(network, &[ASSET, payer, &n.to_string()]),
    };
    Presented::new(offer, payment).unwrap().bind(effects).unwrap()
}

/// The `n`-th payment, verified.
#[must_use]
pub fn verified(n: u64) -> Verified {
    payment(n).at(NOW).unwrap()
}

/// The `n`-th payment, verified, of whom `key` is known.
#[must_use]
pub fn keyed(n: u64, key: Option<IdempotencyKey>) -> Verified {
    payment(n).keyed(key).at(NOW).unwrap()
}

/// The key of the `n`-th caller.
#[must_use]
pub fn caller(n: u8) -> IdempotencyKey {
    IdempotencyKey::read(&format!("the key of caller {n}").replace(' ', "-")).unwrap()
}

/// The request called `name`.
#[must_use]
pub fn request(name: &str) -> RequestId {
    RequestId::of(&[b"GET", name.as_bytes()])
}

/// The hash of the transaction called `tag`.
#[must_use]
pub fn hash(tag: &str) -> String {
    let tag: String = tag.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{tag:0>64}")
}

/// A facilitator's answer that settles `payment` in `transaction`.
#[must_use]
pub fn settlement(payment: &Bound, transaction: &str) -> Settlement {
    Settlement {
        payer: Some(payment.effects().payer.to_string()),
        transaction: Some(transaction.into()),
        amount: Some(payment.offer().amount),
        ..Settlement::new(true, payment.offer().network.clone())
    }
}

/// A transaction of [`SIGNER`], with `tag` in its hash and bytes.
#[must_use]
pub fn transaction(nonce: u64, tag: &str) -> SignedTransaction {
    SignedTransaction {
        signer: SIGNER.into(),
        nonce,
        hash: format!("0x{tag}"),
        raw: format!("raw {nonce} {tag}").into_bytes(),
    }
}

/// `transaction` with these payments, by their numbers, that may cost [`BID`] without a budget.
#[must_use]
pub fn batch(new: &[u64], again: &[u64], transaction: SignedTransaction) -> Batch {
    Batch {
        new: new.iter().copied().map(verified).collect(),
        again: again.iter().copied().map(key).collect(),
        expected: Vec::new(),
        claims: Vec::new(),
        transaction,
        bid_gwei: BID,
        budget_gwei: u64::MAX,
    }
}

/// The key of the `n`-th payment.
#[must_use]
pub fn key(n: u64) -> PaymentKey {
    payment(n).key().clone()
}

/// Makes final all that is settled on `network` in blocks up to `block`; how many that were.
///
/// # Panics
/// When the ledger fails.
pub async fn finalize(ledger: &impl Journal, network: &Network, block: u64) -> u64 {
    let due = ledger.unfinal(network, block, u32::MAX).await.unwrap();
    let keys: Vec<_> = due.into_iter().map(|record| record.key).collect();
    ledger.finalize(network, block, &keys).await.unwrap()
}
