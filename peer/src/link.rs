//! One connection to another peer: its session, its pace, and what is queued on it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use protocol::message::Block;
use protocol::{ChannelId, NodeId};
use reactor::{Actions, ConnId, RangeTag, Source, Time};

use crate::disk::Task;
use crate::pipeline::Pipeline;
use crate::session::Session;
use crate::swarm::SwarmKey;

/// Bytes handed to the driver and not yet to the system, above which nothing more is served: enough for
/// a fast link, little enough that control frames do not wait long behind data.
const MAX_QUEUED_DATA: u64 = 256 << 10;
/// Bytes in the queue since it was last empty, above which a remote is given up: data stays far below,
/// and control frames grow so much only for a remote that does not read.
const MAX_QUEUED: u64 = 16 << 20;
/// How long a queue may be without ever becoming empty. What is in it at once takes a link of a few
/// kilobytes per second less than that.
const MAX_UNREAD: std::time::Duration = std::time::Duration::from_secs(60);

/// A connection with a session.
#[derive(Debug)]
pub(crate) struct Link {
    /// The protocol state.
    pub(crate) session: Session,
    /// The other end of the connection.
    pub(crate) remote: SocketAddr,
    /// Where it accepts connections, once known.
    pub(crate) listens_at: Option<SocketAddr>,
    /// Other addresses that turned out to be the same node.
    pub(crate) also_at: Vec<SocketAddr>,
    /// Who it is, once known.
    pub(crate) node: Option<NodeId>,
    /// The swarm for which we dialed it.
    pub(crate) dialed_for: Option<SwarmKey>,
    /// How much to ask for at once.
    pub(crate) pipeline: Pipeline,
    /// The remote said BYE.
    pub(crate) remote_left: bool,
    /// Which object each channel is for.
    pub(crate) channels: BTreeMap<ChannelId, SwarmKey>,
    /// Swarms whose channel was opened anew: once is enough for a remote that keeps the rules.
    pub(crate) opened_anew: BTreeSet<SwarmKey>,
    /// Bytes handed to the driver since the queue was last empty.
    queued: u64,
    /// Bytes of requests whose files are being opened.
    pub(crate) opening: u64,
    unflushed_since: Option<Time>,
    /// Ranges handed to the driver and not yet known to be out.
    ranges: BTreeMap<RangeTag, Block>,
    next_tag: u64,
    /// Nothing came for too long: it gets no new requests before this, unless something comes.
    pub(crate) snubbed_until: Time,
    /// When data last came, or went out; at first, when the connection was there.
    pub(crate) useful_at: Time,
}

impl Link {
    /// A link at its start.
    pub(crate) fn new(
        session: Session,
        remote: SocketAddr,
        dialed_for: Option<SwarmKey>,
        now: Time,
    ) -> Self {
        Self {
            session,
            remote,
            listens_at: dialed_for.map(|_| remote),
            also_at: Vec::new(),
            node: None,
            dialed_for,
            pipeline: Pipeline::new(now),
            remote_left: false,
            channels: BTreeMap::new(),
            opened_anew: BTreeSet::new(),
            queued: 0,
            opening: 0,
            unflushed_since: None,
            ranges: BTreeMap::new(),
            next_tag: 0,
            snubbed_until: Time::ZERO,
            useful_at: now,
        }
    }

    /// Another link to the same node ends in favour of this one: its addresses stay taken as long as
    /// this one lives, so that they are not dialed meanwhile.
    pub(crate) fn take_addresses(&mut self, other: &mut Self) {
        self.also_at.extend(other.listens_at.take());
        self.also_at.append(&mut other.also_at);
        self.also_at.sort_unstable();
        self.also_at.dedup();
    }

    /// Every address at which the node is known to listen.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.listens_at.into_iter().chain(self.also_at.iter().copied())
    }

    /// Hands the session's frames to the driver.
    pub(crate) fn flush(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        if let Some(bytes) = self.session.take_output() {
            self.note_queued(now, bytes.len() as u64);
            out.send(conn, bytes);
        }
    }

    /// Hands a block to the driver, behind everything that the session has to say.
    pub(crate) fn send_block(
        &mut self,
        now: Time,
        conn: ConnId,
        block: Block,
        header: Vec<u8>,
        data: (Source, std::ops::Range<u64>),
        out: &mut Actions<Task>,
    ) {
        self.flush(now, conn, out);
        let (source, range) = data;
        let tag = RangeTag(self.next_tag);
        self.next_tag += 1;
        self.ranges.insert(tag, block);
        self.useful_at = now;
        self.note_queued(now, range.end - range.start + header.len() as u64);
        if canary!("answer-twice") {
            let (header, source, range) = (header.clone(), source.clone(), range.clone());
            out.push(reactor::Action::SendRange { conn, tag, header, source, range });
        }
        out.push(reactor::Action::SendRange { conn, tag, header, source, range });
    }

    /// The remote sends data: it may be asked for more, and is of use.
    pub(crate) fn note_data_came(&mut self, now: Time) {
        self.snubbed_until = Time::ZERO;
        self.useful_at = now;
    }

    fn note_queued(&mut self, now: Time, bytes: u64) {
        self.queued += bytes;
        self.unflushed_since.get_or_insert(now);
    }

    /// Everything queued has gone to the system.
    pub(crate) fn on_flushed(&mut self) {
        self.queued = 0;
        self.unflushed_since = None;
        self.ranges.clear();
    }

    /// The block of a range that could not be sent.
    pub(crate) fn take_range(&mut self, tag: RangeTag) -> Option<Block> {
        self.ranges.remove(&tag)
    }

    /// Whether another block may be queued.
    pub(crate) fn may_queue_data(&self) -> bool {
        let room = self.queued + self.opening < MAX_QUEUED_DATA || canary!("unbounded-queue");
        room && !self.session.is_closing()
    }

    /// Whether data for it is queued, or will be once a file is open.
    pub(crate) fn is_being_served(&self) -> bool {
        !self.ranges.is_empty() || self.opening > 0
    }

    /// Whether the remote has stopped reading (B7, B8).
    pub(crate) fn is_clogged(&self, now: Time) -> bool {
        let since = self.unflushed_since.map_or_else(Default::default, |at| now.since(at));
        self.queued > MAX_QUEUED || since > MAX_UNREAD
    }
}
