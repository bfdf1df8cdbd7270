//! A network between the ledger and its server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tollway_ledger::suite::postgres_server::PostgresServer;

/// Carries bytes to the server's port, unless it is told to keep them.
pub(crate) struct Proxy {
    port: u16,
    /// Which connections are stuck: those with numbers below this.
    stuck: watch::Sender<u64>,
    connections: Arc<AtomicU64>,
    /// How often the server answered: what a caller waited for.
    answers: Arc<AtomicU64>,
}

impl Proxy {
    pub(crate) async fn start(server: &PostgresServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), server.port());
        let (stuck, watched) = watch::channel(0);
        let (connections, answers) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, answered) = (Arc::clone(&connections), Arc::clone(&answers));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from, back), (answer, on)) = (client.into_split(), server.into_split());
                tokio::spawn(carry(from, on, number, watched.clone(), None));
                tokio::spawn(carry(answer, back, number, watched.clone(), Some(Arc::clone(&answered))));
            }
        });
        Self { port, stuck, connections, answers }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// From now on nothing goes through the connections that there are; those to come are fine.
    pub(crate) fn hold(&self) {
        self.stuck.send_replace(self.connections.load(Ordering::SeqCst));
    }

    /// From now on nothing goes through any.
    pub(crate) fn hold_all(&self) {
        self.stuck.send_replace(u64::MAX);
    }

    /// What was kept goes on.
    pub(crate) fn release(&self) {
        self.stuck.send_replace(0);
    }

    /// How many times the server has answered.
    pub(crate) fn answers(&self) -> u64 {
        self.answers.load(Ordering::SeqCst)
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    mut stuck: watch::Receiver<u64>,
    count: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Some(count) = &count {
            count.fetch_add(1, Ordering::SeqCst);
        }
        // Bytes that have left arrive, however late: also those of a sender that has gone.
        if stuck.wait_for(|below| number >= *below).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
