//! What is wrong with a configuration, and where.

use std::fmt;

/// What is wrong, and where. No message repeats a value: it may be a secret in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file can't be read as a configuration.
    #[error("line {line}, column {column}: {}{problem}", prefix(key))]
    File {
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
        /// The key's path, such as `network[0].rpc`; empty for a syntax error.
        key: String,
        /// What.
        problem: String,
    },
    /// An environment variable.
    #[error("environment variable {variable}: {problem}")]
    Environment {
        /// Its name.
        variable: String,
        /// What.
        problem: String,
    },
    /// A value that reads well but makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key's path.
        key: String,
        /// What, and what is expected.
        problem: String,
    },
}

/// Everything that a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<ConfigError>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

fn prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

impl ConfigError {
    pub(super) fn file(text: &str, key: &str, error: &toml::de::Error) -> Self {
        let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self::File {
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
            key: key.to_owned(),
            problem: quiet(error.message()),
        }
    }
}

/// serde's messages quote a string of the wrong type or value; ours do not.
fn quiet(message: &str) -> String {
    let quotes =
        message.starts_with("invalid type: string \"") || message.starts_with("invalid value: string \"");
    match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if quotes => {
            let (head, tail) =
                (message.get(..first).unwrap_or_default(), message.get(last + 1..).unwrap_or_default());
            format!("{}{tail}", head.trim_end())
        }
        _ => message.to_owned(),
    }
}
