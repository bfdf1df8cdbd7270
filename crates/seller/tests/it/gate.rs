//! The machine alone, driven by chance against the real ledger and a model of the chain.

use proptest::prelude::*;
use tollway_ledger::{Claims, RequestId, SqliteLedger};
use tollway_protocol::bind::Presented;
use tollway_protocol::charge::Charge;
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::scheme::{Ask, FacilitatorError, SellerScheme};
use tollway_protocol::{Code, Network, PaymentRequest, Settlement, Verdict};
use tollway_seller::gate::{Answer, Closing, Effect, Event, Gate};

use crate::common::*;

/// What the facilitator and the chain do when asked to settle.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Settle {
    Succeed,
    ChargeAndLose,
    Lose,
    ChargeAndLie,
    Lie,
    Refuse,
    RefuseThoughCharged,
    Pending,
    ChargeAndPending,
    ChargeAndFail,
    Fail,
    NotAsked,
}

#[derive(Debug, Clone)]
struct Turn {
    valid: Option<bool>,
    handler: bool,
    settle: Vec<Settle>,
    /// After so many effects the process forgets the request.
    cut: usize,
    /// At this step an event that does not belong there comes in.
    wrong: Option<(usize, usize)>,
    /// What the handler charges, of 10,000.
    charge: Option<u64>,
}

fn turn() -> impl Strategy<Value = Turn> {
    use Settle::*;
    let settle = prop::sample::select(vec![
        Succeed,
        Succeed,
        ChargeAndLose,
        Lose,
        ChargeAndLie,
        Lie,
        Refuse,
        RefuseThoughCharged,
        Pending,
        ChargeAndPending,
        ChargeAndFail,
        Fail,
        NotAsked,
    ]);
    (
        prop::option::weighted(0.9, prop::bool::weighted(0.9)),
        prop::bool::weighted(0.8),
        prop::collection::vec(settle, 2),
        prop_oneof![3 => Just(99usize), 1 => 0usize..9],
        prop::option::weighted(0.1, (0usize..8, 0usize..6)),
        prop::sample::select(vec![None, Some(0), Some(1), Some(9_999), Some(10_000), Some(10_001)]),
    )
        .prop_map(|(valid, handler, settle, cut, wrong, charge)| Turn {
            valid,
            handler,
            settle,
            cut,
            wrong,
            charge,
        })
}

/// One payment's truth.
#[derive(Default)]
struct World {
    metered: bool,
    charged: bool,
    /// How much, when it is metered: what was asked for first.
    amount: Option<Amount>,
    delivered: u32,
}

impl World {
    fn settle(&mut self, what: Settle, request: &PaymentRequest) -> Result<Settlement, FacilitatorError> {
        use Settle::*;
        let network = request.payment_requirements.network.clone();
        let asked = request.payment_requirements.amount;
        if self.metered && !self.charged {
            self.amount = Some(asked);
        }
        let success = Settlement {
            transaction: (self.amount != Some(Amount::ZERO)).then(|| DEAD.into()),
            amount: self.amount,
            ..Settlement::new(true, network.clone())
        };
        let refusal = |code: &str| Settlement {
            error_reason: Some(Code::new(code)),
            ..Settlement::new(false, network.clone())
        };
        self.charged |=
            matches!(what, Succeed | ChargeAndLose | ChargeAndLie | ChargeAndPending | ChargeAndFail);
        match what {
            Succeed => Ok(success),
            ChargeAndLose | Lose => Err(FacilitatorError::Unknown("lost".into())),
            ChargeAndLie | Lie => Ok(Settlement { network: Network::eip155(1), ..success }),
            // Not idempotent facilitators refuse what they have charged, in several ways.
            RefuseThoughCharged if self.charged => Ok(refusal("insufficient_funds")),
            Refuse if self.charged => Ok(refusal("invalid_exact_evm_nonce_already_used")),
            Refuse | RefuseThoughCharged => Ok(refusal("invalid_exact_evm_insufficient_balance")),
            Pending | ChargeAndPending => {
                Ok(Settlement { transaction: Some(DEAD.into()), ..refusal("settlement_pending") })
            }
            // Broadcast, and then something broke.
            ChargeAndFail | Fail => {
                Ok(Settlement { transaction: Some(DEAD.into()), ..refusal("settle_exact_node_failure") })
            }
            NotAsked => Err(FacilitatorError::NotAsked("no".into())),
        }
    }
}

fn wrong_event(which: usize, network: &Network) -> Event {
    let success = Settlement { transaction: Some(DEAD.into()), ..Settlement::new(true, network.clone()) };
    let down = || tollway_ledger::LedgerError::Unavailable("down".into());
    match which {
        0 => Event::Ran { success: true, charge: Some(Charge::Atomic(0.into())) },
        1 => Event::Verified(Ok(Verdict { is_valid: true, ..Verdict::default() })),
        2 => Event::Settled(Ok(success)),
        3 => Event::Claimed(Err(down())),
        4 => Event::Recorded(Err(down())),
        _ => Event::Delivered(Err(down())),
    }
}

/// Presents the payment once and checks every step.
async fn present(ledger: &SqliteLedger, world: &mut World, turn: &Turn) {
    let network = Network::new(NETWORK).unwrap();
    let ask = Ask {
        network: network.clone(),
        price: tollway_protocol::money::Money::new("$0.01").unwrap().into(),
        pay_to: SELLER.into(),
        max_timeout_seconds: 300,
        extra: Default::default(),
    };
    let scheme: &dyn SellerScheme = if world.metered { &Metered } else { &Plain };
    let offer = scheme.offer(&ask, &supported().kinds[0]).unwrap();
    let presented = Presented::new(offer.clone(), payment(&offer, "0x01")).unwrap();
    let effects = scheme.effects(&presented).unwrap();
    let bound = presented.bind(effects).unwrap();

    let (mut gate, mut effect) = Gate::open(bound, RequestId::of(&[b"GET", b"/weather"]), UnixTime(NOW), 60);
    let (mut left, mut marked, mut resumed, mut failed, mut settles) = (None, false, false, false, 0);
    for step in 0.. {
        if step == turn.cut {
            // Cut off with the delivery recorded: the response may have left, so it counts as delivered.
            let leaving =
                matches!(&effect, Effect::Finish(_, answer) if matches!(**answer, Answer::Deliver(_)));
            world.delivered += u32::from(leaving);
            drop((gate, effect));
            if let Some(turn) = &left {
                ledger.abandon(turn).await.unwrap();
            }
            return;
        }
        assert!(!gate.is_finished() || matches!(effect, Effect::Finish(..)));
        if let Some((at, which)) = turn.wrong
            && at == step
            && !gate.is_finished()
        {
            let belongs = matches!(
                (&effect, which),
                (Effect::Run, 0)
                    | (Effect::Verify(_), 1)
                    | (Effect::Settle(_), 2)
                    | (Effect::Claim { .. }, 3)
                    | (Effect::Record(..), 4)
                    | (Effect::Deliver(_), 5)
            );
            if !belongs {
                drop(effect);
                let (finished, effect) = gate.step(wrong_event(which, &network));
                assert!(finished.is_finished());
                let Effect::Finish(Closing::Abandon, answer) = effect else { panic!("{effect:?}") };
                assert!(matches!(*answer, Answer::Refuse(_)));
                if let Some(turn) = &left {
                    ledger.abandon(turn).await.unwrap();
                }
                return;
            }
        }
        let event = match effect {
            Effect::Claim { payment, request, keep_until } => {
                assert!(keep_until > UnixTime(NOW + 300));
                let claim = ledger.claim(*payment, request, keep_until).await;
                use tollway_ledger::Claim;
                left = claim.as_ref().ok().and_then(Claim::turn);
                resumed = matches!(claim, Ok(Claim::Resume(_)));
                Event::Claimed(claim)
            }
            Effect::Verify(_) => Event::Verified(match turn.valid {
                Some(is_valid) => Ok(Verdict { is_valid, ..Verdict::default() }),
                None => Err(FacilitatorError::Unknown("?".into())),
            }),
            Effect::Run => {
                failed = !turn.handler;
                let charge = turn.charge.map(|charge| Charge::Atomic(charge.into()));
                Event::Ran { success: turn.handler, charge }
            }
            Effect::Mark(claimed) => {
                marked = true;
                let result = ledger.settling(&claimed).await;
                Event::Marked(claimed, result)
            }
            Effect::Settle(request) => {
                assert!(!failed, "i04: no settlement after a handler that failed");
                assert!(marked || resumed, "the ledger knows before the facilitator is asked");
                let asked = request.payment_requirements.amount;
                let due = turn.charge.filter(|_| world.metered).map_or(offer.amount, Amount::from);
                assert_eq!(asked, due, "what the handler charges, and for exact the price");
                assert!(asked <= offer.amount, "never more than was agreed to");
                settles += 1;
                assert!(settles <= 2, "rs07: at most one question more");
                Event::Settled(world.settle(turn.settle[settles - 1], &request))
            }
            Effect::Record(claimed, settlement) => {
                assert!(world.charged, "i01: only what was charged is recorded as settled");
                Event::Recorded(ledger.settled(claimed, *settlement).await)
            }
            Effect::Deliver(paid) => {
                assert!(!failed && turn.handler);
                Event::Delivered(ledger.deliver(*paid).await)
            }
            Effect::Finish(closing, answer) => {
                match closing {
                    Closing::Nothing => {}
                    Closing::Release(claimed) => {
                        assert!(!world.charged, "i03: what was charged is never released");
                        ledger.release(claimed).await.unwrap();
                    }
                    Closing::Pending(claimed, transaction) => {
                        ledger.pending(claimed, transaction.as_deref()).await.unwrap();
                    }
                    Closing::Undelivered(paid) => ledger.undelivered(*paid).await.unwrap(),
                    Closing::Abandon => {
                        if let Some(turn) = &left {
                            ledger.abandon(turn).await.unwrap();
                        }
                    }
                }
                match *answer {
                    Answer::Deliver(_) => {
                        assert!(world.charged && !failed);
                        world.delivered += 1;
                    }
                    Answer::Failed(receipt) => assert!(failed && (receipt.is_none() || world.charged)),
                    Answer::Refuse(refused) => {
                        assert!(refused.settlement.is_none_or(|settlement| !settlement.success));
                        if world.charged {
                            assert_ne!(refused.refusal.reason.row().http, 402, "rs08: {:?}", refused.refusal);
                        }
                        let overcharged =
                            refused.refusal.reason == tollway_protocol::Reason::ExceedsPermitted;
                        assert!(!overcharged || world.metered && turn.charge > Some(10_000));
                    }
                }
                return;
            }
        };
        (gate, effect) = gate.step(event);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn i01_i02_i03_i04_i05_no_sequence_of_faults_and_retries_serves_twice_or_unpaid_or_loses_a_payment(
        turns in prop::collection::vec(turn(), 1..8),
        metered in any::<bool>()
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let ledger = SqliteLedger::memory().unwrap();
            let mut world = World { metered, ..World::default() };
            for turn in &turns {
                present(&ledger, &mut world, turn).await;
                assert!(world.delivered <= 1, "i02");
            }
            // When all goes well at last, what was charged is delivered.
            let well = Turn { valid: Some(true), handler: true, settle: vec![Settle::Succeed; 2], cut: 99, wrong: None, charge: None };
            present(&ledger, &mut world, &well).await;
            assert_eq!(world.delivered, 1, "i03");
        });
    }
}
