//! How a remote can break the rules of a conversation, and what is said about it.
//!
//! Only what goes wrong between two peers; each kind maps to exactly one closing code.

use std::time::Duration;

use protocol::message::Block;
use protocol::{ChannelId, Code, DecodeError};
use thiserror::Error;

/// Why a connection is closed by us. Messages say what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The bytes are not a message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A block that must not come now.
    #[error("{what} for {block:?}")]
    Block {
        /// What came instead of what.
        what: &'static str,
        /// Which block.
        block: Block,
    },
    /// A channel that must not be named now.
    #[error("{what} {channel:?}")]
    Channel {
        /// What came instead of what.
        what: &'static str,
        /// Which channel.
        channel: ChannelId,
    },
    /// Nothing came, or too little, for too long.
    #[error("{what} for {waited:?}")]
    Silent {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        waited: Duration,
    },
}

impl Violation {
    /// The code of the BYE to send, or `None` where nothing may be sent: just close.
    pub fn code(&self) -> Option<Code> {
        todo!()
    }
}
