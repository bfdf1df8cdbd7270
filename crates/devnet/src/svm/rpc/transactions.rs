//! Transactions of the ledger.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use solana_message::VersionedMessage;
use solana_signature::Signature;
use solana_transaction::versioned::VersionedTransaction;

use super::{
    super::{history::Record, node::Node},
    Answer, Commitment, RpcError,
    params::{Encoding, Params, text},
    shape,
    signatures::at_least_confirmed,
};

pub(super) fn get(node: &Node, params: Params<'_>) -> Answer {
    let signature: Signature = text(&params.required::<String>(0, "signature")?)?;
    let options = params.options(1)?;
    let least = at_least_confirmed(options.commitment)?;
    let Some(record) = node.history.get(&signature).filter(|record| Commitment::of(record, node) >= least)
    else {
        return Ok(Value::Null);
    };
    let version = version(&record.transaction, options.max_supported_transaction_version)?;
    let mut shaped = json!({
        "slot": record.slot,
        "blockTime": record.time,
        "transaction": encoded(&record.transaction, options.encoding.unwrap_or(Encoding::Json))?,
        "meta": meta(record),
    });
    if let (Some(version), Some(fields)) = (version, shaped.as_object_mut()) {
        fields.insert("version".to_owned(), version);
    }
    Ok(shaped)
}

/// Nothing for clients that don't know of versions.
fn version(transaction: &VersionedTransaction, highest: Option<u8>) -> Result<Option<Value>, RpcError> {
    match (&transaction.message, highest) {
        (VersionedMessage::Legacy(_), None) => Ok(None),
        (VersionedMessage::Legacy(_), Some(_)) => Ok(Some(json!("legacy"))),
        (VersionedMessage::V0(_), Some(_)) => Ok(Some(json!(0))),
        _ => Err(RpcError::new(
            -32015,
            "Transaction version (0) is not supported by the requesting client. Please try the request again with \
             the following configuration parameter: \"maxSupportedTransactionVersion\": 0",
        )),
    }
}

fn encoded(transaction: &VersionedTransaction, encoding: Encoding) -> Answer {
    let bytes = || wincode::serialize(transaction).map_err(|error| RpcError::internal(error.to_string()));
    match encoding {
        Encoding::Base64 => Ok(json!([BASE64_STANDARD.encode(bytes()?), "base64"])),
        Encoding::Base58 => Ok(json!([bs58::encode(bytes()?).into_string(), "base58"])),
        Encoding::Binary => Ok(json!(bs58::encode(bytes()?).into_string())),
        Encoding::Json => Ok(in_json(transaction)),
        Encoding::JsonParsed => {
            Err(RpcError::params("Invalid param: jsonParsed transactions are not answered"))
        }
    }
}

fn in_json(transaction: &VersionedTransaction) -> Value {
    let message = &transaction.message;
    let header = message.header();
    let texts = |items: &[_]| items.iter().map(ToString::to_string).collect::<Vec<_>>();
    let instructions = message.instructions().iter().map(|instruction| {
        json!({
            "programIdIndex": instruction.program_id_index,
            "accounts": instruction.accounts,
            "data": bs58::encode(&instruction.data).into_string(),
            "stackHeight": 1,
        })
    });
    let mut shaped = json!({
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "accountKeys": texts(message.static_account_keys()),
        "recentBlockhash": message.recent_blockhash().to_string(),
        "instructions": instructions.collect::<Vec<_>>(),
    });
    if let (Some(lookups), Some(fields)) = (message.address_table_lookups(), shaped.as_object_mut()) {
        let lookups = lookups.iter().map(|lookup| {
            json!({
                "accountKey": lookup.account_key.to_string(),
                "writableIndexes": lookup.writable_indexes,
                "readonlyIndexes": lookup.readonly_indexes,
            })
        });
        fields.insert("addressTableLookups".to_owned(), lookups.collect());
    }
    let signatures: Vec<String> = transaction.signatures.iter().map(ToString::to_string).collect();
    json!({ "signatures": signatures, "message": shaped })
}

fn meta(record: &Record) -> Value {
    let error = shape::error(record.error.as_ref());
    let mut shaped = json!({
        "err": error,
        "status": if record.error.is_none() { json!({ "Ok": null }) } else { json!({ "Err": error }) },
        "fee": record.meta.fee,
        "preBalances": record.before.lamports,
        "postBalances": record.after.lamports,
        "preTokenBalances": shape::token_balances(&record.before),
        "postTokenBalances": shape::token_balances(&record.after),
        "innerInstructions": shape::inner(&record.meta),
        "logMessages": record.meta.logs,
        "loadedAddresses": { "writable": [], "readonly": [] },
        "rewards": [],
        "computeUnitsConsumed": record.meta.compute_units_consumed,
    });
    let returned = shape::returned(&record.meta);
    if let (false, Some(fields)) = (returned.is_null(), shaped.as_object_mut()) {
        fields.insert("returnData".to_owned(), returned);
    }
    shaped
}
