//! What gas costs, and whether an account can pay for it.

use std::time::Duration;

use alloy_primitives::{Address, U256};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::facilitator::chain::Chain;
use crate::facilitator::rpc::{FeeHistory, RpcError};

/// How long a look at the fees and the balance is good for.
const GOOD_FOR: Duration = Duration::from_secs(2);
/// The tip when the chain's recent blocks don't suggest one, in wei.
const TIP: u128 = 1_000_000;

/// A bid for gas, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fees {
    /// The price of the latest block's gas.
    pub(crate) base: u128,
    /// The most that is paid for one gas.
    pub(crate) max: u128,
    /// What the block's maker gets of it.
    pub(crate) tip: u128,
}

impl Fees {
    /// Not known yet.
    pub(crate) const NONE: Self = Self { base: 0, max: 0, tip: 0 };

    /// At least an eighth more than `before`, as nodes ask of a replacement, if `most` allows it.
    pub(crate) fn over(self, before: Self, most: u128) -> Option<Self> {
        let more = |n: u128| n.saturating_add(n / 8).saturating_add(1);
        let (max, tip) = (self.max.max(more(before.max)), self.tip.max(more(before.tip)));
        (max <= most).then_some(Self { base: self.base, max, tip })
    }
}

/// What is known of an account's money.
pub(crate) struct Purse {
    account: Address,
    known: Mutex<Option<(Instant, Fees, U256)>>,
}

impl Purse {
    pub(crate) fn new(account: Address) -> Self {
        Self { account, known: Mutex::new(None) }
    }

    /// What gas costs, if the account can pay for `gas` of it at that price. That it can't is asked again every time.
    pub(crate) async fn fees(&self, chain: &Chain, gas: u64) -> Result<Option<Fees>, RpcError> {
        let mut known = self.known.lock().await;
        let enough =
            |fees: &Fees, balance: U256| balance >= U256::from(gas).saturating_mul(U256::from(fees.max));
        if let Some((at, fees, balance)) = *known
            && at.elapsed() < GOOD_FOR
            && enough(&fees, balance)
        {
            return Ok(Some(fees));
        }
        let (history, balance) = tokio::join!(chain.rpc.fees(), chain.rpc.balance(self.account));
        let (fees, balance) = (price(&history?, chain.config.max_fee_per_gas), balance?);
        self.tell(chain, balance);
        *known = Some((Instant::now(), fees, balance));
        Ok(enough(&fees, balance).then_some(fees))
    }

    /// Raises the alarm when money runs low.
    fn tell(&self, chain: &Chain, balance: U256) {
        let (network, account) = (chain.config.network.to_string(), self.account.to_string());
        let ether = f64::from(balance) / 1e18;
        metrics::gauge!("tollway_evm_signer_balance_ether", "network" => network, "signer" => account.clone())
            .set(ether);
        if balance < chain.config.low_gas {
            tracing::warn!(
                network = %chain.config.network, signer = account, ether,
                "the signer's balance is low: fund it before it can't pay for gas"
            );
        }
    }
}

fn price(history: &FeeHistory, most: u128) -> Fees {
    let wei = |n: &U256| n.saturating_to::<u128>();
    let base = history.base_fee_per_gas.last().map_or(0, wei);
    let mut tips: Vec<u128> = history.reward.iter().filter_map(|block| block.first().map(wei)).collect();
    tips.sort_unstable();
    let tip = tips.get(tips.len() / 2).copied().unwrap_or(0).max(TIP);
    let max = base.saturating_mul(2).saturating_add(tip).min(most);
    Fees { base, max, tip: tip.min(max) }
}
