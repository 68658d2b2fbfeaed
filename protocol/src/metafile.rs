//! A manifest saved to a file, with a name and trackers: enough to fetch without asking for the name.

use std::sync::Arc;

use crate::{Manifest, ManifestError};

/// What a `.swarm` file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metafile {
    /// The name to save under; rules as for names.
    pub name: String,
    /// Trackers to ask, as `host:port`; may be empty.
    pub trackers: Vec<String>,
    /// The object.
    pub manifest: Arc<Manifest>,
}

impl Metafile {
    /// Checks bytes that came from outside.
    ///
    /// # Errors
    /// [`ManifestError`] names the rule that is broken.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let _ = bytes;
        todo!("protocol helper")
    }

    /// The canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!("protocol helper")
    }
}
