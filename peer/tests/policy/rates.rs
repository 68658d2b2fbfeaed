//! Averages that follow, and limits that hold.

use std::time::Duration;

use peer::rates::{Rate, TokenBucket};
use reactor::Time;

use super::millis;

#[test]
fn a_rate_is_right_soon_and_follows() {
    let mut rate = Rate::default();
    assert_eq!(rate.per_second(millis(500)), 0);
    for step in 0..2_000 {
        rate.add(millis(1_000 + 10 * step), 10_000);
        if step > 50 {
            let shown = rate.per_second(millis(1_000 + 10 * step));
            assert!((970_000..1_030_000).contains(&shown), "{shown} at step {step}");
        }
    }
    for step in 2_000..4_000 {
        rate.add(millis(1_000 + 10 * step), 30_000);
    }
    let shown = rate.per_second(millis(41_000));
    assert!((2_950_000..3_050_000).contains(&shown), "{shown}");
    assert!(rate.per_second(millis(61_000)) < 30_000, "after 20 s of nothing");
    assert_eq!(rate.per_second(millis(10_000_000)), 0);
    assert_eq!(rate.total(), 2_000 * 10_000 + 2_000 * 30_000);
}

#[test]
fn one_burst_is_no_rate() {
    let mut rate = Rate::default();
    rate.add(millis(0), 1_000_000);
    assert_eq!(rate.per_second(millis(0)), 4_000_000, "over a quarter of a second at least");
}

#[test]
fn the_bucket_keeps_its_rate() {
    for (per_second, block) in
        [(100_000, 16 << 10), (1_000_000, 64 << 10), (125_000_000, 1 << 20), (3, 1)]
    {
        let mut bucket = TokenBucket::new(per_second);
        let (mut now, mut sent) = (millis(5_000), 0);
        let end = now + Duration::from_secs(60);
        while now < end {
            if bucket.is_open(now) {
                bucket.take(now, block);
                sent += block;
            } else {
                assert!(bucket.opens_at() > now);
                now = bucket.opens_at();
                assert!(bucket.is_open(now));
            }
        }
        let expected = per_second * 60;
        let slack = expected / 20 + block;
        assert!(
            sent.abs_diff(expected) <= slack,
            "{sent} bytes at {per_second}/s, expected {expected}"
        );
    }
}

#[test]
fn a_pause_earns_a_short_burst_only() {
    let mut bucket = TokenBucket::new(1_000_000);
    let now = Time::ZERO + Duration::from_secs(3_600);
    let mut burst = 0;
    while bucket.is_open(now) {
        bucket.take(now, 10_000);
        burst += 10_000;
    }
    assert!(burst <= 110_000, "{burst}");
}
