//! What the facilitator supports, kept fresh in the background: requests only ever look.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tollway_protocol::wire::Kind;
use tollway_protocol::{Facilitator, Network, NetworkPattern, Supported};

/// How often it is asked again.
const FRESH: Duration = Duration::from_secs(300);
/// The first and the longest pause after a failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// The least time between two questions, whatever the requests that find nothing.
const NUDGED: Duration = Duration::from_millis(250);

/// The member of a kind's `extra` that names the account that pays the fees, on Solana.
const FEE_PAYER: &str = "feePayer";

#[derive(Debug)]
pub(crate) struct Kinds {
    known: RwLock<Option<(Arc<Supported>, Instant)>>,
    nudge: Notify,
    ready: watch::Sender<bool>,
}

impl Kinds {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { known: RwLock::new(None), nudge: Notify::new(), ready: watch::Sender::new(false) })
    }

    /// The last answer that could be used, and its age.
    pub(crate) fn known(&self) -> Option<(Arc<Supported>, Duration)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|(supported, at)| (supported.clone(), at.elapsed()))
    }

    /// Asks for a question soon.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Waits until something is known.
    pub(crate) async fn ready(&self) {
        // The sender is `self`, so it can't be gone.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    fn learn(&self, mut supported: Supported) {
        if let Some((before, _)) = self.known() {
            keep_fee_payers(&before, &mut supported);
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) =
            Some((Arc::new(supported), Instant::now()));
        self.ready.send_replace(true);
    }
}

/// Keeps the fee payers that offers have named, for as long as the facilitator has them: it may name another one at each
/// question, and offers that were made before would be answered by payments that match none made since.
fn keep_fee_payers(before: &Supported, now: &mut Supported) {
    let is_there = |fee_payer: &str| now.signers.values().flatten().any(|signer| signer == fee_payer);
    let kept: Vec<_> = now
        .kinds
        .iter()
        .enumerate()
        .filter_map(|(place, kind)| {
            let same = |old: &&Kind| {
                (&old.scheme, &old.network, old.x402_version)
                    == (&kind.scheme, &kind.network, kind.x402_version)
            };
            let named = before.kinds.iter().find(same)?.extra.str(FEE_PAYER)?;
            (kind.extra.str(FEE_PAYER).is_some() && is_there(named)).then(|| (place, named.to_owned()))
        })
        .collect();
    for (place, named) in kept {
        if let Some(kind) = now.kinds.get_mut(place) {
            kind.extra.0.insert(FEE_PAYER.to_owned(), named.into());
        }
    }
}

/// Asks the facilitator, one question at a time, until nobody holds `kinds` any more.
pub(crate) async fn refresh(
    kinds: std::sync::Weak<Kinds>,
    facilitator: Arc<dyn Facilitator>,
    time_out: Duration,
) {
    let mut pause = RETRY.0;
    loop {
        let answer = tokio::time::timeout(time_out, facilitator.supported()).await;
        let Some(kinds) = kinds.upgrade() else { return };
        let usable = |supported: &Supported| supported.kinds.iter().any(|kind| kind.x402_version == 2);
        let wait = match answer {
            Ok(Ok(supported)) if usable(&supported) => {
                kinds.learn(supported);
                pause = RETRY.0;
                FRESH
            }
            other => {
                let problem = match other {
                    Ok(Ok(_)) => "it supports no version 2 kind".to_owned(),
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => "time-out".to_owned(),
                };
                tracing::warn!(problem, "the facilitator's kinds could not be refreshed");
                metrics::counter!("tollway_seller_supported_failures_total").increment(1);
                let wait = pause;
                pause = pause.saturating_mul(2).min(RETRY.1);
                wait
            }
        };
        if let Some((_, age)) = kinds.known() {
            metrics::gauge!("tollway_seller_supported_age_seconds").set(age.as_secs_f64());
        }
        tokio::time::sleep(NUDGED.min(wait)).await;
        let nudged = kinds.nudge.notified();
        tokio::select! {
            () = nudged => {}
            () = tokio::time::sleep(wait.saturating_sub(NUDGED)) => {}
        }
    }
}

/// The kind for a scheme on a network in version 2.
pub(crate) fn find<'a>(supported: &'a Supported, scheme: &str, network: &Network) -> Option<&'a Kind> {
    let covers =
        |kind: &&Kind| NetworkPattern::new(&kind.network).is_ok_and(|pattern| pattern.matches(network));
    supported.kinds.iter().filter(|kind| kind.x402_version == 2 && kind.scheme == scheme).find(covers)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn supported(fee_payer: &str, signers: &[&str]) -> Supported {
        let network = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
        serde_json::from_value(json!({
            "kinds": [{"x402Version": 2, "scheme": "exact", "network": network, "extra": {"feePayer": fee_payer}}],
            "extensions": [],
            "signers": {"solana:*": signers},
        }))
        .unwrap()
    }

    #[test]
    fn a_fee_payer_is_kept_while_the_facilitator_has_it() {
        let kinds = Kinds::new();
        let named = || {
            let (known, _) = kinds.known().unwrap();
            known.kinds[0].extra.str(FEE_PAYER).unwrap().to_owned()
        };
        kinds.learn(supported("one", &["one", "two"]));
        assert_eq!(named(), "one");
        kinds.learn(supported("two", &["one", "two"]));
        assert_eq!(named(), "one");
        kinds.learn(supported("two", &["two", "three"]));
        assert_eq!(named(), "two");
    }
}
