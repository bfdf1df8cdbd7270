//! Whether a payment would settle now: one round trip, and the surest reason when it wouldn't.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U64, U256};
use alloy_sol_types::{Revert, SolCall as _, SolError as _};
use tollway_protocol::bind::Effects;
use tollway_protocol::{Reason, Refusal};

use crate::abi::{Eip3009, MULTICALL3, Multicall3};
use crate::facilitator::chain::Chain;
use crate::facilitator::payment::Decoded;
use crate::facilitator::rpc::{Call, RpcError};
use crate::signature::Signature;

/// Gas that a simulation needs besides the transfer: the other reads, and Multicall3 itself.
const READS_GAS: u64 = 200_000;

/// Gas that one more payment needs in a shared simulation.
const SHARE_GAS: u64 = 200_000;

/// What the chain says of a payment.
#[derive(Debug)]
pub(super) struct Seen {
    balance: Option<U256>,
    used: Option<bool>,
    transferred: Result<(), String>,
}

impl Chain {
    /// Asks the chain whether the payment would settle now, in one round trip where it has Multicall3, which
    /// concurrent ones share. Returns the payer's balance.
    pub(crate) async fn verify(
        self: &Arc<Self>,
        payment: &Decoded,
        effects: &Effects,
    ) -> Result<U256, Refusal> {
        let seen = async {
            self.check().await?;
            match self.has_multicall().await? {
                true if payment.is_safe() => self.look_shared(payment).await,
                true => self.look_at_one(payment).await,
                false => self.look_one_by_one(payment).await,
            }
        };
        let seen = seen.await.map_err(|error| effects.refuse(Reason::ChainUnreachable, error.to_string()))?;
        diagnose(payment, effects, seen)
    }

    fn simulation(&self, to: Address, input: Vec<u8>) -> Call {
        let gas = self.config.gas_cap.saturating_add(READS_GAS);
        Call { from: None, to, input: input.into(), gas: Some(U64::from(gas)) }
    }

    pub(super) async fn look_at_one(&self, payment: &Decoded) -> Result<Seen, RpcError> {
        let seen = self.look_at_once(std::slice::from_ref(payment)).await?;
        seen.into_iter().next().ok_or(RpcError::Unreachable("its answer can't be read"))
    }

    /// What the chain says of each, in their order: all is read before anything is simulated.
    pub(super) async fn look_at_once(&self, payments: &[Decoded]) -> Result<Vec<Seen>, RpcError> {
        let garbled = || RpcError::Unreachable("its answer can't be read");
        let call =
            |target, data: Vec<u8>| Multicall3::Call3 { target, allowFailure: true, callData: data.into() };
        let mut calls = vec![call(MULTICALL3, Multicall3::getCurrentBlockTimestampCall {}.abi_encode())];
        for payment in payments {
            calls.push(call(payment.token, payment.balance_call()));
            calls.push(call(payment.token, payment.state_call()));
        }
        for payment in payments {
            calls.extend(payment.deployment());
            let (target, input) = payment.transfer_call();
            calls.push(call(target, input.to_vec()));
        }
        let count = calls.len();
        let mut outer = self.simulation(MULTICALL3, Multicall3::aggregate3Call { calls }.abi_encode());
        let more = SHARE_GAS.saturating_mul(payments.len().saturating_sub(1) as u64);
        outer.gas = outer.gas.map(|gas| gas.saturating_add(U64::from(more)));
        let bytes = self.rpc.call(&outer).await?;
        let results = Multicall3::aggregate3Call::abi_decode_returns(&bytes).map_err(|_| garbled())?;
        if results.len() != count {
            return Err(garbled());
        }
        let mut results = results.into_iter();
        if let Some(time) = results.next().as_ref().and_then(value) {
            self.saw_block_at(time.saturating_to());
        }
        let mut reads = Vec::with_capacity(payments.len());
        for _ in payments {
            let (Some(balance), Some(used)) = (results.next(), results.next()) else { return Err(garbled()) };
            reads.push((value(&balance), value(&used).map(|used| !used.is_zero())));
        }
        let mut seen = Vec::with_capacity(payments.len());
        for (payment, (balance, used)) in payments.iter().zip(reads) {
            if payment.deployment().is_some() {
                results.next();
            }
            let done = results.next().ok_or_else(garbled)?;
            let transferred = if done.success { Ok(()) } else { Err(told(&done.returnData)) };
            seen.push(Seen { balance, used, transferred });
        }
        Ok(seen)
    }

    async fn look_one_by_one(&self, payment: &Decoded) -> Result<Seen, RpcError> {
        let ask = |input: Vec<u8>| async {
            match self.rpc.call(&self.simulation(payment.token, input)).await {
                Ok(bytes) => Ok(word(&bytes)),
                Err(RpcError::Refused { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let (to, input) = payment.transfer_call();
        let balance = ask(payment.balance_call()).await?;
        let used = ask(payment.state_call()).await?.map(|used| !used.is_zero());
        let transferred = match self.rpc.call(&self.simulation(to, input.to_vec())).await {
            _ if matches!(payment.authorization.signature, Signature::Undeployed { .. }) => {
                Err("undeployed wallets need Multicall3 on the chain".into())
            }
            Ok(_) => Ok(()),
            Err(RpcError::Refused { message, .. }) => Err(message),
            Err(error) => return Err(error),
        };
        Ok(Seen { balance, used, transferred })
    }

    /// Whether the payer's key or wallet really signed this.
    pub(crate) async fn is_authentic(&self, payment: &Decoded) -> Result<bool, RpcError> {
        alloy_sol_types::sol! {
            function isValidSignature(bytes32 hash, bytes signature) external view returns (bytes4 magic);
        }
        if payment.by_key {
            return Ok(true);
        }
        let ask = isValidSignatureCall { hash: payment.digest, signature: payment.wallet_signature() };
        let wallet = payment.authorization.transfer.from;
        match self.rpc.call(&self.simulation(wallet, ask.abi_encode())).await {
            Ok(bytes) => Ok(bytes.len() == 32 && bytes.starts_with(&isValidSignatureCall::SELECTOR)),
            Err(RpcError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the payment's nonce had been used or cancelled after block `number`.
    pub(crate) async fn is_used_at(&self, payment: &Decoded, number: U64) -> Result<bool, RpcError> {
        let call = self.simulation(payment.token, payment.state_call());
        let bytes = self.rpc.call_at(&call, number).await?;
        word(&bytes).map(|used| !used.is_zero()).ok_or(RpcError::Unreachable("its answer can't be read"))
    }
}

/// What a call returned, if it succeeded with one word.
fn value(result: &Multicall3::Result) -> Option<U256> {
    result.success.then(|| word(&result.returnData)).flatten()
}

fn word(bytes: &Bytes) -> Option<U256> {
    (bytes.len() == 32).then(|| U256::from_be_bytes(B256::from_slice(bytes).0))
}

/// A revert's text, cut and cleaned.
fn told(data: &[u8]) -> String {
    let told = Revert::abi_decode(data).map(|revert| revert.reason).unwrap_or_default();
    told.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Why the payment would not settle, the surest reasons first; else the payer's balance.
fn diagnose(payment: &Decoded, effects: &Effects, seen: Seen) -> Result<U256, Refusal> {
    let refuse = |reason, message: String| Err(effects.refuse(reason, message));
    let (token, value) = (payment.token, payment.authorization.transfer.value);
    let Some(balance) = seen.balance else {
        return refuse(Reason::AssetNotDeployed, format!("{token} does not answer as a token"));
    };
    match (seen.used, seen.transferred) {
        (None, _) => refuse(Reason::TransferNotSupported, format!("{token} has no authorizationState")),
        (Some(true), _) => refuse(Reason::AlreadyUsed, "the authorization has been used or cancelled".into()),
        _ if balance < value => {
            refuse(Reason::InsufficientBalance, format!("the payer has {balance}, {value} is due"))
        }
        (_, Ok(())) => Ok(balance),
        (_, Err(told)) if payment.by_key => refuse(
            Reason::SimulationFailed,
            if told.is_empty() { "the transfer reverts".into() } else { told },
        ),
        (_, Err(told)) => {
            refuse(Reason::BadSignature, format!("the signature is not {}'s: {told}", effects.payer))
        }
    }
}

impl Decoded {
    fn balance_call(&self) -> Vec<u8> {
        Eip3009::balanceOfCall { account: self.authorization.transfer.from }.abi_encode()
    }

    fn state_call(&self) -> Vec<u8> {
        let transfer = &self.authorization.transfer;
        Eip3009::authorizationStateCall { authorizer: transfer.from, nonce: transfer.nonce }.abi_encode()
    }
}
