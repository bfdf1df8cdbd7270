//! What texts from below may not carry to a caller or a log.

/// The longest message that is passed on, in characters.
const LONGEST: usize = 500;

/// `text` with every URL replaced by `<url>`, cut at 500 characters: messages of mechanisms come in
/// part from RPC clients, whose errors quote the endpoint with its key.
pub(crate) fn urls(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at);
        let scheme = before
            .char_indices()
            .rev()
            .take_while(|(_, c)| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
            .last()
            .map_or(before.len(), |(index, _)| index);
        out.push_str(before.get(..scheme).unwrap_or_default());
        out.push_str("<url>");
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')' | '>' | '}'));
        rest = end.and_then(|end| after.get(end..)).unwrap_or_default();
    }
    out.push_str(rest);
    match out.char_indices().nth(LONGEST) {
        None => out,
        Some((end, _)) => format!("{}…", out.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::urls;

    #[test]
    fn x402rs_20_urls_in_messages_are_replaced() {
        for (text, clean) in [
            (
                "error sending request for url (https://u:p@rpc.example/v2/KEY?x=1): refused",
                "error sending request for url (<url>): refused",
            ),
            ("wss://a b http://c", "<url> b <url>"),
            ("://", "<url>"),
            ("no url: 0x12", "no url: 0x12"),
            ("é\"ftp://x\"é", "é\"<url>\"é"),
        ] {
            assert_eq!(urls(text), clean);
        }
        assert_eq!(urls(&"é".repeat(10_000)).chars().count(), 501);
    }
}
