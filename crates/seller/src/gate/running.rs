//! From the handler to what is settled.

use tollway_ledger::Claimed;
use tollway_protocol::charge::{Charge, ChargeError};
use tollway_protocol::{Reason, Refusal};

use super::{Answer, Closing, Effect, Gate, State, finish, refuse, tidied};

/// A payment whose handler runs before it is settled.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) claimed: Claimed,
    /// Whether an earlier attempt to settle may have charged.
    pub(super) attempted: bool,
}

impl Running {
    /// From the handler's charge to settling it.
    pub(super) fn ran(self, charge: Option<&Charge>) -> (State, Effect) {
        match self.claimed.payment().to_charge(charge) {
            Ok(request) => {
                let request = Box::new(tidied(request));
                if self.attempted {
                    return Gate::settle(self.claimed, request, true, true);
                }
                (State::Marking(request), Effect::Mark(self.claimed))
            }
            Err(error) => {
                let refusal = overcharged(&self.claimed, &error);
                finish(self.close(), Answer::Refuse(Box::new(refusal.into())))
            }
        }
    }

    /// Nothing was settled in this turn.
    pub(super) fn close(self) -> Closing {
        if self.attempted {
            let transaction = self.claimed.transaction().map(str::to_owned);
            Closing::Pending(self.claimed, transaction)
        } else {
            Closing::Release(self.claimed)
        }
    }
}

/// The handler charges what the payer did not agree to, or what can't be computed: the seller's fault.
fn overcharged(claimed: &Claimed, error: &ChargeError) -> Refusal {
    tracing::error!(%error, "the handler's charge can't be settled");
    refuse(claimed, Reason::ExceedsPermitted, "the seller's charge for this request can't be settled")
}
