//! A cluster as a facilitator uses it: its nodes, checked once, and the mints that are settled.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use solana_address::Address;
use tokio::sync::OnceCell;
use tollway_protocol::assets;
use tollway_rpc::{Http, Names, Rpc, RpcError, Transport};

use crate::facilitator::config::ClusterConfig;
use crate::facilitator::{cluster, mints};
use crate::{is_solana, programs};

const NAMES: Names = Names {
    calls: "tollway_svm_rpc_total",
    errors: "tollway_svm_rpc_errors_total",
    passed_over: "tollway_svm_rpc_passed_over_total",
};
const NO_ACCOUNT: &str = "there is no such account";
/// The bytes of a genesis hash's text that name a cluster (CAIP-30).
const REFERENCE: usize = 32;

/// Why a cluster can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// No fee payer is configured.
    #[error("no fee payer is configured")]
    NoFeePayer,
    /// The network is no Solana cluster.
    #[error("{0} is not a Solana network")]
    NotSolana(tollway_protocol::Network),
    /// A node's URL can't be used.
    #[error("the RPC node can't be used: {0}")]
    Node(&'static str),
    /// Two nodes have to agree, and there are fewer.
    #[error("agree_above needs two nodes")]
    OneNode,
    /// A node did not answer.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// A node is of another cluster.
    #[error("the RPC node is of another cluster than {0}")]
    OtherCluster(tollway_protocol::Network),
}

/// A Solana cluster.
pub struct Cluster {
    pub(super) config: ClusterConfig,
    pub(super) rpc: Rpc,
    checked: OnceCell<()>,
    /// The mints that are settled, with their programs; or why they are not.
    mints: Mutex<HashMap<Address, Result<Address, &'static str>>>,
}

impl Cluster {
    /// The cluster that `config` describes; no I/O yet.
    ///
    /// # Errors
    /// [`ClusterError::NotSolana`], [`ClusterError::Node`] and [`ClusterError::OneNode`].
    pub fn new(config: ClusterConfig) -> Result<Self, ClusterError> {
        if !is_solana(&config.network) {
            return Err(ClusterError::NotSolana(config.network));
        }
        let mut ways: Vec<Arc<dyn Transport>> = Vec::new();
        for url in &config.rpc {
            ways.push(Arc::new(Http::new(url, config.rpc_timeout).map_err(ClusterError::Node)?));
        }
        ways.extend(config.transports.iter().cloned());
        if config.agree_above.is_some() && ways.len() < 2 {
            return Err(ClusterError::OneNode);
        }
        let rpc = Rpc::new(ways, config.rpc_timeout, NAMES).with_lag(config.lag);
        Ok(Self { config, rpc, checked: OnceCell::new(), mints: Mutex::default() })
    }

    /// Asks the nodes, until it has gone well once, whether they are of this cluster, and reads the mints. Every node that
    /// answers must be, and one must answer.
    ///
    /// # Errors
    /// [`ClusterError::OtherCluster`], or why a node can't be asked.
    pub(super) async fn check(&self) -> Result<(), ClusterError> {
        let check = || async {
            let asked = (0..self.rpc.nodes()).map(|node| cluster::genesis_hash(&self.rpc, node));
            let (mut good, mut last) = (0u32, ClusterError::Node("none is configured"));
            for answer in futures_util::future::join_all(asked).await {
                match answer {
                    Ok(genesis) if genesis.get(..REFERENCE) == Some(self.config.network.reference()) => {
                        good = good.saturating_add(1);
                    }
                    Ok(_) => return Err(ClusterError::OtherCluster(self.config.network.clone())),
                    Err(error) => last = error.into(),
                }
            }
            if good == 0 {
                return Err(last);
            }
            if self.rpc.nodes() > 1 {
                cluster::measure(&self.rpc).await;
            }
            self.read_mints().await.map_err(ClusterError::from)
        };
        self.checked.get_or_try_init(check).await.copied()
    }

    /// Reads what the mints do. Their issuers may change it: it is read again now and then.
    pub(super) async fn read_mints(&self) -> Result<(), RpcError> {
        let known = assets::on(&self.config.network, &self.config.assets);
        let addresses: Vec<Address> =
            known.filter_map(|asset| programs::address(&asset.address).ok()).collect();
        let accounts = cluster::accounts(&self.rpc, &addresses).await?;
        let read = addresses.into_iter().zip(accounts).map(|(address, account)| {
            (address, account.map_or(Err(NO_ACCOUNT), |account| mints::plain(&account)))
        });
        let mut mints = self.mints.lock();
        for (address, read) in read {
            // One bad answer takes no mint away that was good.
            let is_gone = read == Err(NO_ACCOUNT) && mints.get(&address).is_some_and(Result::is_ok);
            if !is_gone {
                mints.insert(address, read);
            }
        }
        Ok(())
    }

    /// The program of a mint that is settled here.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn program_of(&self, mint: &Address) -> Result<Address, &'static str> {
        self.mints.lock().get(mint).copied().unwrap_or(Err("it is none of those settled here"))
    }
}
