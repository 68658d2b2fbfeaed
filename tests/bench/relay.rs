//! A switch between TAP devices that adds delay and loses packets: for kernels without netem.
//!
//!     relay DELAY_MICROSECONDS LOST_PER_MILLION RATE...
//!
//! Standard input is a Unix socket on which the devices come as one message, one for each RATE, each open and
//! non-blocking. A packet from any of them is lost with the chance given, or travels for the delay, and then waits for
//! its turn on the link to its destination. That link carries RATE bits a second after a burst of 32 KiB; who would
//! wait longer than 50 ms is dropped. These are the figures of the token buckets in shaped.py, which limit the other
//! direction inside each host, so that senders feel them. The relay ends with the socket.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, IoSliceMut, Read as _, Write as _, stdin};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::process::ExitCode;

use reactor::clock::Clock;
use reactor::{Rng, Time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Bytes that a link takes at once after a pause.
const BURST: u64 = 32 << 10;
/// Nanoseconds that a packet waits for a link at most.
const QUEUE: u64 = 50_000_000;
/// Packets read from one device before the others have their turn.
const BATCH: usize = 64;
/// More than any Ethernet frame without offloads.
const FRAME_MAX: usize = 2048;
const SECOND: u64 = 1_000_000_000;

/// A host's device, and the packets on their way to it.
struct Port {
    device: File,
    /// Bits per second.
    rate: u64,
    /// When the link will have carried everything that it took, with the burst as its advance.
    busy_until: u64,
    /// Each with the time at which it comes out. In order.
    queue: VecDeque<(u64, Box<[u8]>)>,
}

impl Port {
    fn new(device: File, rate: u64) -> Self {
        Self { device, rate, busy_until: 0, queue: VecDeque::new() }
    }

    /// Takes a packet that reaches the link at `at`, or drops it.
    fn carry(&mut self, at: u64, frame: &[u8]) {
        let takes = |bytes: u64| bytes * 8 * SECOND / self.rate;
        let begins = self.busy_until.max(at.saturating_sub(takes(BURST)));
        let out = begins + takes(frame.len() as u64);
        if out <= at + QUEUE {
            self.busy_until = out;
            self.queue.push_back((out.max(at), frame.into()));
        }
    }

    /// Hands the host what has come out of the link by `now`.
    fn deliver(&mut self, now: u64) {
        while self.queue.front().is_some_and(|(out, _)| *out <= now) {
            let (_, frame) = self.queue.pop_front().expect("there is a first one");
            // A host that takes nothing any more loses packets, as on any network.
            let _ = self.device.write(&frame);
        }
    }
}

struct Relay {
    ports: Vec<Port>,
    /// Behind which port an Ethernet address is.
    places: BTreeMap<[u8; 6], usize>,
    /// Nanoseconds.
    delay: u64,
    lost_per_million: u64,
    rng: Rng,
}

impl Relay {
    /// Sends on a frame that came from port `from`.
    fn forward(&mut self, now: u64, from: usize, frame: &[u8]) {
        let Some((to, rest)) = frame.split_first_chunk::<6>() else { return };
        let Some(sender) = rest.first_chunk::<6>() else { return };
        self.places.insert(*sender, from);
        if self.rng.below(1_000_000) < self.lost_per_million {
            return;
        }
        let at = now + self.delay;
        match self.places.get(to) {
            Some(&port) => self.ports[port].carry(at, frame),
            None => {
                for (number, port) in self.ports.iter_mut().enumerate() {
                    if number != from {
                        port.carry(at, frame);
                    }
                }
            }
        }
    }

    /// Reads what port `from` has, up to a batch.
    fn take(&mut self, now: u64, from: usize) {
        let mut frame = [0; FRAME_MAX];
        for _ in 0..BATCH {
            match self.ports[from].device.read(&mut frame) {
                Ok(length) if length > 0 => self.forward(now, from, &frame[..length]),
                _ => return,
            }
        }
    }

    /// Runs until the other end of `socket` is closed.
    fn run(&mut self, socket: impl AsFd) -> io::Result<()> {
        let started = Clock::start();
        let elapsed = || started.now().since(Time::ZERO);
        let clock = || u64::try_from(elapsed().as_nanos()).unwrap_or(u64::MAX);
        loop {
            let next = self.ports.iter().filter_map(|port| port.queue.front()).map(|first| first.0);
            let wait = next.min().map(|at| timespec(at.saturating_sub(clock())));
            let mut ready: Vec<_> = self
                .ports
                .iter()
                .map(|port| PollFd::from_borrowed_fd(port.device.as_fd(), PollFlags::IN))
                .collect();
            ready.push(PollFd::new(&socket, PollFlags::IN));
            poll(&mut ready, wait.as_ref())?;
            let ready: Vec<_> = ready.iter().map(|fd| !fd.revents().is_empty()).collect();
            if ready.last() == Some(&true) {
                return Ok(());
            }
            let now = clock();
            for from in (0..self.ports.len()).filter(|port| ready[*port]) {
                self.take(now, from);
            }
            for port in &mut self.ports {
                port.deliver(now);
            }
        }
    }
}

fn timespec(nanoseconds: u64) -> Timespec {
    let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    Timespec { tv_sec: whole(nanoseconds / SECOND), tv_nsec: whole(nanoseconds % SECOND) }
}

/// The devices that stand in one message on the socket.
fn devices(socket: impl AsFd) -> io::Result<Vec<File>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(250))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    Ok(rights.flatten().map(File::from).collect())
}

fn start() -> Result<(), String> {
    let words: Result<Vec<u64>, _> = std::env::args().skip(1).map(|word| word.parse()).collect();
    let words = words.map_err(|error| format!("expected numbers: {error}"))?;
    let [delay, lost_per_million, rates @ ..] = words.as_slice() else {
        return Err("expected DELAY_MICROSECONDS LOST_PER_MILLION RATE...".to_owned());
    };
    let devices = devices(stdin()).map_err(|error| format!("no devices on the socket: {error}"))?;
    if devices.len() != rates.len() || rates.contains(&0) {
        return Err(format!("{} devices came for {} rates above 0", devices.len(), rates.len()));
    }
    let ports = devices.into_iter().zip(rates).map(|(device, rate)| Port::new(device, *rate));
    let mut relay = Relay {
        ports: ports.collect(),
        places: BTreeMap::new(),
        delay: delay * 1_000,
        lost_per_million: *lost_per_million,
        rng: Rng::new(1),
    };
    relay.run(stdin()).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MBIT: u64 = 1_000_000;
    const FRAME: [u8; 1250] = [0; 1250];

    fn port() -> Port {
        // Only queues are looked at.
        Port::new(File::open("/dev/null").expect("the null device"), 100 * MBIT)
    }

    #[test]
    fn a_link_keeps_its_rate_after_its_burst() {
        let mut port = port();
        for _ in 0..100 {
            port.carry(SECOND, &FRAME);
        }
        let out: Vec<_> = port.queue.iter().map(|(out, _)| *out).collect();
        // 26 frames fit into 32 KiB; after them one comes out every 100 microseconds.
        assert_eq!(out.iter().filter(|out| **out == SECOND).count(), 26);
        assert!(out.is_sorted());
        assert_eq!(out[99] - out[98], 100_000);
        assert_eq!(out[99] - SECOND, 100 * 100_000 - BURST * 8 * SECOND / (100 * MBIT));
    }

    #[test]
    fn who_would_wait_too_long_is_dropped() {
        let mut port = port();
        for _ in 0..1_000 {
            port.carry(SECOND, &FRAME);
        }
        assert_eq!(port.queue.len(), 526, "26 at once and 50 ms of the rate");
        let last = port.queue.back().expect("not empty").0;
        assert!(last <= SECOND + QUEUE);
        port.carry(last, &FRAME);
        assert_eq!(port.queue.len(), 527, "there is room again");
    }

    #[test]
    fn frames_go_where_their_address_is_known_to_be() {
        let ports = (0..3).map(|_| port()).collect();
        let (places, rng) = (BTreeMap::new(), Rng::new(1));
        let mut relay = Relay { ports, places, delay: 5, lost_per_million: 0, rng };
        let frame = |to: u8, from: u8| [[to; 6], [from; 6]].concat();
        relay.forward(SECOND, 0, &frame(0xFF, 10));
        relay.forward(SECOND, 1, &frame(10, 11));
        relay.forward(SECOND, 2, &[1, 2, 3]);
        let waiting: Vec<_> = relay.ports.iter().map(|port| port.queue.len()).collect();
        assert_eq!(waiting, [1, 1, 1], "to all, and the answer to one");
        assert_eq!(relay.ports[0].queue[0].0, SECOND + 5);
        relay.lost_per_million = 1_000_000;
        relay.forward(SECOND, 1, &frame(10, 11));
        assert_eq!(relay.ports[0].queue.len(), 1);
    }
}
