//! Settlements, looked up in the journal.

use std::sync::Arc;

use async_trait::async_trait;
use tollway_facilitator::settlements::{Found, Settlements, State};
use tollway_ledger::{Journal, JournalState, Record};
use tollway_protocol::bind::PaymentKey;

/// A journal that answers `GET /settlements`.
pub(super) struct Lookup(pub(super) Arc<dyn Journal>);

#[async_trait]
impl Settlements for Lookup {
    async fn find(&self, key: &PaymentKey) -> Result<Option<Found>, String> {
        let record = self.0.settlement(key).await.map_err(|error| error.to_string())?;
        Ok(record.map(found))
    }
}

fn found(record: Record) -> Found {
    let state = match record.state {
        JournalState::Settled => State::Settled,
        JournalState::Failed => State::Failed,
        JournalState::Prepared | JournalState::Signed | JournalState::Broadcast => State::Pending,
    };
    let transaction = record.hash.or(record.transaction.map(|transaction| transaction.hash));
    Found {
        network: record.network,
        state,
        transaction,
        reason: record.reason,
        message: record.message,
        created: record.created,
    }
}
