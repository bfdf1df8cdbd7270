//! The database: how a connection is set up, and the tables.

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::Failure;
use crate::LedgerError;

/// "toll" in ASCII: says whose file it is.
const APPLICATION_ID: i64 = 0x746f_6c6c;

/// How long to wait for another process's transaction.
const BUSY: Duration = Duration::from_secs(5);

/// One step for each schema version, never edited once released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
];

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// In a file.
    File(PathBuf),
    /// Nowhere: it goes with its connection.
    Memory,
}

impl Source {
    /// A connection that writes, to a database of the newest schema.
    pub(super) fn writer(&self) -> Result<Connection, Failure> {
        let mut connection = match self {
            Self::File(path) => Connection::open(path)?,
            Self::Memory => Connection::open_in_memory()?,
        };
        self.set_up(&connection)?;
        migrate(&mut connection)?;
        Ok(connection)
    }

    /// A connection that writes, to a database that is there already. Never makes one: an empty ledger
    /// in the place of one that is gone would let every payment be used again.
    pub(super) fn again(&self) -> Result<Connection, Failure> {
        let connection = self.existing()?;
        if known(&connection)? != MIGRATIONS.len() {
            return Err(LedgerError::Damaged("the file was replaced while it was in use".into()).into());
        }
        self.set_up(&connection)?;
        Ok(connection)
    }

    fn set_up(&self, connection: &Connection) -> Result<(), Failure> {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(128);
        known(connection)?;
        if matches!(self, Self::File(_)) {
            write_ahead(connection)?;
        }
        keep_plans(connection)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "fullfsync", true)?;
        connection.pragma_update(None, "checkpoint_fullfsync", true)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        Ok(())
    }

    /// A connection that reads what a writer made.
    pub(super) fn reader(&self) -> Result<Connection, Failure> {
        let connection = self.existing()?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(128);
        keep_plans(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        known(&connection)?;
        Ok(connection)
    }

    fn existing(&self) -> Result<Connection, Failure> {
        let Self::File(path) = self else {
            return Err(LedgerError::Unavailable("a memory database has one connection".into()).into());
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        Ok(Connection::open_with_flags(path, flags)?)
    }
}

/// Has statements planned once: else the planner looks at bound values, and prepares some anew at every call.
fn keep_plans(connection: &Connection) -> Result<(), Failure> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, Failure> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

/// Refuses a database of someone else's, or of a later version, before anything is written to it;
/// says which version it has.
fn known(connection: &Connection) -> Result<usize, Failure> {
    // One snapshot: another process may be making the tables just now.
    connection.execute_batch("SAVEPOINT known")?;
    let read = || {
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((pragma(connection, "application_id")?, pragma(connection, "user_version")?, tables))
    };
    let found: Result<(i64, i64, i64), Failure> = read();
    connection.execute_batch("RELEASE known")?;
    let (application, version, tables) = found?;
    if application != APPLICATION_ID && (application, version, tables) != (0, 0, 0) {
        return Err(LedgerError::Damaged("the file is a database, but not a Tollway ledger".into()).into());
    }
    match usize::try_from(version) {
        Ok(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => Err(LedgerError::Damaged(format!(
            "its schema has version {version}, this build knows up to {}: use a newer build",
            MIGRATIONS.len()
        ))
        .into()),
    }
}

/// Switches to the write-ahead log. `SQLite` doesn't wait for others here, so this does.
fn write_ahead(connection: &Connection) -> Result<(), Failure> {
    let mut tries = 0;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => {
                let message = format!("the file system can't hold a write-ahead log (journal mode {mode})");
                return Err(LedgerError::Unavailable(message).into());
            }
            Err(error) if super::is_busy(&error) && tries < 100 => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn migrate(connection: &mut Connection) -> Result<(), Failure> {
    if known(connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been here while this one waited.
    let version = known(&transaction)?;
    for step in MIGRATIONS.iter().skip(version) {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX))?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damaged(result: Result<Connection, Failure>) -> String {
        match result.map_err(LedgerError::from) {
            Err(LedgerError::Damaged(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::File(folder.path().join("ledger.db"));
        source.writer().unwrap().pragma_update(None, "user_version", 99).unwrap();
        assert!(damaged(source.writer()).contains("version 99"));
    }

    /// A ledger of the first version, with a settlement in each state.
    fn first_version(path: &std::path::Path) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection
            .execute_batch(
                r#"
INSERT INTO settlements (id, key, network, state, request, hash, reason, message, created) VALUES
    (1, 'k1', 'eip155:84532', 'prepared', '{}', NULL, NULL, NULL, 10),
    (2, 'k2', 'eip155:84532', 'broadcast',
     '{"paymentPayload": {"payload": {"authorization": {"from": "0xAB"}}}}', NULL, NULL, NULL, 11),
    (4, 'k4', 'eip155:84532', 'settled', '{}', '0xd1', NULL, NULL, 12),
    (5, 'k5', 'eip155:84532', 'failed', '{}', NULL, 'insufficient_funds', 'no', 13);
INSERT INTO transactions (id, settlement, network, signer, nonce, hash, raw, sent, replaced, rejected) VALUES
    (1, 1, 'eip155:84532', '0xCD', 7, '0xa1', x'01', 0, 0, 1),
    (2, 2, 'eip155:84532', '0xCD', 7, '0xb1', x'02', 1, 1, 0),
    (3, 2, 'eip155:84532', '0xCD', 7, '0xb2', x'03', 1, 0, 0),
    (4, 4, 'eip155:84532', '0xCD', 8, '0xd1', x'04', 1, 0, 0);
INSERT INTO claims (key, network, request, terms, presented, offer, state, turn, keep_until)
VALUES ('c', 'eip155:84532', x'01', x'02', x'03', '{}', 'settling', 1, 99);
"#,
            )
            .unwrap();
    }

    #[tokio::test]
    async fn i10_a_ledger_of_the_first_version_goes_on() {
        use crate::{Holder, Journal as _, JournalState, SqliteLedger};
        use tollway_protocol::Network;
        use tollway_protocol::bind::PaymentKey;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        first_version(&path);
        let ledger = SqliteLedger::open(&path).unwrap();
        let network = Network::eip155(84_532);
        let record =
            async |key: &str| ledger.settlement(&PaymentKey::stored(key.into())).await.unwrap().unwrap();
        let open: Vec<_> = ledger.open(&network).await.unwrap().iter().map(|r| (r.id, r.state)).collect();
        assert_eq!(open, [(1, JournalState::Prepared), (2, JournalState::Broadcast)]);
        let sent = record("k2").await;
        assert_eq!(
            (sent.payer.as_str(), sent.hash.as_deref(), sent.holder),
            ("0xab", Some("0xb2"), Holder::Nobody)
        );
        let told = ledger.history(&sent.key).await.unwrap();
        let told: Vec<_> =
            told.iter().map(|a| (a.transaction.raw[0], a.sent, a.replaced, a.carries.clone())).collect();
        assert_eq!(told, [(2, true, true, vec![sent.key.clone()]), (3, true, false, vec![sent.key])]);
        // What no node took had a nonce that it never spent.
        assert_eq!(ledger.history(&record("k1").await.key).await.unwrap(), []);
        assert_eq!(ledger.next_nonce(&network, "0xcd").await.unwrap(), Some(9));
        let settled = record("k4").await;
        assert_eq!((settled.hash.as_deref(), settled.is_final, settled.block), (Some("0xd1"), true, None));
        assert!(record("k5").await.is_final);
        assert_eq!(ledger.take_over(&network, 9).await.unwrap().len(), 2);
        drop(ledger);
        let connection = Source::File(path).writer().unwrap();
        let claims: i64 = connection.query_row("SELECT count(*) FROM claims", [], |row| row.get(0)).unwrap();
        assert_eq!(claims, 1);
        assert!(!connection.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap());
    }

    #[test]
    fn a_process_of_the_first_version_can_write_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        first_version(&path);
        let before = Connection::open(&path).unwrap();
        let old = "INSERT INTO settlements (key, network, state, request, created) VALUES ('k9', 'n', 'prepared', '', 1)";
        before.execute_batch("BEGIN; SAVEPOINT try").unwrap();
        before.execute(old, []).unwrap();
        before.execute_batch("ROLLBACK").unwrap();
        drop(Source::File(path).writer().unwrap());
        assert!(before.execute(old, []).is_err());
        assert!(before.execute("UPDATE transactions SET rejected = 1", []).is_err());
    }

    #[test]
    fn fa02_a_process_of_the_second_version_goes_on_and_frees_claims() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let before = Connection::open(&path).unwrap();
        for step in &MIGRATIONS[..2] {
            before.execute_batch(step).unwrap();
        }
        before.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        before.pragma_update(None, "user_version", 2).unwrap();
        let take = "INSERT INTO settlements (key, network, payer, state, request, created)
                    VALUES (?1, 'n', 'p', 'broadcast', '{}', 1)";
        before.prepare_cached(take).unwrap().execute(["k1"]).unwrap();
        let this = Source::File(path).writer().unwrap();
        assert_eq!(pragma(&this, "user_version").unwrap(), 4);
        // Its statements were planned before the migration.
        for key in ["k2", "k3"] {
            before.prepare_cached(take).unwrap().execute([key]).unwrap();
        }
        let claim = |key| this.execute("UPDATE settlements SET claim = x'01' WHERE key = ?1", [key]);
        claim("k1").unwrap();
        claim("k2").unwrap_err();
        before.execute("UPDATE settlements SET state = 'settled', hash = 'h' WHERE key = 'k1'", []).unwrap();
        claim("k2").unwrap_err();
        let fail = "UPDATE settlements SET state = 'failed', reason = 'r', is_final = 1 WHERE key = 'k2'";
        before.execute("UPDATE settlements SET state = 'broadcast' WHERE key = 'k1'", []).unwrap();
        before.execute(&fail.replace("k2", "k1"), []).unwrap();
        claim("k2").unwrap();
        claim("k3").unwrap_err();
        before.execute(fail, []).unwrap();
        claim("k3").unwrap();
        let told: i64 = this.query_row("SELECT sum(told) FROM settlements", [], |row| row.get(0)).unwrap();
        assert_eq!(told, 0);
    }

    #[test]
    fn another_programs_database_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine (a)").unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(damaged(Source::File(path.clone()).writer()).contains("not a Tollway ledger"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_no_database_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        std::fs::write(&path, "x".repeat(4096)).unwrap();
        damaged(Source::File(path).writer());
    }

    #[test]
    fn commits_are_synced_in_full() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Source::File(folder.path().join("ledger.db")).writer().unwrap();
        assert_eq!(pragma(&connection, "synchronous").unwrap(), 2);
        assert_eq!(pragma(&connection, "foreign_keys").unwrap(), 1);
        assert_eq!(pragma(&connection, "application_id").unwrap(), APPLICATION_ID);
    }

    #[test]
    fn many_processes_may_make_the_file_at_once() {
        let folder = tempfile::tempdir().unwrap();
        for round in 0..20 {
            let source = Source::File(folder.path().join(format!("{round}.db")));
            std::thread::scope(|scope| {
                for opened in (0..8).map(|_| scope.spawn(|| source.writer())).collect::<Vec<_>>() {
                    opened.join().unwrap().map_err(LedgerError::from).unwrap();
                }
            });
        }
    }
}
