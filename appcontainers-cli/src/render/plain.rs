//! Text from images and containers is hostile: no escape sequence of theirs reaches a terminal.

use std::borrow::Cow;

/// `text` with control characters written as escapes (`\n`, `\u{1b}`).
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    // U+202A..202E and U+2066..2069 reorder the text around them.
    let hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|c| if hidden(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(escaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(plain("a\x1b]0;owned\x07\n"), "a\\u{1b}]0;owned\\u{7}\\n");
        assert_eq!(plain("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(plain("Grüße"), "Grüße");
    }
}
