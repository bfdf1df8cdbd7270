//! Transactions: what a group of payments calls, how much gas it may use, and its signed bytes.

use std::collections::{HashMap, HashSet};

use alloy_consensus::{SignableTransaction as _, Transaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_signer::SignerSync as _;
use alloy_sol_types::SolCall as _;
use parking_lot::Mutex;
use tollway_ledger::SignedTransaction;

use crate::abi::{MULTICALL3, Multicall3};
use crate::facilitator::fees::Fees;
use crate::facilitator::payment::Decoded;
use crate::keys::Key;

/// What a plain transfer uses.
pub(crate) const TRANSFER_GAS: u64 = 21_000;
/// What Multicall3 uses for one call, and for itself.
const CALL_GAS: u64 = 6_000;
const FRAME_GAS: u64 = 10_000;
/// What the first balance of an account costs more than another one.
const FIRST_GAS: u64 = 25_000;

/// A transaction, but for its nonce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) to: Address,
    /// What is given, in wei: to a payer that lacks the gas of its approval.
    pub(crate) value: U256,
    pub(crate) input: Bytes,
    pub(crate) gas: u64,
    pub(crate) fees: Fees,
}

impl Plan {
    /// A transfer of nothing to `signer` itself, which only spends a nonce.
    pub(crate) fn nothing(signer: Address, fees: Fees) -> Self {
        Self::gift(signer, U256::ZERO, fees)
    }

    /// A transfer of `value` wei to an account without code.
    pub(crate) fn gift(to: Address, value: U256, fees: Fees) -> Self {
        Self { to, value, input: Bytes::new(), gas: TRANSFER_GAS, fees }
    }

    /// The plan of a transaction that was signed before.
    pub(crate) fn of(signed: &SignedTransaction) -> Option<Self> {
        let tx = TxEnvelope::decode_2718(&mut signed.raw.as_slice()).ok()?;
        let fees = Fees {
            base: 0,
            max: tx.max_fee_per_gas(),
            tip: tx.max_priority_fee_per_gas().unwrap_or_default(),
        };
        Some(Self { to: tx.to()?, value: tx.value(), input: tx.input().clone(), gas: tx.gas_limit(), fees })
    }

    /// Whether it only spends a nonce of `signer`.
    pub(crate) fn is_nothing(&self, signer: Address) -> bool {
        self.to == signer && self.settles_nothing()
    }

    /// Whether it settles nothing: it spends a nonce, or gives a payer gas.
    pub(crate) fn settles_nothing(&self) -> bool {
        self.input.is_empty()
    }

    /// The most that it can cost, in wei.
    pub(crate) fn cost(&self) -> U256 {
        U256::from(self.gas).saturating_mul(U256::from(self.fees.max)).saturating_add(self.value)
    }

    /// The transaction under `nonce`, signed; None when the signer fails.
    pub(crate) fn sign(&self, key: &Key, chain_id: u64, nonce: u64) -> Option<(B256, SignedTransaction)> {
        let transaction = TxEip1559 {
            chain_id,
            nonce,
            gas_limit: self.gas,
            max_fee_per_gas: self.fees.max,
            max_priority_fee_per_gas: self.fees.tip,
            to: TxKind::Call(self.to),
            value: self.value,
            access_list: alloy_eips::eip2930::AccessList::default(),
            input: self.input.clone(),
        };
        let signature = key.signer().sign_hash_sync(&transaction.signature_hash()).ok()?;
        let envelope = TxEnvelope::from(transaction.into_signed(signature));
        let hash = *envelope.tx_hash();
        let signer = key.address().to_string();
        let signed =
            SignedTransaction { signer, nonce, hash: hash.to_string(), raw: envelope.encoded_2718() };
        Some((hash, signed))
    }
}

/// Whether a transaction settles nothing, but spends a nonce or gives a payer gas.
pub(crate) fn is_gift(signed: &SignedTransaction) -> bool {
    Plan::of(signed).is_some_and(|plan| plan.settles_nothing())
}

/// Several payments' transfers in one call: one that fails doesn't touch the others.
pub(crate) fn together<'a>(payments: impl Iterator<Item = &'a Decoded>) -> (Address, Bytes) {
    let call = |payment: &Decoded| {
        let (target, data) = payment.transfer_call();
        Multicall3::Call3 { target, allowFailure: true, callData: data }
    };
    let calls: Vec<_> = payments.map(call).collect();
    (MULTICALL3, Multicall3::aggregate3Call { calls }.abi_encode().into())
}

/// What calldata costs.
fn data_gas(input: &[u8]) -> u64 {
    input.iter().fold(0u64, |sum, byte| sum.saturating_add(if *byte == 0 { 4 } else { 16 }))
}

/// How much gas payments of each token by each method use, as their first estimates said. `eth_estimateGas` can't tell it of a
/// batch: there a call that runs out of gas fails alone, and the estimate is content with that.
#[derive(Default)]
pub(crate) struct Gas(Mutex<HashMap<(Address, Address), u64>>);

impl Gas {
    /// Learns from the estimate of a transaction that makes `payment` alone by `input`.
    pub(crate) fn learn(&self, payment: &Decoded, input: &[u8], estimate: u64) {
        let inside = estimate.saturating_sub(TRANSFER_GAS).saturating_sub(data_gas(input));
        self.0.lock().insert(payment.gas_class(), inside);
    }

    pub(crate) fn knows(&self, payment: &Decoded) -> bool {
        self.0.lock().contains_key(&payment.gas_class())
    }

    fn inside(&self, payment: &Decoded) -> u64 {
        let known = self.0.lock().get(&payment.gas_class()).copied().unwrap_or(150_000);
        known.saturating_add(known / 4)
    }

    /// The limit for a transaction of these payments by `input`.
    pub(crate) fn limit<'a>(&self, payments: impl Iterator<Item = &'a Decoded>, input: &[u8]) -> u64 {
        let mut recipients = HashSet::new();
        let inside = payments.fold(0u64, |sum, payment| {
            let is_first = recipients.insert((payment.token, payment.recipient()));
            let first = if is_first { FIRST_GAS } else { 0 };
            sum.saturating_add(self.inside(payment)).saturating_add(CALL_GAS).saturating_add(first)
        });
        TRANSFER_GAS.saturating_add(data_gas(input)).saturating_add(FRAME_GAS).saturating_add(inside)
    }
}
