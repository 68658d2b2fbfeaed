//! Every status and closing code, one registry.

use std::fmt;

/// Why something ended, was refused, or went well. Unknown codes are kept as they came and treated as
/// the generic failure of the message that carries them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal;)*) => {
        impl Code {
            $($(#[$doc])* pub const $name: Self = Self($value);)*

            /// Every code that version 1 names, with its name in the spec.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

codes! {
    /// Done; leaving politely.
    OK = 0;
    /// Bytes that are not a message.
    MALFORMED = 1;
    /// No version in common.
    VERSION = 2;
    /// A type that must be understood, and is not.
    UNKNOWN_TYPE = 3;
    /// A valid message at a wrong time.
    BAD_STATE = 4;
    /// More than a limit allows.
    LIMIT = 5;
    /// Silent or slow for too long.
    TIMEOUT = 6;
    /// No room for this connection or request now.
    OVERLOADED = 7;
    /// The sender is stopping.
    SHUTDOWN = 8;
    /// There is another connection, or channel, for the same thing.
    DUPLICATE = 9;
    /// A peer where a tracker was expected, or the other way round.
    WRONG_ROLE = 10;
    /// Not allowed.
    DENIED = 11;
    /// Data or manifest does not match its hash.
    BAD_DATA = 12;
    /// No such name or object here.
    NOT_FOUND = 32;
    /// The piece is not here (yet).
    NO_PIECE = 33;
    /// Too many requests; ask again later or elsewhere.
    BUSY = 34;
    /// Dropped as you asked.
    CANCELLED = 35;
    /// The range does not lie in the piece.
    BAD_RANGE = 36;
    /// The data changed or went away.
    GONE = 37;
    /// The data could not be read.
    IO = 38;
    /// The name belongs to somebody else.
    NAME_TAKEN = 64;
    /// The name breaks the rules for names.
    BAD_NAME = 65;
    /// Only the owner may do that.
    NOT_OWNER = 66;
    /// No space.
    FULL = 67;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::ALL.iter().find(|(code, _)| code == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
