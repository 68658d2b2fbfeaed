//! Pieces on their way out: which request is served when, and from which open file.

use std::collections::VecDeque;
use std::path::PathBuf;

use protocol::Code;
use protocol::limits::MANIFEST_PIECE;
use protocol::message::{Block, DataHead, Request};
use reactor::{Actions, ConnId, FileStamp, RangeError, RangeTag, Source, Time};

use super::{Peer, run};
use crate::disk::{FileKey, StorageError, Task};
use crate::link::Link;
use crate::session::Violation;
use crate::swarm::{Home, SwarmKey};
use crate::uploads::SessionKey;

/// Requests that may wait for one file to be opened.
const MAX_OPENING: usize = 4_096;

impl Peer {
    /// Somebody asks for a block: queue it, or refuse it at once.
    pub(super) fn on_requested(
        &mut self,
        conn: ConnId,
        link: &mut Link,
        request: Request,
    ) -> Result<(), Violation> {
        let Some(key) = link.channels.get(&request.block.channel).copied() else {
            return link.session.reject(request.block, Code::GONE);
        };
        match self.check_request(key, &request) {
            Ok(()) => self.uploads.push(SessionKey(conn.0), key.0, request),
            Err(code) => {
                mark!("request-refused");
                link.session.reject(request.block, code)?;
            }
        }
        Ok(())
    }

    fn check_request(&self, key: SwarmKey, request: &Request) -> Result<(), Code> {
        let swarm = self.swarms.get(&key).ok_or(Code::GONE)?;
        let manifest = swarm.manifest.as_ref().ok_or(Code::NO_PIECE)?;
        let Request { block: Block { piece, begin, .. }, len } = *request;
        if piece == MANIFEST_PIECE {
            let end = u64::from(begin) + u64::from(len);
            return if end <= manifest.bytes().len() as u64 {
                Ok(())
            } else {
                Err(Code::BAD_RANGE)
            };
        }
        let geometry = manifest.geometry();
        let piece = geometry.piece(piece).ok_or(Code::BAD_RANGE)?;
        geometry.block(piece, begin, len).ok_or(Code::BAD_RANGE)?;
        if swarm.have.contains(piece) { Ok(()) } else { Err(Code::NO_PIECE) }
    }

    /// Serves queued requests as far as links and the rate limit have room.
    pub(super) fn pump_uploads(&mut self, now: Time, out: &mut Actions<Task>) {
        loop {
            self.release_drained(now);
            let links = &self.links;
            let mut can_send = |session: SessionKey| {
                links.get(&ConnId(session.0)).is_some_and(Link::may_queue_data)
            };
            let Some((session, swarm, request)) = self.uploads.next(now, &mut can_send) else {
                return;
            };
            self.serve(now, ConnId(session.0), SwarmKey(swarm), request, out);
        }
    }

    /// Who has nothing more in its queue makes room for others.
    fn release_drained(&mut self, now: Time) {
        let is_served = |session: &SessionKey| {
            self.links.get(&ConnId(session.0)).is_some_and(Link::is_being_served)
        };
        let drained: Vec<_> = self.uploads.served().filter(|key| !is_served(key)).collect();
        for session in drained {
            self.uploads.drained(now, session);
        }
    }

    /// When the rate limit lets the next block through.
    pub(super) fn uploads_due(&self, now: Time) -> Option<Time> {
        self.uploads.deadline(now)
    }

    fn serve(
        &mut self,
        now: Time,
        conn: ConnId,
        key: SwarmKey,
        request: Request,
        out: &mut Actions<Task>,
    ) {
        if let Err(code) = self.check_request(key, &request) {
            self.refuse(now, conn, request.block, code, out);
            return;
        }
        let Some(swarm) = self.swarms.get(&key) else { return };
        let Some(manifest) = swarm.manifest.clone() else { return };
        if request.block.piece == MANIFEST_PIECE {
            let Some(source) = swarm.manifest_source.clone() else { return };
            self.send_block(now, conn, key, request, (source, 0), out);
            return;
        }
        let Some(piece) = manifest.geometry().piece(request.block.piece) else { return };
        let span = manifest.geometry().span(piece);
        let file = swarm.file_key(span.file);
        if let Some(source) = self.sources.get(&file) {
            self.send_block(now, conn, key, request, (source, span.offset), out);
            return;
        }
        let waiting = self.opening.entry(file.clone()).or_default();
        let first = waiting.is_empty();
        if waiting.len() >= MAX_OPENING {
            self.refuse(now, conn, request.block, Code::BUSY, out);
            return;
        }
        waiting.push_back((conn, key, request));
        if let Some(link) = self.links.get_mut(&conn) {
            link.opening += u64::from(request.len);
        }
        if first {
            self.open_file(now, key, file, out);
        }
    }

    fn open_file(&mut self, now: Time, key: SwarmKey, file: FileKey, out: &mut Actions<Task>) {
        let task = match &file {
            FileKey::Fetched { .. } => Some(Task::OpenFetched { key: file.clone() }),
            FileKey::Shared { file: entry, .. } => {
                let found = self.shared_file(key, *entry);
                found.map(|(path, stamp)| Task::OpenShared { key: file.clone(), path, stamp })
            }
        };
        match task {
            Some(task) => run(out, task),
            None => {
                for (conn, _, request) in self.take_opening(&file) {
                    self.refuse(now, conn, request.block, Code::GONE, out);
                }
            }
        }
    }

    /// The requests that wait for a file.
    fn take_opening(&mut self, file: &FileKey) -> VecDeque<(ConnId, SwarmKey, Request)> {
        let waiting = self.opening.remove(file).unwrap_or_default();
        for (conn, _, request) in &waiting {
            if let Some(link) = self.links.get_mut(conn) {
                link.opening = link.opening.saturating_sub(u64::from(request.len));
            }
        }
        waiting
    }

    fn shared_file(&self, key: SwarmKey, entry: usize) -> Option<(PathBuf, FileStamp)> {
        let Home::Shared(shared) = &self.swarms.get(&key)?.home else { return None };
        let file = (*shared.of_entry.get(entry)?)?;
        shared.files.get(file).cloned()
    }

    pub(super) fn on_opened(
        &mut self,
        now: Time,
        file: &FileKey,
        outcome: Result<Source, StorageError>,
        out: &mut Actions<Task>,
    ) {
        let waiting = self.take_opening(file);
        match outcome {
            Ok(source) => {
                self.sources.put(file.clone(), source);
                for (conn, key, request) in waiting {
                    self.serve(now, conn, key, request, out);
                }
            }
            Err(error) => {
                mark!("file-not-opened");
                log::warn!("can't serve: {error}");
                let keys: Vec<_> = waiting.iter().map(|(_, key, _)| *key).collect();
                for (conn, _, request) in waiting {
                    self.refuse(now, conn, request.block, Code::GONE, out);
                }
                if let Some(key) = keys.first() {
                    self.file_failed(now, *key, error.clone(), out);
                }
            }
        }
    }

    fn send_block(
        &mut self,
        now: Time,
        conn: ConnId,
        key: SwarmKey,
        request: Request,
        (source, piece_at): (Source, u64),
        out: &mut Actions<Task>,
    ) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        let Request { block, len } = request;
        let Some(header) = link.session.data_head(DataHead { block, len }) else { return };
        let start = piece_at + u64::from(block.begin);
        let range = start..start + u64::from(len);
        link.send_block(now, conn, block, header, (source, range), out);
        self.up.add(now, u64::from(len));
        if let Some(swarm) = self.swarms.get_mut(&key) {
            swarm.sent += u64::from(len);
        }
    }

    fn refuse(
        &mut self,
        now: Time,
        conn: ConnId,
        block: Block,
        code: Code,
        out: &mut Actions<Task>,
    ) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        if let Err(violation) = link.session.reject(block, code) {
            self.on_violation(now, conn, &violation, out);
            return;
        }
        link.flush(now, conn, out);
    }

    pub(super) fn on_range_failed(
        &mut self,
        now: Time,
        conn: ConnId,
        tag: RangeTag,
        error: RangeError,
        out: &mut Actions<Task>,
    ) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        log::debug!("range failed remote={} error={error:?}", link.remote);
        mark!("range-failed");
        let Some(block) = link.take_range(tag) else { return };
        link.session.range_failed(block, Code::GONE);
        link.flush(now, conn, out);
        let Some(key) = link.channels.get(&block.channel).copied() else { return };
        self.suspect_files(key, out);
    }

    /// Nobody gets this object from us any more; whoever has a channel for it is told.
    pub(super) fn stop_serving(
        &mut self,
        now: Time,
        key: SwarmKey,
        code: Code,
        out: &mut Actions<Task>,
    ) {
        let Some(swarm) = self.swarms.remove(&key) else { return };
        self.by_object.remove(&swarm.object);
        self.tracker.set_holding(swarm.object, protocol::Holding::Dropped);
        self.uploads.drop_swarm(key.0);
        let object = swarm.object;
        self.sources.close(|file| match (file, &swarm.home) {
            (FileKey::Shared { object: other, .. }, Home::Shared(_)) => *other == object,
            (FileKey::Fetched { fetch, .. }, Home::Fetched(other)) => fetch == other,
            _ => false,
        });
        for (conn, member) in swarm.members {
            self.uploads.drop_channel(SessionKey(conn.0), member.channel);
            let Some(link) = self.links.get_mut(&conn) else { continue };
            mark!("served-no-more");
            link.channels.remove(&member.channel);
            link.session.close_channel(member.channel, code);
            link.flush(now, conn, out);
        }
    }
}
