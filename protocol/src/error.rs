//! Bytes that are not a message.

use thiserror::Error;

use crate::Code;

/// Why bytes are not a message. Maps to exactly one closing code.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The first frame is not a HELLO of this protocol: close without an answer.
    #[error("not a HELLO of this protocol")]
    NotOurs,
    /// A frame type that must be understood, and is not.
    #[error("unknown frame type {kind:#04x}")]
    UnknownType {
        /// The type.
        kind: u8,
    },
    /// A tag in a HELLO that must be understood, and is not.
    #[error("unknown tag {tag:#06x} that must be understood [H-22]")]
    UnknownTag {
        /// The tag.
        tag: u16,
    },
    /// A frame header that claims more or less than its type allows; found before reading the payload.
    #[error("frame type {kind:#04x} of {len} bytes, expected {min} to {max}")]
    Length {
        /// The type.
        kind: u8,
        /// What the header claims.
        len: u32,
        /// Smallest payload of that type.
        min: u32,
        /// Largest payload of that type.
        max: u32,
    },
    /// A field whose bytes break a rule.
    #[error("{field} at payload offset {offset}: {problem} [{rule}]")]
    Field {
        /// Name of the field in the spec.
        field: &'static str,
        /// Where it begins in the payload.
        offset: usize,
        /// What was expected and what came.
        problem: &'static str,
        /// Requirement id in the spec.
        rule: &'static str,
    },
}

impl DecodeError {
    /// The code of the BYE to send, or `None` where nothing at all may be sent.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::NotOurs => None,
            Self::UnknownType { .. } | Self::UnknownTag { .. } => Some(Code::UNKNOWN_TYPE),
            Self::Length { .. } => Some(Code::LIMIT),
            Self::Field { .. } => Some(Code::MALFORMED),
        }
    }
}
