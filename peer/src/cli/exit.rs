//! Every exit code of the program, in one place.
//!
//! Nothing else turns a failure into a number, so that the table in the help, in the manual and in the
//! JSON `error` event is one table. Numbers shared with aria2 mean the same there.

use protocol::Code;

use crate::disk::StorageErrorKind;
use crate::notice::Failure;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// What the parent process sees.
    pub status: u8,
    /// The same for programs that read JSON.
    pub code: &'static str,
    /// The same command, given again, goes on where this one stopped.
    pub resumable: bool,
    /// One line for the help.
    pub meaning: &'static str,
}

macro_rules! exits {
    ($($name:ident = $status:literal, $code:literal, $resumable:literal, $meaning:literal;)*) => {
        impl Exit {
            $(#[doc = $meaning] pub(crate) const $name: Self = Self {
                status: $status, code: $code, resumable: $resumable, meaning: $meaning,
            };)*

            /// All of them, ascending.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

exits! {
    DONE = 0, "done", false, "done; all requested data present and verified";
    INTERNAL = 1, "internal", false, "unexpected internal error (a bug)";
    USAGE = 2, "usage", false, "usage or configuration error";
    NOT_FOUND = 3, "not_found", false, "name, version or file not found";
    MISSING_PIECES = 4, "missing_pieces", true, "found, but no peer offers some needed pieces";
    TIMED_OUT = 5, "timed_out", true, "stalled or timed out";
    NETWORK = 6, "network", true, "tracker unreachable, or address not usable";
    PARTLY = 7, "partly", true, "ended with part of several items unfinished";
    INTEGRITY = 8, "integrity", false, "data could not be verified";
    NO_SPACE = 9, "no_space", true, "no disk space";
    DENIED = 10, "denied", false, "not authorised";
    LOCKED = 11, "locked", true, "destination in use by another peer process";
    INCOMPATIBLE = 12, "incompatible", false, "incompatible protocol version";
    EXISTS = 13, "exists", false, "destination or name exists already";
    CHANGED = 14, "source_changed", false, "source changed while seeding";
    FILE_IO = 17, "file_io", true, "file could not be read or written";
    INTERRUPTED = 130, "interrupted", true, "stopped by SIGINT (Ctrl-C); state saved";
    TERMINATED = 143, "terminated", true, "stopped by SIGTERM; state saved";
}

impl Exit {
    /// The exit of a job that ended without success.
    pub(crate) fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::NotFound { .. } | Failure::NothingToShare => Self::NOT_FOUND,
            Failure::MissingPieces { .. } => Self::MISSING_PIECES,
            Failure::TimedOut { .. } => Self::TIMED_OUT,
            Failure::NoTracker { .. } => Self::NETWORK,
            Failure::Incompatible { .. } => Self::INCOMPATIBLE,
            Failure::Denied { .. } => Self::DENIED,
            Failure::Integrity { .. } => Self::INTEGRITY,
            Failure::Storage(error) => Self::of_storage(error.kind),
            Failure::Refused { code, .. } => Self::of_refusal(*code),
        }
    }

    /// The exit of a file that could not be used.
    pub(crate) fn of_storage(kind: StorageErrorKind) -> Self {
        match kind {
            StorageErrorKind::Changed => Self::CHANGED,
            StorageErrorKind::Locked => Self::LOCKED,
            StorageErrorKind::NoSpace => Self::NO_SPACE,
            StorageErrorKind::NotFound => Self::NOT_FOUND,
            StorageErrorKind::Exists => Self::EXISTS,
            StorageErrorKind::BadName => Self::USAGE,
            StorageErrorKind::Io => Self::FILE_IO,
        }
    }

    /// The exit of a request that the tracker refused with this code.
    pub(crate) fn of_refusal(code: Code) -> Self {
        match code {
            Code::NAME_TAKEN => Self::EXISTS,
            Code::NOT_OWNER | Code::DENIED => Self::DENIED,
            Code::BAD_NAME => Self::USAGE,
            Code::FULL => Self::NO_SPACE,
            Code::NOT_FOUND => Self::NOT_FOUND,
            Code::VERSION => Self::INCOMPATIBLE,
            Code::TIMEOUT => Self::TIMED_OUT,
            Code::BAD_DATA => Self::INTEGRITY,
            // Our bytes made no sense to the tracker: one of the two programs is wrong.
            Code::MALFORMED | Code::UNKNOWN_TYPE | Code::BAD_STATE => Self::INTERNAL,
            _ => Self::NETWORK,
        }
    }

    /// The exit after a signal.
    pub(crate) fn of_signal(signal: i32) -> Self {
        const SIGTERM: i32 = 15;
        if signal == SIGTERM { Self::TERMINATED } else { Self::INTERRUPTED }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::disk::StorageError;
    use crate::notice::Missing;

    #[test]
    fn statuses_are_unique_and_ascending() {
        for pair in Exit::ALL.windows(2) {
            assert!(pair[0].status < pair[1].status, "{pair:?}");
        }
    }

    #[test]
    fn each_failure_has_its_status() {
        let text = String::new;
        let storage = |kind| {
            let (what, path) = (String::new(), PathBuf::new());
            Failure::Storage(StorageError { kind, what, path, advice: None })
        };
        let refused = |code| Failure::Refused { code, text: String::new() };
        let table = [
            (Failure::NotFound { name: text(), similar: vec![] }, 3),
            (Failure::NothingToShare, 3),
            (Failure::MissingPieces { missing: Missing { count: 2, pieces: None } }, 4),
            (Failure::TimedOut { what: text() }, 5),
            (Failure::NoTracker { address: text(), why: text() }, 6),
            (Failure::Integrity { text: text() }, 8),
            (Failure::Denied { text: text() }, 10),
            (Failure::Incompatible { text: text() }, 12),
            (storage(StorageErrorKind::NoSpace), 9),
            (storage(StorageErrorKind::Locked), 11),
            (storage(StorageErrorKind::Exists), 13),
            (storage(StorageErrorKind::Changed), 14),
            (storage(StorageErrorKind::Io), 17),
            (storage(StorageErrorKind::NotFound), 3),
            (storage(StorageErrorKind::BadName), 2),
            (refused(Code::NAME_TAKEN), 13),
            (refused(Code::NOT_OWNER), 10),
            (refused(Code::OVERLOADED), 6),
            (refused(Code::MALFORMED), 1),
            (refused(Code(9_999)), 6),
        ];
        for (failure, status) in table {
            assert_eq!(Exit::of_failure(&failure).status, status, "{failure:?}");
        }
        assert_eq!(Exit::of_signal(2).status, 130);
        assert_eq!(Exit::of_signal(15).status, 143);
    }
}
