//! The database that replicas share.

use std::sync::Arc;

use tollway_ledger::suite::postgres_server::{PostgresServer, Sync};
use tollway_ledger::{PostgresLedger, PostgresOptions};

/// A database: on the server of all tests, or on one that can be stopped.
#[derive(Clone)]
pub(crate) struct Database {
    url: String,
    own: Option<Arc<PostgresServer>>,
}

/// Runs what blocks.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

impl Database {
    pub(crate) async fn shared() -> Self {
        aside(|| Self { url: PostgresServer::shared().database(), own: None }).await
    }

    /// On a server of its own.
    pub(crate) async fn own() -> Self {
        aside(|| {
            let server = PostgresServer::start(Sync::Off, &[]);
            Self { url: server.database(), own: Some(Arc::new(server)) }
        })
        .await
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server as a power cut would. When this returns nothing can be recorded any more.
    pub(crate) async fn stop(&self) {
        let server = self.own.clone().unwrap();
        aside(move || server.stop()).await;
    }

    pub(crate) async fn go(&self) {
        let server = self.own.clone().unwrap();
        aside(move || server.go()).await;
    }

    /// A look of our own into the ledger.
    pub(crate) async fn ledger(&self) -> PostgresLedger {
        PostgresLedger::open(&self.url, PostgresOptions::default()).await.unwrap()
    }
}
