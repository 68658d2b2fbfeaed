//! Every error that a user sees, in three parts: what happened, where or why, and what to do.
//!
//! Only this file words failures. Texts may quote names and messages that others wrote; all of it is
//! escaped when it is printed, and nowhere before.

use std::io;
use std::path::{Path, PathBuf};

use super::escape::{escape, shell_word};
use super::exit::Exit;
use super::format::{Paint, bytes};
use super::report::pieces;
use crate::disk::{StorageError, StorageErrorKind};
use crate::notice::Failure;

/// Why the program ends without success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CliError {
    /// With which code.
    pub exit: Exit,
    /// What happened.
    pub what: String,
    /// Where or why; may be empty.
    pub detail: String,
    /// What to do; may be empty.
    pub advice: String,
}

impl CliError {
    /// An error with all its parts.
    pub(crate) fn new(exit: Exit, what: String, detail: String, advice: String) -> Self {
        Self { exit, what, detail, advice }
    }

    /// A command line or setting that makes no sense.
    pub(crate) fn usage(command: &str, what: String, detail: String) -> Self {
        let help = if command.is_empty() { "peer --help" } else { "flags and examples: peer" };
        let advice = match command {
            "" => help.to_owned(),
            _ => format!("{help} {command} --help"),
        };
        Self::new(Exit::USAGE, what, detail, advice)
    }

    /// A file that the command line itself could not use.
    pub(crate) fn file(doing: &str, path: &Path, error: &io::Error) -> Self {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NOT_FOUND,
            io::ErrorKind::AlreadyExists => Exit::EXISTS,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Exit::NO_SPACE,
            _ => Exit::FILE_IO,
        };
        let advice = match error.kind() {
            io::ErrorKind::NotFound => "check the path",
            io::ErrorKind::PermissionDenied => "check who may read and write it: ls -ld",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space",
            io::ErrorKind::AlreadyExists => "choose another name, or remove it first",
            _ => "",
        };
        let what = format!("can't {doing} {}", path.display());
        Self::new(exit, what, error.to_string(), advice.to_owned())
    }

    /// Something that must not happen.
    pub(crate) fn internal(what: &str, detail: String) -> Self {
        Self::new(Exit::INTERNAL, what.to_owned(), detail, REPORT_HINT.to_owned())
    }

    /// The parts, one line each, fit for a terminal.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        // Who pressed Ctrl-C made no error.
        let head = match self.exit {
            Exit::INTERRUPTED | Exit::TERMINATED => escape(&self.what).into_owned(),
            _ => format!("{} {}", paint.red("error:"), escape(&self.what)),
        };
        let parts = [&self.detail, &self.advice].into_iter().filter(|part| !part.is_empty());
        std::iter::once(head).chain(parts.map(|part| format!("  {}", escape(part)))).collect()
    }
}

/// What to do about a bug.
pub(crate) const REPORT_HINT: &str =
    "this is a bug: please report it with the command, this text and the output of 'peer version'";

/// What the words of an error need to know about the command that failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context {
    /// The command: `fetch`.
    pub command: &'static str,
    /// What it was to work on, as typed.
    pub subject: String,
    /// The trackers in use.
    pub trackers: Vec<String>,
}

impl Context {
    /// The words for a job that ended without success.
    pub(crate) fn describe(&self, failure: &Failure) -> CliError {
        let (what, detail, advice) = match failure {
            Failure::NotFound { name, similar } => self.not_found(name, similar),
            Failure::MissingPieces { missing } => (
                format!("no peer offers {} of '{}'", pieces(missing), self.subject),
                "everything that is offered has been fetched and is kept".to_owned(),
                "start a seeder that has all of it; the same command then goes on".to_owned(),
            ),
            Failure::TimedOut { what } => (
                format!("gave up: {what}"),
                format!("'{}' is not complete; what was fetched is kept", self.subject),
                "the same command goes on from here; --wait, --timeout and --stall-timeout set \
                 the patience"
                    .to_owned(),
            ),
            Failure::NoTracker { address, why } => (
                format!("tracker {address} can't be reached"),
                why.clone(),
                format!(
                    "is it running?  tracker --listen 0.0.0.0:9000    other address: -T {}",
                    "HOST:PORT"
                ),
            ),
            Failure::Incompatible { text } => (
                "the other side speaks another version of the protocol".to_owned(),
                text.clone(),
                "update the older of the two programs; this one: peer version".to_owned(),
            ),
            Failure::Denied { text } => (
                format!("tracker {} does not allow this", self.tracker()),
                text.clone(),
                "give the cluster's secret with --token-file FILE".to_owned(),
            ),
            Failure::Integrity { text } => (
                format!("'{}' could not be verified", self.subject),
                text.clone(),
                "no wrong byte was kept; repair or replace the source, then try again".to_owned(),
            ),
            Failure::Storage(error) => return self.storage(error),
            Failure::Refused { code, text } => (
                format!("tracker {} refused: {code}", self.tracker()),
                text.clone(),
                refusal_advice(*code).to_owned(),
            ),
            Failure::NothingToShare => (
                format!("nothing to share in {}", self.subject),
                "there is no file that can be read and has a usable name".to_owned(),
                "hidden entries need --hidden, symbolic links --follow-symlinks".to_owned(),
            ),
        };
        CliError::new(Exit::of_failure(failure), what, detail, advice)
    }

    /// The words for a file that could not be used.
    pub(crate) fn storage(&self, error: &StorageError) -> CliError {
        let exit = Exit::of_storage(error.kind);
        let advice = error.advice.clone().unwrap_or_else(|| {
            match error.kind {
                StorageErrorKind::Changed => "publish the new bytes: run the same peer seed again",
                StorageErrorKind::Locked => {
                    "wait for the other peer process, or choose another folder with -o"
                }
                StorageErrorKind::NoSpace => {
                    "free space or choose another folder with -o; the same command goes on"
                }
                StorageErrorKind::NotFound => "check the path",
                StorageErrorKind::Exists => {
                    "choose another folder with -o, or --if-exists skip or replace"
                }
                StorageErrorKind::BadName => "choose another name with --name, or rename it",
                StorageErrorKind::Io => "check the disk, and who may read and write there",
            }
            .to_owned()
        });
        CliError::new(exit, error.what.clone(), error.path.display().to_string(), advice)
    }

    /// The tracker to name in a message.
    pub(crate) fn tracker(&self) -> &str {
        self.trackers.first().map_or("(none)", String::as_str)
    }

    fn not_found(&self, name: &str, similar: &[String]) -> (String, String, String) {
        // The version is part of what is missing; what was typed names it.
        let versioned = self.subject.strip_prefix(name).is_some_and(|tail| tail.starts_with('@'));
        let name = if versioned { &self.subject } else { name };
        let what = if self.trackers.is_empty() {
            format!("nothing named '{name}' is known")
        } else {
            format!("nothing named '{name}' on tracker {}", self.tracker())
        };
        // More than a few are no help; each is a name that somebody else chose.
        let names: Vec<_> = similar.iter().take(3).map(String::as_str).collect();
        let detail = match names.as_slice() {
            [] => "see what there is: peer ls".to_owned(),
            names => format!("did you mean: {} ?", names.join(", ")),
        };
        let advice = match self.command {
            "fetch" => format!("to wait for it: peer fetch {} --wait 10m", shell_word(name)),
            _ => String::new(),
        };
        (what, detail, advice)
    }
}

/// What to do about a refusal; may be empty.
pub(crate) fn refusal_advice(code: protocol::Code) -> &'static str {
    use protocol::Code;
    match code {
        Code::NAME_TAKEN | Code::NOT_OWNER => {
            "somebody else owns that name: choose another with --name, or use their --state-dir"
        }
        Code::BAD_NAME => "choose another name with --name",
        Code::FULL => "the tracker has no room for more names; ask its operator",
        Code::BUSY | Code::OVERLOADED | Code::SHUTDOWN | Code::TIMEOUT => "try again later",
        Code::MALFORMED | Code::UNKNOWN_TYPE | Code::BAD_STATE => REPORT_HINT,
        _ => "",
    }
}

/// The words for a warning about a local object that can't be shared any more.
pub(crate) fn withdrawn(
    name: &str,
    version: Option<u32>,
    error: &StorageError,
) -> (String, String) {
    let what = match error.kind {
        StorageErrorKind::Changed => {
            format!("{} changed after it was hashed: {}", error.path.display(), error.what)
        }
        _ => error.to_string(),
    };
    let detail = match version {
        Some(version) => format!(
            "{name}@{version} is withdrawn from this node. publish the new bytes: run the same \
             peer seed again"
        ),
        None => format!("{name} is not shared"),
    };
    (what, detail)
}

/// The words for files left out of a share; `None` if there are none.
pub(crate) fn skipped(skipped: &[(PathBuf, String)]) -> Option<(String, String)> {
    let (path, why) = skipped.first()?;
    let detail = match skipped.len() {
        1 => String::new(),
        count => format!("and {} more; -v shows all of them", count - 1),
    };
    Some((format!("left out {}: {why}", path.display()), detail))
}

/// Says that a full disk is being waited for.
pub(crate) fn disk_full(error: &StorageError) -> (String, String) {
    (error.to_string(), "waiting for space; the fetch goes on when there is some".to_owned())
}

/// Not enough said without the size: what a checked limit was and what came.
pub(crate) fn too_large(command: &str, what: &str, limit: u64) -> CliError {
    CliError::usage(command, format!("{what} is too large"), format!("at most {}", bytes(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notice::Missing;

    fn lines(error: &CliError) -> Vec<String> {
        error.lines(Paint::off())
    }

    fn context() -> Context {
        Context {
            command: "fetch",
            subject: "lama-70b".to_owned(),
            trackers: vec!["10.0.0.5:9000".to_owned()],
        }
    }

    #[test]
    fn a_missing_name_suggests_others() {
        let similar = vec!["llama-70b".to_owned(), "llama-8b".to_owned()];
        let failure = Failure::NotFound { name: "lama-70b".to_owned(), similar };
        let error = context().describe(&failure);
        let expected = [
            "error: nothing named 'lama-70b' on tracker 10.0.0.5:9000",
            "  did you mean: llama-70b, llama-8b ?",
            "  to wait for it: peer fetch lama-70b --wait 10m",
        ];
        assert_eq!(lines(&error), expected);
    }

    #[test]
    fn others_texts_are_escaped() {
        let failure = Failure::Denied { text: "no\x1b[2J\nway".to_owned() };
        assert_eq!(lines(&context().describe(&failure))[1], "  no\\x1b[2J\\nway");
    }

    #[test]
    fn every_failure_says_what_to_do() {
        let text = || "text".to_owned();
        let storage = |kind| {
            Failure::Storage(StorageError { kind, what: text(), path: "/p".into(), advice: None })
        };
        let failures = [
            Failure::NotFound { name: text(), similar: vec![] },
            Failure::MissingPieces { missing: Missing { count: 12, pieces: None } },
            Failure::TimedOut { what: text() },
            Failure::NoTracker { address: text(), why: text() },
            Failure::Incompatible { text: text() },
            Failure::Denied { text: text() },
            Failure::Integrity { text: text() },
            storage(StorageErrorKind::NoSpace),
            storage(StorageErrorKind::Io),
            Failure::Refused { code: protocol::Code::NAME_TAKEN, text: text() },
            Failure::NothingToShare,
        ];
        for failure in failures {
            assert_eq!(lines(&context().describe(&failure)).len(), 3, "{failure:?}");
        }
    }
}
