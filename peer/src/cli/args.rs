//! Command lines, read strictly against a table of flags.
//!
//! One table per command says which flags exist, which environment variable stands in for each, and what
//! the help prints; nothing is accepted that is not in it. The words of the command line are first put
//! into one canonical form, so that pico-args, which searches by content, can't take a value for a flag.
//!
//! Precedence: the command line, then the environment, then the default. A flag given twice: the last
//! one counts, except where several values make sense.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::errors::CliError;
use super::escape::escape;
use super::nearest::nearest;
use super::values;

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// Name with its dashes: `--tracker`.
    pub long: &'static str,
    /// One letter, if it has one.
    pub short: Option<char>,
    /// What follows it.
    pub kind: Kind,
    /// Environment variable that stands in for it.
    pub env: &'static str,
    /// What happens without it, in words; empty if that goes without saying.
    pub default: &'static str,
    /// One line for the help.
    pub help: &'static str,
}

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing, or `=yes` or `=no`.
    Switch,
    /// Nothing; giving it more often means more.
    Count,
    /// One value, called so in the help.
    Value(&'static str),
    /// One value each time; all of them count.
    List(&'static str),
}

impl Flag {
    /// The name of its value in the help; `None` if it takes none.
    pub(crate) fn value_name(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Switch | Kind::Count => None,
            Kind::Value(name) | Kind::List(name) => Some(name),
        }
    }
}

/// Looks up environment variables; a parameter so that tests need not change the real ones.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// One command line, split into flags and arguments, all flags known.
#[derive(Debug)]
pub(crate) struct Args {
    pico: pico_args::Arguments,
    free: std::vec::IntoIter<OsString>,
    /// Where each given flag came from: itself, or its variable.
    origins: BTreeMap<&'static str, &'static str>,
    command: &'static str,
}

impl Args {
    /// Splits `words` (without program and command) by the flags of `command`.
    ///
    /// # Errors
    /// For an unknown flag, or one without its value.
    pub(crate) fn parse(
        command: &'static str,
        flags: &[&'static [Flag]],
        words: Vec<OsString>,
        env: Env<'_>,
    ) -> Result<Self, CliError> {
        let table: Vec<&'static Flag> = flags.iter().flat_map(|group| group.iter()).collect();
        let mut split = Splitter { command, table: &table, given: Vec::new(), free: Vec::new() };
        split.split(words)?;
        let (mut given, free) = (split.given, split.free);
        let mut origins: BTreeMap<_, _> = given.iter().map(|(f, _)| (f.long, f.long)).collect();
        for flag in &table {
            let value = env(flag.env).filter(|value| !value.is_empty());
            if let (false, Some(value)) = (origins.contains_key(flag.long), value) {
                origins.insert(flag.long, flag.env);
                given.push((flag, value));
            }
        }
        let canonical = given.into_iter().flat_map(|(flag, value)| [flag.long.into(), value]);
        let pico = pico_args::Arguments::from_vec(canonical.collect());
        Ok(Self { pico, free: free.into_iter(), origins, command })
    }

    /// The name of the command.
    pub(crate) fn command(&self) -> &'static str {
        self.command
    }

    /// Whether a switch is on.
    ///
    /// # Errors
    /// When its value is neither yes nor no.
    pub(crate) fn switch(&mut self, long: &'static str) -> Result<bool, CliError> {
        Ok(self.value(long, values::switch)?.unwrap_or(false))
    }

    /// How often a flag was given.
    ///
    /// # Errors
    /// When its variable does not hold a small number.
    pub(crate) fn count(&mut self, long: &'static str) -> Result<usize, CliError> {
        let parse = |text: &str| text.parse::<u8>().map_err(|_| "expected 0, 1 or 2".to_owned());
        let counts = self.list(long, parse)?;
        Ok(counts.into_iter().map(usize::from).sum())
    }

    /// The value of a flag.
    ///
    /// # Errors
    /// When `parse` refuses it; its reason becomes part of the message.
    pub(crate) fn value<T>(
        &mut self,
        long: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, CliError> {
        Ok(self.list(long, parse)?.pop())
    }

    /// All values of a flag, in order.
    ///
    /// # Errors
    /// As [`Args::value`].
    pub(crate) fn list<T>(
        &mut self,
        long: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, CliError> {
        let origin = self.origins.get(long).copied().unwrap_or(long);
        let command = self.command;
        let refuse = |text: &str, reason: String| {
            CliError::usage(command, format!("bad value '{text}' for {origin}"), reason)
        };
        let parse_one = |raw: OsString| match raw.to_str() {
            Some(text) => parse(text).map_err(|reason| refuse(text, reason)),
            None => Err(refuse(&raw.to_string_lossy(), "it is not valid UTF-8".to_owned())),
        };
        self.raw(long).into_iter().map(parse_one).collect()
    }

    /// The value of a flag that is a path.
    pub(crate) fn path(&mut self, long: &'static str) -> Option<PathBuf> {
        self.raw(long).pop().map(PathBuf::from)
    }

    /// The next argument that is not a flag.
    pub(crate) fn next_free(&mut self) -> Option<OsString> {
        self.free.next()
    }

    /// The next argument that is not a flag, which must be there.
    ///
    /// # Errors
    /// When it is not; `what` says what it should be.
    pub(crate) fn required(&mut self, what: &str) -> Result<OsString, CliError> {
        let missing = || {
            let what = format!("{what} is missing");
            CliError::usage(self.command, what, format!("peer {} needs one", self.command))
        };
        self.free.next().filter(|arg| !arg.is_empty()).ok_or_else(missing)
    }

    /// [`Args::required`] as text.
    ///
    /// # Errors
    /// When it is missing or not UTF-8.
    pub(crate) fn required_text(&mut self, what: &str) -> Result<String, CliError> {
        self.required(what)?.into_string().map_err(|raw| {
            let text = format!("'{}' is not valid UTF-8", raw.to_string_lossy());
            CliError::usage(self.command, text, "names are UTF-8 text".to_owned())
        })
    }

    /// Nothing may be left over.
    ///
    /// # Errors
    /// When there is another argument.
    pub(crate) fn finish(mut self) -> Result<(), CliError> {
        match self.free.next() {
            None => Ok(()),
            Some(extra) => Err(CliError::usage(
                self.command,
                format!("unexpected argument '{}'", extra.to_string_lossy()),
                format!("peer {} takes no further argument here", self.command),
            )),
        }
    }

    fn raw(&mut self, long: &'static str) -> Vec<OsString> {
        let as_is = |value: &OsStr| Ok::<_, String>(value.to_owned());
        self.pico.values_from_os_str(long, as_is).unwrap_or_default()
    }
}

/// Takes words apart; see the module's text.
struct Splitter<'t> {
    command: &'static str,
    table: &'t [&'static Flag],
    given: Vec<(&'static Flag, OsString)>,
    free: Vec<OsString>,
}

impl Splitter<'_> {
    fn split(&mut self, words: Vec<OsString>) -> Result<(), CliError> {
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"--" => self.free.extend(words.by_ref()),
                [b'-', b'-', ..] => self.long(&word, &mut words)?,
                [b'-', _, ..] => self.shorts(&word, &mut words)?,
                _ => self.free.push(word),
            }
        }
        Ok(())
    }

    fn long(
        &mut self,
        word: &OsStr,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), CliError> {
        let bytes = word.as_bytes();
        let equals = bytes.iter().position(|b| *b == b'=');
        let name = String::from_utf8_lossy(&bytes[..equals.unwrap_or(bytes.len())]).into_owned();
        let inline = equals.map(|at| OsStr::from_bytes(&bytes[at + 1..]).to_owned());
        let Some(flag) = self.table.iter().copied().find(|flag| flag.long == name) else {
            return Err(self.unknown(&name));
        };
        let value = match (flag.kind, inline) {
            (Kind::Switch, None) => OsString::from("yes"),
            (Kind::Count, None) => OsString::from("1"),
            (Kind::Count, Some(_)) => {
                let what = format!("{name} takes no value");
                return Err(CliError::usage(self.command, what, format!("write only {name}")));
            }
            (_, Some(value)) => self.usable(flag, Some(value))?,
            (_, None) => self.usable(flag, words.next())?,
        };
        self.given.push((flag, value));
        Ok(())
    }

    /// `-v`, `-vv`, `-qT host`, `-Thost`, `-T=host`.
    fn shorts(
        &mut self,
        word: &OsStr,
        words: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), CliError> {
        let mut rest = &word.as_bytes()[1..];
        while let [letter, tail @ ..] = rest {
            let letter = char::from(*letter);
            let Some(flag) = self.table.iter().copied().find(|flag| flag.short == Some(letter))
            else {
                return Err(self.unknown(&word.to_string_lossy()));
            };
            rest = tail;
            let value = match flag.kind {
                Kind::Switch => OsString::from("yes"),
                Kind::Count => OsString::from("1"),
                Kind::Value(_) | Kind::List(_) => {
                    let inline = tail.strip_prefix(b"=").unwrap_or(tail);
                    rest = &[];
                    let inline = (!tail.is_empty()).then(|| OsString::from_vec(inline.to_vec()));
                    let value = inline.or_else(|| words.next());
                    self.usable(flag, value)?
                }
            };
            self.given.push((flag, value));
        }
        Ok(())
    }

    /// A value that is there, and is not another flag that follows by mistake.
    fn usable(&self, flag: &Flag, value: Option<OsString>) -> Result<OsString, CliError> {
        let name = flag.value_name().unwrap_or("yes|no");
        let missing = |detail| {
            Err(CliError::usage(self.command, format!("{} needs a value", flag.long), detail))
        };
        match value {
            Some(value) if value.is_empty() => missing(format!("write {} {name}", flag.long)),
            Some(value) if self.table.iter().any(|flag| *flag.long == *value) => {
                let next = value.to_string_lossy();
                missing(format!("the flag {next} follows instead; write {} {name}", flag.long))
            }
            Some(value) => Ok(value),
            None => missing(format!("write {} {name}", flag.long)),
        }
    }

    fn unknown(&self, name: &str) -> CliError {
        let bare = name.trim_start_matches('-');
        let near = nearest(bare, self.table.iter().map(|flag| flag.long.trim_start_matches('-')));
        let detail = match near {
            Some(near) => format!("did you mean --{near}?"),
            None => format!("peer {} has no such flag", self.command),
        };
        CliError::usage(self.command, format!("unknown flag {}", escape(name)), detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        flag("--name", Some('n'), Kind::Value("NAME"), "T_NAME"),
        flag("--hidden", None, Kind::Switch, "T_HIDDEN"),
        flag("--quiet", Some('q'), Kind::Count, "T_QUIET"),
        flag("--tracker", Some('T'), Kind::List("ADDR"), "T_TRACKER"),
    ];

    const fn flag(long: &'static str, short: Option<char>, kind: Kind, env: &'static str) -> Flag {
        Flag { long, short, kind, env, default: "", help: "" }
    }

    fn parse(words: &[&str], env: &[(&str, &str)]) -> Result<String, String> {
        let words = words.iter().map(OsString::from).collect();
        let env = |name: &str| {
            env.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        let read = || -> Result<String, CliError> {
            let mut args = Args::parse("test", &[FLAGS], words, &env)?;
            let text = |t: &str| Ok(t.to_owned());
            let name = args.value("--name", text)?;
            let trackers = args.list("--tracker", text)?;
            let (hidden, quiet) = (args.switch("--hidden")?, args.count("--quiet")?);
            let path = args.required_text("path")?;
            args.finish()?;
            Ok(format!("{name:?} {hidden} {quiet} {trackers:?} {path}"))
        };
        read().map_err(|e| format!("{}; {}", e.what, e.detail))
    }

    #[test]
    fn flags_in_all_their_forms() {
        let table: &[(&[&str], &str)] = &[
            (&["p"], "None false 0 [] p"),
            (&["-n", "x", "p"], "Some(\"x\") false 0 [] p"),
            (&["p", "-nx"], "Some(\"x\") false 0 [] p"),
            (&["--name=x=y", "p"], "Some(\"x=y\") false 0 [] p"),
            (&["-n", "a", "-n=b", "p"], "Some(\"b\") false 0 [] p"),
            (&["-qq", "--hidden", "p"], "None true 2 [] p"),
            (&["--hidden=no", "p"], "None false 0 [] p"),
            (&["-qT", "a", "-Tb", "p"], "None false 1 [\"a\", \"b\"] p"),
            (&["--", "-q"], "None false 0 [] -q"),
            (&["-n", "-x", "-"], "Some(\"-x\") false 0 [] -"),
        ];
        for (words, expected) in table {
            assert_eq!(parse(words, &[]).as_deref(), Ok(*expected), "{words:?}");
        }
    }

    #[test]
    fn the_environment_stands_in() {
        let env = [("T_NAME", "e"), ("T_HIDDEN", "1"), ("T_QUIET", "2"), ("T_TRACKER", "t")];
        assert_eq!(parse(&["p"], &env).as_deref(), Ok("Some(\"e\") true 2 [\"t\"] p"));
        let words = ["p", "-n", "c", "--hidden=no", "-q", "-T", "u"];
        assert_eq!(parse(&words, &env).as_deref(), Ok("Some(\"c\") false 1 [\"u\"] p"));
        assert_eq!(parse(&["p"], &[("T_NAME", "")]).as_deref(), Ok("None false 0 [] p"));
        let error = parse(&["p"], &[("T_HIDDEN", "perhaps")]).unwrap_err();
        assert_eq!(error, "bad value 'perhaps' for T_HIDDEN; expected yes or no");
    }

    #[test]
    fn mistakes_are_named() {
        let table: &[(&[&str], &str)] = &[
            (&[], "path is missing; peer test needs one"),
            (&[""], "path is missing; peer test needs one"),
            (&["p", "q"], "unexpected argument 'q'; peer test takes no further argument here"),
            (&["--trakcer", "x"], "unknown flag --trakcer; did you mean --tracker?"),
            (&["--zzzzzzzz"], "unknown flag --zzzzzzzz; peer test has no such flag"),
            (&["-qx"], "unknown flag -qx; peer test has no such flag"),
            (&["--name"], "--name needs a value; write --name NAME"),
            (&["--name="], "--name needs a value; write --name NAME"),
            (
                &["--name", "--hidden"],
                "--name needs a value; the flag --hidden follows instead; write --name NAME",
            ),
            (&["--quiet=2"], "--quiet takes no value; write only --quiet"),
            (&["--hidden=x"], "bad value 'x' for --hidden; expected yes or no"),
        ];
        for (words, expected) in table {
            assert_eq!(parse(words, &[]).unwrap_err(), *expected, "{words:?}");
        }
    }
}
