//! The task that makes blocks at intervals.

use std::sync::Weak;

use tokio::{
    runtime::Handle,
    sync::watch,
    task::{AbortHandle, spawn_blocking},
    time::{MissedTickBehavior, interval_at},
};

use super::chain::{Mining, Shared};

/// Mining at intervals was asked for where no tokio runtime is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mining at intervals needs a tokio runtime")]
pub struct NoRuntime;

#[derive(Default)]
pub(crate) struct Miner(Option<AbortHandle>);

impl Miner {
    /// Starts the task unless it runs.
    pub(crate) fn start(
        &mut self,
        mining: &watch::Sender<Mining>,
        chain: Weak<Shared>,
    ) -> Result<(), NoRuntime> {
        if self.0.as_ref().is_some_and(|task| !task.is_finished()) {
            return Ok(());
        }
        let runtime = Handle::try_current().map_err(|_| NoRuntime)?;
        self.0 = Some(runtime.spawn(run(mining.subscribe(), chain)).abort_handle());
        Ok(())
    }
}

/// Ends when the chain does: it then drops the other end of `mining`.
async fn run(mut mining: watch::Receiver<Mining>, chain: Weak<Shared>) {
    loop {
        let now = *mining.borrow_and_update();
        let ended = match now {
            Mining::Interval(every) if !every.is_zero() => {
                tokio::select! {
                    changed = mining.changed() => changed.is_err(),
                    () = mine_every(every, &chain) => true,
                }
            }
            _ => mining.changed().await.is_err(),
        };
        if ended {
            return;
        }
    }
}

async fn mine_every(every: std::time::Duration, chain: &Weak<Shared>) {
    let mut ticks = interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(chain) = chain.upgrade() else { return };
        if spawn_blocking(move || chain.node(|node| node.world.mine())).await.is_err() {
            return;
        }
    }
}
