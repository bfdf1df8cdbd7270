//! The ledger on Postgres: one database, which several processes on several machines may share.
//!
//! Each call is one transaction, or one statement, that is on the server's disk before it is answered. Processes hold
//! rows for as long as they renew their lease, by the database's clock; one which was only asleep is told by the turn
//! of what it held and gets a [`LedgerError::Conflict`].

mod address;
mod claims;
mod failure;
mod instance;
mod journal;
mod lost;
mod schema;
mod session;
mod store;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tollway_protocol::Settlement;
use tollway_protocol::bind::{Bound, PaymentKey};
use tollway_protocol::door::UnixTime;

use crate::{Claim, Claimed, Claims, Delivery, LedgerError, Paid, Recalled, RequestId, Turn};
use address::Address;
use failure::Failure;
use instance::{Instance, random};
use lost::{Left, Lost};
use session::{Connector, Session};
use store::{Done, Kind};
use worker::Worker;

/// A wall clock, in milliseconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a [`PostgresLedger`] uses its database.
#[derive(Clone)]
pub struct PostgresOptions {
    /// How long this process's holds outlive it. Renewed five times in that time.
    pub lease: Duration,
    /// The longest that a call takes, waiting for a connection included.
    pub limit: Duration,
    /// How many connections there may be, besides the one that renews the lease.
    pub connections: usize,
    /// The schema in the database that holds the tables: lower-case letters, digits and `_`. Made when it is not there.
    pub schema: String,
    /// For tests: a clock in place of the database's.
    pub clock: Option<Clock>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs(5);
        Self { lease: seconds, limit: seconds, connections: 16, schema: "tollway".into(), clock: None }
    }
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("lease", &self.lease)
            .field("limit", &self.limit)
            .field("connections", &self.connections)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// A ledger in a Postgres database, version 14 or later.
///
/// It lives on a thread of its own: a call goes on to its end when whoever made it is gone, and then gives back what
/// it took. Dropping the ledger waits for the calls that are under way and ends the lease.
///
/// With the database away every call fails with [`LedgerError::Unavailable`] within [`PostgresOptions::limit`], and
/// connections are made again with the next one. A database that has lost what it acknowledged (a restored copy, an
/// older replica) is refused with [`LedgerError::Damaged`] until the process is started again.
pub struct PostgresLedger {
    worker: Worker,
    lost: Arc<Lost>,
    turns: AtomicI64,
}

impl std::fmt::Debug for PostgresLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresLedger").finish_non_exhaustive()
    }
}

impl PostgresLedger {
    /// Opens the ledger in the database at `url`, making its tables if they are not there.
    ///
    /// `url` reads `postgres://user:password@host:port/database`. To a host that is not this machine it has to say
    /// `?sslmode=require` (or `verify-full`: both check the certificate, against the system's roots or those in the
    /// file `sslrootcert`) or `?sslmode=disable`. It is never shown in an error or a log; without a password in it, the
    /// environment's `PGPASSWORD` is used.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]; [`LedgerError::Damaged`] for a schema that this version can't use.
    pub async fn open(url: &str, options: PostgresOptions) -> Result<Self, LedgerError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if options.schema.is_empty() || options.schema.len() > 63 || !options.schema.chars().all(plain) {
            let message = "the schema's name may have up to 63 lower-case letters, digits and _";
            return Err(LedgerError::Unavailable(message.into()));
        }
        let connector = Connector {
            address: Arc::new(Address::read(url, options.limit)?),
            schema: options.schema.clone(),
            limit: options.limit,
            instance: Arc::new(Instance::new(options.clone())?),
        };
        let lost = Arc::new(Lost::default());
        // Turns start anywhere, so that a claim of another ledger's is not taken for one of this one's.
        let turns = AtomicI64::new(i64::from(u32::from_be_bytes(random()?)).saturating_mul(1 << 30));
        let worker = Worker::start(connector, options, Arc::clone(&lost)).await?;
        Ok(Self { worker, lost, turns })
    }

    /// A call on behalf of a claim that goes back unless its answer arrives.
    async fn held<T: Send + 'static>(
        &self,
        held: Left,
        work: impl AsyncFn(&Session, &Instance) -> Result<Done<T>, Failure> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.worker.call(Kind::Single, Some(self.lost.guard(held)), work).await
    }
}

fn held(claimed: &Claimed) -> Left {
    claimed.turn().into()
}

#[async_trait]
impl Claims for PostgresLedger {
    async fn claim(
        &self,
        payment: Bound,
        request: RequestId,
        keep_until: UnixTime,
    ) -> Result<Claim, LedgerError> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let left = Left { key: payment.key().clone(), turn, delivering: false };
        let new = claims::New::of(payment, request, turn, keep_until)?;
        let guard = self.lost.guard_unmade(left);
        let work = async move |db: &Session, me: &Instance| claims::claim(db, me, &new).await.map(Done::Keep);
        self.worker.call(Kind::Single, Some(guard), work).await
    }

    async fn recall(&self, key: &PaymentKey) -> Result<Option<Recalled>, LedgerError> {
        let key = key.clone();
        let work = async move |db: &Session, _: &Instance| claims::recall(db, &key).await.map(Done::Keep);
        self.worker.call(Kind::Read, None, work).await
    }

    async fn settling(&self, claimed: &Claimed) -> Result<(), LedgerError> {
        let turn = claimed.turn();
        let work = async move |db: &Session, me: &Instance| claims::settling(db, me, &turn).await;
        self.worker.call(Kind::Single, None, work).await
    }

    async fn pending(&self, claimed: Claimed, transaction: Option<&str>) -> Result<(), LedgerError> {
        let (turn, transaction) = (claimed.turn(), transaction.map(str::to_owned));
        self.held(held(&claimed), async move |db: &Session, me: &Instance| {
            claims::pending(db, me, &turn, transaction.as_deref()).await
        })
        .await
    }

    async fn settled(&self, claimed: Claimed, settlement: Settlement) -> Result<Paid, LedgerError> {
        if let Err(found) = claimed.check(&settlement) {
            let key = claimed.bound.key().to_string();
            // Such an answer says nothing about the money: the payment may be settled all the same.
            self.pending(claimed, None).await?;
            let expected = "a settlement of this payment";
            return Err(LedgerError::Conflict {
                key,
                found: format!("given one of which {found}"),
                expected,
            });
        }
        let turn = claimed.turn();
        let text = serde_json::to_string(&settlement)
            .map_err(|error| LedgerError::Damaged(format!("the settlement of {}: {error}", turn.key)))?;
        let transaction = settlement.transaction.clone();
        self.held(held(&claimed), async move |db: &Session, me: &Instance| {
            claims::settled(db, me, &turn, &text, transaction.as_deref()).await
        })
        .await?;
        Ok(Paid { claimed, settlement })
    }

    async fn deliver(&self, paid: Paid) -> Result<Delivery, LedgerError> {
        let (turn, left) = (paid.turn(), Left { delivering: true, ..held(&paid.claimed) });
        self.held(left, async move |db: &Session, me: &Instance| claims::deliver(db, me, &turn).await)
            .await?;
        Ok(Delivery { settlement: paid.settlement })
    }

    async fn undelivered(&self, paid: Paid) -> Result<(), LedgerError> {
        let turn = paid.turn();
        self.held(held(&paid.claimed), async move |db: &Session, me: &Instance| {
            claims::undelivered(db, me, &turn).await
        })
        .await
    }

    async fn release(&self, claimed: Claimed) -> Result<(), LedgerError> {
        let turn = claimed.turn();
        self.held(held(&claimed), async move |db: &Session, me: &Instance| {
            claims::release(db, me, &turn).await
        })
        .await
    }

    async fn abandon(&self, turn: &Turn) -> Result<(), LedgerError> {
        let left = Left::from(turn.clone());
        self.held(left.clone(), async move |db: &Session, me: &Instance| {
            claims::give_back(db, me, &left).await
        })
        .await
    }

    async fn forget(&self, now: UnixTime) -> Result<u64, LedgerError> {
        let mut forgotten = 0_u64;
        loop {
            let work = async move |db: &Session, me: &Instance| claims::forget(db, me, now).await;
            let part = self.worker.call(Kind::Single, None, work).await?;
            forgotten = forgotten.saturating_add(part);
            if part < claims::AT_ONCE {
                return Ok(forgotten);
            }
        }
    }
}

/// A number as Postgres keeps it; the end of time comes somewhat sooner there.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// Text as Postgres keeps it: it has no place for the character NUL.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
