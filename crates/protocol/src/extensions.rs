//! The extension envelope: `{"<key>": {"info": {…}, "schema"?: {…}, …}}`.

use serde_json::Value;

use crate::json::{Object, is_subset};
use crate::reason::{Reason, Refusal};

/// Whether a payer echoed the extensions that the seller advertised: each advertised `info` must be
/// in the echo, where the payer may have added members. `dynamic` names the members of `info` that
/// may differ, by extension key. What was not advertised passes.
///
/// ```
/// use serde_json::json;
/// use tollway_protocol::{extensions, json::Object};
/// let object = |v| serde_json::from_value::<Object>(v).unwrap();
/// let advertised = object(json!({"payment-identifier": {"info": {"required": true}}}));
/// let echo = object(json!({"payment-identifier": {"info": {"required": true, "id": "pay_0123456789abcdef"}}}));
/// assert!(extensions::check_echo(&advertised, &echo, &[]).is_ok());
/// let altered = object(json!({"payment-identifier": {"info": {"required": false}}}));
/// assert!(extensions::check_echo(&advertised, &altered, &[]).is_err());
/// ```
///
/// # Errors
/// [`Reason::ExtensionMismatch`], naming the extension.
pub fn check_echo(advertised: &Object, echoed: &Object, dynamic: &[(&str, &[&str])]) -> Result<(), Refusal> {
    for (key, echo) in &echoed.0 {
        let Some(original) = advertised.get(key) else { continue };
        let ignored = dynamic.iter().find(|(name, _)| name == key).map_or(&[][..], |(_, members)| members);
        if !is_subset(&comparable(original, ignored), &comparable(echo, &[])) {
            return Err(Refusal::new(
                Reason::ExtensionMismatch,
                format!("extension `{key}` was not echoed as it was given"),
            ));
        }
    }
    Ok(())
}

/// An entry's `info` without the members that may differ; an entry without `info` counts whole.
fn comparable(entry: &Value, ignored: &[&str]) -> Value {
    let mut part = entry.get("info").unwrap_or(entry).clone();
    if let Value::Object(map) = &mut part {
        map.retain(|key, _| !ignored.contains(&key.as_str()));
    }
    part
}
