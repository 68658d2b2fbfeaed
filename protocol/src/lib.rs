//! SWP, the Starling wire protocol, version 1: frames, messages, manifests.
//!
//! No I/O, no clock, no randomness, and no allocation driven by a length that was not checked. What
//! every byte means is in `spec/PROTOCOL.md`; this crate is one of two statements of it (the other is
//! `spec/messages.toml` with its vectors), and tests hold them together.

mod bitmap;
mod codes;
mod error;
pub mod frame;
mod frame_reader;
mod geometry;
pub mod hex;
mod ids;
pub mod limits;
mod manifest;
pub mod message;
mod metafile;
mod rules;
mod safe_path;
mod wire;

pub use bitmap::PieceSet;
pub use codes::Code;
pub use error::DecodeError;
pub use frame_reader::{FrameReader, Incoming};
pub use geometry::{BlockRef, Geometry, PieceIndex, PieceSpan};
pub use ids::{ChannelId, Digest, NodeId, ObjectId, PublisherKey, RequestId};
pub use manifest::{Entry, EntryKind, Manifest, ManifestError};
pub use message::{Holding, Message, PeerAddr, Record, negotiate};
pub use metafile::Metafile;
pub use safe_path::{PathError, SafePath};

/// The digest in a BEAT over everything that a peer holds: XOR of the first eight bytes of each object
/// id, rotated left by the holding's number on the wire. Order does not matter; an object may be in the
/// set once only.
pub fn holdings_digest(holdings: impl IntoIterator<Item = (ObjectId, Holding)>) -> u64 {
    holdings.into_iter().fold(0, |digest, (object, holding)| {
        let mut head = [0; 8];
        head.copy_from_slice(&object.0[..8]);
        digest ^ u64::from_be_bytes(head).rotate_left(u32::from(holding.wire()))
    })
}

/// Names follow the rules of paths, and may not end in what would read as a version (`@3`,
/// `@sha256:...`).
///
/// # Errors
/// [`PathError`] says which rule is broken.
pub fn check_name(name: &str) -> Result<SafePath, PathError> {
    let path = SafePath::new(name)?;
    // `NAME@3` and `NAME@sha256:9f2c...` are how people write one version of a name.
    let is_version =
        name.rsplit_once('@').is_some_and(|(_, end)| match end.strip_prefix("sha256:") {
            Some(digits) => !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()),
            None => !end.is_empty() && end.bytes().all(|b| b.is_ascii_digit()),
        });
    if is_version {
        return Err(PathError {
            problem: "a name that ends like a version",
            rule: rules::NAME_VERSION,
        });
    }
    Ok(path)
}
