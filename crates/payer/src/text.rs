//! A peer's text, made fit to show: it never decides anything.

use tollway_protocol::{Code, Settlement};

/// At most `max` characters of `text`, without control or invisible direction characters.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let hidden = |c: &char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut chars = text.chars().filter(|c| !hidden(c));
    let mut out: String = chars.by_ref().take(max).collect();
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// A name from an offer: short.
pub(crate) fn name(text: &str) -> String {
    clean(text, 80)
}

/// What names a transaction or an account, on any chain.
pub(crate) fn id(text: &str) -> String {
    clean(text, 128)
}

/// A sentence from a server.
pub(crate) fn prose(text: &str) -> String {
    clean(text, 300)
}

/// A settlement whose words can be shown and kept.
pub(crate) fn settlement(told: Settlement) -> Settlement {
    Settlement {
        error_reason: told.error_reason.map(|code| Code::new(&prose(code.as_str()))),
        error_message: told.error_message.map(|message| prose(&message)),
        payer: told.payer.map(|payer| id(&payer)),
        transaction: told.transaction.map(|transaction| id(&transaction)).filter(|id| !id.is_empty()),
        ..told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cl13_a_servers_text_is_short_and_has_no_hidden_characters() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c\n\u{200b}d\u{e0041}", 10), "a[31mbcd");
        assert_eq!(clean("abcdef", 3), "abc…");
    }
}
