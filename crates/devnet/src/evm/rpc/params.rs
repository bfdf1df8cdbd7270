//! Reading parameters.

use alloy_primitives::U256;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::RpcError;

#[derive(Clone, Copy)]
pub(super) struct Params<'a>(pub(super) &'a Value);

impl Params<'_> {
    pub(super) fn required<T: DeserializeOwned>(self, index: usize, name: &str) -> Result<T, RpcError> {
        self.optional(index, name)?.ok_or_else(|| RpcError::params(format!("missing value for {name}")))
    }

    /// Nothing where the parameter is absent or null.
    pub(super) fn optional<T: DeserializeOwned>(
        self,
        index: usize,
        name: &str,
    ) -> Result<Option<T>, RpcError> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|error| bad(name, &error)),
        }
    }

    /// A count or a time, as a number or a hex quantity.
    pub(super) fn number(self, index: usize, name: &str) -> Result<Option<u64>, RpcError> {
        let value: Option<U256> = self.optional(index, name)?;
        value.map(|value| u64::try_from(value).map_err(|error| bad(name, &error))).transpose()
    }

    pub(super) fn required_number(self, index: usize, name: &str) -> Result<u64, RpcError> {
        self.number(index, name)?.ok_or_else(|| RpcError::params(format!("missing value for {name}")))
    }
}

fn bad(name: &str, error: &dyn std::error::Error) -> RpcError {
    RpcError::params(format!("invalid {name}: {error}"))
}
