//! The `tracker` program: a command line around the machines of this crate's library.
//!
//! No decision of the protocol is made here. Exit codes are in `cli::failure`.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os().skip(1).collect())
}
