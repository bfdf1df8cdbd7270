//! The account that sends transactions: its nonces, its fees, its signatures. One at a time.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use alloy_consensus::{SignableTransaction as _, Transaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, Bytes, TxKind, U256};
use alloy_signer::SignerSync as _;
use tokio::sync::Mutex;
use tollway_ledger::{Journal, LedgerError, SignedTransaction};
use tollway_protocol::bind::PaymentKey;

use crate::facilitator::chain::Chain;
use crate::facilitator::rpc::{Call, FeeHistory, RpcError};
use crate::keys::Key;

/// How long a look at the fees and the balance is good for.
const MONEY_FOR: Duration = Duration::from_secs(2);
/// What is told when the day's gas is spent.
pub(crate) const OVER_BUDGET: &str = "the facilitator's gas budget for 24 hours is spent";
/// How long a bid counts against the budget.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// What a plain transfer uses.
const TRANSFER_GAS: u64 = 21_000;
/// The tip when the chain's recent blocks don't suggest one, in wei.
const TIP: u128 = 1_000_000;

/// A sending account on one network.
pub(crate) struct Lane {
    key: Key,
    chain: Arc<Chain>,
    journal: Arc<dyn Journal>,
    nonce: Mutex<Option<u64>>,
    money: Mutex<Option<(Instant, Fees)>>,
    bids: std::sync::Mutex<VecDeque<(Instant, U256)>>,
}

#[derive(Debug, Clone, Copy)]
struct Fees {
    base: u128,
    max: u128,
    tip: u128,
}

/// A transaction, but for its nonce.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    to: Address,
    input: Bytes,
    gas: u64,
    fees: Fees,
}

/// Why nothing can be sent.
#[derive(Debug)]
pub(crate) enum Unplanned {
    /// The chain could not be asked.
    Chain(RpcError),
    /// The transaction would fail, or use more gas than allowed.
    WouldFail(String),
    /// The gas can't be paid for, or costs more than allowed.
    NoMoney(&'static str),
}

/// Why a transaction was not signed.
#[derive(Debug)]
pub(crate) enum Unsigned {
    /// The chain could not be asked for the nonce.
    Chain(RpcError),
    /// The store failed: whether it has the transaction is not known. It was not broadcast.
    Ledger(LedgerError),
    /// The budget for gas is spent.
    OverBudget,
    /// The signer failed.
    Signer,
}

impl Lane {
    pub(crate) fn new(key: Key, chain: Arc<Chain>, journal: Arc<dyn Journal>) -> Self {
        Self {
            key,
            chain,
            journal,
            nonce: Mutex::new(None),
            money: Mutex::new(None),
            bids: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    fn name(&self) -> String {
        self.key.address().to_string()
    }

    /// Tries the transaction and prices it, before anything is taken or signed.
    pub(crate) async fn plan(&self, (to, input): (Address, Bytes)) -> Result<Plan, Unplanned> {
        let cap = self.chain.config.gas_cap;
        let call = Call { from: Some(self.address()), to, input: input.clone(), gas: None };
        let (gas, money) = tokio::join!(self.chain.rpc.estimate(&call), self.money());
        let fees = money
            .map_err(Unplanned::Chain)?
            .ok_or(Unplanned::NoMoney("the facilitator's account can't pay for gas"))?;
        if fees.base > self.chain.config.max_fee_per_gas {
            return Err(Unplanned::NoMoney("gas costs more than the facilitator's operator allows"));
        }
        let gas = match gas {
            Ok(gas) => gas.saturating_add(gas / 5),
            Err(RpcError::Refused { message, .. }) => return Err(Unplanned::WouldFail(message)),
            Err(error) => return Err(Unplanned::Chain(error)),
        };
        if gas > cap {
            return Err(Unplanned::WouldFail(format!("it would use {gas} gas, at most {cap} is spent")));
        }
        Ok(Plan { to, input, gas, fees })
    }

    /// Whether the account could pay for one settlement now.
    pub(crate) async fn can_pay(&self) -> Result<bool, RpcError> {
        Ok(self.money().await?.is_some())
    }

    /// What gas costs, if the account can pay for a settlement at that price. That it can't is asked again every time.
    async fn money(&self) -> Result<Option<Fees>, RpcError> {
        let mut known = self.money.lock().await;
        if let Some((at, fees)) = *known
            && at.elapsed() < MONEY_FOR
        {
            return Ok(Some(fees));
        }
        let (history, balance) = tokio::join!(self.chain.rpc.fees(), self.chain.rpc.balance(self.address()));
        let fees = self.price(&history?);
        if balance? < U256::from(self.chain.config.gas_cap).saturating_mul(U256::from(fees.max)) {
            return Ok(None);
        }
        *known = Some((Instant::now(), fees));
        Ok(Some(fees))
    }

    fn price(&self, history: &FeeHistory) -> Fees {
        let wei = |n: &U256| n.saturating_to::<u128>();
        let base = history.base_fee_per_gas.last().map_or(0, wei);
        let mut tips: Vec<u128> = history.reward.iter().filter_map(|block| block.first().map(wei)).collect();
        tips.sort_unstable();
        let tip = tips.get(tips.len() / 2).copied().unwrap_or(0).max(TIP);
        let max = base.saturating_mul(2).saturating_add(tip).min(self.chain.config.max_fee_per_gas);
        Fees { base, max, tip: tip.min(max) }
    }

    /// Signs `plan` for a payment under the next nonce and records it. It has not left when this returns.
    pub(crate) async fn sign(&self, key: &PaymentKey, plan: &Plan) -> Result<SignedTransaction, Unsigned> {
        self.bid(plan)?;
        let mut next = self.nonce.lock().await;
        let nonce = match next.take() {
            Some(nonce) => nonce,
            None => self.first_nonce().await?,
        };
        let signed = self.transaction(plan, nonce)?;
        self.journal.signed(key, signed.clone()).await.map_err(Unsigned::Ledger)?;
        *next = Some(nonce.saturating_add(1));
        Ok(signed)
    }

    /// Counts what the transaction may cost at most against the day's budget.
    fn bid(&self, plan: &Plan) -> Result<(), Unsigned> {
        let cost = U256::from(plan.gas).saturating_mul(U256::from(plan.fees.max));
        let mut bids = self.bids.lock().unwrap_or_else(PoisonError::into_inner);
        while bids.front().is_some_and(|(at, _)| at.elapsed() > DAY) {
            bids.pop_front();
        }
        let sum = bids.iter().fold(cost, |sum, (_, bid)| sum.saturating_add(*bid));
        if sum > self.chain.config.gas_budget_per_day {
            return Err(Unsigned::OverBudget);
        }
        bids.push_back((Instant::now(), cost));
        Ok(())
    }

    /// Forgets the next nonce: the chain and the journal are asked again.
    pub(crate) async fn resync(&self) {
        *self.nonce.lock().await = None;
    }

    async fn first_nonce(&self) -> Result<u64, Unsigned> {
        let chain = self.chain.rpc.nonce(self.address(), "latest").await.map_err(Unsigned::Chain)?;
        let journal = self
            .journal
            .next_nonce(&self.chain.config.network, &self.name())
            .await
            .map_err(Unsigned::Ledger)?;
        Ok(journal.unwrap_or(0).max(chain))
    }

    /// Signs a transfer of nothing to ourselves under the nonce of `late`, which is too late to pay, and records
    /// it in its place. It bids an eighth more, as nodes ask of a replacement.
    pub(crate) async fn fill(
        &self,
        key: &PaymentKey,
        late: &SignedTransaction,
    ) -> Result<SignedTransaction, Unsigned> {
        let now = self.price(&self.chain.rpc.fees().await.map_err(Unsigned::Chain)?);
        let more = |n: u128| n.saturating_add(n / 8).saturating_add(1);
        let before = TxEnvelope::decode_2718(&mut late.raw.as_slice()).ok();
        let (max, tip) = before.map_or((0, 0), |tx| {
            (more(tx.max_fee_per_gas()), more(tx.max_priority_fee_per_gas().unwrap_or_default()))
        });
        let fees = Fees { base: now.base, max: now.max.max(max), tip: now.tip.max(tip) };
        let plan = Plan { to: self.address(), input: Bytes::new(), gas: TRANSFER_GAS, fees };
        let signed = self.transaction(&plan, late.nonce)?;
        self.journal.signed(key, signed.clone()).await.map_err(Unsigned::Ledger)?;
        Ok(signed)
    }

    /// Whether the transaction is one of [`Lane::fill`].
    pub(crate) fn is_filler(&self, signed: &SignedTransaction) -> bool {
        let transaction = TxEnvelope::decode_2718(&mut signed.raw.as_slice());
        transaction.is_ok_and(|tx| tx.to() == Some(self.address()) && tx.input().is_empty())
    }

    fn transaction(&self, plan: &Plan, nonce: u64) -> Result<SignedTransaction, Unsigned> {
        let transaction = TxEip1559 {
            chain_id: self.chain.chain_id,
            nonce,
            gas_limit: plan.gas,
            max_fee_per_gas: plan.fees.max,
            max_priority_fee_per_gas: plan.fees.tip,
            to: TxKind::Call(plan.to),
            value: U256::ZERO,
            access_list: alloy_eips::eip2930::AccessList::default(),
            input: plan.input.clone(),
        };
        let signature =
            self.key.signer().sign_hash_sync(&transaction.signature_hash()).map_err(|_| Unsigned::Signer)?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        Ok(SignedTransaction {
            signer: self.name(),
            nonce,
            hash: envelope.tx_hash().to_string(),
            raw: envelope.encoded_2718(),
        })
    }
}
