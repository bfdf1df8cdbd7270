//! Where in a TOML file a key is.

use toml::de::{DeTable, DeValue};

/// The line of `key`, a path such as `network[0].gas.max_fee_gwei`, or of its nearest table that is
/// in the file. Nothing for what is not in the file at all.
pub(super) fn line(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut found = None;
    for part in key.split('.') {
        let (name, index) = match part.split_once('[') {
            Some((name, index)) => {
                (name, tollway_protocol::door::decimal_u64(index.trim_end_matches(']')).ok())
            }
            None => (part, None),
        };
        let Some((_, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
        let item = match (value.get_ref(), index) {
            (DeValue::Array(items), Some(index)) => items.get(usize::try_from(index).ok()?)?,
            _ => value,
        };
        found = Some(item.span().start);
        match item.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => break,
        }
    }
    let before = text.get(..found?)?;
    Some(before.matches('\n').count().saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
ledger = \"x.db\"

[limits]
settle_seconds = 1

[[network]]
id = \"eip155:1\"

[[network]]
id = \"eip155:1\"
gas = { max_fee_gwei = 0 }
";

    #[test]
    fn a_key_is_found_by_its_path() {
        assert_eq!(line(TEXT, "ledger"), Some(1));
        assert_eq!(line(TEXT, "limits.settle_seconds"), Some(4));
        assert_eq!(line(TEXT, "network[1].id"), Some(10));
        assert_eq!(line(TEXT, "network[1].gas.max_fee_gwei"), Some(11));
        assert_eq!(line(TEXT, "network[0].rpc"), Some(6), "its table");
        assert_eq!(line(TEXT, "listen"), None);
    }
}
