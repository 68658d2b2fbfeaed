//! Which tracker at which address to try next, and how long to wait before.
//!
//! Knows nothing of connections. One *round* tries each tracker once: the preferred one first, then the
//! others in order, each at all its addresses. Names are looked up anew in each round. Invariant: at
//! most one lookup of a name is under way, however long it takes, so a resolver that hangs holds no
//! more than one worker per tracker.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use protocol::Code;
use reactor::Rng;

/// Trackers that are considered; more are ignored.
pub(super) const MAX_TRACKERS: usize = 16;
/// Addresses of one name that are tried in one round.
const MAX_ADDRESSES: usize = 8;
/// Longest range from which a wait is drawn.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// Level whose range is [`MAX_BACKOFF`].
const MAX_LEVEL: u32 = 6;
/// Least level after a tracker had no room or broke the protocol.
const TROUBLE_LEVEL: u32 = 3;

/// Why a tracker can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In words, for people.
    pub(super) why: String,
    pub(super) kind: FailureKind,
}

/// Kinds of failures that are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// Not there, or gone.
    Network,
    /// It has no room for us.
    Overloaded,
    /// One of us breaks the protocol.
    Violation,
    /// It will not take us next time either.
    Refused(Code),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Connect to this address.
    Dial(SocketAddr),
    /// Look up this name.
    LookUp(String),
    /// Wait for a lookup that is under way.
    AwaitLookup,
    /// Each tracker has been tried.
    RoundOver,
}

#[derive(Debug)]
struct Target {
    address: String,
    lookup: Lookup,
    /// What went wrong last in this round.
    failure: Option<Failure>,
    /// The reason that was told last in this outage.
    told: Option<String>,
}

#[derive(Debug)]
enum Lookup {
    /// The address is no name.
    Needless(SocketAddr),
    Idle,
    UnderWay,
    /// It came too late for its round.
    Done(Result<Vec<SocketAddr>, String>),
}

#[derive(Debug)]
pub(super) struct Route {
    targets: Vec<Target>,
    /// Worked last, or stands first in the list.
    preferred: usize,
    /// Is being tried or used.
    current: usize,
    /// Still to be tried in this round.
    ahead: VecDeque<usize>,
    /// Addresses of the current one that are still to be tried in this round.
    candidates: VecDeque<SocketAddr>,
    /// Waits since the last calm.
    level: u32,
}

impl Route {
    pub(super) fn new(addresses: &[String]) -> Self {
        let mut targets: Vec<Target> = Vec::new();
        for address in addresses {
            if targets.len() < MAX_TRACKERS && targets.iter().all(|t| t.address != *address) {
                let lookup = address.parse().map_or(Lookup::Idle, Lookup::Needless);
                let address = address.clone();
                targets.push(Target { address, lookup, failure: None, told: None });
            }
        }
        Self {
            targets,
            preferred: 0,
            current: 0,
            ahead: VecDeque::new(),
            candidates: VecDeque::new(),
            level: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The tracker that is being tried or used. There is one, since the route is not empty.
    pub(super) fn address(&self) -> &str {
        &self.targets[self.current].address
    }

    /// Forgets how the last round went, and makes each tracker to be tried.
    pub(super) fn begin_round(&mut self) {
        let count = self.targets.len();
        self.ahead = (0..count).map(|i| (self.preferred + i) % count).collect();
        self.candidates.clear();
        for target in &mut self.targets {
            target.failure = None;
        }
    }

    /// What to do next in this round.
    pub(super) fn step(&mut self) -> Step {
        loop {
            if let Some(addr) = self.candidates.pop_front() {
                return Step::Dial(addr);
            }
            let Some(next) = self.ahead.pop_front() else { return Step::RoundOver };
            self.current = next;
            let target = &mut self.targets[next];
            match std::mem::replace(&mut target.lookup, Lookup::UnderWay) {
                Lookup::Needless(addr) => {
                    target.lookup = Lookup::Needless(addr);
                    self.candidates.push_back(addr);
                }
                Lookup::Idle => return Step::LookUp(target.address.clone()),
                Lookup::UnderWay => return Step::AwaitLookup,
                Lookup::Done(outcome) => {
                    target.lookup = Lookup::Idle;
                    self.found(outcome);
                }
            }
        }
    }

    /// What came of a lookup. Whether it is the one that [`step`](Self::step) waits for, if `waiting`.
    pub(super) fn resolved(
        &mut self,
        address: &str,
        outcome: Result<Vec<SocketAddr>, String>,
        waiting: bool,
    ) -> bool {
        let found = self.targets.iter().position(|target| target.address == address);
        let Some(index) = found.filter(|i| matches!(self.targets[*i].lookup, Lookup::UnderWay))
        else {
            return false;
        };
        if waiting && index == self.current {
            self.targets[index].lookup = Lookup::Idle;
            self.found(outcome);
            return true;
        }
        self.targets[index].lookup = Lookup::Done(outcome);
        false
    }

    fn found(&mut self, outcome: Result<Vec<SocketAddr>, String>) {
        let why = match outcome {
            Ok(addrs) if !addrs.is_empty() => {
                self.candidates = addrs.into_iter().take(MAX_ADDRESSES).collect();
                return;
            }
            Ok(_) => "its name has no address".to_owned(),
            Err(why) => why,
        };
        self.failed(Failure { why, kind: FailureKind::Network });
    }

    /// The tracker that is being tried can't be used, at least not at this address.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.targets[self.current].failure = Some(failure);
    }

    /// The tracker that is being tried works.
    pub(super) fn works(&mut self) {
        self.preferred = self.current;
        for target in &mut self.targets {
            target.failure = None;
            target.told = None;
        }
    }

    /// Next time, begin with the one after the current one.
    pub(super) fn avoid(&mut self) {
        self.preferred = (self.current + 1) % self.targets.len();
    }

    /// Things went well for long enough: begin again with short waits.
    pub(super) fn calm(&mut self) {
        self.level = 0;
    }

    /// How long to wait before the next round: at random from 0 to 1 s at first, so that a tracker
    /// which was restarted soon sees everybody but not all at once; then around 1 s, 2 s, 4 s ... 30 s.
    /// [T-23]
    pub(super) fn wait(&mut self, rng: &mut Rng) -> Duration {
        let level = match self.round_failure() {
            FailureKind::Network => self.level,
            FailureKind::Overloaded | FailureKind::Violation => self.level.max(TROUBLE_LEVEL),
            FailureKind::Refused(_) => MAX_LEVEL,
        };
        self.level = (level + 1).min(MAX_LEVEL);
        let Some(doublings) = level.checked_sub(1) else {
            return random_up_to(rng, Duration::from_secs(1));
        };
        let range = MAX_BACKOFF.min(Duration::from_secs(1 << doublings));
        range / 2 + random_up_to(rng, range / 2)
    }

    /// Which kind of failure decides how long to wait after this round.
    fn round_failure(&self) -> FailureKind {
        if let Some((code, _)) = self.refusal() {
            return FailureKind::Refused(code);
        }
        let mut kinds = self.targets.iter().filter_map(|t| t.failure.as_ref()).map(|f| f.kind);
        kinds
            .find(|kind| matches!(kind, FailureKind::Overloaded | FailureKind::Violation))
            .unwrap_or(FailureKind::Network)
    }

    /// If all trackers refused us in this round: what the first one said.
    pub(super) fn refusal(&self) -> Option<(Code, String)> {
        let mut refusals = self.targets.iter().map(|target| match &target.failure {
            Some(Failure { why, kind: FailureKind::Refused(code) }) => {
                Some((*code, format!("tracker {}: {why}", target.address)))
            }
            _ => None,
        });
        let first = refusals.next()??;
        refusals.all(|refusal| refusal.is_some()).then_some(first)
    }

    /// Trackers whose failure, or its reason, has not been told yet in this outage.
    pub(super) fn take_news(&mut self) -> Vec<(String, String)> {
        let mut news = Vec::new();
        for target in &mut self.targets {
            if let Some(failure) = &target.failure
                && target.told.as_ref() != Some(&failure.why)
            {
                target.told = Some(failure.why.clone());
                news.push((target.address.clone(), failure.why.clone()));
            }
        }
        news
    }
}

/// Uniform in whole microseconds.
pub(super) fn random_up_to(rng: &mut Rng, range: Duration) -> Duration {
    let micros = u64::try_from(range.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.below(micros))
}
