//! The tables, and how one build's become the next one's while both run.
//!
//! Every step only adds, so that the build before it goes on with the tables that it knows, or says from which
//! version on a build can do with them (`compatible_from`). A build refuses a store only when that is later than itself.

use std::time::Duration;

use tokio::time::sleep;

use super::failure::{Failure, get};
use super::session::{Connector, Session};
use crate::LedgerError;

/// A step from one version to the next, never edited once released.
#[derive(Debug, Clone, Copy)]
struct Step {
    sql: &'static str,
    /// The earliest version whose build can use the tables after it.
    compatible_from: i32,
}

const STEPS: &[Step] = &[
    Step { sql: FIRST, compatible_from: 1 },
    Step { sql: SECOND, compatible_from: 1 },
    Step { sql: THIRD, compatible_from: 1 },
    Step { sql: FOURTH, compatible_from: 1 },
];

const FIRST: &str = "
CREATE TABLE instances (
    id bytea PRIMARY KEY,
    alive_until bigint NOT NULL,
    beat bigint NOT NULL
);

CREATE TABLE claims (
    key text COLLATE \"C\" PRIMARY KEY,
    network text NOT NULL,
    request bytea NOT NULL,
    terms bytea NOT NULL,
    presented bytea NOT NULL,
    offer text NOT NULL,
    state text NOT NULL CHECK (state IN ('claimed', 'settling', 'settled', 'delivered')),
    holder bytea,
    turn bigint NOT NULL,
    hash text,
    settlement text,
    keep_until bigint NOT NULL,
    CHECK ((state IN ('settled', 'delivered')) = (settlement IS NOT NULL))
);
CREATE INDEX claims_forgettable ON claims (keep_until) WHERE state IN ('claimed', 'delivered');

CREATE TABLE transactions (
    id bigserial PRIMARY KEY,
    network text NOT NULL,
    signer text NOT NULL,
    nonce bigint NOT NULL CHECK (nonce >= 0),
    hash text NOT NULL,
    raw bytea NOT NULL,
    sent boolean NOT NULL DEFAULT false,
    replaced boolean NOT NULL DEFAULT false,
    members bigint NOT NULL,
    hour bigint NOT NULL,
    bid bigint NOT NULL,
    counted bigint NOT NULL,
    block bigint,
    fee bigint,
    UNIQUE (network, hash),
    CHECK ((block IS NULL) = (fee IS NULL))
);
CREATE INDEX transactions_by_nonce ON transactions (network, lower(signer), nonce);
CREATE UNIQUE INDEX transactions_latest ON transactions (network, lower(signer), nonce) WHERE NOT replaced;

CREATE TABLE settlements (
    id bigserial PRIMARY KEY,
    key text COLLATE \"C\" NOT NULL UNIQUE,
    network text NOT NULL,
    payer text NOT NULL,
    state text NOT NULL CHECK (state IN ('prepared', 'signed', 'broadcast', 'settled', 'failed')),
    holder bytea,
    request text NOT NULL,
    latest bigint REFERENCES transactions (id) DEFERRABLE INITIALLY DEFERRED,
    hash text,
    block bigint,
    is_final boolean NOT NULL DEFAULT false,
    reason text,
    message text,
    reverts bigint NOT NULL DEFAULT 0,
    created bigint NOT NULL,
    ended bigint,
    CHECK (state <> 'settled' OR (hash IS NOT NULL AND block IS NOT NULL)),
    CHECK ((state = 'failed') = (reason IS NOT NULL)),
    CHECK (block IS NULL OR state = 'settled'),
    CHECK (state = 'settled' OR is_final = (state = 'failed')),
    CHECK ((state IN ('settled', 'failed')) = (ended IS NOT NULL)),
    CHECK (ended IS NULL OR holder IS NULL)
);
CREATE INDEX settlements_unfinished ON settlements (network, id)
    WHERE state IN ('prepared', 'signed', 'broadcast');
CREATE INDEX settlements_not_final ON settlements (network, block) WHERE state = 'settled' AND NOT is_final;
CREATE INDEX settlements_by_time ON settlements (created);
CREATE INDEX settlements_reverted ON settlements (network, payer, created) WHERE reverts > 0;

CREATE TABLE carried (
    carrier bigint NOT NULL REFERENCES transactions (id),
    place bigint NOT NULL,
    settlement bigint NOT NULL REFERENCES settlements (id),
    reverted boolean NOT NULL DEFAULT false,
    PRIMARY KEY (carrier, place)
);
CREATE UNIQUE INDEX carried_by_settlement ON carried (settlement, carrier);

CREATE TABLE leases (
    network text NOT NULL,
    signer text NOT NULL CHECK (signer = lower(signer)),
    holder bytea,
    turn bigint NOT NULL,
    PRIMARY KEY (network, signer)
);

CREATE TABLE gas (
    network text NOT NULL,
    hour bigint NOT NULL,
    gwei bigint NOT NULL,
    PRIMARY KEY (network, hour)
);
";

/// Nothing is rewritten: everyone waits for a moment only.
const SECOND: &str =
    "ALTER TABLE settlements ADD COLUMN told boolean NOT NULL DEFAULT false, ADD COLUMN claim bytea";

/// Writers wait while all rows are looked at, none of which is in the index yet; readers don't, which is why it is a
/// step of its own.
const THIRD: &str = "CREATE UNIQUE INDEX settlements_claimed ON settlements (network, claim)
    WHERE claim IS NOT NULL AND state <> 'failed'";

/// Nothing is rewritten here either.
const FOURTH: &str = "ALTER TABLE settlements ADD COLUMN asker bytea;
    ALTER TABLE claims ADD COLUMN idempotency_key text";

/// The longest that a migration takes, waiting for those of other processes included.
const MIGRATION: Duration = Duration::from_secs(120);
/// How often to wait for other processes' locks.
const TRIES: u32 = 100;

fn version() -> i32 {
    i32::try_from(STEPS.len()).unwrap_or(i32::MAX)
}

/// Whether this build can use a store that asks for `compatible_from`.
pub(super) fn fits(compatible_from: i32) -> Result<(), LedgerError> {
    if compatible_from <= version() {
        return Ok(());
    }
    Err(LedgerError::Damaged(format!(
        "its schema needs version {compatible_from}, this build knows up to {}: use a newer build",
        version()
    )))
}

/// Connects to a store whose schema this build can use, bringing it up to date first.
pub(super) async fn open(connector: &Connector) -> Result<Session, LedgerError> {
    let opened = async {
        let (session, schema) = (connector.connect().await?, connector.schema.as_str());
        if !connector.in_time(connector.limit, is_current(&session, schema, STEPS)).await? {
            connector.in_time(MIGRATION, migrate(&session, schema, STEPS)).await?;
        }
        Ok(session)
    };
    opened.await.map_err(|failure: Failure| failure.into())
}

async fn is_current(db: &Session, schema: &str, steps: &[Step]) -> Result<bool, Failure> {
    Ok(known(db, schema).await?.is_some_and(|known| known >= steps.len()))
}

async fn migrate(db: &Session, schema: &str, steps: &[Step]) -> Result<(), Failure> {
    let mut tries = 0;
    while !is_current(db, schema, steps).await? {
        match step(db, schema, steps).await {
            Ok(()) => {}
            // Someone's long transaction: others must not queue behind this one, so it comes again.
            Err(failure) if (failure.is_locked_out() || failure.is_crossed()) && tries < TRIES => {
                tries += 1;
                sleep(Duration::from_millis(100)).await;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}

/// The store's version, if it has the tables; refuses one that is too new.
async fn known(db: &Session, schema: &str) -> Result<Option<usize>, Failure> {
    let sql = "SELECT to_regclass(format('%I.schema', $1::text)) IS NOT NULL AS made";
    let made = db.row(sql, &[&schema]).await?;
    if !made.map_or(Ok(false), |row| get(&row, "made"))? {
        return Ok(None);
    }
    let row = db.row("SELECT version, compatible_from FROM schema", &[]).await?;
    let Some(row) = row else { return Ok(None) };
    fits(get(&row, "compatible_from")?)?;
    Ok(Some(usize::try_from(get::<i32>(&row, "version")?).unwrap_or_default()))
}

/// Takes the next step, unless another process has by now.
async fn step(db: &Session, schema: &str, steps: &[Step]) -> Result<(), Failure> {
    let result = async {
        db.batch("BEGIN; SET LOCAL lock_timeout = '500ms'; SET LOCAL statement_timeout = '60s'").await?;
        // One after the other, whatever they find; the lock goes with the transaction.
        db.query(
            "SELECT pg_advisory_xact_lock(hashtextextended($1::text || ' tollway schema', 0))",
            &[&schema],
        )
        .await?;
        let there = "SELECT 1 FROM pg_namespace WHERE nspname = $1::text";
        if db.row(there, &[&schema]).await?.is_none() {
            db.batch(&format!("CREATE SCHEMA {schema}")).await?;
        }
        let known = known(db, schema).await?;
        if known.is_none() {
            db.batch(
                "CREATE TABLE schema (
                     one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL,
                     compatible_from integer NOT NULL
                 );
                 INSERT INTO schema (version, compatible_from) VALUES (0, 0)",
            )
            .await?;
        }
        let known = known.unwrap_or_default();
        if let Some(step) = steps.get(known) {
            db.batch(step.sql).await?;
            let next = i32::try_from(known).unwrap_or(i32::MAX).saturating_add(1);
            let sql = "UPDATE schema SET version = $1, compatible_from = greatest(compatible_from, $2)";
            db.execute(sql, &[&next, &step.compatible_from]).await?;
        }
        db.batch("COMMIT").await
    };
    match result.await {
        Err(failure) if !failure.is_disconnected() => {
            db.batch("ROLLBACK").await?;
            Err(failure)
        }
        result => result,
    }
}

#[cfg(test)]
#[cfg(feature = "suite")]
mod tests {
    use std::sync::Arc;

    use super::super::PostgresOptions;
    use super::super::address::Address;
    use super::super::instance::Instance;
    use super::*;
    use crate::suite::postgres_server::PostgresServer;

    /// As this build's successors might go on.
    const NEXT: [Step; 6] = [
        STEPS[0],
        STEPS[1],
        STEPS[2],
        STEPS[3],
        Step { sql: "ALTER TABLE claims ADD COLUMN memo text NOT NULL DEFAULT ''", compatible_from: 1 },
        Step { sql: "ALTER TABLE claims DROP COLUMN network", compatible_from: 6 },
    ];

    fn connector(database: &str) -> Connector {
        let options = PostgresOptions::default();
        Connector {
            address: Arc::new(Address::read(database, options.limit).unwrap()),
            schema: "tollway".into(),
            limit: options.limit,
            instance: Arc::new(Instance::new(options).unwrap()),
        }
    }

    async fn versions(db: &Session) -> (i32, i32) {
        let row = db.row("SELECT version, compatible_from FROM schema", &[]).await.unwrap().unwrap();
        (get(&row, "version").unwrap(), get(&row, "compatible_from").unwrap())
    }

    #[tokio::test]
    async fn a_newer_build_moves_the_store_on_while_this_one_can_use_it() {
        let connector = connector(&PostgresServer::shared().database());
        let this = open(&connector).await.unwrap();
        assert_eq!(versions(&this).await, (4, 1));
        let next = connector.connect().await.unwrap();
        migrate(&next, "tollway", &NEXT[..5]).await.unwrap();
        assert_eq!(versions(&next).await, (5, 1));
        // This build goes on, and does not take the store back.
        open(&connector).await.unwrap();
        assert_eq!(versions(&this).await, (5, 1));
        migrate(&next, "tollway", &NEXT).await.unwrap_err();
        assert_eq!(versions(&next).await, (6, 6));
        assert!(matches!(open(&connector).await, Err(LedgerError::Damaged(_))));
    }

    #[tokio::test]
    async fn many_builds_migrate_at_once_step_by_step() {
        let connector = connector(&PostgresServer::shared().database());
        let all = (0..8).map(async |n| {
            let db = connector.connect().await.unwrap();
            migrate(&db, "tollway", &NEXT[..1 + n % 5]).await
        });
        for migrated in futures_util::future::join_all(all).await {
            migrated.unwrap();
        }
        assert_eq!(versions(&connector.connect().await.unwrap()).await, (5, 1));
    }

    #[tokio::test]
    async fn a_migration_waits_for_a_long_transaction_without_blocking_the_others() {
        let connector = connector(&PostgresServer::shared().database());
        let this = open(&connector).await.unwrap();
        this.batch("BEGIN; SELECT 1 FROM claims").await.unwrap();
        let next = connector.connect().await.unwrap();
        let migrated = step(&next, "tollway", &NEXT[..5]).await.unwrap_err();
        assert!(migrated.is_locked_out(), "{migrated}");
        // What waited is out of the way again.
        let other = connector.connect().await.unwrap();
        other.batch("SELECT 1 FROM claims").await.unwrap();
        let (migrated, done) =
            tokio::join!(migrate(&next, "tollway", &NEXT[..5]), async { this.batch("COMMIT").await });
        migrated.unwrap();
        done.unwrap();
        assert_eq!(versions(&next).await, (5, 1));
    }

    /// As the build of the first version takes a payment, and ends it.
    const TAKE: &str = "INSERT INTO settlements (key, network, payer, state, request, created)
                        VALUES ($1, 'eip155:84532', 'p', 'broadcast', '{}', 1)";
    const SETTLE: &str = "UPDATE settlements SET state = 'settled', hash = '0x1', block = 5, ended = 2,
                              holder = NULL WHERE key = $1";
    const FAIL: &str = "UPDATE settlements SET state = 'failed', reason = 'r', is_final = true, ended = 2,
                            holder = NULL WHERE key = $1";
    const CLAIM: &str = "UPDATE settlements SET claim = 'memo' WHERE key = $1";

    #[tokio::test]
    async fn fa02_a_build_of_the_first_version_goes_on_beside_this_one_and_frees_claims() {
        use crate::{Journal as _, PostgresLedger};
        use tollway_protocol::bind::PaymentKey;

        let url = PostgresServer::shared().database();
        let connector = connector(&url);
        let before = connector.connect().await.unwrap();
        migrate(&before, "tollway", &STEPS[..1]).await.unwrap();
        before.execute(TAKE, &[&"k1"]).await.unwrap();
        before.execute(SETTLE, &[&"k1"]).await.unwrap();
        let ledger = PostgresLedger::open(&url, PostgresOptions::default()).await.unwrap();
        assert_eq!(versions(&before).await, (4, 1));
        let key = |key: &str| PaymentKey::stored(key.into());
        // What was settled before anyone noted who was told.
        assert!(!ledger.settlement(&key("k1")).await.unwrap().unwrap().told);
        assert_eq!(ledger.tell(&key("k1"), None).await, Ok(true));
        // Its statements were planned before the migration.
        for k in ["k2", "k3"] {
            before.execute(TAKE, &[&k]).await.unwrap();
        }
        before.execute(SETTLE, &[&"k2"]).await.unwrap();
        assert_eq!(
            (ledger.tell(&key("k2"), None).await, ledger.tell(&key("k2"), None).await),
            (Ok(true), Ok(false))
        );
        before.execute(CLAIM, &[&"k2"]).await.unwrap();
        let crossed = before.execute(CLAIM, &[&"k3"]).await.unwrap_err();
        assert!(crossed.is_crossed(), "{crossed}");
        before.execute(TAKE, &[&"k4"]).await.unwrap();
        before.execute("UPDATE settlements SET claim = 'other' WHERE key = $1", &[&"k4"]).await.unwrap();
        let again = "UPDATE settlements SET claim = 'other' WHERE key = $1 ";
        before.execute(again, &[&"k3"]).await.unwrap_err();
        before.execute(FAIL, &[&"k4"]).await.unwrap();
        before.execute(again, &[&"k3"]).await.unwrap();
    }
}
