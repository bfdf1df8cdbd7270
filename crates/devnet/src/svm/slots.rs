//! The task that makes slots at real time.

use std::{sync::Weak, time::Duration};

use tokio::{
    task::{AbortHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::chain::Shared;

pub(crate) struct Slots {
    every: Option<Duration>,
    task: Option<AbortHandle>,
}

impl Slots {
    pub(crate) fn new(every: Option<Duration>) -> Self {
        Self { every, task: None }
    }

    /// Starts the task unless it runs, or slots are made by hand.
    pub(crate) fn start(&mut self, chain: Weak<Shared>) {
        let runs = self.task.as_ref().is_some_and(|task| !task.is_finished());
        if let Some(every) = self.every.filter(|_| !runs) {
            self.task = Some(tokio::spawn(make(every, chain)).abort_handle());
        }
    }
}

/// Ends when the chain does.
async fn make(every: Duration, chain: Weak<Shared>) {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(chain) = chain.upgrade() else { return };
        let made = spawn_blocking(move || {
            chain.node(|node| {
                if !node.faults.paused {
                    node.advance();
                }
            });
        });
        if made.await.is_err() {
            return;
        }
    }
}
