//! The two extensions by which a facilitator pays for Permit2's allowance: `eip2612GasSponsoring`, a permit that the
//! token takes, and `erc20ApprovalGasSponsoring`, a signed transaction that anyone may send.

#[cfg(feature = "payer")]
mod approval;
mod declare;
mod permit;

use alloy_primitives::{Address, U256};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tollway_protocol::door::{self, DoorError};
use tollway_protocol::{Dialect, Payment, Reason, Refusal};

#[cfg(feature = "payer")]
pub use approval::{APPROVAL_GAS, Approval, ApprovalTransaction};
pub use declare::declaration;
pub(crate) use declare::declared;
pub use permit::Permit2612;

/// The key of the extension by which the payer permits Permit2 its allowance by signature.
pub const PERMIT_EXTENSION: &str = "eip2612GasSponsoring";

/// The key of the extension by which the payer approves Permit2 by a transaction that the facilitator sends.
pub const APPROVAL_EXTENSION: &str = "erc20ApprovalGasSponsoring";

/// The extensions' version.
const VERSION: &str = "1";

/// The members of `info` that the seller declares; a payer that only echoes adds none.
const DECLARED: [&str; 2] = ["description", "version"];

/// What the payer put into an extension's `info`; `None` when it only echoed it.
fn answer<T: DeserializeOwned>(payment: &Payment, key: &str, reason: &Reason) -> Result<Option<T>, Refusal> {
    let Some(Value::Object(info)) = payment.extensions.get(key).and_then(|entry| entry.get("info")) else {
        return Ok(None);
    };
    let own: Map<String, Value> = info
        .iter()
        .filter(|(member, _)| !DECLARED.contains(&member.as_str()))
        .map(|(member, value)| (member.clone(), value.clone()))
        .collect();
    if own.is_empty() {
        return Ok(None);
    }
    T::deserialize(own).map(Some).map_err(|error| unread(payment, key, reason, "", &error))
}

fn unread(
    payment: &Payment,
    key: &str,
    reason: &Reason,
    member: &str,
    error: &dyn std::fmt::Display,
) -> Refusal {
    let message =
        format!("extensions.{key}.info{}{member}: {error}", if member.is_empty() { "" } else { "." });
    Refusal::new(reason.clone(), message).dialect(Dialect::of_offer(&payment.accepted))
}

fn address(text: &str) -> Result<Address, DoorError> {
    door::hex_array::<20>(text).map(Into::into)
}

fn number(text: &str) -> Result<U256, DoorError> {
    door::decimal_u256(text)
}
