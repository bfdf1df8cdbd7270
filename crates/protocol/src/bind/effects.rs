//! What executing a payment would do, and what makes it unique.

use std::sync::Arc;

use crate::Network;
use crate::door::{Address, Amount, UnixTime};
use crate::reason::{Dialect, Reason, Refusal};

/// What makes a payment unique on its chain; the ledger's primary key.
///
/// EVM: chain, asset, payer and nonce; never the signature, which can take several forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaymentKey(Arc<str>);

impl PaymentKey {
    /// A key from the parts that make the payment unique, on `network`. Parts are joined with `/`,
    /// which is escaped inside them, so that no two lists of parts have one key.
    #[must_use]
    pub fn new(network: &Network, parts: &[&str]) -> Self {
        let length = parts.iter().map(|part| part.len().saturating_add(1)).sum();
        let mut key = String::with_capacity(network.as_str().len().saturating_add(length));
        key.push_str(network.as_str());
        for part in parts {
            key.push('/');
            if part.contains(['%', '/']) {
                key.push_str(&part.replace('%', "%25").replace('/', "%2F"));
            } else {
                key.push_str(part);
            }
        }
        Self(key.into())
    }

    /// A key that a ledger stored.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text.into())
    }

    /// The key's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for PaymentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One movement of an asset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// What moves.
    pub asset: Address,
    /// Who loses it.
    pub from: Address,
    /// Who gains it.
    pub to: Address,
    /// How much, in atomic units.
    pub amount: Amount,
}

/// When a payment can execute: from `opens` until just before `closes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first second at which it can.
    pub opens: UnixTime,
    /// The first second at which it can't any more.
    pub closes: UnixTime,
}

impl Window {
    /// Of a payment without a time of its own, which executes by its facilitator's signature alone, and can't once that
    /// can't: a delegation (ERC-7710), or a Solana transaction, which dies with its blockhash. [`Bound::at`](super::Bound::at) takes it
    /// for nothing else.
    pub const ALWAYS: Self = Self { opens: UnixTime(0), closes: UnixTime(u64::MAX) };
}

/// Everything that executing a payment would do, as its mechanism decoded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effects {
    /// The scheme that decoded it.
    pub scheme: String,
    /// Where it executes.
    pub network: Network,
    /// Who signed it.
    pub payer: Address,
    /// All that moves, network fees aside.
    pub moves: Vec<Move>,
    /// When it can execute.
    pub window: Window,
    /// What makes it unique.
    pub key: PaymentKey,
}

impl Effects {
    /// A refusal of this payment, in its scheme's dialect.
    #[must_use]
    pub fn refuse(&self, reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal::new(reason, message)
            .payer(self.payer.as_str())
            .dialect(Dialect::of(&self.scheme, &self.network))
    }
}
