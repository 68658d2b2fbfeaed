//! Every tunable number of the driver, with its unit and its reason.

use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

/// How a [`crate::Reactor`] behaves. Made by whoever starts one; [`Options::default`] fits both the
/// tracker and a peer.
#[derive(Clone, Debug)]
pub struct Options {
    /// Worker threads for [`crate::Action::Run`]; at least 1. Default: one per core, because the tasks
    /// are hashing and page-cache I/O, which keep a core busy.
    pub workers: usize,
    /// How long a connection attempt may take. Default 5 s: two SYN retries; longer means a dead host.
    pub connect_timeout: Duration,
    /// Connections at once, both directions together. The limit of open files may lower it, see
    /// [`Options::reserved_descriptors`]. Default 16384: beyond that, memory for socket buffers is the
    /// real limit.
    pub max_connections: usize,
    /// Descriptors kept free of connections, for files and the loop itself; at most half of the
    /// process's limit is ever reserved. Default 256.
    pub reserved_descriptors: usize,
    /// Whether to raise the process's soft limit of open files to its hard limit. Default true: nothing
    /// here uses `select`, the only reason for the low soft limit.
    pub raise_descriptor_limit: bool,
    /// Bytes read at once, and the most that one connection delivers in one turn; at least 1. Default
    /// 512 KiB: a bulk transfer then costs a few system calls per megabyte, and the buffer still fits
    /// the second-level cache. Over loopback, half of it is a sixth slower and twice as much no faster.
    pub read_budget: usize,
    /// The most that one connection hands to the system in one turn, in bytes; at least 1. Default 1 MiB: some
    /// hundred microseconds of copying, the longest that others wait for one connection.
    pub write_budget: usize,
    /// Connections accepted per listener and turn. Default 64, so that a flood of new ones does not
    /// starve the old.
    pub accept_budget: usize,
    /// Task results delivered per turn. Default 256, for the same reason.
    pub results_budget: usize,
    /// Connections that the system may complete before we accept them. Default 1024.
    pub backlog: i32,
    /// How long to leave a listener alone after it failed for want of descriptors or memory, unless a
    /// connection closes earlier. Default 100 ms.
    pub accept_retry: Duration,
    /// Unsent bytes that the kernel takes per connection (`TCP_NOTSENT_LOWAT`), `None` for its default.
    /// Default 256 KiB: enough to keep the link busy, and small frames wait behind less.
    pub unsent_limit: Option<u32>,
    /// How long queued bytes may take to leave after [`crate::Action::Exit`]. Default 200 ms.
    pub exit_flush: Duration,
    /// How long to wait for running tasks at the end. Default 1 s; a process never hangs on its exit.
    pub exit_tasks: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: available_parallelism().map_or(1, NonZeroUsize::get),
            connect_timeout: Duration::from_secs(5),
            max_connections: 16 * 1024,
            reserved_descriptors: 256,
            raise_descriptor_limit: true,
            read_budget: 512 * 1024,
            write_budget: 1024 * 1024,
            accept_budget: 64,
            results_budget: 256,
            backlog: 1024,
            accept_retry: Duration::from_millis(100),
            unsent_limit: Some(256 * 1024),
            exit_flush: Duration::from_millis(200),
            exit_tasks: Duration::from_secs(1),
        }
    }
}

impl Options {
    /// With each budget at least 1, so that each step gets on.
    pub(crate) fn usable(mut self) -> Self {
        for budget in [
            &mut self.workers,
            &mut self.read_budget,
            &mut self.write_budget,
            &mut self.accept_budget,
            &mut self.results_budget,
        ] {
            *budget = (*budget).max(1);
        }
        self
    }
}

/// Events taken from the system at once. With fewer than there are busy connections, the quiet ones
/// would wait for a second call.
pub(crate) const EVENTS_PER_POLL: usize = 1024;

/// The longest single wait. Nothing needs it shorter; it bounds what a misjudged timer can cost.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// Slices per vectored write: 32 header-and-block pairs, and half a kilobyte of stack per write.
pub(crate) const SLICES_PER_WRITE: usize = 64;

/// Places smaller than this are not read into: what a copy of so many bytes takes, a system call more takes,
/// too.
pub(crate) const LANDING_MIN: usize = 16 * 1024;

/// Bytes read at once to find out where those behind them belong: enough for some small frames and the head of
/// a large one.
pub(crate) const BETWEEN_LANDINGS: usize = 4 * 1024;
