//! What only EVM networks are told.

use serde::Deserialize;
use tollway_protocol::door::Amount;

use super::settling::{AgreeAbove, Finality};

/// What an EVM network is told besides what all networks are.
#[derive(Debug, Clone, PartialEq)]
pub struct EvmConfig {
    /// From which value on two nodes have to say the same; none unless set.
    pub agree_above: Option<AgreeAbove>,
    /// Blocks, its own included, after which a transaction counts as settled; 1 unless set.
    pub confirmations: u64,
    /// When no reorg is expected to take a settlement back any more; 64 blocks unless set. Until then it is looked at again.
    pub finality: Option<Finality>,
    /// Payments in one transaction, at most; 100 unless set, 1 sends each alone.
    pub batch: u64,
    /// What may be spent on gas.
    pub gas: Gas,
    /// Factories whose undeployed wallets may pay (ERC-6492); none unless set, as the facilitator
    /// sends a transaction to them.
    pub eip6492_factories: Vec<String>,
    /// Managers whose delegations are redeemed (ERC-7710); none unless set, as their code runs at the facilitator's cost.
    pub delegation_managers: Vec<String>,
}

/// In wei.
const ETHER: u64 = 1_000_000_000_000_000_000;

/// Bounds on what the signer spends.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gas {
    /// The highest price of gas that is paid, in gwei; 500 unless set.
    pub max_fee_gwei: u64,
    /// Gas for one settlement, at most; 300000 unless set.
    pub per_settlement: u64,
    /// The highest sum of fees bid in 24 hours, in wei as a decimal string; one ether unless set. Counted in the
    /// ledger, for all processes on it together.
    pub per_day_wei: Amount,
    /// How often a transaction that is not mined is sent again at a higher price; 8 unless set.
    pub max_bump: u64,
    /// Below this many wei on a signer's account it is logged; as a decimal string, 10000000000000000 unless set.
    pub low_wei: Option<Amount>,
    /// The most wei that one payer is given for the gas of its signed approval (`erc20ApprovalGasSponsoring`), as a decimal
    /// string; 200000000000000 unless set, "0" gives nothing.
    pub approval_wei: Amount,
    /// The most wei that all payers are given so in 24 hours; 10000000000000000 unless set.
    pub approvals_per_day_wei: Amount,
}

impl Default for Gas {
    fn default() -> Self {
        Self {
            max_fee_gwei: 500,
            per_settlement: 300_000,
            per_day_wei: Amount::from(ETHER),
            max_bump: 8,
            low_wei: None,
            approval_wei: Amount::from(200_000_000_000_000u64),
            approvals_per_day_wei: Amount::from(10_000_000_000_000_000u64),
        }
    }
}
