//! The sans-IO contract of Starling's state machines, and the mio event loop that runs a machine on
//! real sockets.
//!
//! Two halves live here. The contract ([`Machine`], [`Event`], [`Action`], [`Time`], [`Rng`],
//! [`Source`]) is all that the tracker and peer cores may see of the outside world. The driver
//! ([`Reactor`]) is one way of running a machine; the deterministic simulator in `tests` is the other.
//!
//! This crate names no message, frame, piece or swarm: it moves bytes, time and task results.

pub mod clock;
mod conn;
mod connect;
mod conns;
mod descriptors;
mod event_loop;
pub mod hooks;
mod listener;
mod machine;
mod options;
mod ready_queue;
mod rng;
pub mod seed;
mod send_queue;
mod signals;
mod source;
mod stats;
mod steps;
mod tasks;
mod time;
mod token;

pub use event_loop::Reactor;

pub use machine::{
    Action, Actions, CloseCause, CloseReason, ConnId, ConnectError, Event, Machine, RangeError,
    RangeTag, TaskId, TaskRunner,
};
pub use options::Options;
pub use rng::Rng;
pub use source::{FileStamp, Source, SourceBytes};
pub use stats::{Lag, Stats};
pub use time::Time;
