//! Transactions that are tried.

use serde_json::{Value, json};
use solana_account::AccountSharedData;
use solana_address::Address;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;

use super::{
    super::{
        admission,
        bank::{Bank, Outcome},
        node::Node,
    },
    Answer, RpcError, in_context,
    params::{Encoding, Params, Wanted, text},
    shape, wire,
};

pub(super) fn simulate(node: &Node, params: Params<'_>) -> Answer {
    let options = params.options(1)?;
    let mut transaction = wire::transaction(params, options.encoding)?;
    let (verify, replace) =
        (options.sig_verify == Some(true), options.replace_recent_blockhash == Some(true));
    if verify && replace {
        return Err(RpcError::params("sigVerify may not be used with replaceRecentBlockhash"));
    }
    let bank = options.bank(node)?;
    let mut replacement = Value::Null;
    if replace {
        transaction.message.set_recent_blockhash(bank.latest.0);
        let last = bank.height.saturating_add(node.rules.blockhash_age);
        replacement = json!({ "blockhash": bank.latest.0.to_string(), "lastValidBlockHeight": last });
    }
    if verify && !admission::signed(&transaction) {
        return Err(bad_signature());
    }
    let keys = transaction.message.static_account_keys().to_vec();
    let outcome = node.simulate(transaction, bank);
    let mut value = result(&outcome);
    if let Some(fields) = value.as_object_mut() {
        fields.insert("replacementBlockhash".to_owned(), replacement);
        if options.inner_instructions == Some(true) {
            fields.insert("innerInstructions".to_owned(), shape::inner(&outcome.meta));
        }
        if let Some(wanted) = &options.accounts {
            fields.insert("accounts".to_owned(), accounts(wanted, &keys, &outcome, bank)?);
        }
    }
    Ok(in_context(bank, value))
}

/// The accounts as the transaction would leave them; null if it fails, as nodes have it.
fn accounts(wanted: &Wanted, keys: &[Address], outcome: &Outcome, bank: &Bank) -> Answer {
    let encoding = wanted.encoding.unwrap_or(Encoding::Base64);
    if matches!(encoding, Encoding::Binary | Encoding::Base58) {
        return Err(RpcError::params("base58 encoding not supported"));
    }
    if wanted.addresses.len() > keys.len() {
        return Err(RpcError::params(format!("Too many accounts provided; max {}", keys.len())));
    }
    let shaped = wanted.addresses.iter().map(|address| {
        let address: Address = text(address)?;
        let changed = outcome.accounts.iter().find(|(key, _)| *key == address).map(|(_, account)| account);
        let there = |account: &&AccountSharedData| solana_account::ReadableAccount::lamports(*account) > 0;
        match changed.or_else(|| bank.account(&address)).filter(there) {
            Some(account) if outcome.error.is_none() => shape::account(account, encoding, None),
            _ => Ok(Value::Null),
        }
    });
    Ok(Value::Array(shaped.collect::<Result<_, RpcError>>()?))
}

/// What a simulation answers, and what a failed preflight has as `data`.
pub(super) fn result(outcome: &Outcome) -> Value {
    let Outcome { error, meta, .. } = outcome;
    json!({
        "err": shape::error(error.as_ref()),
        "logs": meta.logs,
        "accounts": null,
        "unitsConsumed": meta.compute_units_consumed,
        "fee": meta.fee,
        "returnData": shape::returned(meta),
        "innerInstructions": null,
        "replacementBlockhash": null,
    })
}

/// The fee of a message with a live blockhash, null for others. The payer needn't have it.
pub(super) fn fee(node: &Node, params: Params<'_>) -> Answer {
    let message = wire::message(params)?;
    let options = params.options(1)?;
    let bank = options.bank(node)?;
    if !node.blockhash_is_good(message.recent_blockhash(), bank) {
        return Ok(in_context(bank, Value::Null));
    }
    let signatures = vec![Signature::default(); usize::from(message.header().num_required_signatures)];
    // Beside the duplicates' check: the fee of what was executed is asked for, too.
    let outcome = bank.simulate(VersionedTransaction { signatures, message });
    // Nothing was counted for what can't be read, as with an unknown lookup table.
    Ok(in_context(bank, Some(outcome.meta.fee).filter(|fee| *fee > 0)))
}

pub(super) fn bad_signature() -> RpcError {
    RpcError::new(-32003, "Transaction signature verification failure")
}
