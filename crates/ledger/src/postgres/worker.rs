//! The thread on which the ledger lives: its calls outlast whoever asked, and its lease does not wait for anybody's runtime.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::failure::Failure;
use super::instance::Instance;
use super::lost::{Guard, Lost};
use super::session::{Connector, Session};
use super::store::{Broken, Done, Kind, Store};
use super::{PostgresOptions, schema};
use crate::LedgerError;

/// How many calls may be under way or wait; those that come on top are refused at once.
const ROOM: usize = 4096;
/// How long the end waits to tell the others.
const FAREWELL: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(Rc<Store>) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The thread, and the way to it.
pub(super) struct Worker {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

fn closed() -> LedgerError {
    LedgerError::Unavailable("it is closed".into())
}

impl Worker {
    /// Starts it; answers when the store is open.
    pub(super) async fn start(
        connector: Connector,
        options: PostgresOptions,
        lost: Arc<Lost>,
    ) -> Result<Self, LedgerError> {
        let no_thread = |error: std::io::Error| LedgerError::Unavailable(format!("no thread: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let (jobs, calls) = mpsc::unbounded_channel();
        let (ready, opened) = oneshot::channel();
        let serve = move || {
            LocalSet::new().block_on(&runtime, serve(connector, options, lost, calls, ready));
        };
        let thread = std::thread::Builder::new().name("ledger-postgres".into()).spawn(serve);
        let thread = Some(thread.map_err(no_thread)?);
        let worker = Self { jobs: Some(jobs), room: Arc::new(Semaphore::new(ROOM)), thread };
        opened.await.map_err(|_| closed())??;
        Ok(worker)
    }

    /// Does `work` there; `guard` has its claim given back unless the answer arrives.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        kind: Kind,
        guard: Option<Guard>,
        work: impl AsyncFn(&Session, &Instance) -> Result<Done<T>, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let room = Arc::clone(&self.room);
        let room = room.try_acquire_owned().map_err(|_| {
            LedgerError::Unavailable(format!("{ROOM} calls are waiting for the database already"))
        })?;
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            Box::pin(async move {
                // Whoever has the answer and drops it gives the claim back too.
                drop(answer.send(run(&store, kind, guard, work).await));
                drop(room);
            })
        });
        self.jobs.as_ref().ok_or_else(closed)?.send(job).map_err(|_| closed())?;
        let (value, guard): (T, Option<Guard>) = answered.await.map_err(|_| closed())??;
        if let Some(mut guard) = guard {
            guard.disarm();
        }
        Ok(value)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run<T>(
    store: &Store,
    kind: Kind,
    mut guard: Option<Guard>,
    work: impl AsyncFn(&Session, &Instance) -> Result<Done<T>, Failure>,
) -> Result<(T, Option<Guard>), LedgerError> {
    let making = guard.as_mut().is_some_and(Guard::made);
    let deadline = store.deadline();
    // Before a payment is taken, what was left has to be free.
    let cleared = if making { store.clear_up(deadline).await } else { Ok(()) };
    let broken = match cleared {
        Ok(()) => match store.run(kind, deadline, &work).await {
            Ok(value) => return Ok((value, guard)),
            Err(broken) => broken,
        },
        Err(error) => Broken { error, undone: true },
    };
    if let Some(guard) = guard.as_mut() {
        if making && broken.undone {
            guard.disarm();
        } else if broken.undone && !matches!(broken.error, LedgerError::Unavailable(_)) {
            // What the call held is given back before the caller hears of it.
            let left = guard.left().cloned();
            let give_back = async |session: &Session, instance: &Instance| match &left {
                Some(left) => super::claims::give_back(session, instance, left).await,
                None => Ok(Done::Undo(())),
            };
            if store.run(Kind::Single, deadline, &give_back).await.is_ok() {
                guard.disarm();
            }
        }
    }
    Err(broken.error)
}

async fn serve(
    connector: Connector,
    options: PostgresOptions,
    lost: Arc<Lost>,
    mut calls: mpsc::UnboundedReceiver<Job>,
    ready: oneshot::Sender<Result<(), LedgerError>>,
) {
    let opened = open(&connector, &options, lost).await;
    let (store, session) = match opened {
        Ok(opened) => opened,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let store = Rc::new(store);
    drop(ready.send(Ok(())));
    let (end, ended) = watch::channel(());
    let keeping = spawn_local(keep(Rc::clone(&store), session, options.lease, ended.clone()));
    let clearing = spawn_local(clear(Rc::clone(&store), options.lease, ended));
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            job = calls.recv() => match job {
                Some(job) => drop(running.spawn_local(job(Rc::clone(&store)))),
                None => break,
            },
            Some(_) = running.join_next() => {}
        }
    }
    // Each of them is bounded.
    while running.join_next().await.is_some() {}
    drop(end);
    let _ = clearing.await;
    let _ = keeping.await;
}

async fn open(
    connector: &Connector,
    options: &PostgresOptions,
    lost: Arc<Lost>,
) -> Result<(Store, Session), LedgerError> {
    let session = schema::open(connector).await?;
    connector.in_time(connector.limit, connector.instance.enter(&session)).await?;
    Ok((Store::new(connector.clone(), options.connections, lost)?, session))
}

/// Ends a while after the ledger did.
async fn farewell(ended: &mut watch::Receiver<()>) {
    while ended.changed().await.is_ok() {}
    sleep(FAREWELL).await;
}

/// Renews the lease, on a connection of its own: a pool that is exhausted is no reason to lose it.
async fn keep(store: Rc<Store>, session: Session, lease: Duration, mut ended: watch::Receiver<()>) {
    let mut session = Some(session);
    let mut well = true;
    while ended.has_changed().is_ok() {
        tokio::select! {
            _ = ended.changed() => break,
            () = sleep((lease / 5).max(Duration::from_millis(10))) => {}
        }
        let renewed = tokio::select! {
            renewed = timeout(lease, renew(&store, &mut session)) => renewed,
            () = farewell(&mut ended) => return,
        };
        let renewed = renewed.unwrap_or_else(|_| Err(LedgerError::Unavailable("no answer in time".into())));
        if let Err(error) = &renewed
            && well
        {
            tracing::warn!(%error, "the ledger's lease was not renewed");
        }
        well = renewed.is_ok();
    }
    // So that nobody has to wait for the lease to run out.
    if let Some(session) = &session
        && !matches!(timeout(FAREWELL, store.instance.leave(session)).await, Ok(Ok(())))
    {
        tracing::debug!("the ledger's lease was left to run out");
    }
}

async fn renew(store: &Store, session: &mut Option<Session>) -> Result<(), LedgerError> {
    if let Some(error) = store.instance.stopped() {
        return Err(error);
    }
    // Until it has answered it is not to be used again.
    let current = match session.take() {
        Some(current) if !current.is_closed() => current,
        _ => store.connector.connect().await?,
    };
    store.instance.renew(&current).await?;
    *session = Some(current);
    Ok(())
}

/// Clears up when there is something, and again later when that was not possible.
async fn clear(store: Rc<Store>, lease: Duration, mut ended: watch::Receiver<()>) {
    while ended.has_changed().is_ok() {
        tokio::select! {
            _ = ended.changed() => break,
            () = store.lost.wake.notified() => {}
            () = sleep(lease / 5) => {}
        }
        tokio::select! {
            cleared = store.clear_up(store.deadline()) => if let Err(error) = cleared {
                tracing::debug!(%error, "what calls left behind waits");
            },
            () = farewell(&mut ended) => return,
        }
    }
}
