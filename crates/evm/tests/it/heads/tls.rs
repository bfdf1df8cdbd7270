//! Announcements over TLS.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::node::Played;
use super::{Gauge, HOUR, Quiet};

/// Where the process that trusts the certificate finds it.
const PLACE: &str = "TOLLWAY_TEST_CERTIFICATE";

fn acceptor(place: &Path) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(place.join("certificate.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(place.join("key.pem")).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// What is trusted is the system's choice, here made by a variable for a process of its own.
#[tokio::test]
async fn over_tls_a_trusted_node_announces_and_another_does_not() {
    if let Some(place) = std::env::var_os(PLACE) {
        let (quiet, gauge) = (Quiet::new().await, Gauge::new());
        let mut node = Played::behind(acceptor(Path::new(&place))).await;
        let f = quiet.facilitator(HOUR, &node.url).await;
        let mut socket = node.subscribed().await;
        gauge.until(1).await;
        let settling = quiet.sent(&f, 1).await;
        quiet.rested().await;
        quiet.stack.chain.mine();
        socket.announce("0xcafe", 1).await;
        super::is_settled(settling).await;
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let certificate = place.path().join("certificate.pem");
    std::fs::write(&certificate, certified.cert.pem()).unwrap();
    std::fs::write(place.path().join("key.pem"), certified.signing_key.serialize_pem()).unwrap();

    let name = "heads::tls::over_tls_a_trusted_node_announces_and_another_does_not";
    let mut trusting = Command::new(std::env::current_exe().unwrap());
    trusting.args(["--exact", name]).env("SSL_CERT_FILE", &certificate).env(PLACE, place.path());
    let ran = trusting.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );

    let (quiet, gauge) = (Quiet::new().await, Gauge::new());
    let mut node = Played::behind(acceptor(place.path())).await;
    let f = quiet.facilitator(Duration::from_millis(10), &node.url).await;
    node.refused().await;
    gauge.until(0).await;
    quiet.settles(&f, 1).await;
}
