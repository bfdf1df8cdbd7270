//! Verifications that share a call: while one is on its way, what comes next gathers for the following one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Address;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::facilitator::chain::Chain;
use crate::facilitator::check::Reads;
use crate::facilitator::diagnose::Seen;
use crate::facilitator::payment::Decoded;
use crate::facilitator::rpc::RpcError;

/// The most payments in one call.
const MOST: usize = 48;
/// The most calls on their way at a time; what comes on top gathers.
const CALLS: usize = 8;
/// While a call is on its way that began less than this ago, the next one waits until it is full: whoever waits does
/// so for two round trips at most, and the node is asked as rarely as can be.
const YOUNG: Duration = Duration::from_millis(100);
/// The most payments that wait; more are told that the chain can't be asked.
const MOST_WAITING: usize = 8192;

/// Those that wait.
#[derive(Default)]
pub(super) struct Shared(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    calls: usize,
    /// When the latest call began.
    began: Option<Instant>,
}

struct Waiting {
    payment: Decoded,
    answer: oneshot::Sender<Result<Seen, RpcError>>,
}

impl Chain {
    /// What the chain says of a payment that calls nothing but allowed tokens.
    pub(super) async fn look_shared(self: &Arc<Self>, payment: &Decoded) -> Result<Seen, RpcError> {
        let (answer, seen) = oneshot::channel();
        let starts = {
            let mut queue = self.shared.0.lock();
            if queue.waiting.len() >= MOST_WAITING {
                return Err(RpcError::Unreachable("too many verifications wait for it"));
            }
            queue.waiting.push(Waiting { payment: payment.clone(), answer });
            let starts = queue.calls < CALLS && queue.is_due();
            queue.calls = queue.calls.saturating_add(usize::from(starts));
            starts
        };
        if starts {
            tokio::spawn(self.clone().serve());
        }
        seen.await.unwrap_or(Err(RpcError::Unreachable("the verification was cut off")))
    }

    /// Makes calls until nobody waits.
    async fn serve(self: Arc<Self>) {
        while let Some(group) = self.shared.next() {
            let (payments, answers): (Vec<_>, Vec<_>) =
                group.into_iter().map(|waiting| (waiting.payment, waiting.answer)).unzip();
            for (seen, answer) in self.look_together(&payments).await.into_iter().zip(answers) {
                // Who asked may have gone.
                let _ = answer.send(seen);
            }
        }
    }

    /// What the chain says of each: first whether they go through, then all that there is to know of those that don't.
    async fn look_together(&self, payments: &[Decoded]) -> Vec<Result<Seen, RpcError>> {
        if payments.len() == 1 {
            return self.look_closely(payments).await;
        }
        let seen = match self.look_at_once(payments, Reads::Few).await {
            Ok(seen) => seen.into_iter().map(|seen| Some(seen).filter(|seen| seen.transferred.is_ok())),
            Err(RpcError::Refused { .. }) => return self.look_closely(payments).await,
            Err(error) => return payments.iter().map(|_| Err(error.clone())).collect(),
        };
        let seen: Vec<_> = seen.collect();
        let unclear = payments.iter().zip(&seen).filter(|(_, seen)| seen.is_none());
        let unclear: Vec<_> = unclear.map(|(payment, _)| payment.clone()).collect();
        if unclear.is_empty() {
            return seen.into_iter().flatten().map(Ok).collect();
        }
        let mut closer = self.look_closely(&unclear).await.into_iter();
        let mut look = |seen: Option<Seen>| match seen {
            Some(seen) => Ok(seen),
            None => closer.next().unwrap_or(Err(RpcError::Unreachable("no answer"))),
        };
        seen.into_iter().map(&mut look).collect()
    }

    async fn look_closely(&self, payments: &[Decoded]) -> Vec<Result<Seen, RpcError>> {
        match self.look_at_once(payments, Reads::All).await {
            Ok(all) => {
                let mut sure = Vec::with_capacity(all.len());
                for (seen, payment) in all.into_iter().zip(payments) {
                    // A payer's code may have used up the gas that it shared.
                    let is_sure = payments.len() == 1 || seen.is_sure(payment);
                    sure.push(if is_sure { Ok(seen) } else { self.look_at_one(payment).await });
                }
                sure
            }
            Err(RpcError::Refused { .. }) if payments.len() > 1 => {
                let mut all = Vec::with_capacity(payments.len());
                for payment in payments {
                    all.push(self.look_at_one(payment).await);
                }
                all
            }
            Err(error) => payments.iter().map(|_| Err(error.clone())).collect(),
        }
    }
}

impl Queue {
    /// Whether those that wait are worth one more call: there is none, or it would be full, or none began lately.
    fn is_due(&self) -> bool {
        let is_young = self.began.is_some_and(|began| began.elapsed() < YOUNG);
        self.calls == 0 || self.waiting.len() >= MOST || !is_young
    }
}

impl Shared {
    /// The payments for one call: none of them changes what another one finds. None ends the caller's turn.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.0.lock();
        // The other calls, without this one.
        queue.calls = queue.calls.saturating_sub(1);
        if !queue.is_due() {
            return None;
        }
        let mut touched: HashSet<(Address, Address)> = HashSet::new();
        let (mut group, mut rest) = (Vec::new(), Vec::new());
        for waiting in std::mem::take(&mut queue.waiting) {
            let token = waiting.payment.token;
            let (payer, recipient) = ((token, waiting.payment.payer()), (token, waiting.payment.recipient()));
            // A payer that pays or gets something before would pay with what is not there, or with what it gets.
            let clashes = waiting.answer.is_closed() || touched.contains(&payer);
            if group.len() < MOST && !clashes {
                touched.extend([payer, recipient]);
                group.push(waiting);
            } else if !waiting.answer.is_closed() {
                rest.push(waiting);
            }
        }
        queue.waiting = rest;
        if group.is_empty() {
            return None;
        }
        queue.calls = queue.calls.saturating_add(1);
        queue.began = Some(Instant::now());
        Some(group)
    }
}
