//! The tracker client against a scripted tracker, in memory and virtual time.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside of test functions")]

mod outages;
mod script;
mod sessions;
mod trouble;
