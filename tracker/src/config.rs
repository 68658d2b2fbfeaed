//! What an operator decides: limits, intervals, the cluster's token.
//!
//! Plain values, checked by whoever builds one (the command line, a test). Nothing here changes while a
//! tracker runs.

use std::fmt;
use std::time::Duration;

use protocol::limits;

/// A tracker's settings. [`Config::default`] is what the binary runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Shortest interval between a peer's BEATs, seconds, at least 1; peers take less than
    /// [`limits::MIN_BEAT_S`] for that, so less is for tests only. The interval grows with the
    /// number of peers from here up to [`limits::MAX_BEAT_S`].
    pub beat_min_s: u16,
    /// How long a peer is believed without a BEAT, seconds. Never less than three intervals and ten
    /// seconds, which is also the value without one.
    pub expire_s: Option<u16>,
    /// Connections served at once; one more gets HELLO and BYE(OVERLOADED).
    pub max_conns: usize,
    /// Connections from one address (IPv6: one /64) at once.
    pub max_per_ip: u32,
    /// Names ever used, removed ones included, because their version counters are kept.
    pub max_names: usize,
    /// Objects that one peer may announce.
    pub max_holdings_per_peer: u32,
    /// Pairs of peer and object, over all peers.
    pub max_holdings: usize,
    /// Only peers that show this secret are served.
    pub token: Option<Secret>,
    /// Put skippable noise into HELLO and the first frames, so that receivers that trip over extensions
    /// are found today. Off for captures that must be the same each time.
    pub grease: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            beat_min_s: limits::MIN_BEAT_S,
            expire_s: None,
            max_conns: 65_536,
            max_per_ip: 512,
            max_names: 1_000_000,
            max_holdings_per_peer: 200_000,
            max_holdings: 8_000_000,
            token: None,
            grease: true,
        }
    }
}

impl Config {
    /// Seconds between two BEATs of a peer when `peers` of them have a lease: the whole tracker gets
    /// about 2,000 BEATs a second at most, until the longest interval is reached.
    pub(crate) fn interval_s(&self, peers: usize) -> u16 {
        let low = self.beat_min_s.max(1);
        let high = limits::MAX_BEAT_S.max(low);
        u16::try_from(peers / 2_000).unwrap_or(u16::MAX).clamp(low, high)
    }

    /// Seconds for which a peer is believed after a BEAT: three may be missed.
    pub(crate) fn lease_s(&self, interval_s: u16) -> u16 {
        // [T-14]
        let least = interval_s.saturating_mul(3).saturating_add(10);
        self.expire_s.map_or(least, |asked| asked.max(least))
    }

    /// As [`Config::interval_s`].
    pub(crate) fn interval(&self, peers: usize) -> Duration {
        Duration::from_secs(u64::from(self.interval_s(peers)))
    }
}

/// Bytes that are neither printed nor logged, and compared without telling how much of them is right.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Longest token: HELLO has room for it and everything else.
    pub const MAX_LEN: usize = 512;

    /// A secret of 1 to [`Secret::MAX_LEN`] bytes; `None` for any other length.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (1..=Self::MAX_LEN).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// Whether `other` is the same secret. Takes as long for a wrong byte at the front as at the end.
    pub fn matches(&self, other: &[u8]) -> bool {
        same_bytes(&self.0, other)
    }

    /// The bytes themselves, to be put into a HELLO.
    pub(crate) fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Compares in a time that depends on the lengths only.
pub(crate) fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_follows_the_number_of_peers() {
        let config = Config::default();
        let at = |peers| config.interval_s(peers);
        assert_eq!([at(0), at(10_000), at(100_000), at(10_000_000)], [15, 15, 50, 300]);
        assert_eq!(config.lease_s(15), 55);
        let quick = Config { beat_min_s: 1, expire_s: Some(2), ..Config::default() };
        assert_eq!((quick.interval_s(0), quick.lease_s(1)), (1, 13));
        let patient = Config { expire_s: Some(100), ..Config::default() };
        assert_eq!(patient.lease_s(15), 100);
    }

    #[test]
    fn secrets_compare_whole_and_stay_secret() {
        let secret = Secret::new(b"swordfish".to_vec()).unwrap();
        assert!(secret.matches(b"swordfish"));
        for wrong in [&b"swordfisH"[..], b"swordfish2", b"swordfis", b""] {
            assert!(!secret.matches(wrong));
        }
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(Secret::new(Vec::new()).is_none());
    }
}
