//! A server for any [`Router`]: bounded connections, bounded reads and writes, and a shutdown that
//! lets requests finish.
//!
//! HTTP/1.1 on TCP, without protocol upgrades; TLS belongs to the proxy in front.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use tollway_facilitator::Server;
//! let server = Server::bind(("127.0.0.1", 4020)).await?;
//! println!("listening on http://{}", server.addr());
//! let drained = server.serve(axum::Router::new(), async { /* a signal */ }).await;
//! assert_eq!(drained.cut, 0);
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tower::{Layer as _, ServiceExt as _};
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::{api, meter};

/// What connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more wait in the system's queue. 1024 unless set.
    pub connections: usize,
    /// Connections of one address at a time, others are closed at once; any number unless set. Behind a proxy they
    /// are all the proxy's. Whoever has one IPv6 address has its /64.
    pub per_address: usize,
    /// How long a request's head may take to arrive, and how long a connection may be idle; 10 s
    /// unless set.
    pub header_read: Duration,
    /// How long a pause between two parts of a body may be; 15 s unless set.
    pub body_pause: Duration,
    /// How long a reader may take nothing of its answer; 30 s unless set.
    pub write_pause: Duration,
    /// The longest head, in bytes; 64 KiB unless set, at least 8 KiB. It may have 100 headers.
    pub header_bytes: usize,
    /// How long requests may go on after shutdown has begun; 30 s unless set.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            per_address: usize::MAX,
            header_read: Duration::from_secs(10),
            body_pause: Duration::from_secs(15),
            write_pause: Duration::from_secs(30),
            header_bytes: 64 * 1024,
            drain: Duration::from_secs(30),
        }
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut because the time to drain was over.
    pub cut: usize,
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    addr: SocketAddr,
    limits: Limits,
}

impl Server {
    /// Listens on `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address can't be had.
    pub async fn bind(addr: impl ToSocketAddrs) -> std::io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        Ok(Self { listener, addr, limits: Limits::default() })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Other limits.
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves until `shutdown`; then stops accepting, lets the requests in flight finish, and cuts
    /// what is left when the time to drain is over.
    ///
    /// Handlers find the peer's address in [`ConnectInfo`].
    pub async fn serve(self, router: Router, shutdown: impl Future<Output = ()>) -> Drained {
        let Self { listener, limits, .. } = self;
        let slots = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
        let addresses = Addresses::default();
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut shutdown = pin!(shutdown);
        loop {
            let (slot, stream, peer) = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = accept(&listener, &slots) => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Some(place) = addresses.enter(peer.ip(), limits.per_address) else {
                meter::turned_away("connections");
                continue;
            };
            let held = (slot, place);
            connections.spawn(connection(stream, peer, router.clone(), limits, graceful.watcher(), held));
        }
        drop(listener);
        let finished = tokio::time::timeout(limits.drain, graceful.shutdown()).await;
        while connections.try_join_next().is_some() {}
        let cut = if finished.is_ok() { 0 } else { connections.len() };
        connections.shutdown().await;
        Drained { cut }
    }
}

/// Connections by address.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place among those of its address, until dropped.
struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Addresses {
    fn enter(&self, address: IpAddr, most: usize) -> Option<Place> {
        let address = api::household(address);
        let mut all = self.0.lock();
        let count = all.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.addresses.0.lock();
        if let Some(count) = all.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.address);
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    // The semaphore is never closed; without a slot nothing is accepted.
    let slot = slots.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (slot, stream, peer),
            // The peer has gone already, or the process is out of descriptors: both pass.
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    watcher: Watcher,
    held: (Option<OwnedSemaphorePermit>, Place),
) {
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.write_pause));
    let app = RequestBodyTimeoutLayer::new(limits.body_pause).layer(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let app = app.clone();
        async move { Ok::<_, Infallible>(app.oneshot(request).await.unwrap_or_else(|never| match never {})) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_read)
        .max_buf_size(limits.header_bytes.max(8 * 1024))
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "connection ended");
    }
    drop(held);
}
