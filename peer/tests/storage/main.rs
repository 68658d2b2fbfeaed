//! Storage, through its tasks, on real folders: crashes and failures at every operation, damaged files,
//! hostile links, names of all kinds.

#![allow(clippy::unwrap_used, reason = "tests, helpers included")]

mod crashes;
mod damage;
mod fetching;
mod objects;
mod power;
mod races;
mod scanning;
mod unsteady;
