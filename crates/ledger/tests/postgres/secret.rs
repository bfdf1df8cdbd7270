//! Passwords, and the way they take.

use tollway_ledger::suite::postgres_server::{PostgresServer, Sync};
use tollway_ledger::{Journal as _, PostgresLedger, PostgresOptions};

use super::{brief, unavailable};

async fn refused(url: &str) -> String {
    let message = unavailable(PostgresLedger::open(url, brief()).await.map(drop));
    assert!(!message.contains("hunter2"), "{message}");
    message
}

/// Where the process that has its password in the environment finds its database.
const CHILD: &str = "TOLLWAY_LEDGER_URL_OF_CHILD";

/// Not a test: that process.
#[tokio::test]
async fn child() {
    if let Ok(url) = std::env::var(CHILD) {
        PostgresLedger::open(&url, brief()).await.unwrap().healthy().await.unwrap();
    }
}

#[tokio::test]
async fn i16_a_url_is_never_shown() {
    for url in [
        "hunter2",
        "mysql://u:hunter2@127.0.0.1/d",
        "postgres://u:hunter2@127.0.0.1:hunter2/d",
        "postgres://u:%hunter2@127.0.0.1:port/d",
        "postgres://u:p?hunter2@127.0.0.1/d",
        "postgres://u:p@127.0.0.1/d?hunter2=1",
        "postgres://u:p@127.0.0.1/d?sslmode=hunter2",
        "postgres://u:hunter2@127.0.0.1:1/d",
        "postgres://u:hunter2@127.0.0.1:1/d?sslmode=require",
        "postgres://u:hunter2@database.invalid/d?sslmode=disable",
    ] {
        refused(url).await;
    }
    let ledger = PostgresLedger::open(&PostgresServer::shared().database(), brief()).await.unwrap();
    assert!(!format!("{ledger:?} {:?}", PostgresOptions::default()).contains("postgres@"));
}

#[tokio::test]
async fn a_database_elsewhere_is_reached_by_tls_or_not_at_all() {
    for mode in ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=verify-ca"] {
        assert!(refused(&format!("postgres://u:hunter2@database.invalid/d{mode}")).await.contains("sslmode"));
    }
    let schema = PostgresOptions { schema: "a\"; DROP".into(), ..brief() };
    unavailable(PostgresLedger::open("postgres://u@127.0.0.1/d", schema).await.map(drop));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_checked_and_a_password_goes_with_it() {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let server = PostgresServer::start(Sync::Off, &[]);
    server.put("server.crt", &certified.cert.pem());
    server.put("server.key", &certified.signing_key.serialize_pem());
    server.put("pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
    server.execute("postgres", "CREATE ROLE app LOGIN PASSWORD 'hunter2'");
    server.execute("postgres", "GRANT CREATE ON DATABASE postgres TO app");
    server.execute("postgres", "ALTER SYSTEM SET ssl = on");
    server.execute("postgres", "SELECT pg_reload_conf()");

    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), certified.cert.pem()).unwrap();
    let root = roots.path().display().to_string().replace('/', "%2F");
    let url = |user: &str, host: &str, query: &str| {
        format!("postgres://{user}@{host}:{}/postgres?hostaddr=127.0.0.1&{query}", server.port())
    };
    let checked = format!("sslmode=verify-full&sslrootcert={root}");
    let mut opened = PostgresLedger::open(&url("app:hunter2", "localhost", &checked), brief()).await;
    // The settings take effect a moment after they were made.
    for _ in 0..1_000 {
        if opened.is_ok() {
            break;
        }
        opened = PostgresLedger::open(&url("app:hunter2", "localhost", &checked), brief()).await;
    }
    opened.unwrap().healthy().await.unwrap();

    let by_environment = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["secret::child", "--exact"])
        .env(CHILD, url("app", "localhost", &checked))
        .env("PGPASSWORD", "hunter2")
        .status();
    assert!(by_environment.unwrap().success());

    assert!(refused(&url("app:hunter2x", "localhost", &checked)).await.contains("password"));
    let anyone = refused(&url("app:hunter2", "localhost", "sslmode=require")).await;
    assert!(anyone.contains("certificate"), "{anyone}");
    let elsewhere = refused(&url("app:hunter2", "database.test", &checked)).await;
    assert!(elsewhere.contains("certificate"), "{elsewhere}");
    assert!(refused(&url("app:hunter2", "localhost", "sslmode=disable")).await.contains("no encryption"));
}
