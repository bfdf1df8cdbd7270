//! Transactions that are to be executed.

use serde_json::json;

use super::{
    super::{admission, node::Node},
    Answer, RpcError,
    params::Params,
    simulation::{self, bad_signature},
    wire,
};

/// Answers the signature and passes the transaction on, after a simulation unless that is skipped. What becomes of it
/// isn't known here: nodes don't tell either.
pub(super) fn send(node: &mut Node, params: Params<'_>) -> Answer {
    let mut options = params.options(1)?;
    let transaction = wire::transaction(params, options.encoding)?;
    let signature = transaction.signatures.first().map(ToString::to_string);
    let signature = signature.ok_or_else(|| RpcError::params("invalid transaction: no signature"))?;
    if options.skip_preflight != Some(true) {
        if !admission::signed(&transaction) {
            return Err(bad_signature());
        }
        options.commitment = options.preflight_commitment;
        let bank = options.bank(node)?;
        let outcome = node.simulate(transaction.clone(), bank);
        if let Some(error) = &outcome.error {
            return Err(RpcError {
                data: Some(simulation::result(&outcome)),
                ..RpcError::new(-32002, format!("Transaction simulation failed: {error}"))
            });
        }
    }
    node.submit(transaction);
    Ok(json!(signature))
}

pub(super) fn airdrop(node: &mut Node, params: Params<'_>) -> Answer {
    let (address, lamports) = (params.address(0)?, params.required(1, "lamports")?);
    Ok(json!(node.airdrop(&address, lamports).to_string()))
}
