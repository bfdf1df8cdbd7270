//! The Solana clusters of `tollway dev` on this computer, for whoever pays on them.
//!
//! Dev's cluster has devnet's name, and a recent blockhash is all that ties a transaction to its cluster: a payer that asks
//! a public node signs for the other one. So each `tollway dev` leaves a note of its node, under the fee payer that its
//! facilitator has made up for this run. Only an offer that names this fee payer is paid through that node. On another
//! cluster nobody has its key, and what is signed with a blockhash of dev's is nothing there.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tollway_protocol::{Network, Secret};
use tollway_svm::programs;
use url::{Host, Url};

use crate::home;

/// The longest note, in bytes.
const LONGEST: u64 = 1_024;
/// How long a node of an earlier run may take to be found alive.
const ALIVE_WITHIN: Duration = Duration::from_millis(200);
/// The most notes that are looked at.
const MOST: usize = 64;

/// A cluster that runs.
#[derive(Debug, Serialize, Deserialize)]
struct Cluster {
    network: Network,
    rpc: String,
}

/// A note that is there for as long as this is.
pub(crate) struct Note(PathBuf);

impl Drop for Note {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::debug!(%error, "a note stays behind");
        }
    }
}

/// Leaves a note of a cluster's node, and takes away those of runs that are no more. None where there is no place for it:
/// payers then have to name the node.
pub(crate) fn announce(network: &Network, fee_payer: &str, rpc: &str) -> Option<Note> {
    let directory = directory(&home::directory().ok()?);
    sweep(&directory);
    let note = directory.join(fee_payer);
    let text = serde_json::to_vec(&Cluster { network: network.clone(), rpc: rpc.to_owned() }).ok()?;
    match write(&note, &text) {
        Ok(()) => Some(Note(note)),
        Err(error) => {
            tracing::debug!(%error, "no note of this cluster can be left");
            None
        }
    }
}

/// The node of the cluster whose facilitator pays with `fee_payer`, if it is `network` and one of dev's on this computer.
pub(crate) fn node(network: &Network, fee_payer: &str) -> Option<Secret<String>> {
    // As a file's name it has to be an address and nothing else.
    let name = programs::address(fee_payer).ok()?.to_string();
    home::directories().into_iter().find_map(|home| {
        let cluster = read(&directory(&home).join(&name))?;
        (cluster.network == *network).then(|| Secret::new(cluster.rpc))
    })
}

fn directory(home: &Path) -> PathBuf {
    home.join("dev-clusters")
}

fn write(note: &Path, text: &[u8]) -> std::io::Result<()> {
    if let Some(directory) = note.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // A new name each time: nobody else writes it.
    std::fs::File::create_new(note)?.write_all(text)
}

fn read(note: &Path) -> Option<Cluster> {
    let mut text = Vec::new();
    std::fs::File::open(note).ok()?.take(LONGEST).read_to_end(&mut text).ok()?;
    let cluster: Cluster = serde_json::from_slice(&text).ok()?;
    port(&cluster.rpc).map(|_| cluster)
}

/// The port of a node on this computer; none of any other.
fn port(rpc: &str) -> Option<u16> {
    let url = Url::parse(rpc).ok().filter(|url| url.scheme() == "http")?;
    matches!(url.host(), Some(Host::Ipv4(host)) if host.is_loopback()).then(|| url.port()).flatten()
}

/// Removes the notes of nodes that don't answer; what is no note stays.
fn sweep(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.take(MOST).flatten() {
        let is_named = entry.file_name().to_str().is_some_and(|name| programs::address(name).is_ok());
        let port = read(&entry.path()).filter(|_| is_named).and_then(|cluster| port(&cluster.rpc));
        let is_dead =
            |port| TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), ALIVE_WITHIN).is_err();
        if port.is_some_and(is_dead) {
            drop(Note(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_a_node_on_this_computer_or_it_is_none() {
        assert_eq!(port("http://127.0.0.1:4024"), Some(4024));
        for elsewhere in
            ["https://127.0.0.1:4024", "http://10.0.0.1:4024", "http://localhost.evil.example:80", "4024", ""]
        {
            assert_eq!(port(elsewhere), None, "{elsewhere}");
        }
        let home = tempfile::tempdir().unwrap();
        let note = home.path().join("note");
        std::fs::write(
            &note,
            r#"{"network":"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1","rpc":"http://1.2.3.4:1"}"#,
        )
        .unwrap();
        assert!(read(&note).is_none());
    }

    #[test]
    fn notes_of_runs_that_are_no_more_are_taken_away_and_nothing_else_is() {
        let home = tempfile::tempdir().unwrap();
        let living = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (one, other) = (programs::TOKEN.to_string(), programs::MEMO.to_string());
        let living_at = living.local_addr().unwrap();
        for (name, at) in [(&one, living_at), (&other, dead), (&"notes.txt".to_owned(), dead)] {
            let network = Network::named("solana-devnet").unwrap();
            let text = serde_json::to_vec(&Cluster { network, rpc: format!("http://{at}") }).unwrap();
            write(&home.path().join(name), &text).unwrap();
        }
        std::fs::write(home.path().join(programs::TOKEN_2022.to_string()), "something else").unwrap();
        sweep(home.path());
        assert!(home.path().join(&one).exists() && !home.path().join(&other).exists());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 3);
    }
}
