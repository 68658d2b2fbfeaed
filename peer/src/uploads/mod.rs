//! Whose request to serve next.
//!
//! Knows requests and bytes; no file, no connection. Few sessions are served at a time, see `slots`: a
//! session without a slot waits, and one with a slot finishes the piece that it began. When a slot is
//! free, sessions take turns by bytes: nobody gets more than `QUANTUM` and a block ahead of anybody
//! else who could be served. Inside that bound, pieces that were sent least begin first, so that a
//! swarm's first copies spread before any second one. For a first copy the bound is wider, `FIRST_LEAD`:
//! those who are behind may want nothing but what was sent before, and a piece that nobody has helps all.
//!
//! Invariant U1: each pushed request leaves exactly once, through `next`, `cancel` or one of the drops.

mod slots;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::ChannelId;
use protocol::limits::{MANIFEST_PIECE, MAX_PIECES};
use protocol::message::{Block, Request};
use reactor::Time;

use crate::rates::TokenBucket;
use slots::Slots;

/// How many bytes a session may be ahead of the others, to finish what it began.
const QUANTUM: u64 = 256 << 10;
/// How many bytes it may be ahead to take what was never sent from here.
const FIRST_LEAD: u64 = 1 << 20;
/// So many begun pieces are remembered for each session: blocks of one piece come a few at a time.
const MAX_BEGUN: usize = 4;

/// One session, as the machine numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);

/// A piece as one session names it.
type PieceKey = (ChannelId, u32);

/// What goes first; smaller is sooner. A group's rank only grows while it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    class: Class,
    /// How often the piece was begun from here, for whomever.
    sent: u16,
    arrival: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// Without it the others can't even ask.
    Manifest,
    Begun,
    Fresh,
}

/// The waiting requests of one session for one piece.
#[derive(Debug)]
struct Group {
    swarm: u32,
    arrival: u64,
    requests: VecDeque<Request>,
}

#[derive(Debug, Default)]
struct Queue {
    groups: BTreeMap<PieceKey, Group>,
    len: usize,
    begun: VecDeque<PieceKey>,
    /// The group to serve next, with a rank that may have grown meanwhile.
    head: Option<(Rank, PieceKey)>,
    /// Bytes served on the common scale: a session that was away starts where the others are.
    served: u64,
}

/// How often pieces were begun, per swarm; grows to the highest piece asked for.
#[derive(Debug, Default)]
struct Counts(BTreeMap<u32, Vec<u16>>);

/// All requests of others that wait to be served. The machine has one.
#[derive(Debug)]
pub struct Uploads {
    sessions: BTreeMap<SessionKey, Queue>,
    /// Those with anything queued.
    waiting: BTreeSet<SessionKey>,
    /// Queued requests for manifests.
    manifests: usize,
    slots: Slots,
    counts: Counts,
    bucket: Option<TokenBucket>,
    next_arrival: u64,
    /// Where the session stood that is furthest behind of those served last.
    clock: u64,
    last: Option<SessionKey>,
    ready: Vec<SessionKey>,
}

impl Uploads {
    /// Nothing queued. `up_limit`: bytes of data per second to send at most.
    pub fn new(up_limit: Option<u64>) -> Self {
        Self {
            sessions: BTreeMap::new(),
            waiting: BTreeSet::new(),
            manifests: 0,
            slots: Slots::new(),
            counts: Counts::default(),
            bucket: up_limit.map(TokenBucket::new),
            next_arrival: 0,
            clock: 0,
            last: None,
            ready: Vec::new(),
        }
    }

    /// Queues a request. `swarm` numbers its object.
    pub fn push(&mut self, session: SessionKey, swarm: u32, request: Request) {
        let queue = self.sessions.entry(session).or_default();
        if queue.len == 0 {
            queue.served = queue.served.max(self.clock);
        }
        let key = (request.block.channel, request.block.piece);
        let arrival = self.next_arrival;
        let new = || Group { swarm, arrival, requests: VecDeque::new() };
        let group = queue.groups.entry(key).or_insert_with(new);
        group.requests.push_back(request);
        queue.len += 1;
        self.waiting.insert(session);
        self.manifests += usize::from(request.block.is_manifest());
        self.next_arrival += 1;
        let rank = queue.rank(key, &self.counts);
        let head = rank.map(|rank| (rank, key));
        queue.head = queue.head.into_iter().chain(head).min();
    }

    /// Takes a request out; whether it was there.
    pub fn cancel(&mut self, session: SessionKey, block: Block) -> bool {
        let Some(queue) = self.sessions.get_mut(&session) else { return false };
        let key = (block.channel, block.piece);
        let Some(group) = queue.groups.get_mut(&key) else { return false };
        let Some(at) = group.requests.iter().position(|request| request.block == block) else {
            return false;
        };
        group.requests.remove(at);
        queue.len -= 1;
        self.manifests -= usize::from(block.is_manifest());
        if group.requests.is_empty() {
            queue.groups.remove(&key);
            queue.find_head(&self.counts);
        }
        if queue.len == 0 {
            self.waiting.remove(&session);
        }
        true
    }

    /// Forgets a session and its requests.
    pub fn drop_session(&mut self, session: SessionKey) {
        let queue = self.sessions.remove(&session).unwrap_or_default();
        self.manifests -= queue.manifests();
        self.waiting.remove(&session);
        self.slots.forget(session);
    }

    /// Forgets the requests of one channel.
    pub fn drop_channel(&mut self, session: SessionKey, channel: ChannelId) {
        let Some(queue) = self.sessions.get_mut(&session) else { return };
        let manifests = queue.manifests();
        queue.groups.retain(|(of, _), _| *of != channel);
        self.manifests -= manifests - queue.manifests();
        queue.begun.retain(|(of, _)| *of != channel);
        queue.len = queue.groups.values().map(|group| group.requests.len()).sum();
        queue.find_head(&self.counts);
        if queue.len == 0 {
            self.waiting.remove(&session);
        }
    }

    /// Sessions to which something was served that has not been called drained yet.
    pub fn served(&self) -> impl Iterator<Item = SessionKey> + '_ {
        self.slots.holders()
    }

    /// All that was served to a session has left its queue, or will never leave.
    pub fn drained(&mut self, now: Time, session: SessionKey) {
        self.slots.release(now, session);
    }

    /// Whether a session takes what it is served far more slowly than all together do.
    pub fn is_slow(&self, now: Time, session: SessionKey) -> bool {
        self.slots.is_slow(now, session)
    }

    /// Forgets how often pieces of a swarm were sent.
    pub fn drop_swarm(&mut self, swarm: u32) {
        self.counts.0.remove(&swarm);
    }

    /// The next request to serve, with its session and swarm; it counts as served. Only sessions for
    /// which `can_send` is true are asked. `None` if there is none, or the limit is used up for now.
    pub fn next(
        &mut self,
        now: Time,
        can_send: &mut dyn FnMut(SessionKey) -> bool,
    ) -> Option<(SessionKey, u32, Request)> {
        if self.bucket.as_ref().is_some_and(|bucket| !bucket.is_open(now)) {
            return None;
        }
        let behind = self.find_ready(now, can_send)?;
        self.clock = self.clock.max(behind);
        loop {
            let session = self.first_ready(behind)?;
            let queue = self.sessions.get_mut(&session)?;
            let (rank, key) = queue.head?;
            if queue.rank(key, &self.counts) != Some(rank) {
                // It grew since it was looked up; another group, or session, may come first now. Ranks
                // that nobody looked up are no smaller, so what comes out of this is the smallest.
                queue.find_head(&self.counts);
                continue;
            }
            let (swarm, request) = queue.take(key, rank, &mut self.counts)?;
            queue.served += u64::from(request.len);
            if queue.len == 0 {
                self.waiting.remove(&session);
            }
            self.manifests -= usize::from(request.block.is_manifest());
            self.slots.handed(now, session, u64::from(request.len));
            self.last = Some(session);
            if let Some(bucket) = &mut self.bucket {
                bucket.take(now, u64::from(request.len));
            }
            return Some((session, swarm, request));
        }
    }

    /// When the limit lets [`Uploads::next`] go on, or a slot will have been held for too long; `None` if
    /// nothing waits for either.
    pub fn deadline(&self, now: Time) -> Option<Time> {
        if self.waiting.is_empty() {
            return None;
        }
        let closed = self.bucket.as_ref().filter(|bucket| !bucket.is_open(now));
        if let Some(bucket) = closed {
            return Some(bucket.opens_at());
        }
        self.slots.opens_at().filter(|at| *at > now && self.others_wait())
    }

    /// Whether somebody waits who holds no slot.
    fn others_wait(&self) -> bool {
        self.waiting.iter().any(|session| !self.slots.holds(*session))
    }

    /// How many requests of a session wait.
    pub fn queued(&self, session: SessionKey) -> usize {
        self.sessions.get(&session).map_or(0, |queue| queue.len)
    }

    /// Sessions about which something is remembered.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Collects the sessions that can be served; where the one furthest behind stands.
    fn find_ready(
        &mut self,
        now: Time,
        can_send: &mut dyn FnMut(SessionKey) -> bool,
    ) -> Option<u64> {
        self.ready.clear();
        let mut free = self.slots.is_open();
        let others = self.others_wait();
        if !free && others {
            self.slots.all_held(now);
            self.slots.open_overdue(now);
            free = self.slots.is_open();
        }
        if free || !others {
            for key in &self.waiting {
                let Some(queue) = self.sessions.get_mut(key) else { continue };
                if can_send(*key) {
                    self.ready.push(*key);
                } else {
                    // Who can't take its turn does not save it up.
                    queue.served = queue.served.max(self.clock);
                }
            }
        } else {
            self.find_begun(can_send);
        }
        if free && self.ready.is_empty() {
            self.slots.not_needed();
        }
        self.ready.iter().filter_map(|at| self.sessions.get(at)).map(|queue| queue.served).min()
    }

    /// Without a free slot: pieces that were begun are finished, and manifests are no matter of slots.
    fn find_begun(&mut self, can_send: &mut dyn FnMut(SessionKey) -> bool) {
        let class = |key: &SessionKey| {
            let (rank, _) = self.sessions.get(key)?.head?;
            Some(rank.class)
        };
        let holders = self.slots.holders().filter(|key| class(key) == Some(Class::Begun));
        self.ready.extend(holders.filter(|key| can_send(*key)));
        if self.manifests > 0 {
            let others = self.waiting.iter().filter(|key| class(key) == Some(Class::Manifest));
            self.ready.extend(others.copied().filter(|key| can_send(*key)));
        }
    }

    /// Whose turn it is, when the one furthest behind stands there.
    fn first_ready(&self, behind: u64) -> Option<SessionKey> {
        let order = |session: &SessionKey| {
            let queue = self.sessions.get(session)?;
            let ahead = queue.served - behind;
            let may = ahead <= QUANTUM || (ahead <= FIRST_LEAD && queue.gives_first(&self.counts));
            let (rank, _) = queue.head.filter(|_| may)?;
            let other = self.last != Some(*session);
            Some((
                (rank.class, other && rank.class == Class::Begun, rank.sent),
                queue.served,
                *session,
            ))
        };
        self.ready.iter().filter_map(order).min().map(|(_, _, session)| session)
    }
}

impl Queue {
    fn manifests(&self) -> usize {
        let groups = self.groups.iter().filter(|((_, piece), _)| *piece == MANIFEST_PIECE);
        groups.map(|(_, group)| group.requests.len()).sum()
    }

    fn rank(&self, key: PieceKey, counts: &Counts) -> Option<Rank> {
        let group = self.groups.get(&key)?;
        let arrival = group.arrival;
        let manifest = group.requests.front()?.block.is_manifest();
        Some(if manifest {
            Rank { class: Class::Manifest, sent: 0, arrival }
        } else if self.begun.contains(&key) {
            Rank { class: Class::Begun, sent: 0, arrival }
        } else {
            Rank { class: Class::Fresh, sent: counts.get(group.swarm, key.1), arrival }
        })
    }

    /// Whether what it would be served next is of the first copy of a piece.
    fn gives_first(&self, counts: &Counts) -> bool {
        let Some((rank, key)) = self.head else { return false };
        let Some(group) = self.groups.get(&key) else { return false };
        match rank.class {
            Class::Manifest => false,
            Class::Begun => counts.get(group.swarm, key.1) == 1,
            // If it was sent meanwhile, that is found out once it is its turn.
            Class::Fresh => rank.sent == 0,
        }
    }

    fn find_head(&mut self, counts: &Counts) {
        let ranks = self.groups.keys().filter_map(|key| Some((self.rank(*key, counts)?, *key)));
        self.head = ranks.min();
    }

    fn take(&mut self, key: PieceKey, rank: Rank, counts: &mut Counts) -> Option<(u32, Request)> {
        let group = self.groups.get_mut(&key)?;
        let request = group.requests.pop_front()?;
        let (swarm, done) = (group.swarm, group.requests.is_empty());
        self.len -= 1;
        if rank.class == Class::Fresh {
            counts.add(swarm, key.1);
            self.begun.push_back(key);
            if self.begun.len() > MAX_BEGUN {
                self.begun.pop_front();
            }
        }
        if done {
            self.groups.remove(&key);
        }
        if done || rank.class == Class::Fresh {
            self.find_head(counts);
        }
        Some((swarm, request))
    }
}

impl Counts {
    fn get(&self, swarm: u32, piece: u32) -> u16 {
        let counts = self.0.get(&swarm);
        counts.and_then(|counts| counts.get(piece as usize)).copied().unwrap_or(0)
    }

    fn add(&mut self, swarm: u32, piece: u32) {
        if piece >= MAX_PIECES {
            return;
        }
        let counts = self.0.entry(swarm).or_default();
        let at = piece as usize;
        if counts.len() <= at {
            counts.resize(at + 1, 0);
        }
        counts[at] = counts[at].saturating_add(1);
    }
}
