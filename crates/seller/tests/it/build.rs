use std::sync::Arc;

use tollway_ledger::SqliteLedger;
use tollway_protocol::door::Amount;
use tollway_protocol::json::Object;
use tollway_seller::{BuildError, Paid, Seller, Terms, TermsError};

use crate::common::*;

#[tokio::test]
async fn a_seller_without_what_it_needs_is_not_built() {
    let builder = || Seller::builder(BASE);
    assert_eq!(builder().build().unwrap_err(), BuildError::NoFacilitator);
    let builder = || builder().facilitator(Arc::new(Script::default()));
    assert_eq!(builder().build().unwrap_err(), BuildError::NoLedger);
    let builder = || builder().ledger(Arc::new(SqliteLedger::memory().unwrap()));
    assert_eq!(builder().build().unwrap_err(), BuildError::NoScheme);
    for url in
        ["", "shop.example", "ftp://shop.example", "https://u:p@shop.example", "https://shop.example?x"]
    {
        assert!(matches!(Seller::builder(url).build(), Err(BuildError::BaseUrl(_))), "{url}");
    }
}

#[tokio::test]
async fn wrong_prices_and_accounts_are_reported_when_the_route_is_built() {
    let shop = Shop::open().await;
    let wrong = |terms: Terms| match shop.seller.gate(Paid::offers([terms])) {
        Err(BuildError::Terms { index: 0, error }) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(wrong(Terms::new("base-sepolia", SELLER, "1,50")), TermsError::Price(_)));
    assert!(matches!(wrong(Terms::new("base-sepolia", SELLER, "$0")), TermsError::Free));
    assert!(matches!(wrong(Terms::new("base-sepolia", SELLER, "$0.0000001")), TermsError::Ask(_)));
    assert!(matches!(wrong(Terms::new("base-sepolia", "0x12", "$1")), TermsError::Ask(_)));
    assert!(matches!(wrong(Terms::new("nowhere", SELLER, "$1")), TermsError::Network(_)));
    assert!(matches!(wrong(Terms::new("solana", SELLER, "$1")), TermsError::NoScheme { .. }));
    assert!(matches!(
        wrong(Terms::new("base-sepolia", SELLER, "$1").scheme("later")),
        TermsError::NoScheme { .. }
    ));
    assert!(matches!(
        wrong(Terms::new("base-sepolia", SELLER, "$1").max_timeout_seconds(0)),
        TermsError::NoTime
    ));
    let unknown = Terms::atomic("base-sepolia", SELLER, OTHER, Amount::from(5u64));
    assert!(matches!(wrong(unknown), TermsError::Ask(_)));
    assert_eq!(shop.seller.gate(Paid::offers([])).unwrap_err(), BuildError::NoTerms);
}

#[tokio::test]
async fn rs23_a_challenge_that_no_header_can_carry_is_refused_when_the_route_is_built() {
    let shop = Shop::open().await;
    let long = Object::of(&serde_json::json!({"bazaar": {"info": "x".repeat(13_000)}})).unwrap();
    let error = shop.seller.gate(Paid::new("$0.01").extensions(long)).unwrap_err();
    assert!(matches!(error, BuildError::ChallengeTooLarge { limit: 16_384, .. }), "{error}");
    for paid in [
        Paid::new("$1").service_name("x".repeat(33)),
        Paid::new("$1").tags(["1", "2", "3", "4", "5", "6"]),
        Paid::new("$1").tags(["caf\u{e9}"]),
        Paid::new("$1").icon_url("x".repeat(2049)),
        Paid::new("$1").path("no-slash"),
    ] {
        assert!(matches!(shop.seller.gate(paid), Err(BuildError::Description(_))));
    }
}
