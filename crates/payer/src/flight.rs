//! A payment on its way.

use tollway_protocol::{Settlement, header};

use crate::journal::{Entry, Held, JournalError, Live, Outcome, State};
use crate::payer::Clock;
use crate::text;

/// A payment that is signed and on disk: it may be sent. This call alone works on it; when it is
/// dropped without a word, the next call for the same purchase sends it again.
pub struct InFlight {
    pub(crate) held: Held,
    pub(crate) clock: Clock,
    pub(crate) resent: bool,
}

impl InFlight {
    /// The header to send: its name, and its value, which whoever has it can spend.
    #[must_use]
    pub fn header(&self) -> (&'static str, &str) {
        let header = self.held.entry.header.as_ref();
        header.map_or((header::PAYMENT_SIGNATURE, ""), |header| (header.name(), header.value.as_str()))
    }

    /// What it is.
    #[must_use]
    pub fn summary(&self) -> Live {
        self.held.entry.summary(true)
    }

    /// Whether an earlier call signed it.
    #[must_use]
    pub fn is_resent(&self) -> bool {
        self.resent
    }

    /// The request was answered: the payment moves to the history.
    ///
    /// # Errors
    /// [`JournalError`]: the payment stays live, and the next call sends it again.
    pub async fn finish(self, outcome: Outcome, settlement: Option<Settlement>) -> Result<(), JournalError> {
        let now = (self.clock)();
        on_disk(move || self.held.finish(outcome, settlement, now)).await?
    }

    /// The server says that the payment has bought something before: it moves to the history.
    ///
    /// # Errors
    /// [`JournalError`]: the payment stays live.
    pub async fn spent(mut self, transaction: Option<String>) -> Result<(), JournalError> {
        let now = (self.clock)();
        let transaction = transaction.map(|transaction| text::id(&transaction));
        self.held.entry.transaction = transaction.or(self.held.entry.transaction.take());
        on_disk(move || self.held.finish(Outcome::Spent, None, now)).await?
    }

    /// The request was not answered: the payment stays live.
    ///
    /// # Errors
    /// [`JournalError`]: the payment stays live without what was learnt.
    pub async fn keep(
        mut self,
        state: State,
        reason: Option<String>,
        transaction: Option<String>,
    ) -> Result<(), JournalError> {
        let change = move |entry: &mut Entry| {
            entry.state = match (entry.state, state) {
                // What a server says later does not take the money back.
                (State::Settled, _) => State::Settled,
                (_, State::Reserved) => State::Unknown,
                (_, state) => state,
            };
            entry.reason = reason.map(|reason| text::prose(&reason)).or(entry.reason.take());
            entry.transaction =
                transaction.map(|transaction| text::id(&transaction)).or(entry.transaction.take());
        };
        on_disk(move || self.held.update(change)).await?
    }
}

impl std::fmt::Debug for InFlight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InFlight").field("id", &self.held.entry.id).finish_non_exhaustive()
    }
}

/// Runs what waits for the disk where it holds up nobody.
pub(crate) async fn on_disk<T: Send + 'static>(
    act: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JournalError> {
    tokio::task::spawn_blocking(act).await.map_err(|_| JournalError::Stopped)
}
