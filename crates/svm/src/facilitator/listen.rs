//! What a node announces: slots, and that something came of a transaction. Nothing of it is believed: it is a reason to
//! ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tollway_protocol::bind::PaymentKey;
use tollway_rpc::{Heard, Line, Source, Unanswered};

use crate::facilitator::cluster::Commitment;
use crate::facilitator::engine::Engine;

/// How long a node whose announcements ended is left alone.
const REST: Duration = Duration::from_secs(2);
/// How long a node may announce nothing: a slot takes 0.4 seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// The most transactions that are announced at a time; of others slots have to do.
const MOST: usize = 256;

/// Has the pending transactions looked at when a slot is announced or one of them, for as long as there is an engine.
pub(super) async fn listen(engine: Weak<Engine>, source: Source) {
    let Some(put) = engine.upgrade().map(|engine| engine.put.clone()) else { return };
    while engine.strong_count() > 0 {
        if let Err(Unanswered(why)) = hear(&engine, &source, &put).await {
            tracing::debug!(why, "nothing is announced: polling");
        }
        tokio::time::sleep(REST).await;
    }
}

async fn hear(engine: &Weak<Engine>, source: &Source, put: &Arc<Notify>) -> Result<(), Unanswered> {
    let mut line = source.line().await?;
    let slots = line.call("slotSubscribe", [(); 0]).await?;
    let mut slot_id = None;
    let mut followed = Followed::default();
    let mut heard_at = Instant::now();
    loop {
        match engine.upgrade() {
            Some(engine) => followed.update(&engine, &mut line).await?,
            None => return Ok(()),
        }
        // Until there may be something to subscribe to.
        loop {
            let silence = heard_at + SILENCE;
            let heard = tokio::select! {
                () = put.notified() => break,
                heard = timeout_at(silence, line.hear()) => heard.unwrap_or(Err(Unanswered("nothing came for long")))?,
            };
            heard_at = Instant::now();
            match heard {
                Heard::Answer { call, subscription } if call == slots => slot_id = subscription,
                Heard::Answer { call, subscription } => followed.answered(call, subscription),
                Heard::Notice { subscription } => {
                    followed.announced(subscription);
                    let Some(engine) = engine.upgrade() else { return Ok(()) };
                    engine.slot.notify_one();
                    if slot_id == Some(subscription) {
                        break;
                    }
                }
            }
        }
    }
}

/// What was asked for over one connection.
#[derive(Default)]
struct Followed {
    /// By the calls that asked for them.
    asked: BTreeMap<usize, PaymentKey>,
    /// By their subscriptions.
    live: BTreeMap<u64, PaymentKey>,
    /// All that were asked for and are still on their way.
    known: BTreeSet<PaymentKey>,
}

impl Followed {
    /// Asks for what is on its way and was not asked for yet, as far as there is room; lets go what has ended otherwise.
    async fn update(&mut self, engine: &Engine, line: &mut Line) -> Result<(), Unanswered> {
        let gone = {
            let items = engine.items.lock();
            self.without(|key| items.contains_key(key))
        };
        for subscription in gone {
            line.call("signatureUnsubscribe", [subscription]).await?;
        }
        let new: Vec<(PaymentKey, String)> = {
            let items = engine.items.lock();
            let new = items.iter().filter(|(key, _)| !self.known.contains(*key)).take(self.room());
            new.map(|(key, item)| (key.clone(), item.transaction.hash.clone())).collect()
        };
        let commitment = match engine.cluster.config.commitment {
            Commitment::Finalized => "finalized",
            Commitment::Processed | Commitment::Confirmed => "confirmed",
        };
        for (key, hash) in new {
            let call = line.call("signatureSubscribe", (hash, json!({"commitment": commitment}))).await?;
            self.asks(call, key);
        }
        Ok(())
    }

    fn room(&self) -> usize {
        MOST.saturating_sub(self.asked.len()).saturating_sub(self.live.len())
    }

    fn asks(&mut self, call: usize, key: PaymentKey) {
        self.known.insert(key.clone());
        self.asked.insert(call, key);
    }

    /// A call was answered: with a subscription, or not, and then the transaction is not announced.
    fn answered(&mut self, call: usize, subscription: Option<u64>) {
        let Some(key) = self.asked.remove(&call) else { return };
        if let Some(id) = subscription {
            self.live.insert(id, key);
        }
    }

    /// What is announced is unsubscribed by that.
    fn announced(&mut self, subscription: u64) {
        self.live.remove(&subscription);
    }

    /// Forgets what is not on its way any more; the subscriptions that are left of it.
    fn without(&mut self, is_on_the_way: impl Fn(&PaymentKey) -> bool) -> Vec<u64> {
        self.known.retain(&is_on_the_way);
        let over = self.live.iter().filter(|(_, key)| !is_on_the_way(key)).map(|(id, _)| *id);
        let over: Vec<u64> = over.collect();
        for id in &over {
            self.live.remove(id);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use tollway_protocol::Network;

    use super::*;

    fn key(n: usize) -> PaymentKey {
        PaymentKey::new(&Network::named("solana").unwrap(), &[&n.to_string()])
    }

    #[test]
    fn no_more_are_announced_than_there_is_room_for() {
        let mut followed = Followed::default();
        for call in 0..MOST {
            assert_eq!(followed.room(), MOST - call);
            followed.asks(call, key(call));
        }
        assert_eq!(followed.room(), 0);
        followed.answered(0, Some(70));
        assert_eq!(followed.room(), 0, "it is subscribed to");
        followed.answered(1, None);
        assert_eq!(followed.room(), 1, "it is refused");
        followed.announced(70);
        assert_eq!(followed.room(), 2, "it was announced");
        followed.announced(70);
        followed.answered(0, Some(71));
        assert_eq!(followed.room(), 2, "nothing counts twice");
        assert!(followed.known.contains(&key(0)) && followed.known.contains(&key(1)), "not asked for again");
    }

    #[test]
    fn what_has_ended_without_being_announced_is_unsubscribed() {
        let mut followed = Followed::default();
        for call in 0..4 {
            followed.asks(call, key(call));
        }
        followed.answered(0, Some(70));
        followed.answered(1, Some(71));
        followed.announced(71);
        assert_eq!(followed.without(|on_the_way| *on_the_way == key(3)), [70]);
        assert_eq!((followed.known.len(), followed.room()), (1, MOST - 2));
        // Its answer is under way.
        followed.answered(2, Some(72));
        assert_eq!(followed.without(|on_the_way| *on_the_way == key(3)), [72]);
        assert_eq!(followed.room(), MOST - 1);
    }
}
