//! The log, on stderr, and what a panic prints.

use std::ffi::OsString;

use env_logger::{Builder, Target};
use log::LevelFilter;

use super::common::Output;
use super::console::{StdConsole, write_stderr};
use super::errors::REPORT_HINT;
use super::exit::Exit;

/// Starts the log: `-v` shows what our own crates report at level info, `-vv` at debug; `filter` (of
/// `PEER_LOG`, in the syntax of env_logger) wins over both.
pub(crate) fn start(output: &Output, filter: Option<OsString>, console: &StdConsole) {
    let level = match output.verbose {
        0 => LevelFilter::Off,
        1 => LevelFilter::Info,
        _ => LevelFilter::Debug,
    };
    let mut builder = Builder::new();
    for ours in ["peer", "protocol", "reactor"] {
        builder.filter_module(ours, level);
    }
    if let Some(filter) = filter.as_deref().and_then(|filter| filter.to_str()) {
        builder.parse_filters(filter);
    }
    builder.target(Target::Pipe(Box::new(console.log_writer())));
    // Only a second logger in one process could fail here, and then there is one.
    let _ = builder.try_init();
}

/// Lets a panic of any thread end the process with a text that helps to report it.
pub(crate) fn catch_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let place = panic.location().map_or_else(String::new, ToString::to_string);
        let what = super::escape::escape(text.unwrap_or("panic")).into_owned();
        let version = env!("CARGO_PKG_VERSION");
        let message = format!("\nerror: {what}\n  at {place}, peer {version}\n  {REPORT_HINT}\n");
        write_stderr(message.as_bytes());
        // Not only this thread: the others would wait for it for ever.
        std::process::exit(i32::from(Exit::INTERNAL.status));
    }));
}
