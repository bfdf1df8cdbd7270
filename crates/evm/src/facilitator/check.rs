//! Whether a payment would settle now: what the chain is asked for that, in one round trip.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_sol_types::SolCall as _;
use tollway_protocol::bind::Effects;
use tollway_protocol::{Reason, Refusal};

use crate::abi::{Eip2612, Eip3009, MULTICALL3, Multicall3};
use crate::facilitator::chain::Chain;
use crate::facilitator::codes;
use crate::facilitator::diagnose::{Revert, Seen, diagnose};
use crate::facilitator::payment::{Decoded, Way};
use crate::facilitator::rpc::{Call, Given, RpcError, ask, reverted};
use crate::facilitator::sponsor;
use crate::permit2::PERMIT2;
use crate::signature::Signature;

/// Gas that a simulation needs besides the transfer: the other reads, and Multicall3 itself.
const READS_GAS: u64 = 200_000;

/// Gas that one more payment needs in a shared simulation.
const SHARE_GAS: u64 = 200_000;

/// What is read beside trying a transfer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// All that tells why it fails.
    All,
    /// What the payer has, and for a `transferWithAuthorization` nothing else: one that goes through had its nonce.
    Few,
}

const GARBLED: RpcError = RpcError::Unreachable("its answer can't be read");

impl Chain {
    /// Asks the chain whether the payment would settle now, in one round trip where it has Multicall3, which
    /// concurrent ones share. Returns what the payer can pay.
    pub(crate) async fn verify(
        self: &Arc<Self>,
        payment: &Decoded,
        effects: &Effects,
    ) -> Result<U256, Refusal> {
        let refuse = |(reason, message): (Reason, String)| effects.refuse(reason, message);
        let unreachable = |error: RpcError| effects.refuse(Reason::ChainUnreachable, error.to_string());
        payment.is_sponsored_at(self.now(self.host_now())).map_err(refuse)?;
        self.check().await.map_err(unreachable)?;
        if let Way::Permit(by) = &payment.way {
            let proxy = by.payment.permit.spender();
            if !self.is_deployed(proxy).await.map_err(unreachable)? {
                let message = format!("{proxy}, x402's proxy for Permit2, is not on {}", self.config.network);
                return Err(effects.refuse(Reason::TransferNotSupported, message));
            }
        }
        if let Way::Delegation(by) = &payment.way {
            let whose = (by.delegation.manager, by.delegation.delegator);
            if self.in_vain.times(whose, self.host_now()) >= self.config.reverts_per_day {
                let message = "too many of its delegations were redeemed in vain today";
                return Err(effects.refuse(Reason::PayerSuspended, message));
            }
        }
        let seen = match self.has_multicall().await.map_err(unreachable)? {
            true if payment.is_safe() => self.look_shared(payment).await,
            true => self.look_at_one(payment).await,
            false => self.look_one_by_one(payment).await,
        };
        let seen = seen.map_err(unreachable)?;
        payment.note_code(seen.has_code);
        diagnose(self, payment, &seen).map_err(refuse)
    }

    pub(super) fn simulation(&self, to: Address, input: Vec<u8>) -> Call {
        let gas = self.config.gas_cap.saturating_add(READS_GAS);
        Call { from: None, to: Some(to), input: input.into(), gas: Some(U64::from(gas)) }
    }

    pub(super) async fn look_at_one(&self, payment: &Decoded) -> Result<Seen, RpcError> {
        let seen = self.look_at_once(std::slice::from_ref(payment), Reads::All).await?;
        seen.into_iter().next().ok_or(GARBLED)
    }

    /// What the chain says of each, in their order: all is read before anything is simulated.
    pub(super) async fn look_at_once(
        &self,
        payments: &[Decoded],
        reads: Reads,
    ) -> Result<Vec<Seen>, RpcError> {
        let mut asks = vec![ask::call(&self.shared_call(payments, reads))];
        asks.push(codes::ask(&payments.iter().map(Decoded::payer).collect::<Vec<_>>()));
        for payment in payments {
            asks.extend(self.own_simulation(payment).map(|call| ask::call(&call)));
            asks.extend(sponsor::asks(payment));
        }
        let mut given = self.rpc.together(&asks).await?.into_iter();
        let mut next = || given.next().ok_or(GARBLED);
        let shared: Bytes = next()?.read()?;
        let results = Multicall3::aggregate3Call::abi_decode_returns(&shared).map_err(|_| GARBLED)?;
        let mut results = results.into_iter();
        if let Some(time) = results.next().as_ref().and_then(value) {
            self.saw_block_at(time.saturating_to());
        }
        let codes = codes::answered(next()?, payments.len())?.ok_or(GARBLED)?;
        let mut all = Vec::with_capacity(payments.len());
        for (payment, has_code) in payments.iter().zip(codes) {
            let read = payment.reads_beside(reads);
            let words = read.iter().map(|_| results.next().as_ref().and_then(value)).collect();
            all.push(Seen { words, has_code, transferred: Ok(()), approval: None });
        }
        for (payment, seen) in payments.iter().zip(&mut all) {
            seen.transferred = if self.own_simulation(payment).is_some() {
                simulated(next()?)?
            } else {
                if payment.deployment().is_some() {
                    results.next();
                }
                let done = results.next().ok_or(GARBLED)?;
                if done.success { Ok(()) } else { Err(Revert::new(done.returnData, String::new())) }
            };
            seen.approval = sponsor::answered(payment, &mut next)?;
            if seen.transferred.is_ok() && reads == Reads::Few && matches!(payment.way, Way::Transfer(_)) {
                seen.words.push(Some(U256::ZERO));
            }
        }
        if results.next().is_some() { Err(GARBLED) } else { Ok(all) }
    }

    /// The call that reads and tries all that any account may call.
    fn shared_call(&self, payments: &[Decoded], reads: Reads) -> Call {
        let call =
            |target, data: Vec<u8>| Multicall3::Call3 { target, allowFailure: true, callData: data.into() };
        let mut calls = vec![call(MULTICALL3, Multicall3::getCurrentBlockTimestampCall {}.abi_encode())];
        for payment in payments {
            let reads = payment.reads_beside(reads).into_iter();
            calls.extend(reads.map(|(target, data)| call(target, data)));
        }
        for payment in payments.iter().filter(|payment| self.own_simulation(payment).is_none()) {
            calls.extend(payment.deployment());
            let (target, input) = payment.transfer_call();
            calls.push(call(target, input.to_vec()));
        }
        let mut outer = self.simulation(MULTICALL3, Multicall3::aggregate3Call { calls }.abi_encode());
        let more = SHARE_GAS.saturating_mul(payments.len().saturating_sub(1) as u64);
        outer.gas = outer.gas.map(|gas| gas.saturating_add(U64::from(more)));
        outer
    }

    /// The payment as it is tried by itself, when only one account may call it.
    fn own_simulation(&self, payment: &Decoded) -> Option<Call> {
        let from = payment.sender()?;
        let (to, input) = payment.transfer_call();
        Some(Call { from: Some(from), to: Some(to), input, gas: Some(U64::from(self.config.gas_cap)) })
    }

    /// Without Multicall3.
    async fn look_one_by_one(&self, payment: &Decoded) -> Result<Seen, RpcError> {
        let (to, input) = payment.transfer_call();
        let transfer = self.own_simulation(payment).unwrap_or_else(|| self.simulation(to, input.to_vec()));
        let reads = payment.reads();
        let mut asks = vec![ask::code(payment.payer())];
        asks.extend(reads.iter().map(|(to, input)| ask::call(&self.simulation(*to, input.clone()))));
        asks.push(ask::call(&transfer));
        asks.extend(sponsor::asks(payment));
        let mut given = self.rpc.together(&asks).await?.into_iter();
        let mut next = || given.next().ok_or(GARBLED);
        let has_code = !next()?.read::<Bytes>()?.is_empty();
        let mut words = Vec::with_capacity(reads.len());
        for _ in &reads {
            words.push(match next()?.read::<Bytes>() {
                Ok(bytes) => word(&bytes),
                Err(RpcError::Refused { .. }) => None,
                Err(error) => return Err(error),
            });
        }
        let mut transferred = simulated(next()?)?;
        if payment.deployment().is_some() {
            transferred = Err(Revert::new(Bytes::new(), "undeployed wallets need Multicall3".into()));
        }
        let approval = sponsor::answered(payment, &mut next)?;
        Ok(Seen { words, has_code, transferred, approval })
    }

    /// Whether the payer's key or wallet really signed this.
    pub(crate) async fn is_authentic(&self, payment: &Decoded) -> Result<bool, RpcError> {
        alloy_sol_types::sol! {
            function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4 magic);
        }
        // A delegation's terms are all that there is of it.
        let Some(signature) = payment.signature().filter(|_| !payment.by_key) else { return Ok(true) };
        let ask = isValidSignatureCall { hash: payment.digest, signature: signature.to_bytes() };
        match self.rpc.call(&self.simulation(payment.payer(), ask.abi_encode())).await {
            Ok(bytes) => Ok(bytes.len() == 32 && bytes.starts_with(&isValidSignatureCall::SELECTOR)),
            Err(RpcError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the payer's wallet is there already, so far as that matters.
    pub(crate) async fn is_wallet_deployed(&self, payment: &Decoded) -> Result<bool, RpcError> {
        match payment.signature() {
            Some(Signature::Undeployed { .. }) => Ok(!self.rpc.code(payment.payer()).await?.is_empty()),
            _ => Ok(true),
        }
    }
}

fn simulated(given: Given) -> Result<Result<(), Revert>, RpcError> {
    match given.read::<Bytes>() {
        Ok(_) => Ok(Ok(())),
        Err(RpcError::Refused { message, data, .. }) => Ok(Err(Revert::new(reverted(&data), message))),
        Err(error) => Err(error),
    }
}

/// What a call returned, if it succeeded with one word.
fn value(result: &Multicall3::Result) -> Option<U256> {
    result.success.then(|| word(&result.returnData)).flatten()
}

fn word(bytes: &Bytes) -> Option<U256> {
    (bytes.len() == 32).then(|| U256::from_be_bytes(B256::from_slice(bytes).0))
}

impl Decoded {
    fn reads_beside(&self, reads: Reads) -> Vec<(Address, Vec<u8>)> {
        match (reads, &self.way) {
            (Reads::Few, Way::Transfer(_)) => vec![self.balance_call()],
            _ => self.reads(),
        }
    }

    fn balance_call(&self) -> (Address, Vec<u8>) {
        (self.token, Eip3009::balanceOfCall { account: self.payer() }.abi_encode())
    }

    /// What is read of the chain for it: the payer's balance, the state of the nonce, and Permit2's allowance.
    pub(super) fn reads(&self) -> Vec<(Address, Vec<u8>)> {
        let mut reads = vec![self.balance_call()];
        reads.extend(self.nonce_call());
        if let Way::Permit(_) = self.way {
            let allowance = Eip2612::allowanceCall { owner: self.payer(), spender: PERMIT2 };
            reads.push((self.token, allowance.abi_encode()));
        }
        reads
    }
}
