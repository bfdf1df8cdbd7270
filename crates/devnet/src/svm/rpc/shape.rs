//! What answers look like.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use litesvm::types::TransactionMetadata;
use serde_json::{Value, json};
use solana_account::{AccountSharedData, ReadableAccount as _};
use solana_transaction_error::TransactionError;

use super::{
    super::{history::Balances, tokens::TokenBalance},
    RpcError,
    params::{DataSlice, Encoding},
};

/// Longer data isn't written in base58.
const BASE58: usize = 128;

pub(super) fn account(
    account: &AccountSharedData,
    encoding: Encoding,
    slice: Option<DataSlice>,
) -> Result<Value, RpcError> {
    let data = slice.map_or(account.data(), |slice| part(account.data(), slice));
    if matches!(encoding, Encoding::Binary | Encoding::Base58) && data.len() > BASE58 {
        return Err(RpcError::new(
            -32600,
            format!(
                "Encoded binary (base 58) data should be less than {BASE58} bytes, please use Base64 encoding."
            ),
        ));
    }
    let data = match encoding {
        Encoding::Binary => json!(bs58::encode(data).into_string()),
        Encoding::Base58 => json!([bs58::encode(data).into_string(), "base58"]),
        Encoding::Base64 | Encoding::Json | Encoding::JsonParsed => {
            json!([BASE64_STANDARD.encode(data), "base64"])
        }
    };
    Ok(json!({
        "lamports": account.lamports(),
        "owner": account.owner().to_string(),
        "executable": account.executable(),
        "rentEpoch": account.rent_epoch(),
        "space": account.data().len(),
        "data": data,
    }))
}

fn part(data: &[u8], DataSlice { offset, length }: DataSlice) -> &[u8] {
    let end = offset.saturating_add(length).min(data.len());
    data.get(offset..end).unwrap_or_default()
}

/// An amount of tokens. `uiAmount` is for people; who counts reads `amount`.
pub(super) fn amount(amount: u64, decimals: u8) -> Value {
    let text = decimal(amount, decimals);
    let approximate = amount as f64 / 10f64.powi(i32::from(decimals));
    json!({ "amount": amount.to_string(), "decimals": decimals, "uiAmount": approximate, "uiAmountString": text })
}

/// The amount with a decimal point where it needs one.
fn decimal(amount: u64, decimals: u8) -> String {
    let places = usize::from(decimals);
    let digits = format!("{amount:0>width$}", width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    match part.trim_end_matches('0') {
        "" => whole.to_owned(),
        part => format!("{whole}.{part}"),
    }
}

/// As clients read it: null, a name, or an object with the failing instruction.
pub(super) fn error(error: Option<&TransactionError>) -> Value {
    serde_json::to_value(error).unwrap_or_default()
}

/// What programs returned; null without it.
pub(super) fn returned(meta: &TransactionMetadata) -> Value {
    match meta.return_data.data.as_slice() {
        [] => Value::Null,
        data => json!({
            "programId": meta.return_data.program_id.to_string(),
            "data": [BASE64_STANDARD.encode(data), "base64"],
        }),
    }
}

/// What instructions called, for those that called something.
pub(super) fn inner(meta: &TransactionMetadata) -> Value {
    let called = meta.inner_instructions.iter().enumerate().filter(|(_, calls)| !calls.is_empty());
    let shaped = called.map(|(index, calls)| {
        let calls: Vec<Value> = calls
            .iter()
            .map(|call| {
                json!({
                    "programIdIndex": call.instruction.program_id_index,
                    "accounts": call.instruction.accounts,
                    "data": bs58::encode(&call.instruction.data).into_string(),
                    "stackHeight": call.stack_height,
                })
            })
            .collect();
        json!({ "index": index, "instructions": calls })
    });
    Value::Array(shaped.collect())
}

pub(super) fn token_balances(balances: &Balances) -> Value {
    let shaped = balances.tokens.iter().map(|(place, held)| {
        let TokenBalance { mint, owner, program, .. } = held;
        json!({
            "accountIndex": place,
            "mint": mint.to_string(),
            "owner": owner.to_string(),
            "programId": program.to_string(),
            "uiTokenAmount": amount(held.amount, held.decimals),
        })
    });
    Value::Array(shaped.collect())
}
