//! Where the database is, and whether the way there is encrypted.

use std::net::IpAddr;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failure::Failure;
use crate::LedgerError;

/// What was read of a URL. Nothing here is ever printed: it holds the password.
pub(super) struct Address {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

fn wrong(why: &str) -> LedgerError {
    // Never the URL, nor what its parser says: either may show a part of the password.
    LedgerError::Unavailable(format!("the database's URL can't be used: {why}"))
}

/// What the URL says of TLS.
#[derive(Default)]
struct Wanted {
    mode: Option<String>,
    roots: Option<String>,
}

/// Takes out what the client library doesn't know.
fn split(url: &str) -> (String, Wanted) {
    let mut wanted = Wanted::default();
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), wanted) };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        let decoded = |value: &str| percent_decode_str(value).decode_utf8_lossy().into_owned();
        match pair.split_once('=') {
            Some(("sslmode", value)) => wanted.mode = Some(decoded(value)),
            Some(("sslrootcert", value)) => wanted.roots = Some(decoded(value)),
            _ => kept.push(pair),
        }
    }
    let kept = kept.join("&");
    (if kept.is_empty() { base.to_owned() } else { format!("{base}?{kept}") }, wanted)
}

/// Whether all of it stays on this machine.
fn is_local(config: &Config) -> bool {
    let by_name = |host: &Host| match host {
        Host::Tcp(name) => name == "localhost" || IpAddr::from_str(name).is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(by_name) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

impl Address {
    /// Reads `postgres://user:password@host:port/database?sslmode=...`.
    pub(super) fn read(url: &str, limit: Duration) -> Result<Self, LedgerError> {
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(wrong("it has to begin with postgres://"));
        }
        let (url, wanted) = split(url);
        let mut config = Config::from_str(&url).map_err(|_| {
            wrong("it has to read postgres://user:password@host:port/database, with other characters escaped")
        })?;
        let tls = match wanted.mode.as_deref() {
            Some("require" | "verify-full") => Some(tls(wanted.roots.as_deref())?),
            Some("disable") => None,
            None if is_local(&config) => None,
            // Anyone between the two could talk an optional TLS away.
            None | Some(_) => {
                return Err(wrong(
                    "a database elsewhere needs sslmode=require or verify-full, which here are the same, \
                     or sslmode=disable on a network that is trusted",
                ));
            }
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        config.connect_timeout(limit).tcp_user_timeout(limit);
        // In whole seconds.
        config.keepalives_idle(limit.max(Duration::from_secs(1)));
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("tollway");
        }
        Ok(Self { config, tls })
    }

    /// Connects; the connection is driven by a task of the current runtime.
    pub(super) async fn connect(&self) -> Result<(Client, Drive), Failure> {
        match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                Ok((client, drive(connection)))
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                Ok((client, drive(connection)))
            }
        }
    }
}

/// Moves a connection's bytes, until it is dropped.
pub(super) struct Drive(JoinHandle<()>);

impl Drop for Drive {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn drive(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) -> Drive {
    Drive(tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %Failure::from(error), "a connection to the database ended");
        }
    }))
}

/// Certificates are checked against these roots, or the system's.
fn tls(roots: Option<&str>) -> Result<MakeRustlsConnect, LedgerError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error.to_string()))?;
    let builder = match roots {
        None => builder.with_platform_verifier().map_err(|error| wrong(&error.to_string()))?,
        Some(path) => {
            let unreadable = |error| wrong(&format!("sslrootcert: {error}"));
            let mut store = RootCertStore::empty();
            for root in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                store.add(root.map_err(unreadable)?).map_err(|error| wrong(&error.to_string()))?;
            }
            if store.is_empty() {
                return Err(wrong("sslrootcert: there is no certificate in it"));
            }
            builder.with_root_certificates(store)
        }
    };
    Ok(MakeRustlsConnect::new(builder.with_no_client_auth()))
}
