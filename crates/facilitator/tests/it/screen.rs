//! Lists and hooks: one choke point for every scheme (threat FA26, invariant I19).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use tollway_facilitator::Registry;
use tollway_facilitator::registry::Builder;
use tollway_facilitator::screen::{Caller, Hook, Lists, Policy, Rule, Subject};
use tollway_facilitator::settlements::{Found, Settlements, State};
use tollway_protocol::bind::PaymentKey;
use tollway_protocol::door::UnixTime;
use tollway_protocol::reason::{Reason, Refusal};
use tollway_protocol::wire::{Settlement, Verdict};
use tollway_protocol::{Facilitator as _, Network, NetworkPattern, PaymentRequest};

use crate::common::{Fake, NOW, PAYER, SELLER, TOKEN, request, v2};

const SCHEMES: [&str; 3] = ["exact", "upto", "batch-settlement"];

struct World {
    fakes: Vec<Arc<Fake>>,
    registry: Registry,
}

fn world(more: impl FnOnce(Builder) -> Builder) -> World {
    let fakes: Vec<_> = SCHEMES.iter().map(|scheme| Fake::new(scheme, "eip155:84532")).collect();
    let builder = fakes.iter().fold(Registry::builder(), |all, fake| all.mechanism(fake.clone()));
    World { fakes, registry: more(builder.clock(|| UnixTime(NOW))).build().unwrap() }
}

impl World {
    /// What the chain and the mechanisms were asked to do.
    fn acts(&self) -> usize {
        self.fakes.iter().map(|fake| fake.answered.load(Ordering::SeqCst)).sum()
    }
}

fn payment(scheme: &str) -> PaymentRequest {
    let mut body = v2("");
    for offer in ["/paymentRequirements", "/paymentPayload/accepted"] {
        body.pointer_mut(offer).unwrap()["scheme"] = Value::from(scheme);
    }
    serde_json::from_value(body).unwrap()
}

fn list(texts: &[&str]) -> std::collections::BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn rules() -> Vec<(&'static str, Rule)> {
    vec![
        ("payer", Rule { payer: list(&[&PAYER.to_uppercase().replace("0X", "0x")]), ..Rule::default() }),
        ("payTo", Rule { pay_to: list(&[SELLER]), ..Rule::default() }),
        ("asset", Rule { asset: list(&[TOKEN]), ..Rule::default() }),
        ("network", Rule { network: vec![NetworkPattern::new("eip155:84532").unwrap()], ..Rule::default() }),
        ("family", Rule { network: vec![NetworkPattern::new("eip155:*").unwrap()], ..Rule::default() }),
        ("key", Rule { key: list(&["shop"]), ..Rule::default() }),
        ("all", Rule { payer: list(&[PAYER]), asset: list(&[TOKEN]), ..Rule::default() }),
    ]
}

fn shop() -> Caller {
    Caller { key: Some("shop".into()), address: None }
}

#[tokio::test]
async fn fa26_no_scheme_and_no_operation_gets_past_a_deny_list() {
    for (what, rule) in rules() {
        let world = world(|builder| builder.policy(Arc::new(Lists::new([], [rule]))));
        for scheme in SCHEMES {
            let request = payment(scheme);
            let verdict = world.registry.verify_for(request.clone(), &shop()).await;
            assert_eq!(verdict.invalid_reason.unwrap().reason(), Reason::NotAllowed, "{scheme} {what}");
            let settlement =
                world.registry.settle_for(request.clone(), Duration::from_secs(5), &shop()).await;
            assert_eq!(settlement.error_reason.unwrap().reason(), Reason::NotAllowed, "{scheme} {what}");
            assert!(!settlement.success && settlement.transaction.is_none());
        }
        assert_eq!(world.acts(), 0, "{what}");
    }
}

#[tokio::test]
async fn fa26_an_allow_list_lets_only_its_own_through_on_every_path() {
    let stranger = Rule { payer: list(&["0x00000000000000000000000000000000000000cc"]), ..Rule::default() };
    let others = Rule { key: list(&["another"]), ..Rule::default() };
    for (what, rule) in rules() {
        let open = world(|builder| builder.policy(Arc::new(Lists::new([stranger.clone(), rule], []))));
        let shut =
            world(|builder| builder.policy(Arc::new(Lists::new([stranger.clone(), others.clone()], []))));
        for scheme in SCHEMES {
            assert!(open.registry.verify_for(payment(scheme), &shop()).await.is_valid, "{scheme} {what}");
            assert!(open.registry.settle_for(payment(scheme), Duration::from_secs(5), &shop()).await.success);
            assert!(!shut.registry.verify_for(payment(scheme), &shop()).await.is_valid);
            assert!(
                !shut.registry.settle_for(payment(scheme), Duration::from_secs(5), &shop()).await.success
            );
        }
        assert_eq!((open.acts(), shut.acts()), (SCHEMES.len(), 0), "{what}");
    }
}

#[tokio::test]
async fn a_rule_means_only_what_matches_all_its_members() {
    let rule = Rule { payer: list(&[PAYER]), key: list(&["another"]), ..Rule::default() };
    let world = world(|builder| builder.policy(Arc::new(Lists::new([], [rule]))));
    assert!(world.registry.verify_for(request(""), &shop()).await.is_valid);
    assert!(world.registry.verify(&request("")).await.unwrap().is_valid, "without a key");
}

/// A hook that does as it is told, and notes what it hears.
#[derive(Default)]
struct Told {
    does: &'static str,
    heard: Mutex<Vec<String>>,
}

impl Told {
    fn new(does: &'static str) -> Arc<Self> {
        Arc::new(Self { does, ..Self::default() })
    }

    async fn act(&self, subject: &Subject, at: &'static str) -> Result<(), Refusal> {
        self.heard.lock().push(format!("{at} {}", subject.effects.payer));
        match self.does {
            "refuse" => Err(Refusal::new(Reason::Other("screened".into()), "the service says no")),
            "panic" => panic!("as asked"),
            "hang" => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Hook for Told {
    fn name(&self) -> &'static str {
        "told"
    }
    async fn before_verify(&self, subject: &Subject) -> Result<(), Refusal> {
        self.act(subject, "before verify").await
    }
    async fn after_verify(&self, subject: &Subject, verdict: &Verdict) {
        let _ = self.act(subject, if verdict.is_valid { "valid" } else { "invalid" }).await;
    }
    async fn before_settle(&self, subject: &Subject) -> Result<(), Refusal> {
        self.act(subject, "before settle").await
    }
    async fn after_settle(&self, subject: &Subject, settlement: &Settlement) {
        let _ = self.act(subject, if settlement.success { "settled" } else { "not settled" }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn i19_a_hook_that_refuses_fails_or_hangs_refuses_on_every_path() {
    for (does, reason) in [
        ("refuse", Reason::Other("screened".into())),
        ("panic", Reason::FacilitatorUnavailable),
        ("hang", Reason::FacilitatorUnavailable),
    ] {
        let hook = Told::new(does);
        let world = world(|builder| builder.hook(Told::new("")).hook(hook.clone()));
        for scheme in SCHEMES {
            let verdict = world.registry.verify(&payment(scheme)).await.unwrap();
            assert_eq!(verdict.invalid_reason.unwrap().reason(), reason, "{scheme} {does}");
            let settlement = world.registry.settle(&payment(scheme)).await.unwrap();
            assert_eq!(settlement.error_reason.unwrap().reason(), reason, "{scheme} {does}");
        }
        world.registry.drain(Duration::from_secs(5)).await.unwrap();
        assert_eq!(world.acts(), 0, "{does}");
        assert_eq!(hook.heard.lock().len(), 2 * SCHEMES.len(), "no after-hook of what never began");
    }
}

#[tokio::test(start_paused = true)]
async fn i19_a_policy_that_panics_refuses() {
    struct Broken;
    impl Policy for Broken {
        fn allows(&self, _: &Subject) -> Result<(), Refusal> {
            panic!("as asked")
        }
    }
    let world = world(|builder| builder.policy(Arc::new(Broken)));
    assert!(!world.registry.verify(&request("")).await.unwrap().is_valid);
    assert!(!world.registry.settle(&request("")).await.unwrap().success);
    assert_eq!(world.acts(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_after_hook_hears_the_outcome_and_can_not_change_it() {
    /// Lets everything begin and then fails.
    struct After(&'static str, Mutex<usize>);
    #[async_trait]
    impl Hook for After {
        fn name(&self) -> &'static str {
            "after"
        }
        async fn after_verify(&self, _: &Subject, _: &Verdict) {
            self.fail().await;
        }
        async fn after_settle(&self, _: &Subject, _: &Settlement) {
            self.fail().await;
        }
    }
    impl After {
        async fn fail(&self) {
            *self.1.lock() += 1;
            assert_ne!(self.0, "panic", "as asked");
            std::future::pending::<()>().await;
        }
    }
    let (panics, hangs, heard) =
        (Arc::new(After("panic", Mutex::new(0))), Arc::new(After("hang", Mutex::new(0))), Told::new(""));
    let world = world(|builder| builder.hook(panics.clone()).hook(hangs.clone()).hook(heard.clone()));
    assert!(world.registry.verify(&request("")).await.unwrap().is_valid);
    assert!(!world.registry.verify(&request("poor")).await.unwrap().is_valid);
    assert!(world.registry.settle(&request("")).await.unwrap().success);
    assert!(!world.registry.settle(&request("panic")).await.unwrap().success);
    world.registry.drain(Duration::from_secs(60)).await.unwrap();
    assert_eq!((*panics.1.lock(), *hangs.1.lock()), (4, 4));
    let heard: Vec<String> = heard.heard.lock().iter().map(|line| line.replace(PAYER, "P")).collect();
    let count = |wanted: &str| heard.iter().filter(|line| *line == wanted).count();
    for (wanted, times) in [
        ("before verify P", 2),
        ("valid P", 1),
        ("invalid P", 1),
        ("before settle P", 2),
        ("settled P", 1),
        ("not settled P", 1),
    ] {
        assert_eq!(count(wanted), times, "{wanted}: {heard:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_after_hook_hears_of_a_settlement_whose_caller_was_told_that_it_is_pending() {
    let heard = Told::new("");
    let world = world(|builder| builder.hook(heard.clone()));
    let answered = world.registry.settle_by(&request("gated"), Duration::from_secs(1)).await;
    assert_eq!(answered.error_reason.unwrap().reason(), Reason::SettlementPending);
    world.fakes[0].gate.notify_one();
    world.registry.drain(Duration::from_secs(60)).await.unwrap();
    assert!(heard.heard.lock().iter().any(|line| line.starts_with("settled")), "{:?}", heard.heard);
}

#[tokio::test(start_paused = true)]
async fn fa32_hooks_are_within_the_callers_deadline() {
    let world = world(|builder| builder.hook(Told::new("hang")).hook_within(Duration::from_secs(600)));
    let started = tokio::time::Instant::now();
    assert!(!world.registry.settle_by(&request(""), Duration::from_secs(2)).await.success);
    assert_eq!(started.elapsed(), Duration::from_secs(2));
    assert_eq!(world.acts(), 0);
}

/// A ledger that has one payment, or breaks.
struct Ledger(Result<Option<State>, String>);

#[async_trait]
impl Settlements for Ledger {
    async fn find(&self, _: &PaymentKey) -> Result<Option<Found>, String> {
        let found = |state| Found {
            network: Network::eip155(84532),
            state,
            transaction: None,
            reason: None,
            message: None,
            created: UnixTime(NOW),
        };
        self.0.clone().map(|state| state.map(found))
    }
}

#[tokio::test]
async fn i18_a_later_rule_never_says_of_a_payment_that_was_taken_that_it_did_not_move() {
    let denied = || Arc::new(Lists::new([], [Rule { payer: list(&[PAYER]), ..Rule::default() }]));
    for (found, reason, acts) in [
        (Ok(Some(State::Pending)), None, 1),
        (Ok(Some(State::Settled)), None, 1),
        (Ok(None), Some(Reason::NotAllowed), 0),
        (Err("disk I/O".to_owned()), Some(Reason::StoreUnavailable), 0),
    ] {
        let world = world(|builder| builder.policy(denied()).ledger(Arc::new(Ledger(found.clone()))));
        let settlement = world.registry.settle(&request("")).await.unwrap();
        assert_eq!(settlement.error_reason.map(|code| code.reason()), reason, "{found:?}");
        assert_eq!(world.acts(), acts, "{found:?}");
        let verdict = world.registry.verify(&request("")).await.unwrap();
        assert!(!verdict.is_valid, "a verdict is about a new settlement");
    }
}
