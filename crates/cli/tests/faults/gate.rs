//! A TCP door between two programs: open, shut, slow, or torn down in the middle of an answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::world::lock;

/// How much of the answer gets out before its sender is ended: the status line.
const FIRST_BYTES: usize = 17;

type Tear = Box<dyn FnOnce() + Send>;

struct Shared {
    target: Mutex<Option<SocketAddr>>,
    /// Odd while the door is shut; every change cuts what is connected.
    turns: watch::Sender<u64>,
    delay_millis: AtomicU64,
    /// After how many answers what happens.
    tear: Mutex<Option<(u32, Tear)>>,
}

/// The door. What is connected through it is cut when it is shut or led elsewhere.
#[derive(Clone)]
pub(crate) struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Gate {
    /// A door that leads nowhere yet.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(None),
            turns: watch::Sender::new(0),
            delay_millis: AtomicU64::new(0),
            tear: Mutex::new(None),
        });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(shared) = weak.upgrade() else { return };
                tokio::spawn(connect(client, shared));
            }
        });
        Self { address, shared }
    }

    pub(crate) async fn to(target: SocketAddr) -> Self {
        let gate = Self::new().await;
        gate.lead_to(target);
        gate
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *lock(&self.shared.target) = Some(target);
        self.shared.turns.send_modify(|turn| *turn += 2);
    }

    pub(crate) fn shut(&self) {
        self.shared.turns.send_modify(|turn| *turn |= 1);
    }

    pub(crate) fn open(&self) {
        self.shared.turns.send_modify(|turn| *turn = (*turn | 1) + 1);
    }

    /// From now on every piece of an answer is so late.
    pub(crate) fn slow(&self, delay: Duration) {
        let millis = u64::try_from(delay.as_millis()).unwrap();
        self.shared.delay_millis.store(millis, Ordering::SeqCst);
    }

    /// When the `nth` answer's first bytes are out, does `act`; the rest of it never arrives.
    pub(crate) fn tear(&self, nth: u32, act: impl FnOnce() + Send + 'static) {
        *lock(&self.shared.tear) = Some((nth, Box::new(act)));
    }
}

impl Shared {
    /// What to do now that an answer begins, if this is the one.
    fn answer_begins(&self) -> Option<Tear> {
        let mut tear = lock(&self.tear);
        let (left, _) = tear.as_mut()?;
        *left = left.saturating_sub(1);
        if *left > 0 {
            return None;
        }
        tear.take().map(|(_, act)| act)
    }
}

async fn connect(client: TcpStream, shared: Arc<Shared>) {
    let mut turns = shared.turns.subscribe();
    let target = *lock(&shared.target);
    let Some(target) = target.filter(|_| turns.borrow_and_update().is_multiple_of(2)) else { return };
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = questions(from_client, to_server) => {}
        () = answers(from_server, to_client, &shared) => {}
        _ = turns.changed() => {}
    }
}

async fn questions(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let copied = tokio::io::copy(&mut from, &mut to).await;
    // The client asks no more: what it asked for may still come.
    if copied.is_ok() && to.shutdown().await.is_ok() {
        std::future::pending::<()>().await;
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return };
        let delay = shared.delay_millis.load(Ordering::SeqCst);
        if delay > 0 {
            // The fault itself: a slow network.
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        let begins = buffer.starts_with(b"HTTP/1.1 ");
        if let Some(act) = begins.then(|| shared.answer_begins()).flatten() {
            let _ = to.write_all(&buffer[..read.min(FIRST_BYTES)]).await;
            act();
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
