//! Telling: prose with indented JSON for people, a JSON object a line for programs.

use std::io;

use serde_json::{Map, Value, json};
use tollway_protocol::Network;

use crate::screen::{self, Paint};

/// Says what happens on one network.
pub(super) struct Teller {
    json: bool,
    paint: Paint,
    network: Network,
}

impl Teller {
    pub(super) fn new(json: bool, network: Network) -> Self {
        Self { json, paint: Paint::for_stdout(), network }
    }

    /// The line before the first step; programs don't need it.
    pub(super) fn opening(&self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { screen::line(&self.paint.bold(text)) }
    }

    /// One step, with what was seen in it.
    pub(super) fn step(&self, number: u8, name: &str, says: &str, seen: &[(&str, Value)]) -> io::Result<()> {
        if self.json {
            let seen: Map<String, Value> =
                seen.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let line =
                json!({ "step": number, "name": name, "says": says, "network": self.network, "seen": seen });
            return screen::line(&line.to_string());
        }
        let heading = format!("\n{} {}", self.paint.cyan(&format!("{number}.")), self.paint.bold(says));
        screen::line(&heading)?;
        seen.iter().try_for_each(|(name, value)| self.fact(name, value))
    }

    /// A fact on its line, or a document below its name.
    fn fact(&self, name: &str, value: &Value) -> io::Result<()> {
        let name = format!("   {:<26}", words(name));
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Object(_) => {
                screen::line(&name)?;
                let lines = serde_json::to_string_pretty(value).unwrap_or_default();
                return lines
                    .lines()
                    .try_for_each(|line| screen::line(&self.paint.dim(&format!("     {line}"))));
            }
            other => other.to_string(),
        };
        screen::line(&format!("{name}{text}"))
    }

    /// The last lines.
    pub(super) fn closing(&self, good: bool, says: &str, next: &str) -> io::Result<()> {
        if self.json {
            return screen::line(&json!({ "done": good }).to_string());
        }
        let verdict =
            if good { self.paint.green(&format!("✓ {says}")) } else { self.paint.red("✗ it did not") };
        screen::line(&format!("\n{verdict}"))?;
        screen::line(next)
    }
}

/// `rpcRoundTrips` as `rpc round trips`; a header's name stays what it is.
fn words(name: &str) -> String {
    if name.contains('-') {
        return name.to_owned();
    }
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// A document without what is too long to read: every text over 80 characters keeps both its ends.
pub(super) fn short(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(ends(text)),
        Value::Array(items) => items.iter().map(short).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), short(value))).collect(),
        other => other.clone(),
    }
}

fn ends(text: &str) -> String {
    let count = text.chars().count();
    if count <= 80 {
        return text.to_owned();
    }
    let head: String = text.chars().take(12).collect();
    let tail: String = text.chars().skip(count.saturating_sub(6)).collect();
    format!("{head}…{tail} ({count} characters)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_name_is_told_in_words() {
        assert_eq!(words("rpcRoundTrips"), "rpc round trips");
        assert_eq!(words("PAYMENT-REQUIRED"), "PAYMENT-REQUIRED");
    }

    #[test]
    fn a_signature_is_shown_by_its_ends() {
        let signature = format!("0x{}", "ab".repeat(65));
        let shown = short(&json!({ "payload": [{ "signature": signature, "to": "0x12" }] }));
        assert_eq!(shown["payload"][0]["signature"], json!("0xababababab…ababab (132 characters)"));
        assert_eq!(shown["payload"][0]["to"], json!("0x12"));
    }
}
