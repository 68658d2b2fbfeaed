//! The driver on real loopback sockets, through its public door.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cold;
mod connects;
mod exits;
mod fairness;
mod landing;
mod ranges;
mod rig;
mod streams;
mod stress;
mod tasks;
