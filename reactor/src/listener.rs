//! Listening sockets, and when to leave them alone.
//!
//! When descriptors or memory run out, `accept` fails at once and the connection stays queued: trying
//! again in a loop would burn a core, and no further event would come. So the listener keeps its mark
//! and is tried again after a while, or as soon as a connection closes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::Time;

/// Warnings about one lack come at most this often.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    /// There may be a connection to accept. Set by events, cleared by "would block".
    pub(crate) acceptable: bool,
}

/// What came of one accept.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A connection.
    Conn(TcpStream, SocketAddr),
    /// One connection died while it was queued; others may follow.
    Skipped,
    /// Nobody is waiting.
    WouldBlock,
    /// Nothing can be accepted at present.
    NoResources(io::Error),
}

impl Listener {
    /// Binds and listens. An IPv6 address gets IPv6 only, so that both families can have a listener
    /// on one port.
    pub(crate) fn bind(addr: SocketAddr, backlog: i32) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A restart must not wait for the old process's connections to leave TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(backlog)?;
        Ok(Self { socket: TcpListener::from_std(socket.into()), acceptable: true })
    }

    /// Accepts once.
    pub(crate) fn accept(&mut self) -> Accepted {
        let error = match self.socket.accept() {
            Ok((stream, remote)) => return Accepted::Conn(stream, remote),
            Err(error) => error,
        };
        if error.kind() == io::ErrorKind::WouldBlock {
            self.acceptable = false;
            return Accepted::WouldBlock;
        }
        // Linux reports errors of the new connection, firewall rules included, as errors of accept.
        match Errno::from_io_error(&error) {
            Some(
                Errno::INTR
                | Errno::CONNABORTED
                | Errno::PROTO
                | Errno::PERM
                | Errno::NETDOWN
                | Errno::NOPROTOOPT
                | Errno::HOSTDOWN
                | Errno::NONET
                | Errno::HOSTUNREACH
                | Errno::OPNOTSUPP
                | Errno::NETUNREACH,
            ) => Accepted::Skipped,
            // Also what nobody has foreseen: a persistent error must not keep the loop busy.
            _ => Accepted::NoResources(error),
        }
    }
}

/// When accepting may go on after it failed for want of something.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    retry_at: Option<Time>,
    warned_at: Option<Time>,
}

impl Backoff {
    /// Stops accepting until `retry_at`. Returns whether to warn.
    pub(crate) fn start(&mut self, now: Time, retry_at: Time) -> bool {
        self.retry_at = Some(retry_at);
        self.warn(now)
    }

    /// Whether to warn now: once per minute.
    pub(crate) fn warn(&mut self, now: Time) -> bool {
        let due = self.warned_at.is_none_or(|at| now.since(at) >= WARN_INTERVAL);
        if due {
            self.warned_at = Some(now);
        }
        due
    }

    /// Something was freed: the next try may come at once.
    pub(crate) fn end(&mut self) {
        self.retry_at = None;
    }

    /// Whether accepting must wait.
    pub(crate) fn waits(&self, now: Time) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// When to try again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.retry_at
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use socket2::SockRef;

    use super::*;

    #[test]
    fn both_families_fit_on_one_port() {
        let four = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), 1).unwrap();
        let port = four.socket.local_addr().unwrap().port();
        // A host without IPv6 has nothing to show here.
        if let Ok(six) = Listener::bind((Ipv6Addr::LOCALHOST, port).into(), 1) {
            assert!(SockRef::from(&six.socket).only_v6().unwrap());
        }
    }

    #[test]
    fn one_warning_per_minute_and_no_wait_after_relief() {
        let mut backoff = Backoff::default();
        let start = Time::ZERO + Duration::from_secs(5);
        let retry = start + Duration::from_millis(100);
        assert!(backoff.start(start, retry));
        assert!(backoff.waits(start) && !backoff.waits(retry));
        assert!(!backoff.start(retry, retry + Duration::from_millis(100)));
        backoff.end();
        assert!(!backoff.waits(retry));
        assert!(backoff.warn(start + WARN_INTERVAL));
    }
}
