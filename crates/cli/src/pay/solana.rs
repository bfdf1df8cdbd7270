//! The account that pays on Solana, and whom it asks for a recent blockhash.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tollway_protocol::door::{Address, UnixTime};
use tollway_protocol::scheme::{PayerScheme, SignError, Signed};
use tollway_protocol::{Network, Offer, Secret};
use tollway_svm::ExactPayer;
use tollway_svm::keys::Key;
use tollway_svm::node::Nodes;

use super::PayArgs;
use crate::exit::Failure;
use crate::{nearby, rpc};

/// How long a node may take.
const WITHIN: Duration = Duration::from_secs(15);

/// Pays through the node that was given for a network, else through dev's on this computer when the offer is of dev's
/// cluster, else through a public one.
pub(super) struct OnSolana {
    payer: ExactPayer,
    key: Key,
    /// For which networks a node was given.
    given: Vec<Network>,
}

impl OnSolana {
    pub(super) fn new(key: &Key, args: &PayArgs) -> Result<Self, Failure> {
        let given = args.rpc.iter().filter(|(network, _)| tollway_svm::is_solana(network));
        let given: Vec<_> =
            given.map(|(network, url)| (network.clone(), Secret::new(url.to_string()))).collect();
        let networks = given.iter().map(|(network, _)| network.clone()).collect();
        let public = rpc::PUBLIC_SOLANA.iter().filter_map(|(name, url)| {
            Network::named(name).map(|network| (network, Secret::new((*url).to_owned())))
        });
        let all: Vec<_> = given.into_iter().chain(public).collect();
        Ok(Self { payer: through(key, &all).map_err(Failure::general)?, key: key.clone(), given: networks })
    }

    fn nearby(&self, offer: &Offer) -> Option<Secret<String>> {
        if self.given.contains(&offer.network) {
            return None;
        }
        nearby::node(&offer.network, offer.extra.str("feePayer")?)
    }
}

fn through(key: &Key, nodes: &[(Network, Secret<String>)]) -> Result<ExactPayer, &'static str> {
    Ok(ExactPayer::new(key.clone()).reading(Arc::new(Nodes::new(nodes, WITHIN)?)))
}

#[async_trait]
impl PayerScheme for OnSolana {
    fn scheme(&self) -> &str {
        self.payer.scheme()
    }

    fn methods(&self) -> &[&str] {
        self.payer.methods()
    }

    fn payer(&self, network: &Network) -> Option<Address> {
        self.payer.payer(network)
    }

    fn check(&self, offer: &Offer) -> Result<(), SignError> {
        self.payer.check(offer)
    }

    fn lives(&self, offer: &Offer) -> u64 {
        self.payer.lives(offer)
    }

    async fn sign(&self, offer: &Offer, now: UnixTime, entropy: [u8; 32]) -> Result<Signed, SignError> {
        let Some(node) = self.nearby(offer) else { return self.payer.sign(offer, now, entropy).await };
        let payer = through(&self.key, &[(offer.network.clone(), node)])
            .map_err(|problem| SignError::Signer(problem.to_owned()))?;
        payer.sign(offer, now, entropy).await
    }
}
