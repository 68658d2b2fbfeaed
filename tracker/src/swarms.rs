//! Who holds what: peers with a lease, the objects that they announced, samples of an object's holders.
//!
//! No connection is used here, only carried for whoever pushes. Every update is O(log n) in the number
//! of holdings; a sample costs O(peers asked for).
//!
//! Invariant W1: `places` holds (peer, object) exactly if the object's list named by the place holds
//! the peer at the place's index. Invariant W2: an object without holders is forgotten. Invariant W3: a
//! peer's digest and count are those of its places.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use protocol::{Holding, NodeId, ObjectId, PeerAddr, holdings_digest};
use reactor::{ConnId, Rng, Time};
use slab::Slab;

use crate::contact::Contact;
use crate::leases::{LeaseTime, Leases};

/// A peer with a lease; used again for another one after it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerKey(u32);

/// An object that somebody holds; used again for another one when nobody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ObjectKey(u32);

/// A peer with a lease.
#[derive(Debug)]
pub(crate) struct Peer {
    node: NodeId,
    /// Where its session comes, or came, from.
    pub(crate) ip: IpAddr,
    /// Where others can reach it, if at all.
    pub(crate) contact: Option<Contact>,
    /// Its session, while that lives. The lease may outlive it.
    pub(crate) conn: Option<ConnId>,
    ends: LeaseTime,
    /// Digest of its holdings, as in BEAT.
    pub(crate) digest: u64,
    /// Number of its holdings.
    pub(crate) objects: u32,
    /// It announced more than there was room for.
    pub(crate) overfull: bool,
}

#[derive(Debug)]
struct Swarm {
    id: ObjectId,
    complete: Vec<PeerKey>,
    partial: Vec<PeerKey>,
}

/// Where a swarm lists a peer: the upper bit says in which list, the rest at which index. Packed because
/// there is one for each holding.
#[derive(Clone, Copy, Debug)]
struct Place(u32);

/// Who asks for a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    /// Its lease, if it has one: it is never told about itself.
    pub(crate) peer: Option<PeerKey>,
    /// The address that others are told, for the same reason.
    pub(crate) contact: Option<Contact>,
    /// Where it is: loopback addresses are for local askers.
    pub(crate) ip: IpAddr,
}

/// Everything soft.
#[derive(Debug)]
pub(crate) struct Swarms {
    peers: Slab<Peer>,
    by_node: BTreeMap<NodeId, PeerKey>,
    swarms: Slab<Swarm>,
    by_object: BTreeMap<ObjectId, ObjectKey>,
    places: BTreeMap<(PeerKey, ObjectKey), Place>,
    leases: Leases,
}

impl Swarms {
    pub(crate) fn new() -> Self {
        Self {
            peers: Slab::new(),
            by_node: BTreeMap::new(),
            swarms: Slab::new(),
            by_object: BTreeMap::new(),
            places: BTreeMap::new(),
            leases: Leases::new(),
        }
    }

    // ---- peers and leases

    /// Peers with a lease.
    pub(crate) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    /// Objects that somebody holds.
    pub(crate) fn object_count(&self) -> usize {
        self.swarms.len()
    }

    /// Pairs of peer and object.
    pub(crate) fn holding_count(&self) -> usize {
        self.places.len()
    }

    /// The peer behind a key that is known to be live.
    pub(crate) fn peer(&self, key: PeerKey) -> &Peer {
        &self.peers[slot(key.0)]
    }

    /// The peer behind a key that may be stale.
    pub(crate) fn try_peer(&self, key: PeerKey) -> Option<&Peer> {
        self.peers.get(slot(key.0))
    }

    /// The lease of a node, if it has one.
    pub(crate) fn find_node(&self, node: NodeId) -> Option<PeerKey> {
        self.by_node.get(&node).copied()
    }

    /// Gives a node a lease of `len`, or a new one, and binds it to this session and address.
    pub(crate) fn join(
        &mut self,
        now: Time,
        (node, contact): (NodeId, Option<Contact>),
        (conn, ip): (ConnId, IpAddr),
        len: Duration,
    ) -> PeerKey {
        let conn = Some(conn);
        if let Some(key) = self.find_node(node) {
            let peer = &mut self.peers[slot(key.0)];
            (peer.ip, peer.contact, peer.conn) = (ip, contact, conn);
            peer.ends = self.leases.renew(key, Some(peer.ends), now, len);
            return key;
        }
        let entry = self.peers.vacant_entry();
        let key = PeerKey(number(entry.key()));
        let ends = self.leases.renew(key, None, now, len);
        entry.insert(Peer {
            node,
            ip,
            contact,
            conn,
            ends,
            digest: 0,
            objects: 0,
            overfull: false,
        });
        self.by_node.insert(node, key);
        key
    }

    /// A session ended. The lease stays, unless it belongs to another session by now anyway.
    pub(crate) fn detach(&mut self, key: PeerKey, conn: ConnId) {
        let peer = self.peers.get_mut(slot(key.0)).filter(|peer| peer.conn == Some(conn));
        if let Some(peer) = peer {
            peer.conn = None;
        }
    }

    /// Takes note of whether there was room for all that a peer announced.
    pub(crate) fn set_overfull(&mut self, key: PeerKey, overfull: bool) {
        self.peers[slot(key.0)].overfull = overfull;
    }

    /// Forgets a peer and all that it holds.
    pub(crate) fn leave(&mut self, key: PeerKey) {
        self.drop_all(key);
        let peer = self.peers.remove(slot(key.0));
        self.leases.end(key, peer.ends);
        self.by_node.remove(&peer.node);
    }

    /// Takes note of the time; whether we slept. See [`Leases::tick`].
    pub(crate) fn tick(&mut self, now: Time, interval: Duration) -> bool {
        self.leases.tick(now, interval)
    }

    /// See [`Leases::expired`].
    pub(crate) fn expired(&self, now: Time) -> Option<PeerKey> {
        self.leases.expired(now)
    }

    /// See [`Leases::deadline`].
    pub(crate) fn deadline(&self, interval: Duration) -> Option<Time> {
        self.leases.deadline(interval)
    }

    // ---- holdings

    /// The key of an object that somebody holds.
    pub(crate) fn find_object(&self, id: ObjectId) -> Option<ObjectKey> {
        self.by_object.get(&id).copied()
    }

    /// The object behind a key that may be stale.
    pub(crate) fn object_id(&self, key: ObjectKey) -> Option<ObjectId> {
        self.swarms.get(slot(key.0)).map(|swarm| swarm.id)
    }

    /// Whether a peer holds an object, in part at least. Keys may be stale.
    pub(crate) fn holds(&self, peer: PeerKey, object: ObjectKey) -> Option<Holding> {
        self.places.get(&(peer, object)).map(|place| place.holding())
    }

    /// How many peers hold all, and some, of an object.
    pub(crate) fn counts(&self, id: ObjectId) -> (u32, u32) {
        self.find_object(id).map_or((0, 0), |key| {
            let swarm = &self.swarms[slot(key.0)];
            (number(swarm.complete.len()), number(swarm.partial.len()))
        })
    }

    /// Sets how much of an object a peer holds; returns the object's key if the peer is new to it.
    pub(crate) fn set(
        &mut self,
        peer: PeerKey,
        id: ObjectId,
        holding: Holding,
    ) -> Option<ObjectKey> {
        let known = self.find_object(id);
        let old = known.and_then(|key| self.holds(peer, key));
        if old == Some(holding) || (old.is_none() && holding == Holding::Dropped) {
            return None;
        }
        // Put before take, so that an object that changes hands is not forgotten in between.
        let key = known.unwrap_or_else(|| self.new_swarm(id));
        if old.is_some() {
            self.take_place(peer, key);
        }
        if holding == Holding::Dropped {
            self.forget_if_empty(key);
        } else {
            self.put_place(peer, key, holding == Holding::Complete);
        }
        let change = old.into_iter().chain([holding]).filter(|state| *state != Holding::Dropped);
        let record = &mut self.peers[slot(peer.0)];
        record.digest ^= holdings_digest(change.map(|state| (id, state)));
        record.objects = match (old, holding) {
            (None, _) => record.objects + 1,
            (Some(_), Holding::Dropped) => record.objects - 1,
            _ => record.objects,
        };
        old.is_none().then_some(key)
    }

    /// Forgets all that a peer holds.
    pub(crate) fn drop_all(&mut self, peer: PeerKey) {
        let all = (peer, ObjectKey(0))..=(peer, ObjectKey(u32::MAX));
        while let Some((&(_, key), _)) = self.places.range(all.clone()).next() {
            self.take_place(peer, key);
            self.forget_if_empty(key);
        }
        let record = &mut self.peers[slot(peer.0)];
        (record.digest, record.objects) = (0, 0);
    }

    fn new_swarm(&mut self, id: ObjectId) -> ObjectKey {
        let swarm = Swarm { id, complete: Vec::new(), partial: Vec::new() };
        let key = ObjectKey(number(self.swarms.insert(swarm)));
        self.by_object.insert(id, key);
        key
    }

    fn forget_if_empty(&mut self, key: ObjectKey) {
        let swarm = &self.swarms[slot(key.0)];
        if swarm.complete.is_empty() && swarm.partial.is_empty() {
            self.by_object.remove(&swarm.id);
            self.swarms.remove(slot(key.0));
        }
    }

    fn put_place(&mut self, peer: PeerKey, key: ObjectKey, complete: bool) {
        let list = self.swarms[slot(key.0)].list(complete);
        let place = Place::new(list.len(), complete);
        list.push(peer);
        self.places.insert((peer, key), place);
    }

    fn take_place(&mut self, peer: PeerKey, key: ObjectKey) {
        let place = self.places.remove(&(peer, key)).expect("W1: the caller found the place");
        let list = self.swarms[slot(key.0)].list(place.complete());
        list.swap_remove(place.index());
        if let Some(&moved) = list.get(place.index()) {
            self.places.insert((moved, key), place);
        }
        // A swarm that shrank a lot gives its memory back.
        if list.capacity() > 64 && list.len() < list.capacity() / 4 {
            list.shrink_to(list.len() * 2);
        }
    }

    // ---- samples

    /// Appends up to `want` holders of an object that the asker can reach, in random order. At least a
    /// quarter of them hold all of it if there are as many, so that no fetch is left with peers that
    /// all lack the same piece, while seeders are not what everybody dials. // [T-45]
    pub(crate) fn sample(
        &self,
        id: ObjectId,
        want: usize,
        asker: &Asker,
        rng: &mut Rng,
        out: &mut Vec<PeerAddr>,
    ) {
        let Some(key) = self.find_object(id).filter(|_| want > 0) else { return };
        let swarm = &self.swarms[slot(key.0)];
        let start = out.len();
        let sources = want.div_ceil(4).max(want.saturating_sub(swarm.partial.len()));
        self.pick(&swarm.complete, Holding::Complete, sources, asker, rng, out);
        let rest = want - (out.len() - start);
        self.pick(&swarm.partial, Holding::Partial, rest, asker, rng, out);
        rng.shuffle(&mut out[start..]);
    }

    /// Up to `want` random keys of the peers that hold some of an object.
    pub(crate) fn sample_partial(
        &self,
        key: ObjectKey,
        want: usize,
        rng: &mut Rng,
    ) -> Vec<PeerKey> {
        let list = &self.swarms[slot(key.0)].partial;
        random_indices(list.len(), want, rng).into_iter().map(|index| list[index]).collect()
    }

    fn pick(
        &self,
        list: &[PeerKey],
        holding: Holding,
        want: usize,
        asker: &Asker,
        rng: &mut Rng,
        out: &mut Vec<PeerAddr>,
    ) {
        let end = out.len() + want;
        // Some drawn peers can't be handed out (the asker itself, peers without a port), so draw more.
        for index in random_indices(list.len(), want + want / 2 + 8, rng) {
            if out.len() == end {
                break;
            }
            if let Some(addr) = self.addr_for(list[index], asker) {
                out.push(PeerAddr { holding, addr });
            }
        }
    }

    /// The address of `key` if it is one to be told to `asker`.
    pub(crate) fn addr_for(&self, key: PeerKey, asker: &Asker) -> Option<std::net::SocketAddr> {
        let contact = self.try_peer(key)?.contact?;
        let itself = asker.peer == Some(key) || asker.contact == Some(contact);
        (!itself && contact.visible_to(asker.ip)).then(|| contact.socket())
    }
}

impl Swarm {
    fn list(&mut self, complete: bool) -> &mut Vec<PeerKey> {
        if complete { &mut self.complete } else { &mut self.partial }
    }
}

impl Place {
    const COMPLETE: u32 = 1 << 31;

    fn new(index: usize, complete: bool) -> Self {
        let index = number(index);
        assert!(index < Self::COMPLETE, "limits keep swarms below 2^31 peers");
        Self(if complete { index | Self::COMPLETE } else { index })
    }

    fn index(self) -> usize {
        slot(self.0 & !Self::COMPLETE)
    }

    fn complete(self) -> bool {
        self.0 & Self::COMPLETE != 0
    }

    fn holding(self) -> Holding {
        if self.complete() { Holding::Complete } else { Holding::Partial }
    }
}

/// Up to `want` different indices below `len`, in random order; in rare cases a few less than `want`,
/// because repeated draws count once. O(want), never O(len).
fn random_indices(len: usize, want: usize, rng: &mut Rng) -> Vec<usize> {
    let mut indices: Vec<usize> = if want.saturating_mul(4) >= len {
        (0..len).collect()
    } else {
        let mut drawn: Vec<_> = (0..want + want / 4 + 2).map(|_| rng.index(len)).collect();
        drawn.sort_unstable();
        drawn.dedup();
        drawn
    };
    // The front of a Fisher-Yates shuffle: nobody looks at the rest.
    let picked = want.min(indices.len());
    for at in 0..picked {
        let other = at + rng.index(indices.len() - at);
        indices.swap(at, other);
    }
    indices.truncate(picked);
    indices
}

fn slot(number: u32) -> usize {
    number as usize
}

/// Counts of things in memory are far below four billion: each takes more than a byte of it, and
/// `Config` bounds them.
fn number(count: usize) -> u32 {
    u32::try_from(count).expect("limits keep the number of peers and objects below 2^32")
}
