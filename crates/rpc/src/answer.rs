//! JSON-RPC's texts: what is asked, and what may come back. An answer is outside input: every part that is kept has a
//! bound.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::rpc::Given;
use crate::transport::Unanswered;

/// The most characters of a node's text that are kept.
const MAX_MESSAGE: usize = 200;
/// The longest data of a refusal that is looked into, in bytes as they came.
const MAX_READ: usize = 1024 * 1024;
/// The most of a refusal's data that is kept: each value counts as one byte, its text or name as its own length.
const MAX_DATA: usize = 16 * 1024;

/// Why a call gave no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RpcError {
    /// No answer that could be used: nothing is known of what the node did.
    #[error("the RPC node can't be used: {0}")]
    Unreachable(&'static str),
    /// The node answered with an error.
    #[error("the RPC node refused ({code}): {message}")]
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// The node's text: at most 200 characters, none of them a control character.
        message: String,
        /// What the node says besides, cut down to 16 KiB: texts at their ends, lists and objects at their last
        /// members. Null when it says nothing, or more than 1 MiB.
        data: Value,
    },
}

impl From<Unanswered> for RpcError {
    fn from(Unanswered(why): Unanswered) -> Self {
        Self::Unreachable(why)
    }
}

pub(crate) const UNREADABLE: RpcError = RpcError::Unreachable("its answer can't be read");

#[derive(Serialize)]
pub(crate) struct Question<'a, P> {
    jsonrpc: &'static str,
    id: usize,
    method: &'a str,
    params: P,
}

impl<'a, P: Serialize> Question<'a, P> {
    pub(crate) fn new(id: usize, method: &'a str, params: P) -> Self {
        Self { jsonrpc: "2.0", id, method, params }
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<Told<'a>>,
}

#[derive(Deserialize)]
struct Told<'a> {
    code: i64,
    message: String,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

pub(crate) fn written<T: Serialize>(question: &T) -> Result<Vec<u8>, RpcError> {
    written_in(Vec::new(), question)
}

/// [`written`], into `body`, which may have room for it.
pub(crate) fn written_in<T: Serialize>(mut body: Vec<u8>, question: &T) -> Result<Vec<u8>, RpcError> {
    let written = serde_json::to_writer(&mut body, question);
    written.map(|()| body).map_err(|_| RpcError::Unreachable("the call can't be written"))
}

/// The answer to one call.
pub(crate) fn read<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, RpcError> {
    let answer: Answer<'_> = serde_json::from_slice(bytes).map_err(|_| UNREADABLE)?;
    let raw = result(&answer)?;
    serde_json::from_str(raw).map_err(|_| UNREADABLE)
}

/// The answers to `count` calls in their order; None unless there is exactly one for each.
pub(crate) fn unpacked(bytes: &[u8], count: usize) -> Option<Vec<Given>> {
    let answers: Vec<Answer<'_>> = serde_json::from_slice(bytes).ok()?;
    let mut given: Vec<Option<Given>> = (0..count).map(|_| None).collect();
    for answer in answers {
        let id = usize::try_from(answer.id.as_ref()?.as_u64()?).ok()?;
        let slot = given.get_mut(id)?;
        let raw =
            result(&answer).and_then(|raw| RawValue::from_string(raw.to_owned()).map_err(|_| UNREADABLE));
        *slot = Some(Given::new(raw));
    }
    given.into_iter().collect()
}

fn result<'a>(answer: &Answer<'a>) -> Result<&'a str, RpcError> {
    match &answer.error {
        Some(Told { code, message, data }) => Err(RpcError::Refused {
            code: *code,
            message: message.chars().filter(|c| !c.is_control()).take(MAX_MESSAGE).collect(),
            data: bounded(*data),
        }),
        None => Ok(answer.result.map_or("null", RawValue::get)),
    }
}

fn bounded(data: Option<&RawValue>) -> Value {
    let raw = data.map_or("null", RawValue::get);
    if raw.len() > MAX_READ {
        return Value::Null;
    }
    let mut value = serde_json::from_str(raw).unwrap_or_default();
    let mut room = MAX_DATA;
    cut(&mut value, &mut room);
    value
}

/// Keeps of `value` what there is `room` for.
fn cut(value: &mut Value, room: &mut usize) {
    *room = room.saturating_sub(1);
    match value {
        Value::String(text) => {
            text.truncate(text.floor_char_boundary(*room));
            text.shrink_to_fit();
            *room = room.saturating_sub(text.len());
        }
        Value::Array(values) => {
            values.retain_mut(|value| {
                let fits = *room > 0;
                if fits {
                    cut(value, room);
                }
                fits
            });
            values.shrink_to_fit();
        }
        Value::Object(members) => members.retain(|name, value| {
            let fits = *room > name.len();
            if fits {
                *room = room.saturating_sub(name.len());
                cut(value, room);
            }
            fits
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
