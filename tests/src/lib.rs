//! A deterministic simulator of whole swarms: the real tracker and peer, in virtual time, on a
//! simulated network and simulated disks, decided by one seed.
//!
//! [`World`] is the other driver of the reactor's contract. It runs the same machines and the same task
//! runners as the programs do, and checks from outside what must always hold.

mod books;
pub mod canaries;
mod check;
pub mod content;
mod control;
mod cuts;
pub mod disk;
pub mod faults;
pub mod fuzz;
mod holds;
pub mod jobs;
mod journal;
mod leases;
mod link;
pub mod marks;
mod node;
pub mod plan;
mod programs;
pub mod rogue;
mod rules;
pub mod runner;
pub mod scale;
mod stuck;
pub mod swarms;
pub mod sweep;
mod world;

pub use check::Left;
pub use content::Tree;
pub use disk::Disk;
pub use node::{Life, NodeKey, Profile, Twist};
pub use programs::programs;
pub use stuck::Stuck;
pub use world::World;
