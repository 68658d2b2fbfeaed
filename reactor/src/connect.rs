//! Connections that we open: when they are up, when they have failed, and why.
//!
//! An attempt is over when its socket knows its remote, has an error, or time is up. Until then nobody
//! reads or writes.

use std::collections::BTreeSet;
use std::io;

use mio::net::TcpStream;
use rustix::io::Errno;

use crate::token::ConnToken;
use crate::{ConnId, ConnectError, Time};

/// Attempts under way, by the time at which they fail.
#[derive(Debug, Default)]
pub(crate) struct Connects {
    deadlines: BTreeSet<(Time, ConnId)>,
    /// Attempts for which an event came, to be looked into.
    pub(crate) touched: Vec<ConnToken>,
}

impl Connects {
    /// Watches an attempt.
    pub(crate) fn add(&mut self, conn: ConnId, deadline: Time) {
        self.deadlines.insert((deadline, conn));
    }

    /// When the next attempt fails.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes one attempt whose time is up. It may have succeeded or been closed since: a stale entry
    /// costs one wake-up.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<ConnId> {
        let (deadline, conn) = *self.deadlines.first()?;
        (deadline <= now).then(|| {
            self.deadlines.pop_first();
            conn
        })
    }
}

/// What has become of an attempt.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Nothing yet.
    Waiting,
    /// It is up.
    Up,
    /// It failed.
    Failed(ConnectError),
}

/// Looks at the socket of an attempt.
pub(crate) fn progress(stream: &TcpStream) -> Progress {
    match stream.take_error() {
        Ok(None) => {}
        Ok(Some(error)) | Err(error) => return Progress::Failed(connect_error(&error)),
    }
    match stream.peer_addr() {
        // On loopback a socket can meet itself when it dials a port of the ephemeral range on which
        // nobody listens.
        Ok(peer) if stream.local_addr().is_ok_and(|local| local == peer) => {
            Progress::Failed(ConnectError::Refused)
        }
        Ok(_) => Progress::Up,
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Progress::Waiting,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => Progress::Waiting,
        Err(error) => Progress::Failed(connect_error(&error)),
    }
}

/// What a machine is told about a failed attempt.
pub(crate) fn connect_error(error: &io::Error) -> ConnectError {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => ConnectError::Refused,
        Some(Errno::TIMEDOUT) => ConnectError::TimedOut,
        Some(
            Errno::NETUNREACH
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::HOSTDOWN
            | Errno::ACCESS
            | Errno::PERM,
        ) => ConnectError::Unreachable,
        Some(
            Errno::MFILE
            | Errno::NFILE
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::ADDRNOTAVAIL
            | Errno::ADDRINUSE
            | Errno::AGAIN,
        ) => ConnectError::NoResources,
        _ => ConnectError::Other(error.kind()),
    }
}
