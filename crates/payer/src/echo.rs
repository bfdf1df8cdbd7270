//! The challenge's extensions as they go back: as they came, with what is added.

use serde_json::{Value, json};
use tollway_protocol::json::Object;

use crate::asked::Asked;

/// The challenge's extensions; a purchase id is added where the server takes one.
pub(crate) fn of(asked: &Asked, id: &str) -> Object {
    let mut extensions = asked.extensions.clone();
    let info = extensions.0.get_mut("payment-identifier").and_then(|entry| entry.get_mut("info"));
    if let Some(info) = info.and_then(Value::as_object_mut) {
        info.entry("id").or_insert_with(|| json!(format!("pay_{id}")));
    }
    extensions
}

/// Adds members to the `info` of extensions that the challenge has. What the challenge says there stays.
pub(crate) fn add(extensions: &mut Object, added: Object) {
    for (key, members) in added.0 {
        let Some(Value::Object(entry)) = extensions.0.get_mut(&key) else { continue };
        let info = entry.entry("info").or_insert_with(|| json!({}));
        let (Value::Object(info), Value::Object(members)) = (info, members) else { continue };
        for (member, value) in members {
            info.entry(member).or_insert(value);
        }
    }
}
