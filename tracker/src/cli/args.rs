//! A command line, read strictly against the table of its flags.
//!
//! Precedence: the command line, then the environment. A flag given twice counts with its last value,
//! except where several make sense.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::failure::{Failure, printable};
use super::flags::Flag;
use super::values;

/// What was given, all of it known.
#[derive(Debug)]
pub(crate) struct Args {
    command: &'static str,
    /// Values in order, by flag; a flag without value has an empty one each time.
    given: BTreeMap<&'static str, Vec<OsString>>,
    /// Flags that came from their variable.
    from_env: BTreeMap<&'static str, &'static str>,
}

/// Looks up environment variables; a parameter, so that tests need not change the real ones.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Args {
    /// Reads `words` by `table`.
    pub(crate) fn parse(
        command: &'static str,
        table: &'static [Flag],
        words: Vec<OsString>,
        env: Env<'_>,
    ) -> Result<Self, Failure> {
        let mut pico = pico_args::Arguments::from_vec(separate(table, words));
        let mut given: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut from_env = BTreeMap::new();
        // Flags with a value first, so that no value is taken for a flag.
        for flag in table.iter().filter(|flag| !flag.value.is_empty()) {
            let values = take_values(&mut pico, flag)
                .map_err(|error| Failure::usage(command, error, expected(flag)))?;
            given.insert(flag.long, values);
        }
        for flag in table.iter().filter(|flag| flag.value.is_empty()) {
            let times = std::iter::from_fn(|| contains(&mut pico, flag).then(OsString::new));
            given.insert(flag.long, times.collect());
        }
        if let Some(word) = pico.finish().first() {
            let word = printable(&word.to_string_lossy());
            let kind = if word.starts_with('-') { "option" } else { "argument" };
            let detail = if command.is_empty() {
                "tracker takes options, or the command 'status'"
            } else {
                "tracker status takes options only"
            };
            return Err(Failure::usage(command, format_args!("unknown {kind} '{word}'"), detail));
        }
        for flag in table {
            let value = env(flag.env).filter(|value| !value.is_empty());
            let slot = given.entry(flag.long).or_default();
            if let (true, Some(value)) = (slot.is_empty(), value) {
                slot.push(value);
                from_env.insert(flag.long, flag.env);
            }
        }
        Ok(Self { command, given, from_env })
    }

    /// All values of a flag.
    pub(crate) fn all<T>(
        &self,
        long: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Failure> {
        // A variable holds all values in one, apart by commas.
        let split = self.from_env.contains_key(long);
        let texts = self.given.get(long).into_iter().flatten().map(|raw| raw.to_string_lossy());
        let parts = texts.flat_map(|text| match split {
            true => text.split(',').map(|part| part.trim().to_owned()).collect(),
            false => vec![text.into_owned()],
        });
        parts.map(|part| parse(&part).map_err(|why| self.refuse(long, &part, &why))).collect()
    }

    /// The value of a flag.
    pub(crate) fn one<T>(
        &self,
        long: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        let Some(raw) = self.given.get(long).and_then(|values| values.last()) else {
            return Ok(None);
        };
        let text = raw.to_string_lossy();
        parse(&text).map(Some).map_err(|why| self.refuse(long, &text, &why))
    }

    /// The value of a flag that names a file or folder.
    pub(crate) fn path(&self, long: &'static str) -> Option<PathBuf> {
        self.given.get(long).and_then(|values| values.last()).map(PathBuf::from)
    }

    /// How often a flag without value was given; its variable is yes, no, or a number.
    pub(crate) fn times(&self, long: &'static str) -> Result<usize, Failure> {
        if self.from_env.contains_key(long) {
            let parse = |text: &str| match text {
                "2" => Ok(2),
                _ => values::switch(text).map(usize::from),
            };
            return Ok(self.one(long, parse)?.unwrap_or(0));
        }
        Ok(self.given.get(long).map_or(0, Vec::len))
    }

    /// The value of a flag can't be used.
    pub(crate) fn refuse(&self, long: &'static str, value: &str, why: &str) -> Failure {
        let origin = self.from_env.get(long).copied().unwrap_or(long);
        Failure::usage(self.command, format_args!("bad value '{value}' for {origin}"), why)
    }
}

/// Puts a value that is glued to its flag (`--listen=X`, `-lX`) into a word of its own. Values stay as they
/// are, whatever they look like.
fn separate(table: &[Flag], words: Vec<OsString>) -> Vec<OsString> {
    let mut separated = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        let valued = || table.iter().filter(|flag| !flag.value.is_empty());
        let long = text.split_once('=').filter(|(name, _)| valued().any(|flag| flag.long == *name));
        let short = valued().find_map(|flag| {
            let rest = text.strip_prefix(flag.short).filter(|_| !flag.short.is_empty())?;
            let rest = rest.strip_prefix('=').unwrap_or(rest);
            (!rest.is_empty()).then_some((flag.short, rest))
        });
        if let Some((name, value)) = long.or(short) {
            separated.extend([OsString::from(name), OsString::from(value)]);
        } else {
            let takes_next = valued().any(|flag| text == flag.long || text == flag.short);
            separated.push(word);
            separated.extend(if takes_next { words.next() } else { None });
        }
    }
    separated
}

fn take_values(
    pico: &mut pico_args::Arguments,
    flag: &Flag,
) -> Result<Vec<OsString>, pico_args::Error> {
    let as_is = |raw: &std::ffi::OsStr| Ok::<_, std::convert::Infallible>(raw.to_owned());
    if flag.short.is_empty() {
        pico.values_from_os_str(flag.long, as_is)
    } else {
        pico.values_from_os_str([flag.short, flag.long], as_is)
    }
}

fn contains(pico: &mut pico_args::Arguments, flag: &Flag) -> bool {
    if flag.short.is_empty() {
        pico.contains(flag.long)
    } else {
        pico.contains([flag.short, flag.long])
    }
}

fn expected(flag: &Flag) -> String {
    format!("expected {} {}", flag.long, flag.value)
}

#[cfg(test)]
mod tests {
    use super::super::flags::SERVE;
    use super::*;

    fn parse(words: &[&str], env: &[(&str, &str)]) -> Result<Args, Failure> {
        let words = words.iter().map(OsString::from).collect();
        let lookup = |name: &str| {
            env.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        };
        Args::parse("", SERVE, words, &lookup)
    }

    #[test]
    fn flags_come_before_variables_and_lists_add_up() {
        let env = [("TRACKER_LISTEN", "127.0.0.1:1, 127.0.0.1:2"), ("TRACKER_MAX_CONNS", "9")];
        let args = parse(&["--max-conns=7", "-vv", "-d", "x"], &env).unwrap();
        assert_eq!(args.all("--listen", values::listen_addr).unwrap().len(), 2);
        assert_eq!(args.one("--max-conns", |text| values::count(text, 99)).unwrap(), Some(7));
        assert_eq!(args.times("--verbose").unwrap(), 2);
        assert_eq!(args.path("--data-dir"), Some(PathBuf::from("x")));
        let args = parse(&["-l127.0.0.1:1", "--listen", "127.0.0.1:2"], &env).unwrap();
        assert_eq!(args.all("--listen", values::listen_addr).unwrap().len(), 2);
    }

    #[test]
    fn what_is_unknown_is_refused_in_three_lines() {
        for words in [&["--lisen", "x"][..], &["serve"], &["-x"], &["--listen"]] {
            let failure = parse(words, &[]).unwrap_err();
            assert_eq!((failure.exit, failure.text().lines().count()), (2, 3), "{failure:?}");
        }
        let args = parse(&[], &[("TRACKER_LISTEN", "nonsense")]).unwrap();
        let failure = args.all("--listen", values::listen_addr).unwrap_err();
        assert!(failure.text().contains("TRACKER_LISTEN"), "{failure:?}");
    }
}
