//! How a seller declares the extensions.

use serde_json::{Value, json};
use tollway_protocol::json::Object;

use super::{APPROVAL_EXTENSION, PERMIT_EXTENSION, VERSION};

/// The entry of a challenge's `extensions` that declares the extension `key`; `None` for one that is not of these.
#[must_use]
pub fn declaration(key: &str) -> Option<Value> {
    let (description, own) = match key {
        PERMIT_EXTENSION => (
            "The facilitator accepts EIP-2612 gasless Permit to `Permit2` canonical contract.",
            &[("nonce", NUMBER), ("deadline", NUMBER), ("signature", HEX)][..],
        ),
        APPROVAL_EXTENSION => (
            "The facilitator accepts a raw signed approval transaction and will sponsor the gas fees.",
            &[("signedTransaction", HEX)][..],
        ),
        _ => return None,
    };
    let members = [
        ("from", ADDRESS),
        ("asset", ADDRESS),
        ("spender", ADDRESS),
        ("amount", NUMBER),
        ("version", DOTTED),
    ];
    let members = members.iter().chain(own);
    let properties: serde_json::Map<String, Value> = members
        .clone()
        .map(|(name, pattern)| ((*name).to_owned(), json!({ "type": "string", "pattern": pattern })))
        .collect();
    let required: Vec<&str> = members.map(|(name, _)| *name).collect();
    Some(json!({
        "info": { "description": description, "version": VERSION },
        "schema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": properties,
            "required": required,
        },
    }))
}

/// The declarations of those extensions that the facilitator has.
pub(crate) fn declared(supported: &[String]) -> Object {
    let keys = [PERMIT_EXTENSION, APPROVAL_EXTENSION];
    let has = |key: &&str| supported.iter().any(|known| known == key);
    let entries = keys.iter().filter(|key| has(key));
    Object(entries.filter_map(|key| declaration(key).map(|entry| ((*key).to_owned(), entry))).collect())
}

const ADDRESS: &str = "^0x[a-fA-F0-9]{40}$";
const NUMBER: &str = "^[0-9]+$";
const HEX: &str = "^0x[a-fA-F0-9]+$";
const DOTTED: &str = r"^[0-9]+(\.[0-9]+)*$";
