//! From words on the command line to a running tracker, or to one answer of another one.

mod args;
mod failure;
mod flags;
mod logging;
mod serve;
mod status;
mod values;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use args::Args;
use failure::Failure;

/// Runs the program and returns its exit code.
pub(crate) fn run(words: Vec<OsString>) -> ExitCode {
    match dispatch(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.text());
            ExitCode::from(failure.exit)
        }
    }
}

fn dispatch(mut words: Vec<OsString>) -> Result<(), Failure> {
    let is_status = words.first().is_some_and(|word| word == "status");
    if is_status {
        words.remove(0);
    }
    let (command, table) = if is_status { ("status", flags::STATUS) } else { ("", flags::SERVE) };
    let wants = |long: &str, short: &str| words.iter().any(|word| word == long || word == short);
    if wants("--help", "-h") || words.first().is_some_and(|word| word == "help") {
        return print(&flags::help(command));
    }
    if wants("--version", "-V") {
        return print(concat!("tracker ", env!("CARGO_PKG_VERSION"), ", protocol 1\n"));
    }
    let args = Args::parse(command, table, words, &|name| std::env::var_os(name))?;
    if is_status { status::run(args) } else { serve::run(args) }
}

/// Writes to standard output. A reader that went away, as `head` does, is no error.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::internal("can't write to standard output", error))
        }
        _ => Ok(()),
    }
}

/// Writes one text to standard error, as far as that is there.
fn say(text: &str) {
    // Nobody could be told that telling failed.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
