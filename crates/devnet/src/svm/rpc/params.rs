//! Reading parameters.

use std::str::FromStr;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use solana_address::Address;

use super::{Commitment, RpcError};

#[derive(Clone, Copy)]
pub(super) struct Params<'a>(pub(super) &'a Value);

/// What the last parameter of most methods may say. Each method looks at what is its own.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Options {
    pub(super) commitment: Option<Commitment>,
    pub(super) min_context_slot: Option<u64>,
    pub(super) encoding: Option<Encoding>,
    pub(super) data_slice: Option<DataSlice>,
    pub(super) skip_preflight: Option<bool>,
    pub(super) preflight_commitment: Option<Commitment>,
    pub(super) sig_verify: Option<bool>,
    pub(super) replace_recent_blockhash: Option<bool>,
    pub(super) inner_instructions: Option<bool>,
    pub(super) accounts: Option<Wanted>,
    pub(super) search_transaction_history: Option<bool>,
    pub(super) max_supported_transaction_version: Option<u8>,
    pub(super) limit: Option<usize>,
    pub(super) before: Option<String>,
    pub(super) until: Option<String>,
}

/// How bytes are written. `jsonParsed` is answered as base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Encoding {
    /// Base58 in a plain string: the oldest.
    Binary,
    Base58,
    Base64,
    Json,
    JsonParsed,
}

/// A part of an account's data.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct DataSlice {
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// The accounts that a simulation is to answer.
#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    pub(super) addresses: Vec<String>,
    pub(super) encoding: Option<Encoding>,
}

impl Params<'_> {
    pub(super) fn required<T: DeserializeOwned>(self, index: usize, name: &str) -> Result<T, RpcError> {
        self.optional(index)?.ok_or_else(|| RpcError::params(format!("missing value for {name}")))
    }

    /// Nothing where the parameter is absent or null.
    fn optional<T: DeserializeOwned>(self, index: usize) -> Result<Option<T>, RpcError> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| RpcError::params(format!("Invalid params: {error}."))),
        }
    }

    pub(super) fn options(self, index: usize) -> Result<Options, RpcError> {
        Ok(self.optional(index)?.unwrap_or_default())
    }

    pub(super) fn address(self, index: usize) -> Result<Address, RpcError> {
        text(&self.required::<String>(index, "address")?)
    }

    /// So many texts at most, each read as a `T`.
    pub(super) fn texts<T: FromStr<Err: std::fmt::Display>>(
        self,
        index: usize,
        most: usize,
    ) -> Result<Vec<T>, RpcError> {
        let texts: Vec<String> = self.required(index, "inputs")?;
        if texts.len() > most {
            return Err(RpcError::params(format!("Too many inputs provided; max {most}")));
        }
        texts.iter().map(|one| text(one)).collect()
    }
}

/// Reads an address, a hash or a signature.
pub(super) fn text<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, RpcError> {
    T::from_str(text).map_err(|error| RpcError::params(format!("Invalid param: {error}")))
}
