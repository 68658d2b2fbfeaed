//! The request depth on little simulated links: one queue at the far end, served at a fixed rate.

use std::collections::VecDeque;
use std::time::Duration;

use peer::pipeline::Pipeline;
use reactor::Time;

use super::millis;

const PIECE: u32 = 1 << 20;

struct Link {
    rate: u64,
    /// From a request to the first byte, if nothing is in front of it.
    rtt: Duration,
    now: Time,
    /// When the far end has sent all that it was asked for.
    busy_until: Time,
    /// Reads to come: when, and how many bytes.
    coming: VecDeque<(Time, u32)>,
    pipeline: Pipeline,
    got: u64,
}

impl Link {
    fn new(rate: u64, rtt: Duration) -> Self {
        let (now, coming) = (millis(10), VecDeque::new());
        let pipeline = Pipeline::new(now);
        Self { rate, rtt, now, busy_until: now, coming, pipeline, got: 0 }
    }

    fn ask(&mut self) {
        while self.pipeline.room() > 0 {
            let len = self.pipeline.block_len(PIECE);
            self.pipeline.on_requested(self.now, len);
            let mut left = u64::from(len);
            // A read brings what came in a millisecond, within reason.
            let read = (self.rate / 1_000).clamp(1_448, 64 << 10);
            self.busy_until = self.busy_until.max(self.now + self.rtt);
            while left > 0 {
                let part = left.min(read);
                left -= part;
                self.busy_until =
                    self.busy_until + Duration::from_nanos(part * 1_000_000_000 / self.rate);
                self.coming.push_back((self.busy_until, u32::try_from(part).unwrap()));
            }
        }
    }

    /// Bytes that came in the next `time`, and the most that was on the way.
    fn run(&mut self, time: Duration) -> (u64, u64) {
        let end = self.now + time;
        let (before, mut most) = (self.got, 0);
        self.ask();
        while let Some(&(at, len)) = self.coming.front().filter(|(at, _)| *at <= end) {
            self.coming.pop_front();
            self.now = self.now.max(at);
            self.pipeline.on_data(self.now, len);
            assert!(!self.pipeline.is_snubbed(self.now));
            self.got += u64::from(len);
            self.ask();
            most = most.max(self.pipeline.in_flight());
        }
        (self.got - before, most)
    }
}

#[test]
fn every_kind_of_link_is_filled_and_not_flooded() {
    // Bytes per second, round trip, and the most that may be on the way.
    let links = [
        (4 << 30, Duration::from_micros(50), 17 << 20),
        (1 << 30, Duration::from_micros(50), 17 << 20),
        (1_250_000_000, Duration::from_millis(1), 17 << 20),
        (125_000_000, Duration::from_millis(10), 6 << 20),
        (12_500_000, Duration::from_millis(1), 1 << 20),
        (12_500_000, Duration::from_millis(100), 4 << 20),
        (1_562_500, Duration::from_millis(20), 300 << 10),
        (125_000, Duration::from_millis(50), 200 << 10),
        (125_000, Duration::from_millis(300), 200 << 10),
    ];
    for (rate, rtt, most_allowed) in links {
        let mut link = Link::new(rate, rtt);
        let start = rtt * 12 + Duration::from_secs(1);
        link.run(start);
        // Long enough for the round trip to be measured again.
        let time = if rate > 100_000_000 { 2 } else { 65 };
        let (got, most) = link.run(Duration::from_secs(time));
        let possible = rate * time;
        assert!(got * 100 >= possible * 96, "{got} of {possible} at {rate}/s and {rtt:?}");
        assert!(most <= most_allowed, "{most} on the way at {rate}/s and {rtt:?}");
        let (shown, want) = (link.pipeline.rate(), rate / 10);
        assert!(shown.abs_diff(rate) <= want, "{shown} shown at {rate}/s and {rtt:?}");
    }
}

#[test]
fn fast_links_are_found_fast() {
    let mut link = Link::new(1 << 30, Duration::from_micros(50));
    let (got, _) = link.run(Duration::from_millis(100));
    assert!(got > (1 << 30) / 20, "{got} bytes in the first 100 ms");
}

#[test]
fn blocks_fit_the_link() {
    for (rate, expected) in
        [(125_000, 16 << 10), (12_500_000, 64 << 10), (60_000_000, 256 << 10), (1 << 30, 1 << 20)]
    {
        let mut link = Link::new(rate, Duration::from_millis(1));
        assert_eq!(link.pipeline.block_len(PIECE), 64 << 10, "to begin with");
        link.run(Duration::from_secs(3));
        assert_eq!(link.pipeline.block_len(PIECE), expected, "at {rate}/s");
        assert_eq!(link.pipeline.block_len(5), 5);
    }
}

#[test]
fn a_link_that_changes_is_followed() {
    let mut link = Link::new(12_500_000, Duration::from_millis(10));
    link.run(Duration::from_secs(5));
    link.rate = 1_250_000;
    link.run(Duration::from_secs(10));
    let (_, most) = link.run(Duration::from_secs(5));
    assert!(most < 300 << 10, "{most} on the way at a tenth of the rate");
    // Faster again, and from farther away.
    (link.rate, link.rtt) = (12_500_000, Duration::from_millis(200));
    link.run(Duration::from_secs(40));
    let (got, _) = link.run(Duration::from_secs(20));
    assert!(got > 12_500_000 * 20 * 9 / 10, "{got}");
}

#[test]
fn peers_that_owe_data_and_are_silent_are_snubbed() {
    let mut pipeline = Pipeline::new(millis(0));
    assert!(!pipeline.is_snubbed(millis(1_000_000)), "nothing is owed");
    pipeline.on_requested(millis(1_000_000), 1_000);
    assert!(!pipeline.is_snubbed(millis(1_007_999)));
    assert!(pipeline.is_snubbed(millis(1_008_000)));
    // It was only slow: next time we are more patient.
    pipeline.on_data(millis(1_010_000), 500);
    assert_eq!(pipeline.snub_deadline(), Some(millis(1_040_000)));
    pipeline.on_data(millis(1_030_000), 400);
    assert_eq!(pipeline.snub_deadline(), Some(millis(1_090_000)), "a minute at most");
    pipeline.on_reject(millis(1_050_000), 100);
    assert_eq!((pipeline.in_flight(), pipeline.snub_deadline()), (0, None));
    // And forget in time.
    pipeline.on_requested(millis(2_000_000), 1_000);
    assert!(pipeline.is_snubbed(millis(2_008_000)));
}
