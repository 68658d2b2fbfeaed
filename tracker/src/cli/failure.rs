//! Why the program ends without success: what happened, where or why, what to do, and the exit code.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

use tracker::StatusError;
use tracker::store::{OpenError, StoreError};

/// An end without success. Printed as three lines.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code; shared with `peer`.
    pub(crate) exit: u8,
    what: String,
    detail: String,
    advice: String,
}

/// A bug.
const INTERNAL: u8 = 1;
/// A command line or setting that makes no sense.
const USAGE: u8 = 2;
/// An address that can't be listened on, a tracker that can't be reached.
const NETWORK: u8 = 6;
/// Not allowed.
const DENIED: u8 = 10;
/// Another tracker uses the data folder.
const LOCKED: u8 = 11;
/// No protocol version in common.
const VERSION: u8 = 12;
/// A file could not be used.
const FILE: u8 = 17;

impl Failure {
    fn new(exit: u8, what: impl Display, detail: impl Display, advice: impl Display) -> Self {
        let text = |part: &dyn Display| printable(&part.to_string());
        Self { exit, what: text(&what), detail: text(&detail), advice: text(&advice) }
    }

    /// A command line that makes no sense.
    pub(crate) fn usage(command: &str, what: impl Display, detail: impl Display) -> Self {
        let space = if command.is_empty() { "" } else { " " };
        Self::new(USAGE, what, detail, format!("all options: tracker {command}{space}--help"))
    }

    /// Something that must not happen.
    pub(crate) fn internal(what: &str, error: impl Display) -> Self {
        let advice = "this is unexpected: please report it with the command and this text";
        Self::new(INTERNAL, what, error, advice)
    }

    /// A file of the command line that can't be used.
    pub(crate) fn file(what: impl Display, detail: impl Display, advice: impl Display) -> Self {
        Self::new(FILE, what, detail, advice)
    }

    /// An address that can't be listened on.
    pub(crate) fn listen(addr: SocketAddr, error: &io::Error) -> Self {
        let other = SocketAddr::new(addr.ip(), addr.port().checked_add(1).unwrap_or(9_000));
        let (detail, advice) = match error.kind() {
            io::ErrorKind::AddrInUse => (
                "another program, perhaps another tracker, listens there".to_owned(),
                format!("stop it, or take another port: tracker --listen {other}"),
            ),
            io::ErrorKind::PermissionDenied => (
                error.to_string(),
                "ports below 1024 are for privileged programs: take a higher one".to_owned(),
            ),
            io::ErrorKind::AddrNotAvailable => (
                "this host has no such address".to_owned(),
                "listen on 0.0.0.0 for all of them, or on one that 'ip address' shows".to_owned(),
            ),
            _ => (error.to_string(), "choose another address with --listen".to_owned()),
        };
        Self::new(NETWORK, format_args!("can't listen on {addr}"), detail, advice)
    }

    /// A tracker's address that leads nowhere.
    pub(crate) fn resolve(address: &str, error: impl Display) -> Self {
        let advice = "check the name, or give an address: tracker status -T 10.0.0.5:9000";
        Self::new(NETWORK, format_args!("can't find tracker '{address}'"), error, advice)
    }

    /// Totals that could not be had.
    pub(crate) fn status(error: &StatusError) -> Self {
        let (exit, detail, advice) = match error {
            StatusError::Version { .. } => (
                VERSION,
                "the two programs can't talk to each other",
                "update the older of the two programs; this one: tracker --version",
            ),
            StatusError::Refused { code, .. } if *code == protocol::Code::DENIED => (
                DENIED,
                "that tracker serves only who shows its cluster's secret",
                "give the secret with --token-file FILE",
            ),
            StatusError::Refused { .. } => {
                (NETWORK, "it is there, but does not serve us now", "try again later")
            }
            StatusError::Strange { .. } => (
                NETWORK,
                "something else listens there, or something stands in between",
                "is the address that of a tracker, not of a peer?",
            ),
            _ => (
                NETWORK,
                "is it running there, and can this host reach it?",
                "another address: tracker status -T HOST:PORT",
            ),
        };
        Self::new(exit, error, detail, advice)
    }

    /// A data folder that can't be used.
    pub(crate) fn store(error: &OpenError) -> Self {
        let (exit, detail, advice) = match error {
            OpenError::Locked { .. } => (
                LOCKED,
                "one data folder belongs to one tracker at a time".to_owned(),
                "stop the other one, or choose another folder with --data-dir".to_owned(),
            ),
            OpenError::Exposed { dir, .. } => (
                FILE,
                "whoever can write there can change every name".to_owned(),
                format!("chmod go-w {}", dir.display()),
            ),
            OpenError::Damaged { path, .. } => (
                FILE,
                "nothing in it was changed".to_owned(),
                format!(
                    "restore a backup, or move {} away: live peers then publish again what they hold",
                    path.display()
                ),
            ),
            OpenError::TooNew { .. } => (
                FILE,
                "nothing in it was changed".to_owned(),
                "run the newer tracker, or choose another folder with --data-dir".to_owned(),
            ),
            _ => (
                FILE,
                "names are kept there".to_owned(),
                "check who may write there, or choose another folder with --data-dir".to_owned(),
            ),
        };
        Self::new(exit, error, detail, advice)
    }

    /// A store that failed while running.
    pub(crate) fn store_lost(error: &StoreError) -> Self {
        let advice = if error.full {
            "free some space, then start the tracker again"
        } else {
            "check the disk, then start the tracker again: acknowledged names are safe"
        };
        Self::new(FILE, error, "no name could be changed any more", advice)
    }

    /// As it is printed, without a newline at the end.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("error: {}", self.what);
        for part in [&self.detail, &self.advice] {
            if !part.is_empty() {
                text.push_str("\n  ");
                text.push_str(part);
            }
        }
        text
    }
}

/// Text that others may have written, without what would move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    let escape = |c: char| -> String {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    text.chars().map(escape).collect()
}
