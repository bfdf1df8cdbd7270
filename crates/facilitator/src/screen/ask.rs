//! Asking every policy and hook, whatever they do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio_util::task::TaskTracker;
use tollway_protocol::reason::{Reason, Refusal};
use tollway_protocol::wire::{Settlement, Verdict};

use super::{Hook, Policy, Subject};
use crate::meter::{self, Operation};

/// Who refused, as a metric's label.
const POLICY: &str = "policy";
const HOOK: &str = "hook";
const BROKEN: &str = "broken";

/// All policies and hooks of a registry.
#[derive(Clone, Default)]
pub(crate) struct Screens {
    pub(crate) policies: Vec<Arc<dyn Policy>>,
    pub(crate) hooks: Vec<Arc<dyn Hook>>,
    pub(crate) within: Duration,
}

/// What an `after` hook is told.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Verdict(Verdict),
    Settlement(Settlement),
}

impl Screens {
    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.hooks.is_empty()
    }

    /// Whether the payment may go on; the first one that refuses decides.
    pub(crate) async fn before(&self, operation: Operation, subject: &Subject) -> Result<(), Refusal> {
        for policy in &self.policies {
            let asked = catch_unwind(AssertUnwindSafe(|| policy.allows(subject)));
            let (refusal, by) = match asked {
                Ok(Ok(())) => continue,
                Ok(Err(refusal)) => (refusal, POLICY),
                Err(_panic) => (broken("a rule of the facilitator failed"), BROKEN),
            };
            return Err(refused(operation, subject, refusal, by, "policy"));
        }
        for hook in &self.hooks {
            let asked = async {
                match operation {
                    Operation::Verify => hook.before_verify(subject).await,
                    Operation::Settle => hook.before_settle(subject).await,
                }
            };
            let asked = tokio::time::timeout(self.within, AssertUnwindSafe(asked).catch_unwind()).await;
            let (refusal, by) = match asked {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(refusal))) => (refusal, HOOK),
                Ok(Err(_panic)) => (broken("a check of the facilitator failed"), BROKEN),
                Err(_elapsed) => (broken("a check of the facilitator did not end in time"), BROKEN),
            };
            return Err(refused(operation, subject, refusal, by, hook.name()));
        }
        Ok(())
    }

    /// Tells every hook, each in a task of `tasks` and bounded in time.
    pub(crate) fn after(&self, tasks: &TaskTracker, subject: &Arc<Subject>, result: &Told) {
        for hook in &self.hooks {
            let (hook, subject, result, within) =
                (hook.clone(), subject.clone(), result.clone(), self.within);
            tasks.spawn(async move {
                let told = async {
                    match &result {
                        Told::Verdict(verdict) => hook.after_verify(&subject, verdict).await,
                        Told::Settlement(settlement) => hook.after_settle(&subject, settlement).await,
                    }
                };
                match tokio::time::timeout(within, AssertUnwindSafe(told).catch_unwind()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_panic)) => tracing::error!(hook = hook.name(), "an after-hook panicked"),
                    Err(_elapsed) => tracing::error!(hook = hook.name(), "an after-hook did not end in time"),
                }
            });
        }
    }
}

fn broken(what: &str) -> Refusal {
    Refusal::new(Reason::FacilitatorUnavailable, format!("{what}: send the same payment again later"))
}

fn refused(
    operation: Operation,
    subject: &Subject,
    refusal: Refusal,
    by: &'static str,
    name: &str,
) -> Refusal {
    meter::screened(operation, by);
    tracing::info!(
        operation = operation.name(), network = %subject.offer.network, by = name, broken = by == BROKEN,
        "payment refused by screening"
    );
    Refusal { payer: Some(subject.effects.payer.as_str().to_owned()), ..refusal }
}
