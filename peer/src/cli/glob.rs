//! `*` and `?` over names. Pure, without backtracking beyond the last star: linear times the pattern.

/// A pattern of names.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    pattern: Vec<char>,
}

impl Glob {
    /// `*` stands for any text, slashes included, `?` for one character. Without either the pattern is a
    /// prefix.
    pub(crate) fn new(pattern: &str) -> Self {
        let mut pattern: Vec<char> = pattern.chars().collect();
        if !pattern.iter().any(|c| is_wild(*c)) {
            pattern.push('*');
        }
        Self { pattern }
    }

    /// What every match begins with.
    pub(crate) fn prefix(&self) -> String {
        self.pattern.iter().take_while(|c| !is_wild(**c)).collect()
    }

    /// Whether a name matches.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let text: Vec<char> = name.chars().collect();
        let (mut p, mut t) = (0, 0);
        // After the last star: where it is, and how much of the text it stands for.
        let mut star: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.pattern.get(p) {
                Some('*') => {
                    star = Some((p, t));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => match star {
                    Some((at, taken)) => {
                        star = Some((at, taken + 1));
                        p = at + 1;
                        t = taken + 1;
                    }
                    None => return false,
                },
            }
        }
        self.pattern[p..].iter().all(|c| *c == '*')
    }
}

fn is_wild(c: char) -> bool {
    matches!(c, '*' | '?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let table = [
            ("", "anything", true),
            ("llama", "llama-70b", true),
            ("llama", "my-llama", false),
            ("*70b", "llama-70b", true),
            ("*70b", "llama-70b-q4", false),
            ("l*-?b", "llama-8b", true),
            ("l*-?b", "llama-70b", false),
            ("*/*.gguf", "models/phi.gguf", true),
            ("a*b*c", "aXbYbZc", true),
            ("?", "ä", true),
            ("?", "", false),
            ("***", "", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} {name}");
        }
        assert_eq!(Glob::new("models/l*").prefix(), "models/l");
        let slow = format!("{}b", "a*".repeat(100));
        assert!(!Glob::new(&slow).matches(&"a".repeat(1_000)));
    }
}
