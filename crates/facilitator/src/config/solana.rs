//! What only Solana networks are told.

use serde::Deserialize;

use super::settling::AgreeAbove;
use super::signer::Signer;

/// The variable that holds the fee payer's key unless `signer` names others.
const KEY: &str = "TOLLWAY_SOLANA_KEY";

/// What a Solana network is told besides what all networks are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SolanaConfig {
    /// From which value on two nodes have to say the same; none unless set.
    pub agree_above: Option<AgreeAbove>,
    /// When a transaction counts as settled; `confirmed` unless set. A confirmed one is looked at until it is final.
    pub commitment: Commitment,
    /// What may be spent on transactions.
    pub fees: Fees,
}

/// How sure the cluster has to be of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Commitment {
    /// Two thirds of the stake have voted for its block: after about a second.
    #[default]
    Confirmed,
    /// Nothing takes it back any more: after about 13 seconds.
    Finalized,
}

impl Commitment {
    /// Reads `confirmed` or `finalized`.
    ///
    /// # Errors
    /// What was expected.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        match text {
            "confirmed" => Ok(Self::Confirmed),
            "finalized" => Ok(Self::Finalized),
            _ => Err("expected \"confirmed\" or \"finalized\""),
        }
    }
}

/// Bounds on what the fee payers spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fees {
    /// The most compute units that a payer's transaction may ask for; 400000 unless set.
    pub compute_units: u64,
    /// The highest price of a compute unit that is paid, in millionths of a lamport; 5000000 unless set.
    pub compute_price: u64,
    /// The most that a transaction's compute units may cost together, in lamports, besides the signatures' fees; 200000
    /// unless set. It goes to the block's leader, who may be the payer's friend.
    pub priority_lamports: u64,
    /// The highest sum of fees in 24 hours, in lamports; 1000000000 (one SOL) unless set. Counted in the ledger, for all
    /// processes on it together.
    pub per_day_lamports: u64,
    /// Below this many lamports on a fee payer's account the facilitator is not ready; 10000000 unless set.
    pub low_lamports: u64,
}

impl Default for Fees {
    fn default() -> Self {
        Self {
            compute_units: 400_000,
            compute_price: 5_000_000,
            priority_lamports: 200_000,
            per_day_lamports: 1_000_000_000,
            low_lamports: 10_000_000,
        }
    }
}

/// Who pays for transactions when the file does not say.
pub(super) fn signer() -> Vec<Signer> {
    vec![Signer::Env { key_env: KEY.to_owned() }]
}
