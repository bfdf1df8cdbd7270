//! When to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Failure;
use crate::screen;

/// A word that everything stops on: Ctrl-C or SIGTERM. The second one ends the process at once.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (send, receive) = watch::channel(false);
        tokio::spawn(async move {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            tracing::info!("stopping");
            send.send_replace(true);
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            screen::note("tollway: stopped at once; what was in flight is in the ledger");
            std::process::exit(130);
        });
        Ok(Self(receive))
    }

    /// Returns when it is time.
    pub(crate) async fn asked(mut self) {
        // The sender lives as long as the process.
        if self.0.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
