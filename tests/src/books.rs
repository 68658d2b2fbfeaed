//! S13, conservation: what a fetcher received is what it kept and what it threw away.

use std::collections::BTreeMap;

use peer::notice::Notice;
use protocol::ObjectId;

/// What fetchers say of their bytes.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Bytes that a fetch had still to get when it began.
    missing: BTreeMap<(usize, ObjectId), u64>,
}

impl Books {
    /// Looks at what a process told; what is wrong with it, if anything.
    pub(crate) fn notice(&mut self, index: usize, notice: &Notice) -> Option<String> {
        match notice {
            Notice::FetchStarted { record, bytes, kept, .. } => {
                self.missing.insert((index, record.object), bytes.saturating_sub(*kept));
                None
            }
            Notice::FetchDone { already: false, manifest, received, wasted, .. } => {
                let missing = self.missing.remove(&(index, manifest.id()))?;
                // Pieces of an earlier run that are found right meanwhile need not be received.
                let used = received.checked_sub(*wasted);
                let fits = used.is_some_and(|used| used <= missing);
                let text = format!(
                    "node {index} received {received} bytes and threw {wasted} away, and {missing} were \
                     missing"
                );
                (!fits).then_some(text)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Tree;

    #[test]
    fn bytes_that_come_from_nowhere_are_noticed() {
        let manifest = Tree::file(1, 10_000).manifest(12);
        let record = protocol::Record {
            object: manifest.id(),
            content: manifest.content(),
            length: manifest.geometry().total_len(),
            published_at: 0,
            version: 0,
            manifest_len: 0,
            piece_count: 3,
            file_count: 1,
            piece_log2: 12,
            name: String::new(),
        };
        let told = |received, wasted| {
            let mut books = Books::default();
            let started = Notice::FetchStarted {
                record: record.clone(),
                dest: "/in/x".into(),
                bytes: 10_000,
                kept: 4_096,
                rechecked: 0,
                files: 1,
                pieces: 3,
            };
            assert_eq!(books.notice(0, &started), None);
            let done = Notice::FetchDone {
                record: record.clone(),
                path: "/in/x".into(),
                already: false,
                manifest: manifest.clone(),
                received,
                wasted,
                sent: 0,
                sources: 1,
                took: Duration::ZERO,
            };
            books.notice(0, &done).is_some()
        };
        assert!(!told(5_904, 0) && !told(10_000, 4_096), "these add up");
        assert!(told(5_905, 0) && told(100, 200), "these do not");
    }
}
