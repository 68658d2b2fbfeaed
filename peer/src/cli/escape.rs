//! Text from the network or the file system, made fit for a terminal.
//!
//! **Nothing that others wrote reaches a terminal without passing here.** Names and error texts may hold
//! escape sequences that move the cursor, or marks that turn the reading direction round; they are shown
//! as escapes instead of obeyed.

use std::borrow::Cow;
use std::path::Path;

/// `text` with everything that a terminal could obey shown as `\x1b` or `\u{202e}`.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_risky) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            c if !is_risky(c) => safe.push(c),
            c if u32::from(c) < 0x100 => safe.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => safe.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(safe)
}

/// [`escape`] for paths; bytes that are not UTF-8 show as `U+FFFD`.
pub(crate) fn escape_path(path: &Path) -> String {
    escape(&path.to_string_lossy()).into_owned()
}

/// `text` as one word of a POSIX shell command line, for commands to copy; escaped as [`escape`] does.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/@:+,=%".contains(c);
    let safe = escape(text);
    if !safe.is_empty() && safe.chars().all(plain) {
        safe.into_owned()
    } else {
        format!("'{}'", safe.replace('\'', r"'\''"))
    }
}

/// Control characters of both sets, line separators, and marks that are invisible or turn the reading
/// direction round.
fn is_risky(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let table = [
            ("models/llama-70b", "models/llama-70b"),
            ("späße 漢字", "späße 漢字"),
            ("a\x1b[2Jb", "a\\x1b[2Jb"),
            ("two\nlines\tand a tab\r", "two\\nlines\\tand a tab\\x0d"),
            ("c1 \u{9b}31m", "c1 \\x9b31m"),
            ("txt.\u{202e}exe", "txt.\\u{202e}exe"),
            ("", ""),
        ];
        for (raw, safe) in table {
            assert_eq!(escape(raw), safe);
        }
    }

    #[test]
    fn shell_words_are_one_word() {
        assert_eq!(shell_word("llama-70b@3"), "llama-70b@3");
        assert_eq!(shell_word("my file"), "'my file'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("$(reboot)"), "'$(reboot)'");
        assert_eq!(shell_word(""), "''");
    }
}
