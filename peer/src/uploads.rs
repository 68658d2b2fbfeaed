//! Whose request to serve next.
//!
//! Knows requests and bytes; no file, no connection. Sessions take turns by bytes (deficit round
//! robin); inside that, pieces that were sent least go first, so that a swarm's first copies spread.
//!
//! Invariant U1: each pushed request leaves exactly once, through `next`, `cancel` or one of the drops.

use protocol::ChannelId;
use protocol::message::{Block, Request};
use reactor::Time;

/// One session, as the machine numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// All requests of others that wait to be served.
#[derive(Debug)]
pub struct Uploads {}

impl Uploads {
    /// Nothing queued. `up_limit`: bytes of data per second to send at most.
    pub fn new(up_limit: Option<u64>) -> Self {
        let _ = up_limit;
        todo!()
    }

    /// Queues a request. `swarm` numbers its object.
    pub fn push(&mut self, session: SessionKey, swarm: u32, request: Request) {
        let _ = (session, swarm, request);
        todo!()
    }

    /// Takes a request out; whether it was there.
    pub fn cancel(&mut self, session: SessionKey, block: Block) -> bool {
        let _ = (session, block);
        todo!()
    }

    /// Forgets a session and its requests.
    pub fn drop_session(&mut self, session: SessionKey) {
        let _ = session;
        todo!()
    }

    /// Forgets the requests of one channel.
    pub fn drop_channel(&mut self, session: SessionKey, channel: ChannelId) {
        let _ = (session, channel);
        todo!()
    }

    /// Forgets how often pieces of a swarm were sent.
    pub fn drop_swarm(&mut self, swarm: u32) {
        let _ = swarm;
        todo!()
    }

    /// The next request to serve, with its session and swarm; it counts as served. Only sessions for
    /// which `can_send` is true are asked. `None` if there is none, or the limit is used up for now.
    pub fn next(
        &mut self,
        now: Time,
        can_send: &mut dyn FnMut(SessionKey) -> bool,
    ) -> Option<(SessionKey, u32, Request)> {
        let _ = (now, &can_send);
        todo!()
    }

    /// When the limit lets [`Uploads::next`] go on; `None` if nothing waits for it.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        let _ = now;
        todo!()
    }

    /// How many requests of a session wait.
    pub fn queued(&self, session: SessionKey) -> usize {
        let _ = session;
        todo!()
    }
}
