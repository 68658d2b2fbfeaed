//! Many connections of one machine to itself, with tiny budgets and random pauses: every byte arrives
//! and every connection ends, so no readiness was lost on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use reactor::{
    Action, Actions, CloseCause, ConnId, Event, Machine, Options, Reactor, Rng, TaskId, TaskRunner,
    Time,
};

use crate::rig::{PATIENCE, noise};

const PAIRS: usize = 25;
const LEN_MAX: u64 = 60_000;

/// One end of a connection. What it sends begins with its number and follows from it.
struct End {
    stream: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    paused: bool,
    flushed: bool,
}

struct Stress {
    rng: Rng,
    ends: BTreeMap<ConnId, End>,
    numbers: u64,
    done: BTreeSet<u64>,
    tasks: u64,
    tasks_done: u64,
}

/// The stream with this number; its length comes first.
fn stream(number: u64) -> Vec<u8> {
    let len = usize::try_from(8 + Rng::new(number).below(LEN_MAX)).unwrap();
    let mut bytes = noise(len);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

impl Stress {
    fn begin(&mut self, conn: ConnId) {
        let stream = stream(self.numbers);
        self.numbers += 1;
        let end = End { stream, sent: 0, received: Vec::new(), paused: false, flushed: true };
        self.ends.insert(conn, end);
    }

    fn close(&mut self, conn: ConnId) {
        let end = self.ends.remove(&conn).unwrap();
        let number = u64::from_le_bytes(end.received[..8].try_into().unwrap());
        assert!(end.received == stream(number), "stream {number} arrived damaged");
        assert_eq!(end.sent, end.stream.len());
        assert!(self.done.insert(number), "stream {number} arrived twice");
    }

    /// Does something to a few ends.
    fn stir(&mut self, out: &mut Actions<u64>) {
        for _ in 0..4 {
            let pick = self.rng.index(self.ends.len());
            let Some((&conn, end)) = self.ends.iter_mut().nth(pick) else { return };
            match self.rng.below(8) {
                0 if !end.paused => {
                    end.paused = true;
                    out.push(Action::PauseReading { conn });
                }
                0..=2 if end.paused => {
                    end.paused = false;
                    out.push(Action::ResumeReading { conn });
                }
                3 => {
                    self.tasks += 1;
                    out.run(TaskId(self.tasks), self.tasks);
                }
                _ if end.sent < end.stream.len() => {
                    let most = self.rng.index(20_000) + 1;
                    let until = end.stream.len().min(end.sent + most);
                    out.send(conn, end.stream[end.sent..until].to_vec());
                    end.flushed = false;
                    end.sent = until;
                    if until == end.stream.len() {
                        out.push(Action::Finish { conn });
                    }
                }
                _ => {}
            }
        }
    }
}

impl Machine for Stress {
    type Task = u64;
    type TaskResult = u64;

    fn handle(&mut self, _now: Time, event: Event<'_, u64>, out: &mut Actions<u64>) {
        match event {
            Event::Listening { local } => (0..PAIRS).for_each(|_| {
                out.connect(local);
            }),
            Event::Accepted { conn, .. } | Event::Connected { conn } => self.begin(conn),
            Event::Received { conn, bytes } => {
                let end = self.ends.get_mut(&conn).unwrap();
                assert!(!end.paused, "bytes were delivered in a pause");
                end.received.extend_from_slice(bytes);
            }
            Event::Flushed { conn } => {
                let end = self.ends.get_mut(&conn).unwrap();
                assert!(!end.flushed, "flushed twice");
                end.flushed = true;
            }
            Event::Closed { conn, cause } => {
                assert_eq!(cause, CloseCause::Finished);
                self.close(conn);
            }
            Event::TaskDone { id, result } => {
                assert_eq!(id.0, result);
                self.tasks_done += 1;
            }
            Event::Deadline => self.stir(out),
            Event::Started | Event::RemoteFinished { .. } => {}
            Event::Landed { .. }
            | Event::ConnectFailed { .. }
            | Event::RangeFailed { .. }
            | Event::ShutdownRequested => {
                panic!("unexpected {event:?}")
            }
        }
        if self.done.len() == 2 * PAIRS && self.tasks_done == self.tasks {
            out.push(Action::Exit);
        }
    }

    /// Always due while there is something to stir. After that the sockets alone must wake the loop.
    fn deadline(&self) -> Option<Time> {
        let idle = |end: &End| !end.paused && end.sent == end.stream.len();
        let over = self.ends.len() == 2 * PAIRS - self.done.len() && self.ends.values().all(idle);
        if over { None } else { Some(Time::ZERO) }
    }
}

struct Same;

impl TaskRunner<Stress> for Same {
    fn run(&self, number: u64) -> u64 {
        number
    }
}

#[test]
fn every_stream_arrives_whole_whatever_the_budgets() {
    let budgets = [(1000, 700, 1, 1), (100_000, 97, 2, 2), (61, 100_000, 100, 100)];
    for (seed, (read, write, accept, results)) in (0..).zip(budgets) {
        let machine = Stress {
            rng: Rng::new(seed),
            ends: BTreeMap::new(),
            numbers: 0,
            done: BTreeSet::new(),
            tasks: 0,
            tasks_done: 0,
        };
        let options = Options {
            workers: 3,
            read_budget: read,
            write_budget: write,
            accept_budget: accept,
            results_budget: results,
            unsent_limit: Some(5000),
            ..Options::default()
        };
        let mut reactor = Reactor::new(machine, Same, options).unwrap();
        reactor.listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        while !reactor.exited() {
            let begun = reactor.now();
            reactor.turn(Some(PATIENCE)).unwrap();
            let left = reactor.machine().ends.len();
            assert!(reactor.now().since(begun) < PATIENCE, "seed {seed}: {left} ends are stuck");
        }
        assert_eq!(reactor.stats().closed, 2 * PAIRS as u64);
    }
}
