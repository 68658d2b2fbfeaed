//! How a remote can break the rules of a conversation, and what is said about it.
//!
//! Only what goes wrong between two peers. Each kind maps to exactly one closing code.

use std::time::Duration;

use protocol::message::{Block, TlvTag};
use protocol::{ChannelId, Code, DecodeError};
use thiserror::Error;

/// Why a connection is closed by us. Messages say what was expected and what came.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// The bytes are not a message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// No version in common.
    #[error("this side speaks versions {} to {}, the remote {} to {}", .ours.0, .ours.1, .theirs.0, .theirs.1)]
    Version {
        /// Lowest and highest version of this side.
        ours: (u8, u8),
        /// Lowest and highest version of the remote.
        theirs: (u8, u8),
    },
    /// The remote is not a peer.
    #[error("expected a peer, got a tracker")]
    WrongRole,
    /// An optional HELLO field that must be understood, and is not.
    #[error("unknown HELLO field {:#06x}", .0.0)]
    UnknownTag(TlvTag),
    /// The remote is this process.
    #[error("connected to itself")]
    SelfConnection,
    /// The cluster tokens differ.
    #[error("{0}")]
    Denied(&'static str),
    /// A message that must not come now, or never on this kind of connection.
    #[error("{got} where {expected} was expected")]
    Unexpected {
        /// The message.
        got: &'static str,
        /// What may come.
        expected: &'static str,
    },
    /// A channel that must not be named so.
    #[error("{got} on channel {}, {problem}", .channel.0)]
    Channel {
        /// The message.
        got: &'static str,
        /// Which channel it names.
        channel: ChannelId,
        /// What is wrong with that.
        problem: &'static str,
    },
    /// A block that must not come or be asked for now.
    #[error(
        "{got} for channel {} piece {} begin {}, {problem}",
        .block.channel.0, .block.piece, .block.begin
    )]
    Block {
        /// The message.
        got: &'static str,
        /// Which block it names.
        block: Block,
        /// What is wrong with that.
        problem: &'static str,
    },
    /// A block of another length than was asked for.
    #[error("expected {expected} bytes of piece {} begin {}, got {got}", .block.piece, .block.begin)]
    BlockLength {
        /// Which block.
        block: Block,
        /// What was asked for.
        expected: u32,
        /// What came.
        got: u32,
    },
    /// A piece that the object does not have.
    #[error("HAVE for piece {piece} of {count}")]
    NoSuchPiece {
        /// Which piece.
        piece: u32,
        /// How many there are.
        count: u32,
    },
    /// More of something than is allowed.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// The remote did not introduce itself.
    #[error("no HELLO within {0:?}")]
    NoHello(Duration),
    /// Nothing came for too long.
    #[error("nothing received for {0:?}")]
    Silent(Duration),
    /// A frame that began does not go on, or hardly.
    #[error("a frame that began {0:?} ago does not arrive")]
    Stalled(Duration),
    /// Our BYE is said, and the time to flush it is over.
    #[error("the remote did not close within {0:?} after BYE")]
    Lingered(Duration),
}

impl Violation {
    /// The code of the BYE to send, or `None` where nothing may be sent: just close.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Decode(error) => error.code(),
            Self::Version { .. } => Some(Code::VERSION),
            Self::WrongRole => Some(Code::WRONG_ROLE),
            Self::UnknownTag(_) => Some(Code::UNKNOWN_TYPE),
            Self::SelfConnection => Some(Code::DUPLICATE),
            Self::Denied(_) => Some(Code::DENIED),
            Self::Unexpected { .. }
            | Self::Channel { .. }
            | Self::Block { .. }
            | Self::BlockLength { .. }
            | Self::NoSuchPiece { .. } => Some(Code::BAD_STATE),
            Self::TooMany { .. } => Some(Code::LIMIT),
            Self::Silent(_) | Self::Stalled(_) => Some(Code::TIMEOUT),
            Self::NoHello(_) | Self::Lingered(_) => None,
        }
    }
}
