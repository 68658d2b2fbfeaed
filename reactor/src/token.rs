//! What a mio token means: the waker, the signals, a listener, or one connection in one slot.
//!
//! Invariant T1: a connection's token carries a generation, which no other connection in the same slot
//! has, so an event that arrives late never reaches a stranger.

use mio::Token;

/// Where a connection lives. Stays distinct when the slot is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnToken {
    pub(crate) slot: u32,
    /// Never 0, which marks tokens that are not connections.
    pub(crate) generation: u32,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A task is finished.
    Waker,
    /// A signal came.
    Signals,
    /// The listener with this index.
    Listener(u32),
    /// A connection.
    Conn(ConnToken),
}

const WAKER: u32 = 0;
const SIGNALS: u32 = 1;
const FIRST_LISTENER: u32 = 2;

const _: () = assert!(usize::BITS >= 64, "a token holds a slot and a generation of 32 bits each");

impl From<Target> for Token {
    fn from(target: Target) -> Self {
        let (generation, slot) = match target {
            Target::Waker => (0, WAKER),
            Target::Signals => (0, SIGNALS),
            Target::Listener(index) => (0, index + FIRST_LISTENER),
            Target::Conn(conn) => (conn.generation, conn.slot),
        };
        let packed = (u64::from(generation) << 32) | u64::from(slot);
        Self(usize::try_from(packed).expect("usize has 64 bits, as asserted above"))
    }
}

impl From<Token> for Target {
    fn from(token: Token) -> Self {
        let low = u32::try_from(token.0 & 0xFFFF_FFFF).expect("32 bits were masked");
        let high = u32::try_from(token.0 >> 32).expect("32 bits are left");
        match (high, low) {
            (0, WAKER) => Self::Waker,
            (0, SIGNALS) => Self::Signals,
            (0, listener) => Self::Listener(listener - FIRST_LISTENER),
            (generation, slot) => Self::Conn(ConnToken { slot, generation }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_packing() {
        for target in [
            Target::Waker,
            Target::Signals,
            Target::Listener(0),
            Target::Listener(7),
            Target::Conn(ConnToken { slot: 0, generation: 1 }),
            Target::Conn(ConnToken { slot: u32::MAX, generation: u32::MAX }),
        ] {
            assert_eq!(Target::from(Token::from(target)), target);
        }
    }
}
