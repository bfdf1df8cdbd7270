//! How far transactions have got.

use serde_json::{Value, json};
use solana_signature::Signature;

use super::{
    super::{history::Record, node::Node},
    Answer, Commitment, RpcError, in_context,
    params::{Params, text},
    shape,
};

/// `getSignatureStatuses` takes so many.
const STATUSES: usize = 256;
/// `getSignaturesForAddress` answers so many.
const SIGNATURES: usize = 1_000;

/// A subscription to one signature.
pub(crate) struct SignatureNotice {
    pub(crate) signature: Signature,
    pub(crate) commitment: Commitment,
}

impl SignatureNotice {
    pub(crate) fn read(params: &Value) -> Result<Self, RpcError> {
        let params = Params(params);
        let signature = text(&params.required::<String>(0, "signature")?)?;
        let commitment = params.options(1)?.commitment.unwrap_or_default();
        Ok(Self { signature, commitment })
    }
}

impl Commitment {
    /// What a subscriber is told, once the transaction has got so far.
    pub(crate) fn notice(self, node: &Node, signature: &Signature) -> Option<Value> {
        let record = node.history.get(signature).filter(|record| Self::of(record, node) >= self)?;
        Some(in_context(self.bank(node), json!({ "err": shape::error(record.error.as_ref()) })))
    }
}

pub(super) fn statuses(node: &Node, params: Params<'_>) -> Answer {
    let signatures: Vec<Signature> = params.texts(0, STATUSES)?;
    let all = params.options(1)?.search_transaction_history == Some(true);
    let now = node.processed();
    // Nodes remember twice as much as blockhashes live; for more they search.
    let oldest = now.height.saturating_sub(node.rules.blockhash_age.saturating_mul(2));
    let found = signatures.iter().map(|signature| {
        let record = node.history.get(signature).filter(|record| all || record.height >= oldest);
        record.map_or(Value::Null, |record| status(record, node))
    });
    Ok(in_context(now, found.collect::<Vec<_>>()))
}

fn status(record: &Record, node: &Node) -> Value {
    let error = shape::error(record.error.as_ref());
    let reached = Commitment::of(record, node);
    let depth = node.processed().height - record.height;
    json!({
        "slot": record.slot,
        "confirmations": (reached != Commitment::Finalized).then_some(depth),
        "err": error,
        "status": if record.error.is_none() { json!({ "Ok": null }) } else { json!({ "Err": error }) },
        "confirmationStatus": reached.name(),
    })
}

pub(super) fn of_address(node: &Node, params: Params<'_>) -> Answer {
    let address = params.address(0)?;
    let options = params.options(1)?;
    let least = at_least_confirmed(options.commitment)?;
    let limit = options.limit.unwrap_or(SIGNATURES);
    if limit == 0 || limit > SIGNATURES {
        return Err(RpcError::params(format!("Invalid limit; max {SIGNATURES}")));
    }
    let before: Option<Signature> = options.before.as_deref().map(text).transpose()?;
    let until: Option<Signature> = options.until.as_deref().map(text).transpose()?;
    let found = node
        .history
        .newest_first()
        .skip_while(|record| before.is_some_and(|before| record.signature != before))
        .filter(|record| before != Some(record.signature) && record.names(&address))
        .filter(|record| Commitment::of(record, node) >= least)
        .take_while(|record| until != Some(record.signature))
        .take(limit);
    Ok(Value::Array(found.map(|record| entry(record, node)).collect()))
}

fn entry(record: &Record, node: &Node) -> Value {
    json!({
        "signature": record.signature.to_string(),
        "slot": record.slot,
        "err": shape::error(record.error.as_ref()),
        "memo": null,
        "blockTime": record.time,
        "confirmationStatus": Commitment::of(record, node).name(),
    })
}

/// What the ledger is asked for must have been voted on.
pub(super) fn at_least_confirmed(commitment: Option<Commitment>) -> Result<Commitment, RpcError> {
    match commitment.unwrap_or_default() {
        Commitment::Processed => {
            Err(RpcError::params("Method does not support commitment below `confirmed`"))
        }
        commitment => Ok(commitment),
    }
}
