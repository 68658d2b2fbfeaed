//! Whole swarms in virtual time: the real tracker and peers, on simulated networks and disks.

mod basics;
mod checks;
mod crowds;
mod failures;
mod liveness;
mod rig;
