//! `upto`: what was used of a permitted amount is charged.

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, U256};
use tollway_evm::facilitator::UptoFacilitator;
use tollway_evm::permit2::UPTO_PROXY;
use tollway_evm::{ExactFacilitator, UptoPayer};
use tollway_ledger::{Filter, Journal as _, SqliteLedger};
use tollway_protocol::bind::{Bound, Presented};
use tollway_protocol::door::Amount;
use tollway_protocol::scheme::{FacilitatorScheme as _, Outcome, PayerScheme as _};
use tollway_protocol::wire::PaymentRequest;
use tollway_protocol::{Offer, Payment, Reason, Refusal};

use crate::common::{PRICE, Stack, facilitator, key, now, payment, reason_of};
use crate::paying::{STRANGER, approve, by_permit2, in_a_process, manual, permit_of, settling};

struct Metered {
    stack: Stack,
    upto: UptoFacilitator,
    payer: UptoPayer,
}

impl Metered {
    async fn new() -> Self {
        Self::of(Stack::new().await)
    }

    fn of(stack: Stack) -> Self {
        approve(&stack, stack.deployment.usdc, stack.payer.address());
        Self { upto: stack.facilitator.upto(), payer: UptoPayer::new(key(7)), stack }
    }

    fn offer(&self) -> Offer {
        let mut offer = by_permit2(self.stack.deployment.usdc);
        offer.scheme = "upto".into();
        let kind = self.upto.kind();
        offer.extra = offer.extra.with("facilitatorAddress", kind.extra.str("facilitatorAddress").unwrap());
        offer
    }

    async fn pay(&self, nonce: u8) -> Payment {
        let offer = self.offer();
        let signed = self.payer.sign(&offer, now(), [nonce; 32]).await.unwrap();
        payment(&offer, signed.payload)
    }

    fn charge(&self, payment: &Payment, amount: u64) -> Result<Bound, Refusal> {
        charge(&self.upto, payment, amount)
    }

    async fn settle(&self, payment: &Payment, amount: u64) -> Outcome {
        self.upto.settle(self.charge(payment, amount).unwrap(), Duration::from_secs(10)).await
    }
}

fn charge(upto: &UptoFacilitator, payment: &Payment, amount: u64) -> Result<Bound, Refusal> {
    let mut offer = payment.accepted.clone();
    offer.amount = Amount::from(amount);
    let presented = Presented::charged(offer, payment.clone())?;
    let effects = upto.effects(&presented)?;
    presented.bind(effects)
}

fn charged(outcome: &Outcome) -> Option<(bool, Amount)> {
    match outcome {
        Outcome::Charged { transaction, amount } => Some((transaction.is_some(), *amount)),
        _ => None,
    }
}

#[tokio::test]
async fn a_part_the_whole_and_nothing_of_what_is_permitted_are_charged() {
    let metered = Metered::new().await;
    let first = metered.pay(1).await;
    let verified = metered.charge(&first, PRICE).unwrap().at(now()).unwrap();
    metered.upto.verify(&verified).await.unwrap();
    let part = metered.settle(&first, 1_234).await;
    assert_eq!(charged(&part), Some((true, Amount::from(1_234u64))), "{part:?}");
    let whole = metered.settle(&metered.pay(2).await, PRICE).await;
    assert_eq!(charged(&whole), Some((true, Amount::from(PRICE))), "{whole:?}");
    let nothing = metered.settle(&metered.pay(3).await, 0).await;
    assert_eq!(nothing, Outcome::Charged { transaction: None, amount: Amount::from(0u64) });
    assert_eq!(metered.stack.seller_balance(), PRICE + 1_234);
    assert_eq!(metered.stack.transactions_of_signer(), 2, "nothing is sent for nothing");
    let records = metered.stack.ledger.page(&Filter::default(), 0, 10).await.unwrap();
    assert_eq!(records.len(), 2, "and nothing recorded");
    let request: PaymentRequest = serde_json::from_str(&records[0].request).unwrap();
    assert_eq!(request.payment_requirements.amount, Amount::from(1_234u64), "the record has what is charged");
}

#[tokio::test]
async fn more_than_is_permitted_is_never_charged() {
    let metered = Metered::new().await;
    let paid = metered.pay(1).await;
    assert_eq!(metered.charge(&paid, PRICE + 1).unwrap_err().reason, Reason::ExceedsPermitted);
    assert_eq!(metered.stack.transactions_of_signer(), 0);
}

#[tokio::test]
async fn fa01_settled_again_for_another_amount_the_first_answer_counts() {
    let metered = Metered::new().await;
    let paid = metered.pay(1).await;
    let first = metered.settle(&paid, 4_000).await;
    for amount in [4_000, PRICE, 1, 0] {
        assert_eq!(metered.settle(&paid, amount).await, first);
    }
    assert_eq!((metered.stack.seller_balance(), metered.stack.transactions_of_signer()), (4_000, 1));
}

#[tokio::test]
async fn fa01_charged_twice_at_once_it_is_one_transaction_and_one_answer() {
    let metered = Metered::new().await;
    let paid = metered.pay(1).await;
    let mut all = tokio::task::JoinSet::new();
    for amount in 1..=20 {
        let (upto, bound) = (metered.upto.clone(), metered.charge(&paid, amount * 100).unwrap());
        all.spawn(async move { upto.settle(bound, Duration::from_secs(10)).await });
    }
    let outcomes = all.join_all().await;
    assert!(charged(&outcomes[0]).is_some(), "{:?}", outcomes[0]);
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
    assert_eq!(metered.stack.transactions_of_signer(), 1);
    let (_, amount) = charged(&outcomes[0]).unwrap();
    assert_eq!(amount, Amount::from(metered.stack.seller_balance()));
}

#[tokio::test]
async fn fa03_what_a_dead_process_was_charging_is_finished_at_its_amount() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.db");
    let stack = Stack::with(manual(), Box::new(|_, _| None), |_| {}).await;
    let metered = Metered::of(stack);
    let paid = metered.pay(1).await;
    let asked = charge(&metered.upto, &paid, 2_500).unwrap();
    let first = in_a_process(&metered.stack.rpc, &path, Duration::from_millis(700), async move |f, lives| {
        f.upto().settle(asked, lives).await
    })
    .await;
    assert!(matches!(first, Outcome::Pending { transaction: Some(_), .. }), "{first:?}");
    let ledger = Arc::new(SqliteLedger::open(&path).unwrap());
    let f = facilitator(&metered.stack.rpc, ledger, key(9), |_| {});
    f.recover().await;
    metered.stack.chain.mine();
    let bound = charge(&f.upto(), &paid, PRICE).unwrap();
    let outcome = f.upto().settle(bound, Duration::from_secs(10)).await;
    assert_eq!(charged(&outcome), Some((true, Amount::from(2_500u64))), "{outcome:?}");
    assert_eq!((metered.stack.seller_balance(), metered.stack.transactions_of_signer()), (2_500, 1));
}

#[tokio::test]
async fn a_permit_for_another_facilitator_is_refused_and_a_foreign_forwarder_can_t_charge_ours() {
    let metered = Metered::new().await;
    let mut offer = metered.offer();
    offer.extra = offer.extra.with("facilitatorAddress", STRANGER.to_string());
    let signed = metered.payer.sign(&offer, now(), [1; 32]).await.unwrap();
    let foreign = payment(&offer, signed.payload);
    assert_eq!(metered.charge(&foreign, PRICE).unwrap_err().reason, Reason::FacilitatorMismatch);
    let paid = metered.pay(2).await;
    let (to, data) = settling(&paid);
    assert_eq!(to, UPTO_PROXY);
    metered.stack.submit(STRANGER, to, &data);
    assert_eq!(metered.stack.seller_balance(), 0);
    assert!(charged(&metered.settle(&paid, 77).await).is_some());
}

#[tokio::test]
async fn the_account_that_the_payer_named_sends_whichever_it_is() {
    let stack = Stack::new().await;
    let keys = [key(50), key(51), key(52)];
    for key in &keys {
        stack.deployment.fund(key.address());
    }
    let config = {
        use tollway_evm::facilitator::ChainConfig;
        let mut config =
            ChainConfig::new(crate::common::network(), tollway_protocol::Secret::new(stack.rpc.clone()));
        config.poll = Duration::from_millis(10);
        config
    };
    let chain = tollway_evm::Chain::new(config).unwrap();
    let f = ExactFacilitator::with_keys(chain, keys.to_vec(), stack.ledger.clone());
    let mut metered = Metered::of(stack);
    metered.upto = f.upto();
    for key in &keys {
        // Each of them, as if it was the one advertised at the time.
        let mut offer = metered.offer();
        offer.extra = offer.extra.with("facilitatorAddress", key.address().to_string());
        let nonce = key.address().0[0];
        let signed = metered.payer.sign(&offer, now(), [nonce; 32]).await.unwrap();
        let paid = payment(&offer, signed.payload);
        assert_eq!(permit_of(&paid).permit.facilitator, Some(key.address()));
        let outcome = metered.settle(&paid, 5).await;
        assert!(charged(&outcome).is_some(), "{outcome:?}");
    }
    let count = |address: Address| {
        let params = serde_json::json!([address, "latest"]);
        let count = metered.stack.chain.request("eth_getTransactionCount", &params).unwrap();
        serde_json::from_value::<U256>(count).unwrap()
    };
    assert!(keys.iter().all(|key| count(key.address()) == U256::from(1u64)));
}

#[tokio::test]
async fn a_forged_permit_is_told_no_outcome() {
    let metered = Metered::new().await;
    let paid = metered.pay(1).await;
    metered.settle(&paid, 4_000).await;
    let mut forged = paid.clone();
    let mut permit = permit_of(&paid).permit;
    permit.deadline += U256::from(1u64);
    forged.payload =
        tollway_evm::permit2::Permit2Payment::payload(&permit, &crate::common::sign(8, permit.digest(84532)))
            .unwrap();
    let outcome = metered.settle(&forged, 4_000).await;
    assert_eq!(reason_of(&outcome), Some(&Reason::AlreadyUsed), "{outcome:?}");
}
