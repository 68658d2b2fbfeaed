//! Addresses that may lead to peers of one swarm: which to dial next, and which to leave alone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use reactor::{Rng, Time};

/// Addresses remembered at most; more are ignored until some are dropped.
const MAX_CANDIDATES: usize = 1_000;
/// Failed attempts after which an address is forgotten until the tracker names it again (promise 12:
/// nobody is dialed on and on).
const MAX_TRIES: u32 = 3;
/// Pause after the first failed attempt; doubles each time.
const RETRY_AFTER: Duration = Duration::from_secs(4);
/// Who does not serve the object is asked for it again after this.
const REOPEN_AFTER: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug)]
struct Candidate {
    tries: u32,
    not_before: Time,
    busy: bool,
}

/// The addresses of one swarm.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
}

impl Candidates {
    /// Remembers an address; nothing changes if it is known.
    pub(crate) fn add(&mut self, addr: SocketAddr) {
        let usable = addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast();
        if !usable {
            mark!("address-of-nobody");
        }
        if (usable || canary!("dial-anybody")) && self.known.len() < MAX_CANDIDATES {
            let fresh = Candidate { tries: 0, not_before: Time::ZERO, busy: false };
            self.known.entry(addr).or_insert(fresh);
        }
    }

    /// Whether there is an address to dial now.
    pub(crate) fn has_ready(&self, now: Time) -> bool {
        self.known.values().any(|candidate| !candidate.busy && candidate.not_before <= now)
    }

    /// Draws an address to dial now, and marks it busy.
    pub(crate) fn take(&mut self, now: Time, rng: &mut Rng) -> Option<SocketAddr> {
        let ready: Vec<_> =
            self.known.iter().filter(|(_, c)| !c.busy && c.not_before <= now).collect();
        let fewest = ready.iter().map(|(_, c)| c.tries).min()?;
        let best: Vec<_> = ready.into_iter().filter(|(_, c)| c.tries == fewest).collect();
        let addr = *best[rng.index(best.len())].0;
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.busy = true;
        }
        Some(addr)
    }

    /// It did not answer, or not as a peer should.
    pub(crate) fn failed(&mut self, now: Time, addr: SocketAddr) {
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        candidate.tries += 1;
        candidate.busy = false;
        let pause = RETRY_AFTER * 2_u32.pow(candidate.tries.min(8) - 1);
        candidate.not_before = candidate.not_before.max(now + pause);
        // A banned one is kept, so that it is not as good as new when the tracker names it again.
        if candidate.tries >= MAX_TRIES && candidate.not_before == now + pause {
            mark!("address-given-up");
            self.known.remove(&addr);
        }
    }

    /// A connection to it ended. A longer pause that it has earned goes on.
    pub(crate) fn lost(&mut self, now: Time, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.busy = false;
            candidate.not_before = candidate.not_before.max(now + RETRY_AFTER / 4);
        }
    }

    /// A connection to it lives on, but it does not serve the object: it may later, like a seeder that still
    /// hashes. A longer pause that it has earned goes on.
    pub(crate) fn refused(&mut self, now: Time, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.busy = false;
            candidate.not_before = candidate.not_before.max(now + REOPEN_AFTER);
        }
    }

    /// It gave something of use: earlier failures are forgiven.
    pub(crate) fn worked(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.tries = 0;
        }
    }

    /// Leaves it alone until `until`, also once it is free again.
    pub(crate) fn avoid(&mut self, addr: SocketAddr, until: Time) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.not_before = candidate.not_before.max(until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_address_is_dialed_three_times_only() {
        let mut rng = Rng::new(1);
        let mut candidates = Candidates::default();
        let addr: SocketAddr = "127.0.0.1:1".parse().expect("an address");
        candidates.add(addr);
        let mut now = Time::ZERO;
        let mut dials = 0;
        for _ in 0..100 {
            if candidates.take(now, &mut rng).is_some() {
                dials += 1;
                assert!(candidates.take(now, &mut rng).is_none(), "busy while being dialed");
                candidates.failed(now, addr);
            }
            now = now + Duration::from_secs(1);
        }
        assert_eq!(dials, MAX_TRIES);
    }

    #[test]
    fn addresses_that_nobody_can_have_are_refused() {
        let mut candidates = Candidates::default();
        for addr in ["0.0.0.0:5", "127.0.0.1:0", "224.0.0.1:9"] {
            candidates.add(addr.parse().expect("an address"));
        }
        assert!(candidates.take(Time::ZERO, &mut Rng::new(1)).is_none());
    }
}
