//! `peer version`.

use super::args::Args;
use super::common::OUTPUT_FLAGS;
use super::console::Console as _;
use super::errors::CliError;
use super::exit::Exit;
use super::help;
use super::report::{Moment, Object};
use super::{Command, Shell};

/// `peer version`.
pub(crate) const COMMAND: Command = Command {
    name: "version",
    alias: None,
    about: "show the versions of program and protocol",
    usage: &["version [--json]"],
    details: &[],
    examples: &[("peer version --json", "for programs")],
    flags: &[("Output", OUTPUT_FLAGS)],
    run: version,
};

fn version(args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    args.finish()?;
    let protocol = protocol::limits::VERSION;
    if shell.output.json {
        let at = Moment { unix: reactor::clock::unix_time(), ..Moment::default() };
        let object = Object::event(at, "version")
            .text("program", "peer")
            .text("version", env!("CARGO_PKG_VERSION"))
            .number("protocol_min", u64::from(protocol))
            .number("protocol_max", u64::from(protocol));
        shell.console.data(object.finish().as_bytes());
    } else {
        shell.console.data(help::version().as_bytes());
        shell.console.data(format!("protocol {protocol}").as_bytes());
    }
    Ok(Exit::DONE)
}
