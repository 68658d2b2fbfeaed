//! The peer's machine by its one door: events made by hand, remotes that are real sessions, a tracker
//! that says what it is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests are outside of test functions")]

mod blame;
mod channels;
mod fetches;
mod links;
mod records;
mod rig;
mod seeds;
