//! Connections to other peers: dialing, sessions, who is who, and what ends them.

use std::net::SocketAddr;

use protocol::limits::MANIFEST_PIECE;
use protocol::message::{Holdings, Request};
use protocol::{ChannelId, Code, NodeId, ObjectId};
use reactor::{Action, Actions, CloseReason, ConnId, ConnectError, Time};

use super::Peer;
use crate::disk::Task;
use crate::link::Link;
use crate::session::{Session, SessionEvent, Side, Violation};
use crate::swarm::{EarlyHoldings, Member, SwarmKey};
use crate::uploads::SessionKey;

/// Connection attempts under way at once.
const MAX_DIALING: usize = 16;
/// Links of one swarm that we look for on our own: about thirty neighbours are enough for
/// rarest-first to work as if everybody saw everything.
const TARGET_MEMBERS: usize = 30;

impl Peer {
    pub(super) fn on_listening(&mut self, local: SocketAddr) {
        self.local.listen = local.port();
        self.tracker.set_listen(local.port());
        self.tell(crate::notice::Notice::Listening { local });
    }

    /// Dials for swarms that want more links.
    pub(super) fn dial(&mut self, now: Time, out: &mut Actions<Task>) {
        let keys: Vec<_> = self.swarms.keys().copied().collect();
        for key in keys {
            self.make_room_to_dial(now, key, out);
            while self.dialing.len() < MAX_DIALING {
                let Some(addr) = self.next_address(now, key) else { break };
                if let Some(conn) = self.link_to(addr) {
                    self.join(now, conn, key, out);
                } else {
                    let conn = out.connect(addr);
                    self.dialing.insert(conn, (key, addr));
                }
            }
        }
    }

    pub(super) fn next_address(&mut self, now: Time, key: SwarmKey) -> Option<SocketAddr> {
        if self.has_all_links(key) {
            return None;
        }
        let swarm = self.swarms.get_mut(&key).filter(|swarm| swarm.dialing)?;
        swarm.candidates.take(now, &mut self.rng)
    }

    /// Whether no more connections are to be dialed for a swarm.
    pub(super) fn has_all_links(&self, key: SwarmKey) -> bool {
        let dialing = self.dialing.values().filter(|(swarm, _)| *swarm == key).count();
        // Only those that we dialed count, so that strangers who connect can't keep us from dialing.
        let dialed = self.links.values().filter(|link| link.session.side() == Side::Dialer).count();
        let full = dialed + self.dialing.len() >= self.config.max_peers;
        let members = self.swarms.get(&key).map_or(0, |swarm| swarm.members.len());
        full || members + dialing >= TARGET_MEMBERS
    }

    pub(super) fn link_to(&self, addr: SocketAddr) -> Option<ConnId> {
        let known = self
            .links
            .iter()
            .find(|(_, link)| link.session.is_ready() && link.addresses().any(|at| at == addr));
        known.map(|(conn, _)| *conn)
    }

    pub(super) fn on_accepted(
        &mut self,
        now: Time,
        conn: ConnId,
        remote: SocketAddr,
        out: &mut Actions<Task>,
    ) {
        if self.links.len() >= self.config.max_peers.saturating_mul(2) {
            let Some(useless) = self.most_useless(now, Side::Acceptor) else {
                mark!("stranger-without-room");
                out.close(conn, CloseReason::Overload);
                return;
            };
            mark!("useless-stranger-gives-way");
            self.drop_link(now, useless, out);
            out.close(useless, CloseReason::Overload);
        }
        let session = Session::new(Side::Acceptor, &self.local, &mut self.rng, now);
        self.links.insert(conn, Link::new(session, remote, None, now));
    }

    pub(super) fn on_connected(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        if self.tracker.owns(conn) {
            self.tracker.on_connected(now, conn, out);
            return;
        }
        let Some((key, addr)) = self.dialing.remove(&conn) else { return };
        let session = Session::new(Side::Dialer, &self.local, &mut self.rng, now);
        let mut link = Link::new(session, addr, Some(key), now);
        link.flush(now, conn, out);
        self.links.insert(conn, link);
    }

    pub(super) fn on_connect_failed(
        &mut self,
        now: Time,
        conn: ConnId,
        error: ConnectError,
        out: &mut Actions<Task>,
    ) {
        if self.tracker.owns(conn) {
            self.tracker.on_connect_failed(now, conn, error, out);
            return;
        }
        let Some((key, addr)) = self.dialing.remove(&conn) else { return };
        mark!("dial-failed");
        log::debug!("dial failed remote={addr} error={error:?}");
        if let Some(swarm) = self.swarms.get_mut(&key) {
            swarm.candidates.failed(now, addr);
        }
        self.dial(now, out);
    }

    pub(super) fn on_received(
        &mut self,
        now: Time,
        conn: ConnId,
        bytes: &[u8],
        out: &mut Actions<Task>,
    ) {
        if self.tracker.owns(conn) {
            self.tracker.on_received(now, conn, bytes, out);
            return;
        }
        let Some(mut link) = self.links.remove(&conn) else { return };
        let mut input = bytes;
        let violation = loop {
            match link.session.next(now, &mut input) {
                Ok(None) => break None,
                Err(violation) => break Some(violation),
                Ok(Some(event)) => {
                    if let Err(violation) = self.on_session_event(now, conn, &mut link, event, out)
                    {
                        break Some(violation);
                    }
                }
            }
        };
        self.links.insert(conn, link);
        match violation {
            Some(violation) => self.on_violation(now, conn, &violation, out),
            None => self.after_input(now, conn, out),
        }
    }

    /// What was received may have made room, or ended the conversation.
    pub(super) fn after_input(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        self.fill(now, conn, out);
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.flush(now, conn, out);
        if link.session.is_closing() {
            // The remote said BYE: nothing is left to do. Or we did: it goes out first.
            if link.remote_left {
                self.drop_link(now, conn, out);
                out.close(conn, CloseReason::Done);
            } else {
                self.leave_swarms(now, conn, out);
                out.push(Action::Finish { conn });
            }
        }
    }

    pub(super) fn on_session_event(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        event: SessionEvent<'_>,
        out: &mut Actions<Task>,
    ) -> Result<(), Violation> {
        match event {
            SessionEvent::Ready { node, listen, .. } => {
                self.on_ready(now, conn, link, node, listen, out);
            }
            SessionEvent::Opened { channel, object } => {
                self.on_opened_channel(conn, link, channel, object);
            }
            SessionEvent::Bitmap { channel, manifest_len, piece_count, holdings } => {
                self.on_bitmap(now, conn, link, channel, (manifest_len, piece_count, holdings));
            }
            SessionEvent::Have { channel, pieces } => {
                self.on_have(now, conn, link, channel, &pieces);
                self.steer(now, conn, link, channel, &pieces, out);
            }
            SessionEvent::Requested(request) => self.on_requested(conn, link, request)?,
            SessionEvent::Cancelled(block) => {
                if self.uploads.cancel(SessionKey(conn.0), block) {
                    mark!("cancelled-in-time");
                    link.session.reject(block, Code::CANCELLED)?;
                }
            }
            SessionEvent::Data { head, offset, bytes, .. } => {
                link.note_data_came(now);
                self.on_data(now, conn, link, head, offset, bytes, out);
            }
            SessionEvent::Rejected { request, code } => {
                self.on_rejected(now, conn, link, request, code, out);
            }
            SessionEvent::Window => {}
            SessionEvent::ChannelClosed { channel, code } => {
                self.on_channel_closed(now, conn, link, channel, code);
            }
            SessionEvent::Bye { code, text } => self.on_bye(now, link, code, &text, out),
        }
        Ok(())
    }

    pub(super) fn on_ready(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        node: NodeId,
        listen: u16,
        out: &mut Actions<Task>,
    ) {
        link.node = Some(node);
        if link.listens_at.is_none() && listen != 0 {
            link.listens_at = Some(SocketAddr::new(link.remote.ip(), listen));
        }
        if let Some(until) = self.banned.get(&node).copied() {
            mark!("banned-node-comes-back");
            self.shun(link, until);
            link.session.bye(Code::DENIED, "you sent wrong data before");
            return;
        }
        if let Some(other) = self.nodes.get(&node).copied().filter(|other| *other != conn) {
            // [H-17] Two connections to one node: the one that the smaller id dialed stays, and of two
            // dialed by the same one the newer: the older may be dead without our knowing.
            let side = link.session.side();
            let same = self.links.get(&other).is_none_or(|other| other.session.side() == side);
            let we_are_smaller = self.config.node < node;
            if !same && we_are_smaller != (side == Side::Dialer) {
                mark!("second-link-refused");
                link.session.bye(Code::DUPLICATE, "we are connected already");
                if let Some(other) = self.links.get_mut(&other) {
                    other.take_addresses(link);
                }
                if let Some(key) = link.dialed_for.take() {
                    self.join(now, other, key, out);
                }
                return;
            }
            mark!("second-link-replaces");
            let moved = self.replace_link(now, other, out);
            if let Some(other) = self.links.get_mut(&other) {
                link.take_addresses(other);
            }
            for key in moved {
                self.join_link(conn, link, key);
            }
        }
        self.nodes.insert(node, conn);
        if let Some(key) = link.dialed_for {
            self.join_link(conn, link, key);
        }
    }

    /// Opens a channel for a swarm on a link, unless there is one.
    pub(super) fn join(&mut self, now: Time, conn: ConnId, key: SwarmKey, out: &mut Actions<Task>) {
        let Some(mut link) = self.links.remove(&conn) else { return };
        self.join_link(conn, &mut link, key);
        link.flush(now, conn, out);
        self.links.insert(conn, link);
    }

    pub(super) fn join_link(&mut self, conn: ConnId, link: &mut Link, key: SwarmKey) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        if swarm.members.contains_key(&conn) {
            return;
        }
        let Some(channel) = link.session.open(swarm.object) else { return };
        let (manifest_len, count, holdings) = swarm.our_holdings();
        link.session.send_bitmap(channel, manifest_len, count, &holdings);
        link.channels.insert(channel, key);
        swarm.members.insert(conn, Member::new(channel));
    }

    pub(super) fn on_opened_channel(
        &mut self,
        conn: ConnId,
        link: &mut Link,
        channel: ChannelId,
        object: ObjectId,
    ) {
        let Some(key) = self.by_object.get(&object).copied() else {
            mark!("object-not-served");
            link.session.close_channel(channel, Code::NOT_FOUND);
            return;
        };
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let (manifest_len, count, holdings) = swarm.our_holdings();
        link.session.send_bitmap(channel, manifest_len, count, &holdings);
        link.channels.insert(channel, key);
        swarm.members.insert(conn, Member::new(channel));
    }

    pub(super) fn on_bitmap(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        channel: ChannelId,
        (manifest_len, piece_count, holdings): (u32, u32, Holdings),
    ) {
        let Some(key) = link.channels.get(&channel).copied() else { return };
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Some(member) = swarm.members.get_mut(&conn) else { return };
        member.manifest_len = manifest_len;
        member.early.bitmap = Some((manifest_len, piece_count, holdings));
        if swarm.manifest.is_none() {
            mark!("holdings-before-manifest");
            self.ask_for_manifest(now, key, conn, link);
        } else if !swarm.settle(conn) {
            mark!("holdings-that-do-not-fit");
            link.session.bye(Code::BAD_DATA, "holdings that do not fit the manifest");
        }
    }

    pub(super) fn on_have(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        channel: ChannelId,
        pieces: &[u32],
    ) {
        let Some(key) = link.channels.get(&channel).copied() else { return };
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        if !swarm.add_haves(conn, pieces) {
            link.session.bye(Code::BAD_STATE, "HAVE of a piece that the object does not have");
        } else if swarm.lacks_manifest_len(conn) {
            self.open_anew(now, conn, link, key);
        }
    }

    /// Ends the channel for a swarm and opens another, whose BITMAPs say how long the manifest is by now.
    /// [P-26]
    pub(super) fn open_anew(&mut self, now: Time, conn: ConnId, link: &mut Link, key: SwarmKey) {
        let member = self.swarms.get(&key).and_then(|swarm| swarm.members.get(&conn));
        let Some(channel) = member.map(|member| member.channel) else { return };
        if link.opened_anew.insert(key) {
            link.session.close_channel(channel, Code::OK);
            self.forget_channel(now, conn, link, channel);
            self.join_link(conn, link, key);
        }
    }

    /// An object without pieces has no HAVE by which others learn that its manifest is here now. [P-26]
    pub(super) fn tell_of_manifest(
        &mut self,
        now: Time,
        key: SwarmKey,
        giver: ConnId,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get(&key) else { return };
        if swarm.manifest.as_ref().is_none_or(|known| known.geometry().piece_count() > 0) {
            return;
        }
        let waiting =
            |(conn, member): &(&ConnId, &Member)| **conn != giver && member.manifest_len == 0;
        let conns: Vec<_> = swarm.members.iter().filter(waiting).map(|(conn, _)| *conn).collect();
        for conn in conns {
            let Some(mut link) = self.links.remove(&conn) else { continue };
            self.open_anew(now, conn, &mut link, key);
            link.flush(now, conn, out);
            self.links.insert(conn, link);
        }
    }

    pub(super) fn on_channel_closed(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        channel: ChannelId,
        code: Code,
    ) {
        log::debug!("channel closed remote={} code={code}", link.remote);
        let key = link.channels.get(&channel).copied();
        self.forget_channel(now, conn, link, channel);
        let Some(swarm) = key.and_then(|key| self.swarms.get_mut(&key)) else { return };
        if !swarm.members.contains_key(&conn) {
            link.addresses().for_each(|addr| swarm.candidates.refused(now, addr));
        }
    }

    /// The channel is gone: nothing more comes or goes on it.
    pub(super) fn forget_channel(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        channel: ChannelId,
    ) {
        self.uploads.drop_channel(SessionKey(conn.0), channel);
        let Some(key) = link.channels.remove(&channel) else { return };
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        if swarm.members.get(&conn).is_some_and(|member| member.channel == channel) {
            swarm.remove_member(conn);
            link.pipeline = crate::pipeline::Pipeline::new(now);
        }
    }

    pub(super) fn on_flushed(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        if self.tracker.owns(conn) {
            self.tracker.on_flushed(now, conn, out);
            return;
        }
        if let Some(link) = self.links.get_mut(&conn) {
            link.on_flushed();
            link.session.note_progress_out(now);
        }
    }

    pub(super) fn on_rejected(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        request: Request,
        code: Code,
        out: &mut Actions<Task>,
    ) {
        let Some(key) = link.channels.get(&request.block.channel).copied() else { return };
        if request.block.piece == MANIFEST_PIECE {
            self.manifest_refused(now, conn, link, key, code);
            return;
        }
        link.pipeline.on_reject(now, request.len);
        self.piece_refused(now, conn, link, key, request, code, out);
    }
}

impl Member {
    fn new(channel: ChannelId) -> Self {
        Self {
            channel,
            manifest_len: 0,
            early: EarlyHoldings::default(),
            theirs: None,
            counted_as_seed: false,
            len_is_hint: false,
            refused_manifest: false,
            haves: Vec::new(),
            not_before: Time::ZERO,
        }
    }
}
