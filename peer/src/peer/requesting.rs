//! What is asked of whom: manifests, pieces, and at the end what others are late with.

use protocol::ChannelId;
use protocol::message::{Block, Request};
use reactor::{Actions, ConnId, Time};

use super::Peer;
use crate::disk::Task;
use crate::link::Link;
use crate::swarm::SwarmKey;

/// Of a begun piece so many bytes are asked for, whatever the pipeline says.
const WHOLE_AHEAD: u64 = 1 << 20;

impl Peer {
    /// Sends requests on one link for as long as it, the pipeline and the buffers have room.
    pub(super) fn fill(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        let Some(mut link) = self.links.remove(&conn) else { return };
        let channels: Vec<_> = link.channels.iter().map(|(ch, key)| (*ch, *key)).collect();
        for (channel, key) in channels {
            self.ask_for_manifest(now, key, conn, &mut link);
            self.ask_for_pieces(now, key, conn, channel, &mut link, out);
        }
        link.flush(now, conn, out);
        self.links.insert(conn, link);
    }

    /// As [`Self::fill`], on every link of a swarm that wants anything.
    pub(super) fn fill_all(&mut self, now: Time, out: &mut Actions<Task>) {
        for key in self.swarms.keys().copied().collect::<Vec<_>>() {
            self.fill_swarm(now, key, out);
        }
    }

    /// As [`Self::fill`], on every link of one swarm.
    pub(super) fn fill_swarm(&mut self, now: Time, key: SwarmKey, out: &mut Actions<Task>) {
        // Who serves a thousand links has nothing to ask of any.
        let Some(swarm) = self.swarms.get(&key).filter(|swarm| swarm.is_fetching()) else { return };
        for conn in swarm.members.keys().copied().collect::<Vec<_>>() {
            self.fill(now, conn, out);
        }
    }

    pub(super) fn ask_for_manifest(
        &mut self,
        now: Time,
        key: SwarmKey,
        conn: ConnId,
        link: &mut Link,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        if swarm.manifest.is_some() {
            return;
        }
        if swarm.manifest_fetch.source().is_none() {
            let Some(member) = swarm.members.get(&conn) else { return };
            if member.not_before > now || link.session.free_requests() == 0 {
                return;
            }
            let links = &self.links;
            let takes =
                |other: &ConnId| links.get(other).is_some_and(|l| l.session.free_requests() > 0);
            if swarm.has_likelier_manifest(now, conn, takes) {
                return;
            }
            let (channel, len) = (member.channel, member.manifest_len);
            swarm.manifest_fetch.begin(now, conn, channel, len);
        }
        if swarm.manifest_fetch.source() != Some(conn) {
            return;
        }
        while link.session.free_requests() > 0 {
            let Some(request) = swarm.manifest_fetch.next_request() else { return };
            if !link.session.request(request) {
                swarm.manifest_fetch.drop_link(conn);
                return;
            }
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "a link that is not with the others, and its place"
    )]
    fn ask_for_pieces(
        &mut self,
        now: Time,
        key: SwarmKey,
        conn: ConnId,
        channel: ChannelId,
        link: &mut Link,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let (Some(manifest), Some(transfer)) = (&swarm.manifest, &mut swarm.transfer) else {
            return;
        };
        let Some(member) = swarm.members.get(&conn) else { return };
        let Some(theirs) = &member.theirs else { return };
        if link.snubbed_until > now || member.not_before > now || theirs.is_empty() {
            return;
        }
        let geometry = manifest.geometry();
        while link.session.free_requests() > 0 {
            // A begun piece is asked for as a whole: with a part of it nobody can help others.
            let finishes = link.pipeline.in_flight() < WHOLE_AHEAD && transfer.has_begun(conn);
            if link.pipeline.room() == 0 && !finishes {
                return;
            }
            if let Some(bucket) = self.down_bucket.as_ref().filter(|bucket| !bucket.is_open(now)) {
                mark!("download-limit");
                self.down_due = Some(bucket.opens_at());
                return;
            }
            let block_len = |piece_len| link.pipeline.block_len(piece_len);
            let rng = &mut self.rng;
            let block = transfer.next_block(now, conn, theirs, geometry, block_len, rng);
            let Some(block) = block else {
                // With nothing to do, it may help with what others are asked for.
                if link.pipeline.in_flight() > 0 {
                    return;
                }
                if let Some((at, piece)) = transfer.longest_waiting(now, conn, theirs) {
                    let other = self.links.get_mut(&at).zip(swarm.members.get(&at));
                    let Some((other, member)) = other else { return };
                    mark!("request-taken-over");
                    transfer.recall(at, piece, conn);
                    other.session.cancel_piece(member.channel, piece.get());
                    other.flush(now, at, out);
                    return;
                }
                if transfer.begin_copy(now, conn, theirs, geometry, rng) {
                    continue;
                }
                return;
            };
            let geometry_piece = block.piece();
            let (piece, begin, len) = (geometry_piece.get(), block.begin(), block.len());
            let request = Request { block: Block { channel, piece, begin }, len };
            if !link.session.request(request) {
                // A cancelled request for the same block is not answered yet: leave the piece to others.
                mark!("block-still-asked-for");
                transfer.drop_piece(conn, geometry_piece);
                link.session.cancel_piece(channel, piece);
                return;
            }
            link.pipeline.on_requested(now, len);
            if let Some(bucket) = &mut self.down_bucket {
                bucket.take(now, u64::from(len));
            }
        }
    }
}
