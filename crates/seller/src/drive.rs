//! Performs the gate's effects.
//!
//! Everything but the handler runs in tasks of its own, in segments: a client that goes away cuts off
//! the wait for a segment, never the segment. What a segment comes back with holds the payment; dropped,
//! wherever, it gives it back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tollway_ledger::{Claim, Paid, Turn};
use tollway_protocol::charge::Charge;
use tollway_protocol::scheme::FacilitatorError;
use tracing::Instrument as _;

use crate::gate::{Answer, Closing, Effect, Event, Gate};
use crate::seller::Shared;

/// A payment that may be held in the ledger; dropped while it is, it abandons it there. A ledger's call
/// that takes the token takes the hold too: if it fails it gives the payment back itself.
struct Hold {
    shared: Arc<Shared>,
    /// Which claim is held, while one is.
    turn: Option<Turn>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let shared = self.shared.clone();
        let abandon = async move {
            metrics::counter!("tollway_seller_abandoned_total").increment(1);
            if let Err(error) = shared.ledger.abandon(&turn).await {
                tracing::error!(%error, "a cut-off payment goes back when the ledger can be used again");
            }
        };
        let abandon = self.shared.tasks.track_future(abandon.in_current_span());
        drop(self.shared.runtime.spawn(abandon));
    }
}

/// A payment on its way.
pub(crate) struct Driver {
    gate: Gate,
    effect: Effect,
    hold: Hold,
}

/// Where a segment ends.
pub(crate) enum Stop {
    /// The handler is to be run; then [`Driver::ran`].
    Run(Box<Driver>),
    /// The claim is closed; this is the answer.
    Answer(Answer),
    /// The segment panicked; the payment was given back.
    Lost,
}

impl Driver {
    pub(crate) fn new(shared: &Arc<Shared>, (gate, effect): (Gate, Effect)) -> Box<Self> {
        Box::new(Self { gate, effect, hold: Hold { shared: shared.clone(), turn: None } })
    }

    /// Goes on from the handler's status, and what it charges.
    pub(crate) fn ran(self: Box<Self>, success: bool, charge: Option<Charge>) -> Box<Self> {
        let Self { gate, hold, .. } = *self;
        let (gate, effect) = gate.step(Event::Ran { success, charge });
        Box::new(Self { gate, effect, hold })
    }

    /// Goes on until the handler or an answer. Cancelling the returned future does not cut the work off.
    pub(crate) async fn go(self: Box<Self>) -> Stop {
        let shared = self.hold.shared.clone();
        let work = shared.tasks.track_future(self.segments().in_current_span());
        match shared.runtime.spawn(work).await {
            Ok(Leg::Deliver(driver)) => {
                // The client is still there: only now the delivery is recorded.
                let work = shared.tasks.track_future(driver.last().in_current_span());
                shared.runtime.spawn(work).await.unwrap_or(Stop::Lost)
            }
            Ok(Leg::Stop(stop)) => stop,
            Err(_) => Stop::Lost,
        }
    }

    async fn segments(mut self: Box<Self>) -> Leg {
        loop {
            if matches!(self.effect, Effect::Deliver(_)) {
                return Leg::Deliver(self);
            }
            match self.next().await {
                Next::On(driver) => self = driver,
                Next::Stop(stop) => return Leg::Stop(stop),
            }
        }
    }

    async fn last(mut self: Box<Self>) -> Stop {
        loop {
            match self.next().await {
                Next::On(driver) => self = driver,
                Next::Stop(stop) => return stop,
            }
        }
    }

    /// Performs one effect.
    async fn next(self: Box<Self>) -> Next {
        let Self { gate, effect, mut hold } = *self;
        let (shared, limits) = (hold.shared.clone(), hold.shared.limits);
        let event = match effect {
            Effect::Run => return Next::Stop(Stop::Run(Box::new(Self { gate, effect: Effect::Run, hold }))),
            Effect::Finish(closing, answer) => {
                close(&mut hold, closing).await;
                return Next::Stop(Stop::Answer(*answer));
            }
            Effect::Claim { payment, request, keep_until } => {
                let claim = shared.ledger.claim(*payment, request, keep_until).await;
                hold.turn = claim.as_ref().ok().and_then(Claim::turn);
                Event::Claimed(claim)
            }
            Effect::Verify(request) => {
                let started = Instant::now();
                let verdict = bounded(limits.verify, shared.facilitator.verify(&request)).await;
                spent("tollway_seller_verify_seconds", started);
                Event::Verified(verdict)
            }
            Effect::Mark(claimed) => {
                let marked = shared.ledger.settling(&claimed).await;
                Event::Marked(claimed, marked)
            }
            Effect::Settle(request) => {
                let started = Instant::now();
                let settlement = bounded(limits.settle, shared.facilitator.settle(&request)).await;
                spent("tollway_seller_settle_seconds", started);
                Event::Settled(settlement)
            }
            Effect::Record(claimed, settlement) => {
                hold.turn = None;
                let recorded = shared.ledger.settled(claimed, *settlement).await;
                hold.turn = recorded.as_ref().ok().map(Paid::turn);
                Event::Recorded(recorded)
            }
            Effect::Deliver(paid) => {
                hold.turn = None;
                Event::Delivered(shared.ledger.deliver(*paid).await)
            }
        };
        let (gate, effect) = gate.step(event);
        Next::On(Box::new(Self { gate, effect, hold }))
    }
}

enum Next {
    On(Box<Driver>),
    Stop(Stop),
}

enum Leg {
    Deliver(Box<Driver>),
    Stop(Stop),
}

async fn close(hold: &mut Hold, closing: Closing) {
    // Dropping the hold does it.
    if matches!(closing, Closing::Abandon) {
        return;
    }
    hold.turn = None;
    let ledger = &hold.shared.ledger;
    let closed = match closing {
        Closing::Abandon | Closing::Nothing => Ok(()),
        Closing::Release(claimed) => ledger.release(claimed).await,
        Closing::Pending(claimed, transaction) => ledger.pending(claimed, transaction.as_deref()).await,
        Closing::Undelivered(paid) => ledger.undelivered(*paid).await,
    };
    if let Err(error) = closed {
        tracing::error!(%error, "a payment's claim could not be closed");
    }
}

async fn bounded<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, FacilitatorError>>,
) -> Result<T, FacilitatorError> {
    let answer = timeout(limit, answer)
        .await
        .unwrap_or_else(|_| Err(FacilitatorError::Unknown("no answer in time".to_owned())));
    if let Err(error) = &answer {
        let kind = match error {
            FacilitatorError::NotAsked(_) => "not_asked",
            FacilitatorError::Unknown(_) => "unknown",
        };
        metrics::counter!("tollway_seller_facilitator_failures_total", "kind" => kind).increment(1);
        tracing::warn!(%error, "the facilitator failed");
    }
    answer
}

fn spent(name: &'static str, started: Instant) {
    metrics::histogram!(name).record(started.elapsed().as_secs_f64());
}
