//! The three channels of the program: lines for people and one live line on stderr, data on stdout.
//!
//! Everything that is printed while a machine runs goes through [`Console`], so that reports can be
//! tested on a made-up one and a log line never tears the live line apart.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::errors::CliError;
use super::exit::Exit;

/// Where output goes. Lines and live text must be escaped already; data is bytes as they are.
pub(crate) trait Console {
    /// Prints a line for people, above the live one.
    fn line(&mut self, text: &str);

    /// Shows or removes the line that is rewritten in place.
    fn live(&mut self, text: Option<&str>);

    /// Writes data for programs, with a line feed after it.
    fn data(&mut self, bytes: &[u8]);

    /// Nobody reads the data any more.
    fn is_closed(&self) -> bool {
        false
    }
}

/// The process's own stdout and stderr.
#[derive(Debug)]
pub(crate) struct StdConsole {
    bar: ProgressBar,
    shown: bool,
    failure: Option<io::Error>,
    closed: bool,
}

impl Default for StdConsole {
    fn default() -> Self {
        Self::new()
    }
}

impl StdConsole {
    /// The live line appears only if stderr is a terminal.
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        // A live line that is too long for the terminal is cut, not wrapped: wrapped ones pile up.
        let style = ProgressStyle::with_template("{wide_msg}").expect("the template is valid");
        bar.set_style(style);
        Self { bar, shown: false, failure: None, closed: false }
    }

    /// Writes to stderr without tearing the live line apart; for the log.
    pub(crate) fn log_writer(&self) -> LogWriter {
        LogWriter { bar: self.bar.clone() }
    }

    /// Removes the live line and says whether all data could be written.
    ///
    /// # Errors
    /// When stdout failed, except that its reader went away: it had what it wanted.
    pub(crate) fn finish(&mut self) -> Result<(), CliError> {
        self.live(None);
        let flushed = io::stdout().flush();
        match self.failure.take().map_or(flushed, Err) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::new(
                Exit::FILE_IO,
                "can't write to stdout".to_owned(),
                error.to_string(),
                "check where the output goes".to_owned(),
            )),
            _ => Ok(()),
        }
    }
}

impl Console for StdConsole {
    fn line(&mut self, text: &str) {
        self.bar.suspend(|| write_stderr(format!("{text}\n").as_bytes()));
    }

    fn live(&mut self, text: Option<&str>) {
        match text {
            Some(text) => {
                if !self.shown {
                    self.shown = true;
                    self.bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                self.bar.set_message(text.to_owned());
                self.bar.tick();
            }
            None if self.shown => {
                self.shown = false;
                self.bar.set_message("");
                self.bar.suspend(|| ());
                self.bar.set_draw_target(ProgressDrawTarget::hidden());
            }
            None => {}
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        if self.failure.is_some() || self.closed {
            return;
        }
        let written = self.bar.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.write_all(b"\n")?;
            out.flush()
        });
        if let Err(error) = written {
            self.closed = error.kind() == io::ErrorKind::BrokenPipe;
            self.failure = Some(error);
        }
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}

/// Whether stderr is a terminal that can rewrite a line.
pub(crate) fn stderr_is_terminal() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stderr().is_terminal() && !dumb
}

/// Whether stdout is a terminal, so that data must be made fit for one.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes to stderr; when that fails there is nobody left to tell.
pub(crate) fn write_stderr(bytes: &[u8]) {
    let _ = io::stderr().lock().write_all(bytes);
}

/// Where the log goes.
#[derive(Debug)]
pub(crate) struct LogWriter {
    bar: ProgressBar,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Log lines quote addresses and texts of others; the line feeds at their ends are ours.
        let text = String::from_utf8_lossy(bytes);
        let safe: Vec<_> = text.lines().map(super::escape::escape).collect();
        self.bar.suspend(|| write_stderr(format!("{}\n", safe.join("\n")).as_bytes()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console that remembers, for tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// What was printed, each with its channel in front: `err`, `live`, `out`.
    pub lines: Vec<String>,
}

#[cfg(test)]
impl Console for Recorder {
    fn line(&mut self, text: &str) {
        self.lines.push(format!("err  {text}"));
    }

    fn live(&mut self, text: Option<&str>) {
        self.lines.extend(text.map(|text| format!("live {text}")));
    }

    fn data(&mut self, bytes: &[u8]) {
        self.lines.push(format!("out  {}", String::from_utf8_lossy(bytes)));
    }
}
