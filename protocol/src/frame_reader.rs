//! Frames out of a byte stream that is cut anywhere.

use crate::DecodeError;
use crate::message::{DataHead, Message};

/// What the reader found next. `'i` is the input; nothing refers to the reader's own buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'i> {
    /// A whole control message.
    Message(Message),
    /// An unknown frame type that may be skipped was skipped.
    Skipped {
        /// Its type, 0x80 or more.
        kind: u8,
    },
    /// The next part of a DATA frame's data, straight from the input.
    Data {
        /// Which block.
        head: DataHead,
        /// Where in the block these bytes begin, 0 for the first part.
        offset: u32,
        /// At least one byte.
        bytes: &'i [u8],
    },
}

/// Reassembles frames. Keeps at most one control frame's bytes; never data.
///
/// Invariant F1: never holds more bytes than it was given, and never more than one frame of its type's
/// maximum. Invariant F2: the same bytes give the same frames however they are cut (parts of one DATA
/// taken together).
#[derive(Debug, Default)]
pub struct FrameReader {}

impl FrameReader {
    /// A reader at the start of a stream: the first frame must be a HELLO.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` until one thing is complete, and returns it; `None` when
    /// the input is used up. Call it until then.
    ///
    /// # Errors
    /// After an error the stream has no meaning: close the connection as [`DecodeError::code`] says.
    pub fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
    ) -> Result<Option<Incoming<'i>>, DecodeError> {
        let _ = input;
        todo!("protocol helper")
    }

    /// Whether the stream stands between two frames.
    pub fn at_boundary(&self) -> bool {
        todo!("protocol helper")
    }
}

impl DataHead {
    /// Frame header and head of a DATA frame, to be followed by the data.
    pub fn to_frame_head(&self) -> [u8; 16] {
        todo!("protocol helper")
    }
}
