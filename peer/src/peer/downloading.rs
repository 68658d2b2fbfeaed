//! Manifests and pieces on their way in: what becomes of what comes, or does not.

use std::sync::Arc;
use std::time::Duration;

use protocol::limits::MANIFEST_PIECE;
use protocol::message::{Block, DataHead, Request};
use protocol::{Code, Digest, Holding, Manifest, ObjectId, PieceIndex};
use reactor::{Actions, ConnId, Time};

use super::leaving::BAN;
use super::{HAVE_DELAY, Peer};
use crate::disk::{FetchKey, StorageError, StorageErrorKind, StoreOutcome, StoredPiece, Task};
use crate::link::Link;
use crate::notice::Notice;
use crate::swarm::{Home, SwarmKey};
use crate::transfer::Arrived;

/// A peer that sent nothing for much too long gets another chance after so long.
const SNUB_PAUSE: Duration = Duration::from_secs(15);
/// A peer that is too busy is asked again after so long.
const BUSY_PAUSE: Duration = Duration::from_millis(500);

impl Peer {
    #[allow(clippy::too_many_arguments, reason = "one event's parts, and the link it came on")]
    pub(super) fn on_data(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        head: DataHead,
        offset: u32,
        bytes: &[u8],
        out: &mut Actions<Task>,
    ) {
        let Block { channel, piece, begin } = head.block;
        let Some(key) = link.channels.get(&channel).copied() else { return };
        if piece == MANIFEST_PIECE {
            self.on_manifest_data(now, key, conn, link, begin + offset, bytes, out);
            return;
        }
        let len = u32::try_from(bytes.len()).expect("less than a block");
        self.count_data(now, key, link, len);
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Some((piece, transfer)) = swarm.piece_on_its_way(piece) else { return };
        let arrived = transfer.on_data(now, conn, piece, begin, offset, bytes);
        self.on_arrived(now, key, conn, link, (piece, len, arrived), out);
    }

    /// Where the next bytes of a connection belong, if they are of a piece that we wait for.
    pub(super) fn place_of_next(&mut self, conn: ConnId) -> Option<&mut [u8]> {
        let link = self.links.get(&conn)?;
        let (DataHead { block, len }, done) = link.session.data_under_way()?;
        let key = link.channels.get(&block.channel)?;
        let (piece, transfer) = self.swarms.get_mut(key)?.piece_on_its_way(block.piece)?;
        transfer.place(conn, piece, block.begin, done, (len - done) as usize)
    }

    /// Bytes were put into the [`Peer::place_of_next`].
    pub(super) fn on_landed(
        &mut self,
        now: Time,
        conn: ConnId,
        len: usize,
        out: &mut Actions<Task>,
    ) {
        let Some(mut link) = self.links.remove(&conn) else { return };
        if let Some((DataHead { block, .. }, _)) = link.session.data_under_way() {
            mark!("read-into-place");
            let len = link.session.landed(now, u32::try_from(len).unwrap_or(u32::MAX));
            link.note_data_came(now);
            if let Some(key) = link.channels.get(&block.channel).copied() {
                self.count_data(now, key, &mut link, len);
                let swarm = self.swarms.get_mut(&key);
                if let Some((piece, transfer)) = swarm.and_then(|s| s.piece_on_its_way(block.piece))
                {
                    let arrived = transfer.on_placed(now, conn, piece, len);
                    self.on_arrived(now, key, conn, &link, (piece, len, arrived), out);
                }
            }
        }
        self.links.insert(conn, link);
        self.after_input(now, conn, out);
    }

    /// Adds bytes of pieces to the figures, and to what is known of their sender's pace.
    fn count_data(&mut self, now: Time, key: SwarmKey, link: &mut Link, len: u32) {
        self.down.add(now, u64::from(len));
        link.pipeline.on_data(now, len);
        if let Some(swarm) = self.swarms.get_mut(&key) {
            swarm.received += u64::from(len);
        }
    }

    /// So many bytes of a piece came, and this is what they led to.
    fn on_arrived(
        &mut self,
        now: Time,
        key: SwarmKey,
        conn: ConnId,
        link: &Link,
        (piece, len, arrived): (PieceIndex, u32, Arrived),
        out: &mut Actions<Task>,
    ) {
        match arrived {
            Arrived::Partly => {}
            Arrived::Unwanted => {
                mark!("late-data");
                if let Some(swarm) = self.swarms.get_mut(&key) {
                    swarm.wasted += u64::from(len);
                }
            }
            Arrived::Whole(data) => self.on_piece(now, key, conn, link, piece, data, out),
        }
    }

    /// All bytes of a piece are here: check and store it, and call off other copies.
    #[allow(clippy::too_many_arguments, reason = "one event's parts, and the link it came on")]
    fn on_piece(
        &mut self,
        now: Time,
        key: SwarmKey,
        conn: ConnId,
        link: &Link,
        piece: PieceIndex,
        data: Vec<u8>,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Home::Fetched(fetch) = swarm.home else { return };
        swarm.storing.insert(piece.get(), (conn, link.remote));
        let copies = swarm.transfer.as_mut().map(|transfer| transfer.drop_copies(conn, piece));
        self.storing.add(fetch, piece, data);
        if canary!("have-before-stored") {
            swarm.stored(piece);
            self.haves_due.get_or_insert(now);
        }
        for other in copies.unwrap_or_default() {
            mark!("copy-called-off");
            self.cancel_piece(now, key, other, piece, out);
        }
    }

    /// Tells a link that we do not want the rest of a piece from it.
    fn cancel_piece(
        &mut self,
        now: Time,
        key: SwarmKey,
        conn: ConnId,
        piece: PieceIndex,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get(&key) else { return };
        let Some(channel) = swarm.members.get(&conn).map(|member| member.channel) else { return };
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.session.cancel_piece(channel, piece.get());
        link.flush(now, conn, out);
    }

    #[allow(clippy::too_many_arguments, reason = "one event's parts, and the link it came on")]
    fn on_manifest_data(
        &mut self,
        now: Time,
        key: SwarmKey,
        conn: ConnId,
        link: &mut Link,
        at: u32,
        bytes: &[u8],
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Some(whole) = swarm.manifest_fetch.on_data(now, conn, at, bytes) else {
            self.ask_for_manifest(now, key, conn, link);
            return;
        };
        let object = swarm.object;
        let whole: Arc<[u8]> = Arc::from(whole);
        match Manifest::parse(whole.clone()) {
            Ok(manifest) if manifest.id() == object || canary!("believe-any-manifest") => {
                self.on_manifest(now, key, Arc::new(manifest), (conn, link), out);
            }
            Err(error) if ObjectId(Digest::of(&whole).0) == object => {
                // [P-52] Its maker is to blame, and not who passes it on.
                if let Some(channel) = link.session.channel_of(object) {
                    link.channels.remove(&channel);
                    link.session.close_channel(channel, Code::BAD_DATA);
                }
                self.fetch_has_bad_manifest(key, &error.to_string(), out);
                self.stop_serving(now, key, Code::BAD_DATA, out);
            }
            // [T-8] It was asked for bytes of which the tracker says that they are all.
            _ if swarm.members.get(&conn).is_some_and(|member| member.len_is_hint) => {
                swarm.manifest_fetch.forget_expected();
                self.manifest_refused(now, conn, link, key, Code::BAD_RANGE);
            }
            _ => {
                mark!("manifest-rejected");
                log::warn!("wrong manifest remote={}", link.remote);
                self.tell(Notice::PeerCorrupt { remote: link.remote, piece: None });
                self.shun(link, now + BAN);
                link.session.bye(Code::BAD_DATA, "the manifest does not match the object");
            }
        }
    }

    /// The manifest is known: what members hold can be checked now.
    pub(super) fn on_manifest(
        &mut self,
        now: Time,
        key: SwarmKey,
        manifest: Arc<Manifest>,
        (giver, link): (ConnId, &mut Link),
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        swarm.set_manifest(manifest.clone());
        let conns: Vec<_> = swarm.members.keys().copied().collect();
        let lying: Vec<_> = conns.into_iter().filter(|conn| !swarm.settle(*conn)).collect();
        for conn in lying {
            // [P-19] The giver's link is with us, and not where the others are.
            let text = "holdings that do not fit the manifest";
            if conn == giver {
                link.session.bye(Code::BAD_DATA, text);
            } else {
                self.ban(now, conn, text, out);
            }
        }
        self.tell_of_manifest(now, key, giver, out);
        self.fetch_has_manifest(now, key, manifest, out);
    }

    pub(super) fn on_stored(
        &mut self,
        now: Time,
        fetch: FetchKey,
        pieces: Vec<StoredPiece>,
        out: &mut Actions<Task>,
    ) {
        self.storing.on_stored();
        let Some(key) = self.swarm_of_fetch(fetch) else { return };
        for stored in pieces {
            self.on_piece_stored(now, fetch, key, stored, out);
        }
        self.fill_swarm(now, key, out);
    }

    fn on_piece_stored(
        &mut self,
        now: Time,
        fetch: FetchKey,
        key: SwarmKey,
        StoredPiece { piece, data, outcome }: StoredPiece,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Some(transfer) = &mut swarm.transfer else { return };
        let source = swarm.storing.remove(&piece.get());
        match outcome {
            Ok(StoreOutcome::Stored) => {
                transfer.picker.stored(piece);
                transfer.recycle(data);
                swarm.stored(piece);
                if let Some((_, remote)) = source {
                    swarm.sources.insert(remote);
                    swarm.candidates.worked(remote);
                }
                self.haves_due.get_or_insert(now + HAVE_DELAY);
                self.fetch_progressed(now, fetch, piece, out);
            }
            Ok(StoreOutcome::Mismatch) => {
                mark!("piece-rejected");
                swarm.wasted += data.len() as u64;
                transfer.picker.rejected(piece);
                transfer.recycle(data);
                if let Some((conn, remote)) = source {
                    self.tell(Notice::PeerCorrupt { remote, piece: Some(piece.get()) });
                    self.ban(now, conn, "a piece does not match its hash", out);
                }
            }
            Err(error) if error.kind == StorageErrorKind::NoSpace => {
                mark!("piece-waits-for-room");
                // The bytes are right as far as we know: keep them, and try again when there is room.
                swarm.unstored.push((piece, data));
                self.fetch_disk_full(now, fetch, error);
            }
            Err(error) => {
                mark!("piece-not-written");
                transfer.picker.rejected(piece);
                transfer.recycle(data);
                self.fetch_failed_to_store(fetch, error, out);
            }
        }
    }

    /// Pieces that an earlier run wrote were hashed: they are kept, or missing like any other.
    pub(super) fn on_rechecked(
        &mut self,
        now: Time,
        fetch: FetchKey,
        outcome: Result<Vec<(PieceIndex, bool)>, StorageError>,
        out: &mut Actions<Task>,
    ) {
        self.storing.on_rechecked();
        let Some(key) = self.swarm_of_fetch(fetch) else { return };
        match outcome {
            Ok(pieces) => {
                for (piece, holds) in pieces {
                    self.on_piece_rechecked(now, (fetch, key), piece, holds, out);
                }
            }
            Err(error) => self.fetch_failed_to_store(fetch, error, out),
        }
        self.fill_swarm(now, key, out);
    }

    fn on_piece_rechecked(
        &mut self,
        now: Time,
        (fetch, key): (FetchKey, SwarmKey),
        piece: PieceIndex,
        holds: bool,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Some(transfer) = &mut swarm.transfer else { return };
        if holds {
            mark!("unconfirmed-piece-is-there");
            transfer.picker.stored(piece);
            swarm.stored(piece);
            self.haves_due.get_or_insert(now + HAVE_DELAY);
            self.fetch_progressed(now, fetch, piece, out);
        } else {
            mark!("claimed-piece-is-gone");
            transfer.picker.rejected(piece);
        }
    }

    /// Tries again to store what did not fit.
    pub(super) fn store_again(&mut self, key: SwarmKey) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Home::Fetched(fetch) = swarm.home else { return };
        for (piece, data) in std::mem::take(&mut swarm.unstored) {
            mark!("stored-once-there-is-room");
            self.storing.add(fetch, piece, data);
        }
    }

    /// A link does not serve the manifest: the next one that has it is asked.
    pub(super) fn manifest_refused(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        key: SwarmKey,
        code: Code,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        mark!("manifest-refused");
        swarm.manifest_fetch.drop_link(conn);
        let Some(member) = swarm.members.get_mut(&conn) else { return };
        if code == Code::BUSY {
            member.not_before = now + BUSY_PAUSE;
            return;
        }
        (member.manifest_len, member.refused_manifest) = (0, true);
        if member.len_is_hint {
            self.open_anew(now, conn, link, key);
        }
    }

    /// A link does not serve a block: it gets the whole piece taken away, unless it has begun it.
    #[allow(clippy::too_many_arguments, reason = "one event's parts, and the link it came on")]
    pub(super) fn piece_refused(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &mut Link,
        key: SwarmKey,
        request: Request,
        code: Code,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.get_mut(&key) else { return };
        let Some(manifest) = &swarm.manifest else { return };
        let Some(piece) = manifest.geometry().piece(request.block.piece) else { return };
        let begin = request.block.begin;
        let transfer = swarm.transfer.as_mut();
        if code == Code::CANCELLED && transfer.is_some_and(|t| t.goes_on(conn, piece, begin)) {
            return;
        }
        let heir = swarm.transfer.as_ref().and_then(|transfer| transfer.heir(conn, piece));
        let waited = swarm.transfer.as_mut().is_some_and(|t| t.drop_piece(conn, piece));
        if waited {
            link.session.cancel_piece(request.block.channel, piece.get());
        }
        match code {
            Code::CANCELLED => mark!("cancel-answered"),
            Code::BUSY => {
                mark!("source-busy");
                if let Some(member) = swarm.members.get_mut(&conn) {
                    member.not_before = now + BUSY_PAUSE;
                }
            }
            _ => {
                mark!("source-lost-piece");
                swarm.lacks(conn, piece);
            }
        }
        if let Some(heir) = heir {
            self.fill(now, heir, out);
        }
    }

    /// Announces stored pieces to everybody who lacks them.
    pub(super) fn flush_haves(&mut self, now: Time, out: &mut Actions<Task>) {
        self.haves_due = None;
        for swarm in self.swarms.values_mut() {
            for (conn, member) in &mut swarm.members {
                if member.haves.is_empty() {
                    continue;
                }
                let Some(link) = self.links.get_mut(conn) else { continue };
                link.session.have(member.channel, &std::mem::take(&mut member.haves));
                link.flush(now, *conn, out);
            }
        }
    }

    /// Looks after what has no event of its own: silent peers, peers to dial, files to check.
    pub(super) fn tick_swarms(&mut self, now: Time, out: &mut Actions<Task>) {
        let mut silent = Vec::new();
        for (conn, link) in self.links.iter_mut() {
            if link.snubbed_until <= now && link.pipeline.is_snubbed(now) {
                mark!("snub");
                log::debug!("snubbed remote={}", link.remote);
                link.snubbed_until = now + SNUB_PAUSE;
                silent.push(*conn);
            }
        }
        for swarm in self.swarms.values_mut() {
            if let Some(conn) = swarm.manifest_fetch.drop_silent(now) {
                mark!("manifest-from-a-second-source");
                // Others come first; else the same silent peer would be asked again and again.
                if let Some(member) = swarm.members.get_mut(&conn) {
                    member.not_before = now + SNUB_PAUSE;
                }
                silent.push(conn);
            }
        }
        for conn in silent {
            self.take_pieces_from(now, conn, out);
        }
        self.dial(now, out);
        self.fill_all(now, out);
    }

    /// What this link was sending may come from others; if it comes after all, it is welcome to try again.
    fn take_pieces_from(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        for swarm in self.swarms.values_mut() {
            let Some(member) = swarm.members.get(&conn) else { continue };
            let channel = member.channel;
            let Some(transfer) = &mut swarm.transfer else { continue };
            let pieces = transfer.drop_link(conn);
            let Some(link) = self.links.get_mut(&conn) else { continue };
            for piece in pieces {
                link.session.cancel_piece(channel, piece.get());
            }
            link.flush(now, conn, out);
        }
    }

    /// Tells the tracker how much of an object we hold.
    pub(super) fn announce(&mut self, key: SwarmKey) {
        let Some(swarm) = self.swarms.get(&key) else { return };
        let full = swarm.manifest.is_some() && swarm.have.is_full();
        let holding = if full { Holding::Complete } else { Holding::Partial };
        self.tracker.set_holding(swarm.object, holding);
    }
}
