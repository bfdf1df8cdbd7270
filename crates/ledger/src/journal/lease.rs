//! The right to send from an account.

use tollway_protocol::Network;

/// The right to send from an account, until this process dies or gives it back. Only a ledger makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub(crate) network: Network,
    pub(crate) signer: String,
    /// Tells this lease from every earlier and later one.
    pub(crate) turn: i64,
}

impl Lease {
    /// A lease of a ledger that is implemented elsewhere; `turn` has to differ between any two of an account.
    #[must_use]
    pub fn new(network: Network, signer: String, turn: i64) -> Self {
        Self { network, signer, turn }
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// The account.
    #[must_use]
    pub fn signer(&self) -> &str {
        &self.signer
    }

    /// Which lease of the account this is.
    #[must_use]
    pub const fn turn(&self) -> i64 {
        self.turn
    }
}
