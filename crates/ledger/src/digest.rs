//! What of a payment tells it from another with its key.

use serde_json::Value;
use tollway_protocol::IdempotencyKey;
use tollway_protocol::bind::Bound;
use tollway_protocol::json::Object;

use crate::{LedgerError, RequestId};

/// What the payment moves, apart from how it was signed. A second payment with the same key can have
/// other terms, and then is no reason to treat it as this one.
pub(crate) fn terms(payment: &Bound) -> RequestId {
    let effects = payment.effects();
    let mut parts = vec![effects.scheme.clone(), effects.payer.as_str().to_owned()];
    for only in &effects.moves {
        let amount = only.amount.to_string();
        parts.extend([only.asset.as_str(), only.from.as_str(), only.to.as_str(), &amount].map(str::to_owned));
    }
    RequestId::of(&parts.iter().map(String::as_bytes).collect::<Vec<_>>())
}

/// How it was signed, and what came with it: all that a payer sends besides the offer. Who resumes a payment that may
/// have been charged has to show the same, since the chain tells everybody its key. On Solana the chain shows all of the
/// payload too.
pub(crate) fn presented(payment: &Bound) -> RequestId {
    let payment = payment.payment();
    let parts = [&payment.payload, &payment.extensions].map(canonical);
    RequestId::of(&parts.each_ref().map(String::as_bytes))
}

/// Who asks for a settlement: what is stored of the key that only it knows.
pub(crate) fn asker(key: Option<&IdempotencyKey>) -> Option<[u8; 32]> {
    key.map(|key| RequestId::of(&[key.expose().as_bytes()]).0)
}

/// The name of a claim, as its row has it; rows that an earlier version made have none.
pub(crate) fn named(name: Option<String>) -> Result<Option<IdempotencyKey>, LedgerError> {
    let read = |name: String| {
        IdempotencyKey::read(&name).map_err(|error| LedgerError::Damaged(format!("a claim's name: {error}")))
    };
    name.map(read).transpose()
}

/// JSON with its members in the order of their names.
fn canonical(object: &Object) -> String {
    let mut text = String::new();
    write_canonical(&mut text, &Value::Object(object.0.clone()));
    text
}

fn write_canonical(text: &mut String, value: &Value) {
    let list = |text: &mut String, brackets: [char; 2], items: Vec<(Option<&String>, &Value)>| {
        text.push(brackets[0]);
        for (at, (name, item)) in items.into_iter().enumerate() {
            if at > 0 {
                text.push(',');
            }
            if let Some(name) = name {
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
            }
            write_canonical(text, item);
        }
        text.push(brackets[1]);
    };
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().map(|(name, item)| (Some(name), item)).collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            list(text, ['{', '}'], members);
        }
        Value::Array(items) => list(text, ['[', ']'], items.iter().map(|item| (None, item)).collect()),
        plain => text.push_str(&plain.to_string()),
    }
}
