//! The manifest on its way in: from one link at a time, so that a wrong one has one culprit.

use protocol::ChannelId;
use protocol::limits::{MANIFEST_PIECE, MAX_MANIFEST};
use protocol::message::{Block, Request};
use reactor::{ConnId, Time};
use std::time::Duration;

/// Bytes asked for at once.
const STEP: u32 = 256 << 10;
/// Requests on their way at once.
const DEPTH: u32 = 4;
/// A link that sends nothing for so long is given up for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Collects a manifest.
#[derive(Debug)]
pub(crate) struct ManifestFetch {
    /// The length that the tracker names, if it named one: a hint. [T-8]
    expected: Option<u32>,
    source: Option<Source>,
}

#[derive(Debug)]
struct Source {
    conn: ConnId,
    channel: ChannelId,
    len: u32,
    requested: u32,
    received: u32,
    data: Vec<u8>,
    last_progress: Time,
}

impl ManifestFetch {
    /// Nothing yet.
    pub(crate) fn new(expected: Option<u32>) -> Self {
        Self { expected, source: None }
    }

    /// The link that is asked now.
    pub(crate) fn source(&self) -> Option<ConnId> {
        self.source.as_ref().map(|source| source.conn)
    }

    /// How long it is, as far as the tracker says; else 0.
    pub(crate) fn expected_len(&self) -> u32 {
        self.expected.unwrap_or(0)
    }

    /// A manifest of the length that the tracker named was wrong: that says nothing any more.
    pub(crate) fn forget_expected(&mut self) {
        self.expected = None;
    }

    /// Whether a manifest can have this length.
    fn accepts(len: u32) -> bool {
        len > 0 && len <= MAX_MANIFEST
    }

    /// Begins to ask a link, if none is being asked.
    pub(crate) fn begin(&mut self, now: Time, conn: ConnId, channel: ChannelId, len: u32) {
        if self.source.is_none() && Self::accepts(len) {
            let data = Vec::new();
            let (requested, received) = (0, 0);
            let last_progress = now;
            self.source =
                Some(Source { conn, channel, len, requested, received, data, last_progress });
        }
    }

    /// The next request to send to [`Self::source`].
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        let source = self.source.as_mut()?;
        let on_the_way = source.requested - source.received;
        if source.requested == source.len || on_the_way >= DEPTH * STEP {
            return None;
        }
        let len = STEP.min(source.len - source.requested);
        let begin = source.requested;
        let block = Block { channel: source.channel, piece: MANIFEST_PIECE, begin };
        source.requested += len;
        Some(Request { block, len })
    }

    /// Takes bytes of the manifest; returns all of it when it is whole.
    pub(crate) fn on_data(
        &mut self,
        now: Time,
        conn: ConnId,
        at: u32,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let source = self.source.as_mut().filter(|source| source.conn == conn)?;
        if at >= source.requested {
            // An answer to what it was asked before it was given up: it will be asked for again.
            return None;
        }
        source.last_progress = now;
        let start = at as usize;
        let end = start + bytes.len();
        // Grows with what arrives; answers may overtake each other by the few blocks that were asked for.
        if source.data.len() < end {
            source.data.resize(end, 0);
        }
        source.data[start..end].copy_from_slice(bytes);
        source.received += u32::try_from(bytes.len()).expect("bytes of a block");
        if source.received < source.len {
            return None;
        }
        self.source.take().map(|source| source.data)
    }

    /// This link will not send it.
    pub(crate) fn drop_link(&mut self, conn: ConnId) {
        self.source.take_if(|source| source.conn == conn);
    }

    /// The link that has been silent for too long, if any; it is no longer asked.
    pub(crate) fn drop_silent(&mut self, now: Time) -> Option<ConnId> {
        let silent = |source: &mut Source| now.since(source.last_progress) > PATIENCE;
        self.source.take_if(silent).map(|source| source.conn)
    }
}
