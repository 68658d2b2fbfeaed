//! One type for every path that came from outside; rejects, never repairs.

use std::fmt;

use thiserror::Error;

use crate::limits::{MAX_DEPTH, MAX_PATH, MAX_SEGMENT};
use crate::rules;

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
        let refuse = |problem, rule| Err(PathError { problem, rule });
        if path.is_empty() || path.len() > MAX_PATH {
            return refuse("a path of no bytes, or of more than 1,024", rules::PATH_LEN);
        }
        if path.bytes().any(|byte| byte < 0x20 || byte == 0x7F || byte == b'\\') {
            return refuse("a control byte or a backslash in a path", rules::PATH_BYTES);
        }
        for (depth, segment) in path.split('/').enumerate() {
            match segment {
                "" => {
                    let problem = "an empty segment in a path, or '/' at its start or end";
                    return refuse(problem, rules::PATH_SEGMENTS);
                }
                "." | ".." => {
                    return refuse("a segment '.' or '..' in a path", rules::SEGMENT_DOTS);
                }
                _ if segment.len() > MAX_SEGMENT => {
                    let problem = "a segment of more than 255 bytes in a path";
                    return refuse(problem, rules::SEGMENT_LEN);
                }
                _ if depth >= MAX_DEPTH => {
                    return refuse("a path of more than 64 segments", rules::PATH_SEGMENTS);
                }
                _ => {}
            }
        }
        Ok(Self(path.to_owned()))
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
