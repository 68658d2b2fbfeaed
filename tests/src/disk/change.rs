//! One change of a disk, small enough that a power cut takes or leaves it, apart from writes, which it
//! tears.

use std::ffi::OsString;
use std::sync::Arc;

/// A power cut tears writes at such borders.
const SECTOR: usize = 512;

/// Something that was changed.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write {
        ino: u64,
        offset: u64,
        bytes: Arc<[u8]>,
        at: i128,
    },
    Len {
        ino: u64,
        len: u64,
        at: i128,
    },
    Reserve {
        ino: u64,
        len: u64,
        at: i128,
    },
    Make {
        parent: u64,
        name: OsString,
        ino: u64,
    },
    Unlink {
        parent: u64,
        name: OsString,
        ino: u64,
    },
    /// Takes the place of what had the new name, or changes places with it.
    Move {
        ino: u64,
        from: (u64, OsString),
        to: (u64, OsString),
        swapped: Option<u64>,
        at: i128,
    },
}

impl Change {
    /// The file whose content changes, if it is not about names.
    pub(super) fn content_of(&self) -> Option<u64> {
        match self {
            Self::Write { ino, .. } | Self::Len { ino, .. } | Self::Reserve { ino, .. } => {
                Some(*ino)
            }
            Self::Make { .. } | Self::Unlink { .. } | Self::Move { .. } => None,
        }
    }

    /// Whether it changes the names in this folder.
    pub(super) fn names_in(&self, folder: u64) -> bool {
        match self {
            Self::Make { parent, .. } | Self::Unlink { parent, .. } => *parent == folder,
            Self::Move { from, to, .. } => from.0 == folder || to.0 == folder,
            Self::Write { .. } | Self::Len { .. } | Self::Reserve { .. } => false,
        }
    }

    /// What gets or loses a name.
    pub(super) fn named(&self) -> impl Iterator<Item = u64> {
        let (one, other) = match self {
            Self::Make { ino, .. } | Self::Unlink { ino, .. } => (Some(*ino), None),
            Self::Move { ino, swapped, .. } => (Some(*ino), *swapped),
            Self::Write { .. } | Self::Len { .. } | Self::Reserve { .. } => (None, None),
        };
        one.into_iter().chain(other)
    }

    /// How many sectors it touches, which a power cut can tell apart; 1 for what is not a write.
    pub(super) fn sectors(&self) -> usize {
        match self {
            Self::Write { offset, bytes, .. } => {
                (into_sector(*offset) + bytes.len()).div_ceil(SECTOR).max(1)
            }
            _ => 1,
        }
    }

    /// The part of a write that lies in its `index`th sector.
    pub(super) fn sector(&self, index: usize) -> Option<Self> {
        let Self::Write { ino, offset, bytes, at } = self else { return None };
        let skew = into_sector(*offset);
        let start = (index * SECTOR).saturating_sub(skew);
        let end = ((index + 1) * SECTOR).saturating_sub(skew).min(bytes.len());
        let bytes = bytes.get(start..end)?.into();
        Some(Self::Write { ino: *ino, offset: offset + start as u64, bytes, at: *at })
    }
}

fn into_sector(offset: u64) -> usize {
    usize::try_from(offset % SECTOR as u64).expect("less than a sector")
}
