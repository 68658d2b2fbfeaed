//! Starling's peer: seeds and fetches files by name.
//!
//! The core is a pure state machine: events in, actions out. [`disk`] says what blocking work it asks
//! for, [`job`] what it can be told to do, [`notice`] what it tells. [`storage`] does the blocking work
//! on real files; [`cli`] turns command lines into jobs and notices into text.

#[macro_use(canary, mark)]
extern crate reactor;

mod candidates;
pub mod cli;
pub mod disk;
mod hashing;
pub mod job;
mod link;
mod link_table;
mod manifest_fetch;
pub mod notice;
mod peer;
pub mod picker;
pub mod pipeline;
pub mod rates;
pub mod session;
pub mod similar;
mod sources;
pub mod storage;
mod storing;
mod swarm;
pub mod tracker_client;
mod transfer;
pub mod uploads;

pub use notice::Load;
pub use peer::Peer;
