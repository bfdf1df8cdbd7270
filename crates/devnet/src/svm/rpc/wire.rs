//! Transactions and messages as they come.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use solana_message::VersionedMessage;
use solana_transaction::versioned::VersionedTransaction;

use super::{
    RpcError,
    params::{Encoding, Params},
};

/// A transaction fits one packet.
const PACKET: usize = 1_232;

/// The first parameter, a transaction of the versions that clusters take: legacy and 0.
pub(super) fn transaction(
    params: Params<'_>,
    encoding: Option<Encoding>,
) -> Result<VersionedTransaction, RpcError> {
    let bytes = bytes(&params.required::<String>(0, "transaction")?, encoding.unwrap_or(Encoding::Base58))?;
    let transaction: VersionedTransaction = wincode::deserialize(&bytes).map_err(|error| {
        RpcError::params(format!(
            "failed to deserialize solana_transaction::versioned::VersionedTransaction: {error}"
        ))
    })?;
    if matches!(transaction.message, VersionedMessage::V1(_)) {
        return Err(RpcError::params("invalid transaction: Transaction version is unsupported"));
    }
    match transaction.sanitize() {
        Ok(()) => Ok(transaction),
        Err(error) => Err(RpcError::params(format!("invalid transaction: {error}"))),
    }
}

/// The first parameter, a message in base64.
pub(super) fn message(params: Params<'_>) -> Result<VersionedMessage, RpcError> {
    let bytes = bytes(&params.required::<String>(0, "message")?, Encoding::Base64)?;
    wincode::deserialize(&bytes).map_err(|error| {
        RpcError::params(format!("failed to deserialize solana_message::VersionedMessage: {error}"))
    })
}

fn bytes(text: &str, encoding: Encoding) -> Result<Vec<u8>, RpcError> {
    // Base64 is the shorter one to write out a packet in; longer texts aren't read.
    if text.len() > PACKET * 2 {
        return Err(too_large(text.len()));
    }
    let bytes = match encoding {
        Encoding::Base64 => BASE64_STANDARD.decode(text).map_err(|error| error.to_string()),
        Encoding::Base58 | Encoding::Binary => {
            bs58::decode(text).into_vec().map_err(|error| error.to_string())
        }
        Encoding::Json | Encoding::JsonParsed => {
            return Err(RpcError::params("unsupported encoding. Supported encodings: base58, base64"));
        }
    };
    let bytes = bytes.map_err(|error| RpcError::params(format!("invalid encoding: {error}")))?;
    if bytes.len() > PACKET {
        return Err(too_large(bytes.len()));
    }
    Ok(bytes)
}

fn too_large(length: usize) -> RpcError {
    RpcError::params(format!("transaction too large: {length} bytes (max: encoded/raw 1644/{PACKET})"))
}
