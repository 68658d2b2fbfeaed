//! What a peer asks for, how much at a time, and whom it serves: the pure policies, each against a
//! model or a little simulated link.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "helpers of tests are outside of test functions"
)]

mod picker;
mod pipeline;
mod rates;
mod uploads;

use std::time::Duration;

use reactor::Time;

fn millis(n: u64) -> Time {
    Time::ZERO + Duration::from_millis(n)
}
