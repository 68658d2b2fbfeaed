//! Log lines on standard error, for people or for machines.

use std::io::Write as _;

use env_logger::fmt::Formatter;
use log::{LevelFilter, Record};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One line of text.
    Text,
    /// One JSON object per line.
    Json,
}

impl Format {
    /// From the value of `--log-format`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".to_owned()),
        }
    }
}

/// Starts logging. `-v` and `-q` count more than the variable `TRACKER_LOG`.
pub(crate) fn start(format: Format, verbose: usize, quiet: bool) {
    let level = match verbose {
        _ if quiet => LevelFilter::Error,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    // Libraries speak up only when something is wrong.
    builder.filter_level(level.min(LevelFilter::Warn));
    for ours in ["tracker", "protocol", "reactor"] {
        builder.filter_module(ours, level);
    }
    if verbose == 0
        && !quiet
        && let Ok(filters) = std::env::var("TRACKER_LOG")
    {
        builder.parse_filters(&filters);
    }
    if format == Format::Json {
        builder.format(json);
    }
    builder.init();
}

fn json(out: &mut Formatter, record: &Record<'_>) -> std::io::Result<()> {
    let line = serde_json::json!({
        "v": 1,
        "ts": out.timestamp_millis().to_string(),
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
    });
    writeln!(out, "{line}")
}
