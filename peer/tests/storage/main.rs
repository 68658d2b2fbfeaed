//! Storage, through its tasks, on real folders: crashes and failures at every operation, damaged files,
//! hostile links, names of all kinds.

mod crashes;
mod damage;
mod fetching;
mod objects;
mod power;
mod scanning;
mod unsteady;
