//! How much to ask one peer for at a time, from what it delivers.
//!
//! Knows bytes and times only. Keeps about twice rate x shortest round trip on the way, found by
//! doubling like a slow start, so that neither a fast link runs dry nor a slow one is stuffed.

use std::time::Duration;

use reactor::Time;

/// Request depth and block size towards one peer.
#[derive(Debug)]
pub struct Pipeline {}

impl Pipeline {
    /// Nothing known yet.
    pub fn new(now: Time) -> Self {
        let _ = now;
        todo!()
    }

    /// How long the next block should be, at most `piece_len`: a power of two from 16 KiB to 1 MiB
    /// (about 5 ms of data), or the whole of a shorter piece.
    pub fn block_len(&self, piece_len: u32) -> u32 {
        let _ = piece_len;
        todo!()
    }

    /// How many more bytes to ask for now.
    pub fn room(&self) -> usize {
        todo!()
    }

    /// Bytes asked for and not answered.
    pub fn in_flight(&self) -> usize {
        todo!()
    }

    /// A block of `len` bytes was asked for.
    pub fn on_requested(&mut self, now: Time, len: u32) {
        let _ = (now, len);
        todo!()
    }

    /// `len` bytes of data came: a block or a part of one.
    pub fn on_data(&mut self, now: Time, len: u32) {
        let _ = (now, len);
        todo!()
    }

    /// `len` bytes that were asked for will not come: rejected, or their channel is gone.
    pub fn on_reject(&mut self, now: Time, len: u32) {
        let _ = (now, len);
        todo!()
    }

    /// Whether the peer owes data and has sent none for much longer than its rate explains.
    pub fn is_snubbed(&self, now: Time) -> bool {
        let _ = now;
        todo!()
    }

    /// When [`Pipeline::is_snubbed`] becomes true if nothing comes; `None` if nothing is owed.
    pub fn snub_deadline(&self) -> Option<Time> {
        todo!()
    }

    /// Bytes per second that come while something is asked for.
    pub fn rate(&self) -> u64 {
        todo!()
    }

    /// The shortest time from a request to the first byte of its answer, once known.
    pub fn min_rtt(&self) -> Option<Duration> {
        todo!()
    }
}
