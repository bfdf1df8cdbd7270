//! The cluster's node, behind a door that can be shut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tollway_devnet::svm::{self, Chain, Server};

/// A node that outlives the facilitators.
pub(crate) struct Node {
    address: std::net::SocketAddr,
    is_away: watch::Sender<bool>,
    _server: Server,
}

impl Node {
    pub(crate) async fn of(chain: Chain) -> Self {
        let server = svm::serve(chain, TcpListener::bind("127.0.0.1:0").await.unwrap()).unwrap();
        let behind = url::Url::parse(&server.url()).unwrap().socket_addrs(|| None).unwrap()[0];
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.local_addr().unwrap();
        let is_away = watch::Sender::new(false);
        let shut = is_away.subscribe();
        tokio::spawn(async move {
            while let Ok((inside, _)) = door.accept().await {
                let mut shut = shut.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _ = shut.wait_for(|is_away| *is_away) => {}
                        () = pass(inside, behind) => {}
                    }
                });
            }
        });
        Self { address, is_away, _server: server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts every connection, and each new one at once; or lets them through again.
    pub(crate) fn away(&self, is_away: bool) {
        self.is_away.send_replace(is_away);
    }
}

async fn pass(mut inside: TcpStream, behind: std::net::SocketAddr) {
    let Ok(mut outside) = TcpStream::connect(behind).await else { return };
    // However it ends, it has ended.
    let _ = copy_bidirectional(&mut inside, &mut outside).await;
}
