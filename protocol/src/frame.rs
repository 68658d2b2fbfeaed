//! The 4-byte frame header, and what is known about each type without looking at its payload.

use byteorder::{BigEndian, ByteOrder};

use crate::DecodeError;
use crate::limits::{FRAME_HEADER, MAX_BLOCK, MAX_BYE, MAX_CONTROL, MAX_HELLO};

/// What the header of one frame type may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameSpec {
    /// The type: first byte of the header.
    pub kind: u8,
    /// Its name in the spec.
    pub name: &'static str,
    /// Smallest payload, bytes.
    pub min: u32,
    /// Largest payload, bytes.
    pub max: u32,
}

macro_rules! frames {
    ($($name:ident = $kind:literal, $min:expr, $max:expr;)*) => {
        /// The types of version 1 by name.
        pub mod kind {
            $(#[doc = concat!("Type of ", stringify!($name), ".")] pub const $name: u8 = $kind;)*
        }

        /// Every type of version 1, ascending. ORDER (0x29) is reserved and not among them.
        pub const KINDS: &[FrameSpec] =
            &[$(FrameSpec { kind: $kind, name: stringify!($name), min: $min, max: $max },)*];
    };
}

/// Bytes of a Record whose name is empty.
pub(crate) const RECORD_MIN: u32 = 99;
const NAME: u32 = 1_024;

frames! {
    NOOP = 0x00, 0, 0;
    HELLO = 0x01, 28, MAX_HELLO;
    BYE = 0x02, 2, MAX_BYE;
    OPEN = 0x10, 36, 36;
    CLOSE = 0x11, 6, 6;
    BITMAP = 0x12, 13, 13 + 32_768;
    HAVE = 0x13, 8, MAX_CONTROL;
    REQUEST = 0x14, 16, 16;
    DATA = 0x15, 13, 12 + MAX_BLOCK;
    REJECT = 0x16, 14, 14;
    CANCEL = 0x17, 12, 12;
    WINDOW = 0x18, 2, 2;
    BEAT = 0x20, 40, 40;
    LEASE = 0x21, 17, 29;
    ANNOUNCE = 0x22, 5, 5 + 33 * 1_985;
    PUBLISH = 0x23, 21 + RECORD_MIN, 21 + RECORD_MIN + NAME;
    UNPUBLISH = 0x24, 22, 22 + NAME;
    FIND = 0x25, 7 + 4, 7 + 4 + NAME;
    SWARM = 0x26, 12 + RECORD_MIN, MAX_CONTROL;
    LIST = 0x27, 10, 10 + 2 * NAME;
    PAGE = 0x28, 5, MAX_CONTROL;
    STATUS = 0x2A, 10, MAX_CONTROL;
    SUMMARY_REQUEST = 0x2B, 4, 4;
    SUMMARY = 0x2C, 48, 48;
}

/// What is known about a type; `None` for one that version 1 does not define.
pub fn spec(kind: u8) -> Option<&'static FrameSpec> {
    KINDS.iter().find(|spec| spec.kind == kind)
}

/// A frame header as it came, and as checked as it can be alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) len: u32,
}

impl Header {
    pub(crate) fn read(bytes: [u8; FRAME_HEADER]) -> Self {
        Self { kind: bytes[0], len: BigEndian::read_u24(&bytes[1..]) }
    }

    pub(crate) fn write(self, out: &mut [u8]) {
        out[0] = self.kind;
        BigEndian::write_u24(&mut out[1..FRAME_HEADER], self.len);
    }

    /// Whether the type is known (`true`) or to be skipped (`false`).
    ///
    /// # Errors
    /// An unknown type that must be understood, or a length that the type does not allow.
    pub(crate) fn check(self) -> Result<bool, DecodeError> {
        let Self { kind, len } = self;
        let (known, min, max) = match spec(kind) {
            Some(spec) => (true, spec.min, spec.max),
            // [F-4]
            None if kind < 0x80 => return Err(DecodeError::UnknownType { kind }),
            None => (false, 0, MAX_CONTROL),
        };
        // [F-3] [F-6]
        if (min..=max).contains(&len) {
            Ok(known)
        } else {
            Err(DecodeError::Length { kind, len, min, max })
        }
    }
}
