//! For how long the ledger keeps what a payment has bought.

use tollway_ledger::{Claim, Claims as _, RequestId, SqliteLedger};
use tollway_protocol::bind::{Effects, Move, PaymentKey, Presented, Window};
use tollway_protocol::door::{Address, Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::{Network, Offer, Settlement};
use tollway_seller::gate::{Effect, Gate};

use crate::common::*;

const KEEP: u64 = 86_400;
const USDC: &str = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";
const SHOP: &str = "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4";

/// A payment without a time of its own, about to be claimed: what is claimed, and until when that is kept.
fn opened(network: &str, asset: &str, pay_to: &str, extra: Object) -> (Effect, UnixTime) {
    let network = Network::new(network).unwrap();
    let address = |text: &str| Address::on(&network, text).unwrap();
    let amount = Amount::from(10_000u64);
    let offer = Offer {
        scheme: "exact".into(),
        network: network.clone(),
        amount,
        asset: asset.into(),
        pay_to: pay_to.into(),
        max_timeout_seconds: 60,
        extra,
        unknown: Object::new(),
    };
    let effects = Effects {
        scheme: "exact".into(),
        network: network.clone(),
        payer: address(asset),
        moves: vec![Move { asset: address(asset), from: address(asset), to: address(pay_to), amount }],
        window: Window::ALWAYS,
        key: PaymentKey::new(&network, &["0x01"]),
    };
    let paid = payment(&offer, "0x01");
    let bound = Presented::new(offer, paid).unwrap().bind(effects).unwrap();
    let (_gate, effect) = Gate::open(bound, RequestId::of(&[b"GET", b"/weather"]), UnixTime(NOW), KEEP);
    let Effect::Claim { keep_until, .. } = &effect else { panic!("{effect:?}") };
    let until = *keep_until;
    (effect, until)
}

#[tokio::test]
async fn i02_a_solana_payment_is_kept_until_its_blockhash_is_long_dead_and_forgotten_in_the_end() {
    let network = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
    let (effect, until) = opened(network, USDC, SHOP, Object::new());
    // What the offer gives, an hour, and what every record is kept for.
    assert_eq!(until, UnixTime(NOW + 60 + 3_600 + KEEP));

    let ledger = SqliteLedger::memory().unwrap();
    let Effect::Claim { payment, request, keep_until } = effect else { panic!("no claim") };
    let claim = ledger.claim((*payment).clone(), request, keep_until).await.unwrap();
    let Claim::New(claimed) = claim else { panic!("{claim:?}") };
    ledger.settling(&claimed).await.unwrap();
    let settlement = Settlement {
        transaction: Some("5".repeat(88)),
        ..Settlement::new(true, Network::new(network).unwrap())
    };
    let paid = ledger.settled(claimed, settlement).await.unwrap();
    ledger.deliver(paid).await.unwrap();
    assert_eq!(ledger.forget(until).await.unwrap(), 0);
    let again = ledger.claim(*payment, request, keep_until).await.unwrap();
    assert!(matches!(again, Claim::Spent { .. }), "{again:?}");
    assert_eq!(ledger.forget(UnixTime(until.0 + 1)).await.unwrap(), 1);
}

#[test]
fn i02_a_delegation_which_may_be_redeemed_at_any_time_is_never_forgotten() {
    let extra = Object::new().with("assetTransferMethod", "erc7710");
    let (_, until) = opened(NETWORK, OTHER, SELLER, extra);
    assert_eq!(until, UnixTime(u64::MAX));
}
