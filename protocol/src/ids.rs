//! Newtypes for the identities of the wire. Conversions and printing only.

use std::fmt;

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            /// All bytes in lower-case hexadecimal.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            /// The first four bytes in hexadecimal: enough to tell them apart in a log.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl $name {
            /// Reads all bytes from hexadecimal, either case; `None` if it is anything else.
            pub fn from_hex(text: &str) -> Option<Self> {
                crate::hex::decode_exact(text).map(Self)
            }
        }
    };
}

identity! {
    /// One run of a process: drawn at random when it starts.
    NodeId, 16
}
identity! {
    /// What an object is: the SHA-256 of its manifest's bytes.
    ObjectId, 32
}
identity! {
    /// The SHA-256 of some bytes: a piece, or a whole file. All zeros where a record has no single file.
    Digest, 32
}

impl Digest {
    /// Stands for "no digest": the content of a folder, an empty folder's entry.
    pub const ZERO: Self = Self([0; 32]);

    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

/// The secret that shows who first published a name. Neither printed nor logged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublisherKey(pub [u8; 16]);

impl fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublisherKey(..)")
    }
}

/// One object inside one session. The dialer numbers its channels 0, 2, 4, ..., the acceptor 1, 3, 5, ...
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

/// Names a request to a tracker; 0 marks what nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u32);
