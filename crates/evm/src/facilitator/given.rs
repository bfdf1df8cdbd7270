//! What payers are given for their approvals in 24 hours, counted in the ledger, over all processes that share it.

use std::collections::VecDeque;

use alloy_primitives::U256;
use tollway_ledger::{Filter, LedgerError};
use tollway_protocol::door::UnixTime;

use crate::facilitator::engine::Engine;
use crate::facilitator::prelude::most_given;

const DAY_SECONDS: u64 = 24 * 60 * 60;
/// How many records are read at a time.
const SOME: u32 = 500;

/// What was counted so far.
#[derive(Default)]
pub(crate) struct Given(tokio::sync::Mutex<Counted>);

#[derive(Default)]
struct Counted {
    /// The record up to which it was counted.
    last: i64,
    /// When, and how much at most.
    gifts: VecDeque<(UnixTime, U256)>,
}

impl Engine {
    /// Whether what was given in 24 hours leaves enough for one more. Every payment taken in that time that came with
    /// an approval counts with the most that it can have cost, the one that is asked for too: so that two processes
    /// that ask at once never give too much, but perhaps both too little.
    pub(super) async fn has_more_to_give(&self) -> Result<bool, LedgerError> {
        let config = &self.chain.config;
        let since = UnixTime(self.chain.host_now().0.saturating_sub(DAY_SECONDS));
        let mut counted = self.given.0.lock().await;
        let filter = Filter { network: Some(config.network.clone()), since, ..Filter::default() };
        loop {
            let page = self.journal.page(&filter, counted.last, SOME).await?;
            let Some(last) = page.last() else { break };
            counted.last = last.id;
            for record in &page {
                let most = most_given(record, config.approval_funding);
                if !most.is_zero() {
                    counted.gifts.push_back((record.created, most));
                }
            }
        }
        counted.gifts.retain(|(at, _)| *at >= since);
        let sum = counted.gifts.iter().fold(U256::ZERO, |sum, (_, gift)| sum.saturating_add(*gift));
        Ok(sum <= config.approval_funding_per_day)
    }
}
