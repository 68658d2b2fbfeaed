//! The ways in which a connection to a tracker ends: what is said to the tracker, to the driver's log,
//! and to the user. Text that came from the tracker is made harmless here.

use protocol::message::Bye;
use protocol::{Code, DecodeError};
use reactor::{CloseReason, ConnectError};

use super::route::{Failure, FailureKind};

/// Longest text of a tracker that is passed on, characters.
const MAX_TEXT: usize = 200;

/// How a connection ends.
#[derive(Debug)]
pub(super) struct Ending {
    /// What to tell the tracker, if anything.
    pub(super) bye: Option<(Code, String)>,
    /// For the driver's log.
    pub(super) reason: CloseReason,
    pub(super) failure: Failure,
}

impl Ending {
    /// The network or the tracker ended it.
    pub(super) fn lost(why: impl Into<String>) -> Self {
        let failure = Failure { why: why.into(), kind: FailureKind::Network };
        Self { bye: None, reason: CloseReason::Done, failure }
    }

    /// It was silent for too long.
    pub(super) fn timeout(why: &'static str) -> Self {
        let failure = Failure { why: why.to_owned(), kind: FailureKind::Network };
        let bye = Some((Code::TIMEOUT, why.to_owned()));
        Self { bye, reason: CloseReason::Timeout, failure }
    }

    /// It broke the protocol.
    pub(super) fn violation(code: Code, why: impl Into<String>) -> Self {
        let why = why.into();
        let bye = Some((code, why.clone()));
        let why = format!("it breaks the protocol: {why}");
        let failure = Failure { why, kind: FailureKind::Violation };
        Self { bye, reason: CloseReason::Violation, failure }
    }

    /// We won't have it, or it won't have us, next time either.
    pub(super) fn refused(code: Code, bye: String, why: String) -> Self {
        let failure = Failure { why, kind: FailureKind::Refused(code) };
        Self { bye: Some((code, bye)), reason: CloseReason::Done, failure }
    }

    /// Its bytes have no meaning.
    pub(super) fn undecodable(error: &DecodeError) -> Self {
        match error.code() {
            Some(code) => Self::violation(code, error.to_string()),
            // [H-2] [H-3] Not even ours to say BYE to: some other service listens there.
            None => {
                let failure = Failure {
                    why: "something else than a tracker answers there".to_owned(),
                    kind: FailureKind::Violation,
                };
                Self { bye: None, reason: CloseReason::Violation, failure }
            }
        }
    }

    /// It said BYE. [F-23] [F-26]
    pub(super) fn bye(bye: &Bye) -> Self {
        let (kind, what) = match bye.code {
            Code::OK | Code::SHUTDOWN => (FailureKind::Network, "it is stopping"),
            Code::OVERLOADED => (FailureKind::Overloaded, "it has no room for us"),
            Code::VERSION => {
                (FailureKind::Refused(bye.code), "it speaks another version of the protocol")
            }
            Code::DENIED => (FailureKind::Refused(bye.code), "it does not let us in"),
            Code::WRONG_ROLE => (FailureKind::Refused(bye.code), "it is not for peers"),
            Code::DUPLICATE => (FailureKind::Network, "it has a newer connection of ours"),
            Code::TIMEOUT => (FailureKind::Network, "it found us silent for too long"),
            Code::MALFORMED | Code::UNKNOWN_TYPE | Code::BAD_STATE | Code::LIMIT => {
                (FailureKind::Violation, "it says that we break the protocol")
            }
            _ => (FailureKind::Network, "it ended the connection"),
        };
        let text = harmless(&bye.text);
        let why = match (text.is_empty(), what) {
            (true, what) => format!("{what} ({})", bye.code),
            (false, what) => format!("{what} ({}: {text})", bye.code),
        };
        Self { bye: None, reason: CloseReason::Done, failure: Failure { why, kind } }
    }
}

/// What the user reads of a failed attempt.
pub(super) fn connect_failure(error: ConnectError) -> Failure {
    let why = match error {
        ConnectError::Refused => "nobody listens there".to_owned(),
        ConnectError::TimedOut => "no answer".to_owned(),
        ConnectError::Unreachable => "there is no way to it from here".to_owned(),
        ConnectError::NoResources => "this machine has no sockets or memory left".to_owned(),
        ConnectError::Other(kind) => kind.to_string(),
    };
    Failure { why, kind: FailureKind::Network }
}

/// Text that a stranger sent, fit for a terminal: no control characters, not long.
pub(super) fn harmless(text: &str) -> String {
    let clean = text.chars().take(MAX_TEXT).map(|c| if c.is_control() { ' ' } else { c });
    clean.collect::<String>().trim().to_owned()
}
