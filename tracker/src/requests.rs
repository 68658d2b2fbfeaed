//! What each request does: BEAT, ANNOUNCE, PUBLISH, UNPUBLISH, FIND, LIST, SUMMARY_REQUEST.

use std::time::Duration;

use protocol::limits::{MAX_FIND_WANT, MAX_LIST_LIMIT};
use protocol::message::{
    Announce, AnnounceEntry, Beat, Find, FindKey, Lease, List, Page, PageEntry, Publish, Summary,
    Swarm, Unpublish,
};
use protocol::{Code, Digest, Holding, Message, ObjectId, PeerAddr, Record, RequestId};
use reactor::Time;

use crate::contact::host_key;
use crate::core::{Core, Effect, status};
use crate::ledger::Verdict;
use crate::pushes::FANOUT;
use crate::session::{Session, Waiting};
use crate::swarms::{Asker, ObjectKey, PeerKey};

/// Shortest time after which a refused request may be worth repeating; the longest is twice that, so
/// that those who were refused together do not come back together.
const RETRY_MS: u32 = 10_000;

impl Core {
    /// A message of a session that has said HELLO.
    pub(crate) fn on_request(&mut self, session: &mut Session, now: Time, message: Message) {
        if rid_of(&message) == Some(RequestId(0)) {
            // [T-1]
            session.bye(now, Code::BAD_STATE, "a request with rid 0");
            return;
        }
        match message {
            Message::Beat(beat) => self.beat(session, now, &beat),
            Message::Announce(announce) => self.announce(session, now, &announce),
            Message::Publish(publish) => {
                let max_names = self.config.max_names;
                let verdict = self.ledger.publish(&self.catalog, max_names, session.conn, &publish);
                let Publish { rid, record, .. } = publish;
                log::debug!("publish conn={} name={:?} {verdict:?}", session.conn.0, record.name);
                self.answer(session, rid, verdict);
            }
            Message::Unpublish(unpublish) => {
                let verdict = self.ledger.unpublish(&self.catalog, session.conn, &unpublish);
                let Unpublish { rid, name, .. } = unpublish;
                log::debug!("unpublish conn={} name={name:?} {verdict:?}", session.conn.0);
                self.answer(session, rid, verdict);
            }
            Message::Find(find) => self.find(session, &find),
            Message::List(list) => self.list(session, &list),
            Message::SummaryRequest(request) => {
                let summary = self.summary(now, request.rid);
                session.reply(&Message::Summary(summary));
            }
            other => {
                let text = format!("{} is not for trackers, or comes twice", other.name());
                session.bye(now, Code::BAD_STATE, &text);
            }
        }
    }

    // ---- who is there

    fn beat(&mut self, session: &mut Session, now: Time, beat: &Beat) {
        let Some(key) = self.renew(session, now) else { return };
        let (interval_s, lease_s) = self.intervals();
        let peer = self.swarms.peer(key);
        let differs = (peer.digest, peer.objects) != (beat.digest, beat.objects);
        // [T-17] Whoever holds more than we have room for would be asked for it again and again.
        let sync = differs && !peer.overfull;
        if sync {
            mark!("holdings-asked-for-again");
        }
        let addr = match peer.contact {
            Some(contact) => contact.socket(),
            None => std::net::SocketAddr::new(session.ip(), 0),
        };
        let you = PeerAddr { holding: Holding::Dropped, addr };
        session.reply(&Message::Lease(Lease { rid: beat.rid, interval_s, lease_s, sync, you }));
    }

    fn intervals(&self) -> (u16, u16) {
        let interval_s = self.config.interval_s(self.swarms.peer_count());
        (interval_s, self.config.lease_s(interval_s))
    }

    /// Gives the session's node a lease. `None`: the node has a session elsewhere, and this one ended.
    fn renew(&mut self, session: &mut Session, now: Time) -> Option<PeerKey> {
        let remote = session.remote.expect("a session that is ready has said HELLO");
        if session.peer.is_none()
            && let Some(key) = self.swarms.find_node(remote.node)
            && let Some(conn) = self.swarms.peer(key).conn
        {
            // [T-19] A session that was cut off takes its node's place again. From another address
            // it could be anybody who has seen the node's id, which other peers are told.
            if host_key(self.swarms.peer(key).ip) != host_key(session.ip()) {
                mark!("borrowed-id-refused");
                session.bye(now, Code::DUPLICATE, "this node has a session from another address");
                return None;
            }
            self.effects.push(Effect::Replace { conn });
        }
        let (_, lease_s) = self.intervals();
        let len = Duration::from_secs(u64::from(lease_s));
        let (conn, ip) = (session.conn, session.ip());
        let key = self.swarms.join(now, (remote.node, remote.contact), (conn, ip), len);
        session.peer = Some(key);
        Some(key)
    }

    fn announce(&mut self, session: &mut Session, now: Time, announce: &Announce) {
        let rid = announce.rid;
        let Some(peer) = session.peer else {
            mark!("announce-without-lease");
            // [T-27]
            session.reply(&status(
                rid,
                Code::BAD_STATE,
                0,
                "ANNOUNCE without a lease: send BEAT first",
            ));
            return;
        };
        let has_room = self.has_room(peer, announce);
        self.swarms.set_overfull(peer, !has_room);
        if !has_room {
            // [T-28]
            let text = "no room for so many objects";
            session.reply(&status(rid, Code::FULL, self.retry_ms(), text));
            return;
        }
        if announce.reset {
            self.swarms.drop_all(peer);
        }
        for entry in &announce.entries {
            if let Some(object) = self.swarms.set(peer, entry.object, entry.holding) {
                self.spread(now, peer, object);
            }
        }
        session.reply(&status(rid, Code::OK, 0, ""));
    }

    /// Whether all entries fit, those that are repeated counted as often as they come.
    fn has_room(&self, peer: PeerKey, announce: &Announce) -> bool {
        let held = self.swarms.peer(peer).objects;
        let kept = if announce.reset { 0 } else { held };
        let is_new = |object| {
            let key = self.swarms.find_object(object);
            announce.reset || key.and_then(|key| self.swarms.holds(peer, key)).is_none()
        };
        let adds =
            |entry: &&AnnounceEntry| entry.holding != Holding::Dropped && is_new(entry.object);
        // Far from the limits, which is nearly always, nothing has to be looked up.
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let fits = |new: u32| {
            let of_peer = kept.saturating_add(new);
            let of_all = count(self.swarms.holding_count()) - (held - kept);
            of_peer <= self.config.max_holdings_per_peer
                && of_all.saturating_add(new) <= count(self.config.max_holdings)
        };
        fits(count(announce.entries.len()))
            || fits(count(announce.entries.iter().filter(adds).count()))
    }

    // ---- pushes

    /// Tells a few peers that fetch an object about one that is new to it. O(FANOUT log n).
    fn spread(&mut self, now: Time, newcomer: PeerKey, object: ObjectKey) {
        if self.swarms.peer(newcomer).contact.is_none() {
            return;
        }
        let Some(id) = self.swarms.object_id(object) else { return };
        for receiver in self.swarms.sample_partial(object, FANOUT, &mut self.rng) {
            let reachable = receiver != newcomer && self.swarms.peer(receiver).conn.is_some();
            if reachable && self.pushes.offer(now, receiver, id, newcomer) {
                self.push(receiver, id, &[newcomer]);
            }
        }
    }

    /// Pushes that had to wait and are due.
    pub(crate) fn push_due(&mut self, now: Time) {
        while let Some((receiver, object, newcomers)) = self.pushes.take_due(now) {
            mark!("push-held-back");
            self.push(receiver, object, &newcomers);
        }
    }

    fn push(&mut self, receiver: PeerKey, id: ObjectId, newcomers: &[PeerKey]) {
        let Some(peer) = self.swarms.try_peer(receiver) else { return };
        let Some((conn, object)) = peer.conn.zip(self.swarms.find_object(id)) else { return };
        if self.swarms.holds(receiver, object) != Some(Holding::Partial) {
            return;
        }
        let asker = Asker { peer: Some(receiver), contact: peer.contact, ip: peer.ip };
        let peers: Vec<_> = newcomers
            .iter()
            .filter_map(|key| {
                let holding = self.swarms.holds(*key, object)?;
                Some(PeerAddr { holding, addr: self.swarms.addr_for(*key, &asker)? })
            })
            .collect();
        if !peers.is_empty() {
            let record = self.catalog.by_object(id).unwrap_or_else(|| nameless(id));
            let frame = self.swarm(RequestId(0), record, peers).to_frame();
            self.effects.push(Effect::Push { conn, frame });
        }
    }

    // ---- names

    fn answer(&mut self, session: &mut Session, rid: RequestId, verdict: Verdict) {
        match verdict {
            Verdict::Now { code, text, retry } => {
                let retry_ms = if retry { self.retry_ms() } else { 0 };
                session.reply(&status(rid, code, retry_ms, text));
            }
            Verdict::Later(ticket) => session.waiting.push_back(Waiting::Commit { ticket, rid }),
        }
    }

    /// When to try again, different for everybody.
    pub(crate) fn retry_ms(&mut self) -> u32 {
        let extra = self.rng.below(u64::from(RETRY_MS));
        RETRY_MS + u32::try_from(extra).expect("below a u32")
    }

    fn find(&mut self, session: &mut Session, find: &Find) {
        let record = match &find.key {
            FindKey::Name { version, name } => self.catalog.by_name(name, *version),
            FindKey::Content(content) => self.catalog.by_content(*content),
            FindKey::Object(id) => self
                .catalog
                .by_object(*id)
                .or_else(|| self.swarms.find_object(*id).map(|_| nameless(*id))),
        };
        let Some(record) = record else {
            mark!("not-found");
            let text = match &find.key {
                FindKey::Name { version, name } if *version != 0 => {
                    match self.catalog.by_name(name, 0) {
                        Some(newest) => format!("the newest version is {}", newest.version),
                        None => "no such name".to_owned(),
                    }
                }
                FindKey::Name { .. } => "no such name".to_owned(),
                FindKey::Object(_) | FindKey::Content(_) => "nobody holds this".to_owned(),
            };
            session.reply(&status(find.rid, Code::NOT_FOUND, 0, text));
            return;
        };
        let remote = session.remote.expect("a session that is ready has said HELLO");
        let asker = Asker { peer: session.peer, contact: remote.contact, ip: session.ip() };
        let want = usize::from(find.want.min(MAX_FIND_WANT));
        let mut peers = Vec::with_capacity(want);
        self.swarms.sample(record.object, want, &asker, &mut self.rng, &mut peers);
        let reply = self.swarm(find.rid, record, peers);
        session.reply(&reply);
    }

    fn swarm(&self, rid: RequestId, record: Record, peers: Vec<PeerAddr>) -> Message {
        let (complete, partial) = self.swarms.counts(record.object);
        Message::Swarm(Swarm { rid, complete, partial, record, peers })
    }

    fn list(&self, session: &mut Session, list: &List) {
        let limit = usize::from(list.limit.clamp(1, MAX_LIST_LIMIT));
        let mut entries = Vec::new();
        let mut room = Page::ROOM;
        let mut more = false;
        for record in self.catalog.list(&list.prefix, &list.after) {
            let (complete, partial) = self.swarms.counts(record.object);
            let entry = PageEntry { complete, partial, record };
            // [T-49, T-50] As many as fit, and a hint that there are more.
            if entries.len() == limit || entry.wire_len() > room {
                more = true;
                break;
            }
            room -= entry.wire_len();
            entries.push(entry);
        }
        session.reply(&Message::Page(Page { rid: list.rid, more, entries }));
    }

    /// The tracker's totals.
    pub(crate) fn summary(&self, now: Time, rid: RequestId) -> Summary {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Summary {
            rid,
            uptime_s: now.since(self.started).as_secs(),
            connections: count(self.connections),
            peers: count(self.swarms.peer_count()),
            names: count(self.catalog.name_count()),
            versions: count(self.catalog.version_count()),
            objects: count(self.swarms.object_count()),
            holdings: u64::try_from(self.swarms.holding_count()).unwrap_or(u64::MAX),
            bytes: self.catalog.bytes(),
        }
    }
}

/// The number of a request; `None` for what is not one.
fn rid_of(message: &Message) -> Option<RequestId> {
    match message {
        Message::Beat(request) => Some(request.rid),
        Message::Announce(request) => Some(request.rid),
        Message::Publish(request) => Some(request.rid),
        Message::Unpublish(request) => Some(request.rid),
        Message::Find(request) => Some(request.rid),
        Message::List(request) => Some(request.rid),
        Message::SummaryRequest(request) => Some(request.rid),
        _ => None,
    }
}

/// What is known of an object that somebody holds and nobody has published. // [T-42]
fn nameless(object: ObjectId) -> Record {
    mark!("object-without-a-name");
    Record {
        object,
        content: Digest::ZERO,
        length: 0,
        published_at: 0,
        version: 0,
        manifest_len: 0,
        piece_count: 0,
        file_count: 0,
        piece_log2: 0,
        name: String::new(),
    }
}
