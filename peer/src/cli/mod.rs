//! The command line: turns words into jobs, and notices into text and exit codes.
//!
//! One file per command. What is printed, and the exit code, depend only on the words, the environment
//! and what the machine tells; the machine itself is run in `runtime`.

mod args;
mod common;
mod console;
mod create;
mod errors;
mod escape;
mod exit;
mod fetch;
mod format;
mod glob;
mod help;
mod info;
mod logging;
mod ls;
mod nearest;
#[doc(hidden)]
pub mod probe;
mod report;
mod runtime;
mod seed;
mod table;
mod target;
mod unpublish;
mod values;
mod verify;
mod version;
mod who;

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use args::{Args, Env, Flag};
use common::{Output, Progress};
use console::{Console, StdConsole};
use errors::CliError;
use exit::Exit;
use report::{Moment, error_event, paint};

/// One command of the program.
#[derive(Debug)]
pub(crate) struct Command {
    /// How it is called.
    pub name: &'static str,
    /// Another way to call it.
    pub alias: Option<&'static str>,
    /// What it does, in one line.
    pub about: &'static str,
    /// Its forms.
    pub usage: &'static [&'static str],
    /// More lines for its help.
    pub details: &'static [&'static str],
    /// Command lines, each with what it does.
    pub examples: &'static [(&'static str, &'static str)],
    /// All its flags, under their headings.
    pub flags: &'static [(&'static str, &'static [Flag])],
    /// Does it.
    pub run: fn(Args, &mut Shell<'_>) -> Result<Exit, CliError>,
}

/// What every command has at hand.
pub(crate) struct Shell<'e> {
    /// Environment variables.
    pub env: Env<'e>,
    /// What is to be printed.
    pub output: Output,
    /// Where to.
    pub console: StdConsole,
}

/// Every command, in the order of the help.
const COMMANDS: &[&Command] = &[
    &seed::COMMAND,
    &fetch::COMMAND,
    &ls::COMMAND,
    &info::COMMAND,
    &who::COMMAND,
    &verify::COMMAND,
    &create::COMMAND,
    &unpublish::COMMAND,
    &version::COMMAND,
];

/// The whole program, with this process's words and environment.
pub fn main() -> ExitCode {
    logging::catch_panics();
    let words = std::env::args_os().skip(1).collect();
    let exit = run(words, &|name| std::env::var_os(name));
    ExitCode::from(exit.status)
}

/// The program as a function of its words and environment.
fn run(mut words: Vec<OsString>, env: Env<'_>) -> Exit {
    let mut shell = Shell { env, output: Output::default(), console: StdConsole::new() };
    // Whoever asked for JSON gets the error as JSON even if the words make no sense otherwise.
    shell.output.json = words.iter().any(|word| word == "--json");
    let outcome = dispatch(&mut words, &mut shell);
    let outcome = shell.console.finish().and(outcome);
    outcome.unwrap_or_else(|error| {
        print_error(&error, &mut shell);
        error.exit
    })
}

fn dispatch(words: &mut Vec<OsString>, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = take_command(words)?;
    let asks_for = |long: &str, short: &str| {
        words.iter().take_while(|word| *word != "--").any(|word| word == long || word == short)
    };
    let (wants_help, wants_version) = (asks_for("--help", "-h"), asks_for("--version", "-V"));
    let Some(command) = command else {
        return Ok(without_command(wants_help, wants_version, shell));
    };
    if wants_help {
        shell.console.data(help::command(command).trim_end().as_bytes());
        return Ok(Exit::DONE);
    }
    let flags: Vec<_> = command.flags.iter().map(|(_, flags)| *flags).collect();
    let mut args = Args::parse(command.name, &flags, std::mem::take(words), shell.env)?;
    shell.output = Output::read(&mut args, shell.env)?;
    logging::start(&shell.output, (shell.env)("PEER_LOG"), &shell.console);
    (command.run)(args, shell)
}

fn without_command(wants_help: bool, wants_version: bool, shell: &mut Shell<'_>) -> Exit {
    let help = help::program(COMMANDS);
    if wants_help {
        shell.console.data(help.trim_end().as_bytes());
        Exit::DONE
    } else if wants_version {
        shell.console.data(help::version().as_bytes());
        Exit::DONE
    } else {
        shell.console.line(help.trim_end());
        Exit::USAGE
    }
}

/// Takes the command out of the words; flags that every command has may stand before it.
fn take_command(words: &mut Vec<OsString>) -> Result<Option<&'static Command>, CliError> {
    let mut at = 0;
    while let Some(word) = words.get(at).filter(|word| word.as_encoded_bytes().starts_with(b"-")) {
        at += if takes_next_word(word) { 2 } else { 1 };
    }
    if at >= words.len() {
        return Ok(None);
    }
    let word = words.remove(at);
    let name = word.to_string_lossy();
    // `peer help fetch` is `peer fetch --help`.
    if name == "help" {
        words.push("--help".into());
        return match words.first().is_some_and(|word| word != "--help") {
            true => take_command(words),
            false => Ok(None),
        };
    }
    find(&name).map(Some).ok_or_else(|| {
        let known = COMMANDS.iter().flat_map(|c| std::iter::once(c.name).chain(c.alias));
        let detail = match nearest::nearest(&name, known) {
            Some(near) => format!("did you mean: peer {near} ?"),
            None => "there is no such command".to_owned(),
        };
        CliError::usage("", format!("unknown command '{name}'"), detail)
    })
}

/// Whether a flag in front of the command has its value in the next word.
fn takes_next_word(word: &OsStr) -> bool {
    let shared = [common::OUTPUT_FLAGS, common::TRACKER_FLAGS];
    let Some(text) = word.to_str() else {
        return false;
    };
    shared.iter().flat_map(|flags| flags.iter()).filter(|f| f.value_name().is_some()).any(|flag| {
        text == flag.long || flag.short.is_some_and(|short| text == format!("-{short}"))
    })
}

/// The command called `name`.
fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().copied().find(|c| c.name == name || c.alias == Some(name))
}

fn print_error(error: &CliError, shell: &mut Shell<'_>) {
    let at = Moment { unix: reactor::clock::unix_time(), ..Moment::default() };
    let output = &shell.output;
    if output.json {
        shell.console.data(error_event(at, error).finish().as_bytes());
    } else if output.progress == Progress::Json {
        shell.console.line(&error_event(at, error).finish());
    } else {
        for line in error.lines(paint(output)) {
            shell.console.line(&line);
        }
    }
}

impl Command {
    /// What it does, as a sentence.
    fn about_sentence(&self) -> String {
        let mut letters = self.about.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        format!("{first}{}.", letters.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &[&str]) -> Result<Option<(&'static str, Vec<String>)>, String> {
        let mut words = words.iter().map(OsString::from).collect();
        let found = take_command(&mut words).map_err(|error| error.detail)?;
        let rest = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        Ok(found.map(|command| (command.name, rest)))
    }

    #[test]
    fn commands_are_found_between_flags() {
        let is = |words: &[&str], name: &str, rest: &[&str]| {
            let (found, left) = command(words).unwrap().unwrap();
            assert_eq!(
                (found, left.as_slice()),
                (name, &rest.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()[..])
            );
        };
        is(&["fetch", "x"], "fetch", &["x"]);
        is(&["get", "x"], "fetch", &["x"]);
        is(&["put", "x"], "seed", &["x"]);
        is(&["-T", "ls", "-q", "fetch", "x"], "fetch", &["-T", "ls", "-q", "x"]);
        is(&["--tracker=ls", "fetch"], "fetch", &["--tracker=ls"]);
        is(&["help", "fetch"], "fetch", &["--help"]);
        assert_eq!(command(&["--version"]), Ok(None));
        assert_eq!(command(&["help"]), Ok(None));
        assert_eq!(command(&["fecth"]), Err("did you mean: peer fetch ?".to_owned()));
        assert_eq!(command(&["frobnicate"]), Err("there is no such command".to_owned()));
    }

    #[test]
    fn words_alone_decide_the_exit_code() {
        let table: &[(&[&str], Exit)] = &[
            (&["version", "--json"], Exit::DONE),
            (&["--version"], Exit::DONE),
            (&["fetch", "--help"], Exit::DONE),
            (&["version", "extra"], Exit::USAGE),
            (&["fetch"], Exit::USAGE),
            (&["fetch", "a", "--tracker", "http://x"], Exit::USAGE),
            (&["seed", "/nonexistent/file"], Exit::NOT_FOUND),
            (&["verify", "a", "/nonexistent/file"], Exit::NOT_FOUND),
        ];
        for (words, exit) in table {
            let words = words.iter().map(OsString::from).collect();
            assert_eq!(run(words, &|_| None), *exit);
        }
    }
}
