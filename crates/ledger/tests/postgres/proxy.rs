//! A network between the ledger and its server.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tollway_ledger::suite::postgres_server::PostgresServer;

/// One of a connection's two carriers.
type Carrier = (u64, JoinHandle<()>);

/// What the carriers share.
#[derive(Clone, Default)]
struct Lines {
    /// The connections on which something was kept.
    kept: Arc<Mutex<HashSet<u64>>>,
    /// How often the server answered: what a caller waited for.
    answers: Arc<AtomicU64>,
    /// Whether the answer to the next commit gets lost, and the connection with it.
    lose: Arc<AtomicBool>,
    /// The connections whose answers are lost.
    deaf: Arc<Mutex<HashSet<u64>>>,
}

/// Carries bytes to the server's port, unless it is told to keep them.
pub(crate) struct Proxy {
    port: u16,
    /// Which connections are stuck: those with numbers below this.
    stuck: watch::Sender<u64>,
    connections: Arc<AtomicU64>,
    /// What carries the bytes, with the number of its connection.
    carriers: Arc<Mutex<Vec<Carrier>>>,
    lines: Lines,
}

impl Proxy {
    pub(crate) async fn start(server: &PostgresServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), server.port());
        let (stuck, watched) = watch::channel(0);
        let (connections, lines) = (Arc::new(AtomicU64::new(0)), Lines::default());
        let carriers = Arc::new(Mutex::new(Vec::new()));
        let (counted, shared, carrying) = (Arc::clone(&connections), lines.clone(), Arc::clone(&carriers));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from, back), (answer, on)) = (client.into_split(), server.into_split());
                let line =
                    |is_answer| Line { number, is_answer, stuck: watched.clone(), lines: shared.clone() };
                let there = tokio::spawn(line(false).carry(from, on));
                let back = tokio::spawn(line(true).carry(answer, back));
                carrying.lock().unwrap().extend([(number, there), (number, back)]);
            }
        });
        Self { port, stuck, connections, carriers, lines }
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

    /// What was kept goes on, and has done what it does when this returns: its connections, which its senders have
    /// given up, have ended on both sides.
    pub(crate) async fn release_the_dead(&self) {
        self.release();
        let kept = std::mem::take(&mut *self.lines.kept.lock().unwrap());
        let all = std::mem::take(&mut *self.carriers.lock().unwrap());
        for (_, carrier) in all.into_iter().filter(|(number, _)| kept.contains(number)) {
            carrier.await.unwrap();
        }
    }

    /// The server does the next commit, and nobody hears of it.
    pub(crate) fn lose_the_next_commit(&self) {
        self.lines.lose.store(true, Ordering::SeqCst);
    }

    /// How many times the server has answered.
    pub(crate) fn answers(&self) -> u64 {
        self.lines.answers.load(Ordering::SeqCst)
    }
}

/// One direction of a connection.
struct Line {
    number: u64,
    is_answer: bool,
    stuck: watch::Receiver<u64>,
    lines: Lines,
}

impl Line {
    async fn carry(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut buffer = vec![0; 1 << 20];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let bytes = &buffer[..read];
            self.look(bytes);
            if self.is_answer && self.lines.deaf.lock().unwrap().contains(&self.number) {
                continue;
            }
            // Bytes that have left arrive, however late: also those of a sender that has gone.
            let free = self.stuck.wait_for(|below| self.number >= *below).await.is_ok();
            if !free || to.write_all(bytes).await.is_err() {
                return;
            }
        }
    }

    fn look(&self, bytes: &[u8]) {
        let Self { number, lines, .. } = self;
        if *number < *self.stuck.borrow() {
            lines.kept.lock().unwrap().insert(*number);
        }
        if self.is_answer {
            lines.answers.fetch_add(1, Ordering::SeqCst);
        } else if bytes.windows(6).any(|word| word == b"COMMIT") && lines.lose.swap(false, Ordering::SeqCst) {
            lines.deaf.lock().unwrap().insert(*number);
        }
    }
}
