//! A node's address, which often holds a key.

use std::fmt;

use serde::{Deserialize, Deserializer};
use url::Url;

/// A node's URL, or the variable that holds it. Printed without credentials, path and query.
#[derive(Clone, PartialEq, Eq)]
pub struct Rpc(Where);

#[derive(Clone, PartialEq, Eq)]
enum Where {
    Url(Url),
    Variable(String),
}

/// Says what was expected; the text itself may be a secret.
struct Kind {
    schemes: [&'static str; 2],
    expected: &'static str,
}

const HTTP: Kind = Kind {
    schemes: ["http", "https"],
    expected: "expected an http:// or https:// URL, or $NAME of an environment variable that holds one",
};
const WS: Kind = Kind {
    schemes: ["ws", "wss"],
    expected: "expected a ws:// or wss:// URL, or $NAME of an environment variable that holds one",
};

impl Rpc {
    /// Reads an HTTP URL or `$NAME`.
    ///
    /// # Errors
    /// What was expected.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        Self::read(text, &HTTP)
    }

    /// Reads a WebSocket URL or `$NAME`.
    ///
    /// # Errors
    /// What was expected.
    pub fn new_ws(text: &str) -> Result<Self, &'static str> {
        Self::read(text, &WS)
    }

    fn read(text: &str, kind: &Kind) -> Result<Self, &'static str> {
        let expected = kind.expected;
        match text.strip_prefix('$') {
            Some(name) if is_variable(name) => Ok(Self(Where::Variable(name.to_owned()))),
            Some(_) => Err(expected),
            None => {
                let url = Url::parse(text).map_err(|_| expected)?;
                let good = kind.schemes.contains(&url.scheme()) && url.host().is_some();
                if good { Ok(Self(Where::Url(url))) } else { Err(expected) }
            }
        }
    }

    /// The URL, once it is known.
    #[must_use]
    pub const fn url(&self) -> Option<&Url> {
        match &self.0 {
            Where::Url(url) => Some(url),
            Where::Variable(_) => None,
        }
    }

    /// The variable that holds it, as long as it was not filled in.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        match &self.0 {
            Where::Url(_) => None,
            Where::Variable(name) => Some(name),
        }
    }
}

pub(super) fn ws<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Rpc>, D::Error> {
    Rpc::new_ws(&String::deserialize(d)?).map(Some).map_err(serde::de::Error::custom)
}

/// Whether this can be a variable's name: letters, digits and `_`, no digit first.
pub(super) fn is_variable(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=64).contains(&name.len())
        && name.bytes().all(word)
        && !name.starts_with(|first: char| first.is_ascii_digit())
}

impl fmt::Display for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Where::Url(url) => {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                write!(f, "{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
            }
            Where::Variable(name) => write!(f, "${name}"),
        }
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({self})")
    }
}

impl<'de> Deserialize<'de> for Rpc {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}
