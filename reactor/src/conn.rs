//! One connection: its socket, what is known about its readiness, and its two directions.
//!
//! It does single reads and writes and reports what came of them. It calls no machine, registers
//! nothing and keeps no queue of connections.
//!
//! Invariant C1: `readable` and `writable` are set by events and cleared only by "would block".

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use rustix::io::Errno;

use crate::options::SLICES_PER_WRITE;
use crate::send_queue::{ColdRange, FailedRange, SendQueue};
use crate::{CloseCause, ConnId};

/// A connection or an attempt at one. Created by `Conns::insert`, which also ends it.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) id: ConnId,
    pub(crate) remote: SocketAddr,
    pub(crate) stream: TcpStream,
    pub(crate) queue: SendQueue,
    /// Up: before that only completion is watched, because an unconnected socket fails in odd ways.
    pub(crate) open: bool,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// What came last landed in its place: the next bytes are read a few at a time, until it is known
    /// where those behind them belong.
    pub(crate) lands: bool,
    /// The machine wants no bytes for now.
    pub(crate) paused: bool,
    /// Their FIN was read.
    pub(crate) remote_finished: bool,
    /// The machine wants our FIN sent after the queue.
    pub(crate) finishing: bool,
    /// Our FIN was sent.
    pub(crate) local_finished: bool,
    /// Writing failed for this reason; what the remote sent before is still being read.
    pub(crate) broken: Option<CloseCause>,
    /// Marks of the two ready queues.
    pub(crate) in_readers: bool,
    pub(crate) in_writers: bool,
}

/// What came of one read.
#[derive(Debug)]
pub(crate) enum Reading {
    /// This many bytes, more than 0.
    Bytes(usize),
    /// Nothing until the next event.
    WouldBlock,
    /// The remote finished.
    Finished,
    /// The connection is dead.
    Failed(CloseCause),
}

/// What came of one round of writing.
#[derive(Debug)]
pub(crate) enum Writing {
    /// There is more to send, now or after the next event.
    More,
    /// The queue has become empty.
    Emptied,
    /// The stream can't go on.
    Failed(CloseCause),
}

impl Conn {
    pub(crate) fn new(id: ConnId, remote: SocketAddr, stream: TcpStream) -> Self {
        Self {
            id,
            remote,
            stream,
            queue: SendQueue::default(),
            open: false,
            readable: false,
            writable: false,
            lands: false,
            paused: false,
            remote_finished: false,
            finishing: false,
            local_finished: false,
            broken: None,
            in_readers: false,
            in_writers: false,
        }
    }

    /// Whether a read is due: there may be bytes, and somebody wants them.
    pub(crate) fn wants_read(&self) -> bool {
        self.open
            && self.readable
            && !self.remote_finished
            && (!self.paused || self.broken.is_some())
    }

    /// Whether a write is due, or our FIN.
    pub(crate) fn wants_write(&self) -> bool {
        let fin_due = self.finishing && !self.local_finished;
        self.open
            && self.broken.is_none()
            && if self.queue.is_empty() {
                fin_due
            } else {
                self.writable && !self.queue.is_waiting()
            }
    }

    /// Whether more may be queued: not after the machine finished its direction or writing failed.
    pub(crate) fn send_allowed(&self) -> bool {
        !self.finishing && self.broken.is_none()
    }

    /// Reads once.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Reading {
        if let Some(cause) = self.broken.filter(|_| self.paused) {
            return Reading::Failed(cause);
        }
        loop {
            return match self.stream.read(buffer) {
                // After a failed write the end of the stream says nothing about the remote.
                Ok(0) => self.broken.map_or(Reading::Finished, Reading::Failed),
                Ok(count) => Reading::Bytes(count),
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => continue,
                    io::ErrorKind::WouldBlock => {
                        self.readable = false;
                        self.broken.map_or(Reading::WouldBlock, Reading::Failed)
                    }
                    _ => Reading::Failed(self.broken.unwrap_or_else(|| close_cause(&error))),
                },
            };
        }
    }

    /// Writes up to `budget` bytes of the queue, which is not empty, and adds what was written to
    /// `written`. Ranges that can't be sent are removed and listed in `failed`; one that has to be brought
    /// into memory first is left in `cold`.
    pub(crate) fn write(
        &mut self,
        budget: usize,
        written: &mut usize,
        failed: &mut Vec<FailedRange>,
        cold: &mut Option<ColdRange>,
    ) -> Writing {
        // One entry at a time after a fault, to find out whose it is.
        let mut entries_max = usize::MAX;
        let mut left = budget;
        while left > 0 {
            let good = self.queue.check(left, entries_max, failed, cold);
            let mut slices = [IoSlice::new(&[]); SLICES_PER_WRITE];
            let filled = self.queue.slices(good, left, &mut slices);
            let result = match filled {
                0 => Ok(0), // Failed ranges only, or empty ones.
                _ => (&self.stream).write_vectored(&slices[..filled]),
            };
            match result {
                Ok(0) if filled > 0 => return Writing::Failed(CloseCause::Reset),
                Ok(count) => {
                    self.queue.advance(count);
                    *written += count;
                    left -= count;
                    entries_max = usize::MAX;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return Writing::More;
                }
                // The kernel copies in chunks and forgets a chunk that faults, so the culprit may come
                // after entries that are fine.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::FAULT) => {
                    if entries_max > 1 {
                        entries_max = 1;
                    } else if let Some(failure) = self.queue.drop_unstarted_range() {
                        failed.push(failure);
                    } else {
                        return Writing::Failed(CloseCause::SourceFailed);
                    }
                }
                Err(error) => return Writing::Failed(close_cause(&error)),
            }
            if self.queue.is_empty() {
                return Writing::Emptied;
            }
            if cold.is_some() || self.queue.is_waiting() {
                return Writing::More;
            }
        }
        Writing::More
    }

    /// Sends our FIN if it is due. Returns whether both directions are finished now.
    pub(crate) fn finish_if_due(&mut self) -> bool {
        if self.finishing && !self.local_finished && self.queue.is_empty() {
            self.local_finished = true;
            // Fails only when the remote is gone already, which reading will tell.
            if let Err(error) = self.stream.shutdown(Shutdown::Write) {
                log::debug!("finish failed conn={} error={error}", self.id.0);
                self.readable = true;
            }
        }
        self.local_finished && self.remote_finished
    }
}

impl Conn {
    /// Notes that writing failed for `cause`, and that reading is to tell the rest.
    pub(crate) fn break_off(&mut self, cause: CloseCause) {
        self.broken = Some(cause);
        self.queue = SendQueue::default();
        self.readable = true;
    }

    /// Says goodbye to a connection that is about to be dropped with all of its data sent: finishes it,
    /// and takes what has arrived, because the system resets a connection that is closed with unread
    /// bytes and the remote might lose the end of ours.
    pub(crate) fn part(&mut self, buffer: &mut [u8]) {
        if !self.open || !self.queue.is_empty() || self.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let mut left = PARTING_READS;
        while left > 0 && self.stream.read(buffer).is_ok_and(|count| count > 0) {
            left -= 1;
        }
    }
}

/// Reads of a parting connection; a remote that sends faster than that gets its reset.
const PARTING_READS: u32 = 16;

fn close_cause(error: &io::Error) -> CloseCause {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CloseCause::Reset,
        io::ErrorKind::TimedOut => CloseCause::TimedOut,
        kind => CloseCause::Other(kind),
    }
}
