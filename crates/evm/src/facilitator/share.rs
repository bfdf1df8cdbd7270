//! Verifications that share a call: while one is on its way, what comes next gathers for the following one.

use std::collections::HashSet;
use std::sync::Arc;

use alloy_primitives::Address;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::facilitator::chain::Chain;
use crate::facilitator::diagnose::Seen;
use crate::facilitator::payment::Decoded;
use crate::facilitator::rpc::RpcError;

/// The most payments in one call.
const MOST: usize = 32;
/// The most calls on their way at a time; what comes on top gathers.
const CALLS: usize = 2;
/// The most payments that wait; more are told that the chain can't be asked.
const MOST_WAITING: usize = 8192;

/// Those that wait.
#[derive(Default)]
pub(super) struct Shared(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    calls: usize,
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
            let starts = queue.calls < CALLS;
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

    async fn look_together(&self, payments: &[Decoded]) -> Vec<Result<Seen, RpcError>> {
        match self.look_at_once(payments).await {
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

impl Shared {
    /// The payments for one call: none of them changes what another one finds. None ends the caller's turn.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.0.lock();
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
            queue.calls = queue.calls.saturating_sub(1);
            return None;
        }
        Some(group)
    }
}
