//! What mechanisms add to a challenge's extensions, and which of them signs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tollway_payer::{Journal, PayError, Policy, PolicyError, Unfit, Wallet};
use tollway_protocol::door::{Address, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{PayerScheme, SignError, Signed};
use tollway_protocol::{Network, Offer};

use crate::common::*;

/// Signs by `permit2`, and adds `adds` to the extensions.
#[derive(Clone)]
struct Adding {
    account: Account,
    scheme: &'static str,
    adds: Result<Value, SignError>,
    asked: Arc<AtomicUsize>,
}

impl Adding {
    fn new(adds: Value) -> Self {
        Self { account: Account::new(), scheme: "exact", adds: Ok(adds), asked: Arc::default() }
    }

    fn payer(&self) -> tollway_payer::Payer {
        let journal = Journal::temporary().unwrap();
        let wallet = Wallet::new().with(Account::new()).with(self.clone());
        tollway_payer::Payer::builder(wallet, journal).limits(limits(1)).build().unwrap()
    }
}

#[async_trait::async_trait]
impl PayerScheme for Adding {
    fn scheme(&self) -> &str {
        self.scheme
    }
    fn methods(&self) -> &[&str] {
        &["permit2"]
    }
    fn payer(&self, network: &Network) -> Option<Address> {
        self.account.payer(network)
    }
    fn check(&self, offer: &Offer) -> Result<(), SignError> {
        self.account.check(offer)
    }
    async fn sign(&self, offer: &Offer, now: UnixTime, entropy: [u8; 32]) -> Result<Signed, SignError> {
        let signed = self.account.sign(offer, now, entropy).await?;
        let effects = tollway_protocol::bind::Effects { scheme: self.scheme.into(), ..signed.effects };
        Ok(Signed { effects, ..signed })
    }
    async fn extend(&self, _: &Offer, _: &Signed, advertised: &Object) -> Result<Object, SignError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(advertised.get("mystery").is_some());
        self.adds.clone().map(|adds| serde_json::from_value(adds).unwrap())
    }
}

fn by_permit2(amount: &str) -> Value {
    with(offer(amount), "extra", json!({"name": "USDC", "version": "2", "assetTransferMethod": "permit2"}))
}

async fn extensions_sent(adding: &Adding) -> Value {
    let shop = Shop::selling(vec![by_permit2("10000")]).await;
    adding.payer().pay(shop.get("/")).await.unwrap();
    decode(&shop.payments()[0])["extensions"].clone()
}

#[tokio::test]
async fn what_a_mechanism_adds_stands_beside_what_the_challenge_says_and_never_over_it() {
    let adding = Adding::new(json!({
        "mystery": {"a": 2, "b": {"c": 3}},
        "payment-identifier": {"required": true, "more": 1},
        "not advertised": {"x": 1},
    }));
    let sent = extensions_sent(&adding).await;
    assert_eq!(sent["mystery"], json!({"info": {"a": 1, "b": {"c": 3}}}));
    assert_eq!(sent["payment-identifier"]["info"]["required"], json!(false));
    assert_eq!(sent["payment-identifier"]["info"]["more"], json!(1));
    assert!(sent.get("not advertised").is_none());
    assert_eq!(adding.asked.load(Ordering::SeqCst), 1, "once a payment");
}

#[tokio::test]
async fn an_echo_without_additions_is_the_challenge_s() {
    let sent = extensions_sent(&Adding::new(json!({}))).await;
    assert_eq!(sent["mystery"], json!({"info": {"a": 1}}));
}

#[tokio::test]
async fn a_payment_that_can_not_be_extended_is_not_sent_and_holds_no_budget() {
    let failing = Adding { adds: Err(SignError::Signer("no".into())), ..Adding::new(json!({})) };
    let shop = Shop::selling(vec![by_permit2("10000")]).await;
    let payer = failing.payer();
    let error = payer.pay(shop.get("/")).await.unwrap_err();
    assert!(matches!(error, PayError::Sign(_)), "{error:?}");
    assert!(shop.payments().is_empty());
    assert!(payer.journal().live().unwrap().is_empty());
}

#[tokio::test]
async fn version_1_has_no_extensions_to_add_to() {
    let adding = Adding::new(json!({"mystery": {"b": 1}}));
    let shop = Shop::open(|seen, _| match seen.payment() {
        None => ask_v1(&v1_offer(&seen.url)),
        Some(_) => reply(200).body("goods"),
    })
    .await;
    adding.payer().pay(shop.get("/")).await.unwrap();
    assert_eq!((adding.asked.load(Ordering::SeqCst), shop.payments().len()), (0, 1));
}

#[tokio::test]
async fn the_mechanism_that_signs_the_offer_s_method_pays_it() {
    let adding = Adding::new(json!({}));
    let shop = Shop::selling(vec![by_permit2("10000")]).await;
    adding.payer().pay(shop.get("/")).await.unwrap();
    assert_eq!(adding.account.count(), 1);
    let shop = Shop::selling(vec![offer("10000")]).await;
    adding.payer().pay(shop.get("/")).await.unwrap();
    assert_eq!(adding.account.count(), 1, "an offer that names none is for the first");
    let odd = with(offer("1"), "extra", json!({"name": "USDC", "assetTransferMethod": "erc7710"}));
    let shop = Shop::selling(vec![odd]).await;
    let Err(PayError::Declined(declined)) = adding.payer().pay(shop.get("/")).await else { panic!() };
    assert_eq!(declined.rejected[0].why, Unfit::TransferMethod("erc7710".into()));
}

#[tokio::test]
async fn cl01_the_ceiling_of_upto_counts_and_not_what_may_be_charged_of_it() {
    let upto = |amount: &str| with(by_permit2(amount), "scheme", "upto");
    let metered = Adding { scheme: "upto", ..Adding::new(json!({})) };
    let shop = Shop::selling(vec![upto("1000001")]).await;
    let Err(PayError::Declined(declined)) = metered.payer().pay(shop.get("/")).await else { panic!() };
    assert!(matches!(declined.rejected[0].why, Unfit::Policy(PolicyError::Cap { .. })));
    let journal = Journal::temporary().unwrap();
    let budget = tollway_payer::Budget::total(&money("$1.50")).unwrap();
    let payer = tollway_payer::Payer::builder(Wallet::new().with(metered), journal)
        .limits(limits(1))
        .policy(Policy::default().budget(budget))
        .build()
        .unwrap();
    // The shop says that it charged nothing: its word alone frees no budget.
    let shop = Shop::open(move |seen, _| match seen.payment() {
        None => ask(seen, &[upto("1000000")]),
        Some(_) => {
            let receipt =
                json!({"success": true, "transaction": "", "network": SEPOLIA, "payer": PAYER, "amount": "0"});
            reply(200).header("payment-response", encode(&receipt)).body("goods")
        }
    })
    .await;
    payer.pay(shop.get("/")).await.unwrap();
    assert!(matches!(payer.pay(shop.get("/again")).await, Err(PayError::Policy(_))));
}
