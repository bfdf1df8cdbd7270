//! Postgres behind a door, and what can be done to both.

use tokio::task::block_in_place;
use tollway_ledger::suite::postgres_server::{PostgresServer, Sync};

use crate::gate::Gate;

/// A new database of the server that all tests of a process share, over TCP.
pub(crate) fn database() -> String {
    block_in_place(|| {
        let server = PostgresServer::shared();
        let name = server.database();
        let name = name.rsplit('/').next().unwrap();
        format!("postgres://postgres@127.0.0.1:{}/{name}", server.port())
    })
}

/// A server of its own, and a door in front of it.
pub(crate) struct Store {
    pub(crate) server: PostgresServer,
    pub(crate) gate: Gate,
}

impl Store {
    pub(crate) async fn new(settings: &[&str]) -> Self {
        let server = block_in_place(|| PostgresServer::start(Sync::Off, settings));
        let gate = Gate::to(([127, 0, 0, 1], server.port()).into()).await;
        Self { server, gate }
    }

    /// How facilitators reach it: through the door.
    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.gate.address().port())
    }
}
