//! Connections with work that no further event will announce.
//!
//! mio tells of readiness once. Whoever stops before the system says "would block" must come back by
//! himself: while a queue is not empty, the loop polls without waiting.
//!
//! Invariant Q1: at the end of a turn, each connection that has work and may do it is in its queue.
//! (The reverse holds after the next pass: entries that lost their work or their connection since are
//! dropped when they are reached.) `Conns::schedule` keeps it and `Conns::check` asserts it.

use std::collections::VecDeque;

use crate::token::ConnToken;

/// First come, first served; each connection at most once.
#[derive(Debug, Default)]
pub(crate) struct ReadyQueue {
    queue: VecDeque<ConnToken>,
}

impl ReadyQueue {
    /// Appends a connection unless `queued`, its own mark, says that it is here already.
    pub(crate) fn push(&mut self, token: ConnToken, queued: &mut bool) {
        if !*queued {
            *queued = true;
            self.queue.push_back(token);
        }
    }

    /// Takes the first one; the caller clears its mark.
    pub(crate) fn pop(&mut self) -> Option<ConnToken> {
        self.queue.pop_front()
    }

    /// How many are queued: one pass over the queue serves that many, so that each is served once.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nobody has work.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
