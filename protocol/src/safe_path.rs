//! One type for every path that came from outside; rejects, never repairs.

use std::fmt;

use thiserror::Error;

/// Why a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{problem} [{rule}]")]
pub struct PathError {
    /// What is wrong, in words.
    pub problem: &'static str,
    /// Requirement id in the spec.
    pub rule: &'static str,
}

/// A relative path of 1 to 64 segments joined by `/`, safe to use below a folder: no empty, `.` or `..`
/// segment, no NUL, control byte or backslash, at most 1,024 bytes of UTF-8, at most 255 per segment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafePath(String);

impl SafePath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`PathError`] says which rule it breaks.
    pub fn new(path: &str) -> Result<Self, PathError> {
        let _ = path;
        todo!("protocol helper")
    }

    /// The whole path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its segments, first to last; at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The last segment.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
