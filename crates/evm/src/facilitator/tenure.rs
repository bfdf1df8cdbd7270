//! Work that no request asks for: accounts are leased, and what dead processes left is finished.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tollway_ledger::Holder;

use crate::facilitator::engine::Engine;
use crate::facilitator::watch::Told;

/// How often there is something to look after.
const EVERY: Duration = Duration::from_millis(250);
/// How long an account must be free before a process takes it that has one already: others may want it.
const MODESTY: Duration = Duration::from_secs(3);
/// How often an idle process looks for what others left settled and not final.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// How many settlements are taken over at a time.
const SOME: u32 = 64;

impl Engine {
    /// Finishes what was left open, and from then on whatever other processes leave.
    pub(super) async fn recover(self: &Arc<Self>) {
        // So that the first verification costs one round trip too; what is wrong, `ready` tells.
        let _ = self.chain.ready().await;
        self.listen();
        self.remember_told().await;
        let mut first = Tenure::default();
        self.serve_once(&mut first).await;
        if !self.is_tending.swap(true, Ordering::SeqCst) {
            tokio::spawn(keep_serving(Arc::downgrade(self), first));
        }
    }

    /// What an earlier process told as settled can still be undone by a reorg.
    async fn remember_told(self: &Arc<Self>) {
        let open = match self.journal.open(&self.chain.config.network).await {
            Ok(open) => open,
            Err(error) => {
                tracing::error!(%error, "open settlements can't be read");
                return;
            }
        };
        let told = open.into_iter().filter_map(|record| Some((Told::recorded(&record)?, record.key)));
        // There may have been a reorg meanwhile.
        let told = told.map(|(told, key)| (key, Told { is_shaken: true, ..told }));
        let told: std::collections::BTreeMap<_, _> = told.collect();
        if told.is_empty() {
            return;
        }
        self.watch.state.lock().unfinal.extend(told);
        self.look_at_shaken().await;
        self.look_soon();
    }

    async fn serve_once(self: &Arc<Self>, tenure: &mut Tenure) {
        if self.is_draining.load(Ordering::SeqCst) {
            return;
        }
        for (place, lane) in self.lanes.iter().enumerate() {
            if lane.state.lock().is_leased {
                continue;
            }
            let has_one = self.lanes.iter().any(|lane| lane.state.lock().is_leased);
            if has_one && tenure.began.elapsed() < MODESTY {
                continue;
            }
            if let Err(error) = self.lease(lane).await {
                tracing::warn!(lane = place, signer = lane.name(), error = %error, "can't be leased just now");
            }
        }
        if tenure.doubts.may_read() && self.is_in_doubt.swap(false, Ordering::SeqCst) {
            tenure.doubts.note();
            self.resume_held().await;
        }
        if !self.lanes.iter().any(|lane| lane.state.lock().is_leased) {
            return;
        }
        if crate::bug::on("v1-leaves-the-dead") {
            return;
        }
        match self.journal.take_over(&self.chain.config.network, SOME).await {
            Ok(records) => records.into_iter().for_each(|record| self.resume(record)),
            Err(error) => {
                // What it has taken over all the same is found by the next look.
                self.doubt();
                tracing::warn!(%error, "nothing can be taken over just now");
            }
        }
    }

    /// Goes on with all that the store says is this process's; what is in the air is joined there.
    async fn resume_held(self: &Arc<Self>) {
        match self.journal.open(&self.chain.config.network).await {
            Ok(open) => {
                let held = open.into_iter().filter(|record| record.holder == Holder::This);
                held.filter(|record| record.ended.is_none()).for_each(|record| self.resume(record));
            }
            Err(error) => {
                self.doubt();
                tracing::warn!(%error, "what this process holds can't be read just now");
            }
        }
    }
}

/// How long this process has been at it.
struct Tenure {
    began: Instant,
    /// When it last looked for what others left settled.
    looked_back: Instant,
    doubts: Doubts,
}

impl Default for Tenure {
    fn default() -> Self {
        Self { began: Instant::now(), looked_back: Instant::now(), doubts: Doubts::default() }
    }
}

/// Pauses that grow while what they come between goes on failing.
pub(super) struct Backoff(Duration);

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    pub(super) const LONGEST: Duration = Duration::from_secs(10);

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = pause.saturating_mul(2).min(Self::LONGEST);
        pause
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

/// When all that this process holds was read for doubt, and when it may be next.
#[derive(Default)]
struct Doubts {
    /// The last time, and how long after it there is no other.
    read: Option<(Instant, Duration)>,
    backoff: Backoff,
}

impl Doubts {
    fn may_read(&self) -> bool {
        self.read.is_none_or(|(at, pause)| at.elapsed() >= pause)
    }

    fn note(&mut self) {
        // After a long time without doubt it begins anew.
        if self.read.is_some_and(|(at, _)| at.elapsed() > Backoff::LONGEST * 2) {
            self.backoff = Backoff::default();
        }
        self.read = Some((Instant::now(), self.backoff.next()));
    }
}

async fn keep_serving(engine: Weak<Engine>, mut tenure: Tenure) {
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(this) = engine.upgrade() else { return };
        this.serve_once(&mut tenure).await;
        if tenure.looked_back.elapsed() >= LOOK_BACK {
            tenure.looked_back = Instant::now();
            if let Err(error) = this.look_back().await {
                tracing::debug!(%error, "can't look for what others left");
            }
        }
    }
}
