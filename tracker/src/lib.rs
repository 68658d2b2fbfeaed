//! Starling's tracker: names, versions, owners, and who holds what.
//!
//! [`Tracker`] is the machine: sessions in, replies and pushes out, no clock, socket or file. What must
//! survive a crash (names, versions, owners) goes through a [`store`] as batches, and is neither
//! acknowledged nor shown to anybody before its batch is durable. Who holds what is soft: it lives in
//! memory, and peers tell it again after a restart.
//!
//! [`StatusClient`] is a second, tiny machine: what `tracker status` runs.

#[macro_use(canary, mark)]
extern crate reactor;

mod catalog;
mod config;
mod contact;
mod core;
mod leases;
mod ledger;
mod pushes;
mod requests;
mod session;
mod status;
pub mod store;
mod swarms;
mod tracker;

pub use catalog::{NameEntry, Snapshot, Version};
pub use config::{Config, Secret};
pub use status::{NoRunner, NoTask, StatusClient, StatusError};
pub use tracker::Tracker;

/// What this program calls itself in HELLO and on the command line.
pub const AGENT: &str = concat!("tracker/", env!("CARGO_PKG_VERSION"));
