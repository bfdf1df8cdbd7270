//! A peer's text, made fit to show: it never decides anything.

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

/// A sentence from a server.
pub(crate) fn prose(text: &str) -> String {
    clean(text, 300)
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
