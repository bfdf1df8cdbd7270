//! What nodes say of a payment that they try.

use serde_json::Value;
use solana_signature::Signature;
use tollway_protocol::bind::Bound;
use tollway_protocol::{Reason, Refusal};
use tollway_rpc::RpcError;

use crate::facilitator::cluster::{self, InContext, NO_BLOCKHASH, Simulated};
use crate::facilitator::engine::Engine;
use crate::payload::SvmPayment;

/// What a node says of a transaction that it knows.
const PROCESSED: &str = "AlreadyProcessed";

const DEAD: &str = "its blockhash is too old, or of another cluster: sign a new transaction";

/// A payment that a node has tried with success, or that it knows.
pub(super) struct Tried {
    pub(super) payment: SvmPayment,
    /// What its payer would have left, in atomic units.
    pub(super) left: u64,
    /// The slot at which its blockhash was good.
    pub(super) slot: u64,
    /// The chain has it, says the node: then its fee payer has signed it before.
    pub(super) is_there: bool,
}

impl Engine {
    /// Has a payment that was examined tried by a node.
    ///
    /// # Errors
    /// As [`Engine::verify`].
    pub(super) async fn try_out(&self, payment: &Bound, decoded: SvmPayment) -> Result<Tried, Refusal> {
        let unreachable =
            |error: &dyn std::fmt::Display| payment.refuse(Reason::ChainUnreachable, error.to_string());
        self.cluster.check().await.map_err(|error| unreachable(&error))?;
        match self.cluster.program_of(&decoded.transfer.mint) {
            Ok(program) if program == decoded.transfer.program => {}
            Ok(_) => {
                let message = "the transfer is not by the mint's token program".to_owned();
                return Err(payment.refuse(Reason::NoTransfer, message));
            }
            Err(why) => {
                let message = format!("the mint {} is not settled: {why}", decoded.transfer.mint);
                return Err(payment.refuse(Reason::AssetNotAllowed, message));
            }
        }
        let simulated = match self.simulated(&decoded).await {
            Ok(simulated) => simulated,
            // The node has read the transaction and does not take it.
            Err(RpcError::Refused { code: -32602, message, .. }) => {
                return Err(payment.refuse(Reason::SimulationFailed, message));
            }
            Err(error) => return Err(unreachable(&error)),
        };
        let slot = simulated.slot();
        if is(&simulated, PROCESSED) {
            return Ok(Tried { payment: decoded, left: u64::MAX, slot, is_there: true });
        }
        judge(payment, &simulated.value)?;
        let left = simulated.value.left();
        let unknown = RpcError::Unreachable("it does not tell what the payer would have left");
        let left = left.ok_or_else(|| unreachable(&unknown))?;
        Ok(Tried { payment: decoded, left, slot, is_there: false })
    }

    /// What the first node says; or another, where that one doesn't know the blockhash: it may be behind.
    async fn simulated(&self, decoded: &SvmPayment) -> Result<InContext<Simulated>, RpcError> {
        let (rpc, bytes) = (&self.cluster.rpc, decoded.transaction.bytes());
        let source = &decoded.transfer.source;
        let first = cluster::simulate(rpc, bytes, source).await?;
        if rpc.nodes() < 2 || !is(&first, NO_BLOCKHASH) {
            return Ok(first);
        }
        // Waits: a payment that is not looked into would be refused, good or not.
        let _inquiry = self.inquiries.acquire().await;
        let others = (0..rpc.nodes()).map(|node| cluster::simulate_at(rpc, node, bytes, source));
        let others = futures_util::future::join_all(others).await;
        // One that is behind still takes what is dead.
        let knows = |other: &InContext<Simulated>| {
            other.slot() >= first.slot() && (other.value.err.is_none() || is(other, PROCESSED))
        };
        let known = others.into_iter().flatten().find(knows);
        Ok(known.unwrap_or(first))
    }

    /// The transaction of a payment whose trial fails, where its payer's account shows that it has landed: a ledger that was
    /// lost may have told of it. Its id, which is a signature, is compared here and shown to nobody.
    pub(super) async fn landed_before(&self, decoded: &SvmPayment, refusal: &Refusal) -> Option<String> {
        let lane = self.lane(&decoded.transfer.fee_payer).filter(|_| refusal.message == DEAD)?;
        let _inquiry = self.inquiries.acquire().await;
        let signature = Signature::from(lane.key.sign(decoded.transaction.message())).to_string();
        let known = cluster::succeeded(&self.cluster.rpc, &decoded.transfer.source).await.ok()?;
        known.contains(&signature).then_some(signature)
    }
}

fn is(simulated: &InContext<Simulated>, name: &str) -> bool {
    simulated.value.err.as_ref().and_then(Value::as_str) == Some(name)
}

/// What a node's trial says of a payment.
fn judge(payment: &Bound, simulated: &Simulated) -> Result<(), Refusal> {
    let Some(error) = &simulated.err else { return Ok(()) };
    let refuse = |reason, message: String| Err(payment.refuse(reason, message));
    if error.as_str() == Some(NO_BLOCKHASH) {
        return refuse(Reason::SimulationFailed, DEAD.to_owned());
    }
    if is_the_fee_payer_s(error) {
        let message = "the fee payer can't pay for transactions just now: send it again later";
        return refuse(Reason::FacilitatorUnavailable, message.to_owned());
    }
    let log = simulated.logs.as_deref().unwrap_or_default().iter().rev();
    let log = log.map(String::as_str).find(|line| line.contains("Error") || line.contains("failed"));
    let text = format!("{error} {}", log.unwrap_or_default());
    let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    let hint = if is_insufficient(error) { "the payer has too little: " } else { "" };
    refuse(Reason::SimulationFailed, format!("{hint}{text}"))
}

/// Whether it is the account that pays the fee which stands against it: it is not there, or has too little.
fn is_the_fee_payer_s(error: &Value) -> bool {
    let names = ["AccountNotFound", "InsufficientFundsForFee", "InvalidAccountForFee"];
    let is_named = error.as_str().is_some_and(|name| names.contains(&name));
    let rent = error.get("InsufficientFundsForRent").and_then(|why| why.get("account_index"));
    is_named || rent.is_some_and(|index| *index == 0)
}

/// Whether the transfer fails since the payer has too little: both token programs' error 1, in the third instruction.
fn is_insufficient(error: &Value) -> bool {
    let Some([place, why]) = error.get("InstructionError").and_then(|e| e.as_array()).map(Vec::as_slice)
    else {
        return false;
    };
    place == 2 && why.get("Custom").is_some_and(|code| *code == 1)
}
