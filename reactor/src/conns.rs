//! All connections: slots, ids, registration, and the queues of those that have work.
//!
//! Nothing here calls a machine. Invariant N1: each open socket is registered once, for everything, and
//! deregistered before it is dropped, both only here. Invariant N2: a slot that was freed in a turn is
//! not used again in it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::ConnId;
use crate::conn::Conn;
use crate::ready_queue::ReadyQueue;
use crate::token::{ConnToken, Target};

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// `None` between the end of the connection and the end of the turn.
    conn: Option<Conn>,
}

/// The table of connections.
#[derive(Debug)]
pub(crate) struct Conns {
    registry: Registry,
    slots: Slab<Slot>,
    by_id: BTreeMap<ConnId, ConnToken>,
    freed: Vec<usize>,
    last_generation: u32,
    /// Those that have bytes to deliver.
    pub(crate) readers: ReadyQueue,
    /// Those that have bytes to send and room to send them.
    pub(crate) writers: ReadyQueue,
}

impl Conns {
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            registry,
            slots: Slab::new(),
            by_id: BTreeMap::new(),
            freed: Vec::new(),
            last_generation: 0,
            readers: ReadyQueue::default(),
            writers: ReadyQueue::default(),
        }
    }

    /// How many there are, attempts included.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Adds a connection and registers it; leaves nothing behind if that fails.
    pub(crate) fn insert(
        &mut self,
        id: ConnId,
        remote: SocketAddr,
        mut stream: TcpStream,
    ) -> io::Result<ConnToken> {
        let vacant = self.slots.vacant_entry();
        let slot = u32::try_from(vacant.key()).map_err(io::Error::other)?;
        let generation = self.last_generation.wrapping_add(1).max(1);
        let token = ConnToken { slot, generation };
        self.registry.register(
            &mut stream,
            Token::from(Target::Conn(token)),
            Interest::READABLE | Interest::WRITABLE,
        )?;
        self.last_generation = generation;
        vacant.insert(Slot { generation, conn: Some(Conn::new(id, remote, stream)) });
        let previous = self.by_id.insert(id, token);
        assert!(previous.is_none(), "connection {} was already there", id.0);
        Ok(token)
    }

    /// The connection with this token, if it still lives.
    pub(crate) fn get_mut(&mut self, token: ConnToken) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(token.slot as usize)?;
        if slot.generation == token.generation { slot.conn.as_mut() } else { None }
    }

    /// Where the connection with this id lives, if it does.
    pub(crate) fn find(&self, id: ConnId) -> Option<ConnToken> {
        self.by_id.get(&id).copied()
    }

    /// The connection with this id, if it lives.
    pub(crate) fn by_id_mut(&mut self, id: ConnId) -> Option<(ConnToken, &mut Conn)> {
        let token = self.find(id)?;
        Some((token, self.get_mut(token)?))
    }

    /// Ends a connection. The only way out of the table.
    pub(crate) fn remove(&mut self, token: ConnToken) -> Option<Conn> {
        let slot = self.slots.get_mut(token.slot as usize)?;
        if slot.generation != token.generation {
            return None;
        }
        let mut conn = slot.conn.take()?;
        if let Err(error) = self.registry.deregister(&mut conn.stream) {
            log::debug!("deregister failed conn={} error={error}", conn.id.0);
        }
        self.by_id.remove(&conn.id);
        self.freed.push(token.slot as usize);
        Some(conn)
    }

    /// Makes the slots of ended connections free for new ones. At the end of a turn only.
    pub(crate) fn reap(&mut self) {
        for slot in self.freed.drain(..) {
            self.slots.remove(slot);
        }
    }

    /// Takes note of what an event says. Returns the token if the connection is not up yet, so that
    /// its completion must be looked into, and an error if nobody has this token any more.
    pub(crate) fn note(&mut self, token: ConnToken, event: &Event) -> Result<bool, Stale> {
        let conn = self.get_mut(token).ok_or(Stale)?;
        // Errors and hang-ups are hints, which only a read or write can turn into facts.
        let hint = event.is_error() || event.is_read_closed() || event.is_write_closed();
        conn.readable |= event.is_readable() || hint;
        conn.writable |= event.is_writable() || hint;
        let connecting = !conn.open;
        self.schedule(token);
        Ok(connecting)
    }

    /// Queues a connection for what it can do. Called after every change of its state.
    pub(crate) fn schedule(&mut self, token: ConnToken) {
        let Some(slot) = self.slots.get_mut(token.slot as usize) else { return };
        let Some(conn) = slot.conn.as_mut().filter(|_| slot.generation == token.generation) else {
            return;
        };
        if conn.wants_read() {
            self.readers.push(token, &mut conn.in_readers);
        }
        if conn.wants_write() {
            self.writers.push(token, &mut conn.in_writers);
        }
    }

    /// The next connection to read from.
    pub(crate) fn next_reader(&mut self) -> Option<ConnToken> {
        let token = self.readers.pop()?;
        if let Some(conn) = self.get_mut(token) {
            conn.in_readers = false;
        }
        Some(token)
    }

    /// The next connection to write to.
    pub(crate) fn next_writer(&mut self) -> Option<ConnToken> {
        let token = self.writers.pop()?;
        if let Some(conn) = self.get_mut(token) {
            conn.in_writers = false;
        }
        Some(token)
    }

    /// All connections, oldest first.
    pub(crate) fn tokens(&self) -> Vec<ConnToken> {
        self.by_id.values().copied().collect()
    }

    /// Whether any connection that is up has something queued.
    pub(crate) fn any_unsent(&self) -> bool {
        let mut conns = self.slots.iter().filter_map(|(_, slot)| slot.conn.as_ref());
        conns.any(|conn| conn.open && !conn.queue.is_empty())
    }

    /// Invariant Q1, by a scan: in debug builds.
    pub(crate) fn check(&self) {
        debug_assert!(self.freed.is_empty(), "slots are freed before the check");
        debug_assert_eq!(self.slots.len(), self.by_id.len(), "each slot has one connection");
        debug_assert!(
            self.slots.iter().filter_map(|(_, slot)| slot.conn.as_ref()).all(|conn| {
                conn.in_readers >= conn.wants_read() && conn.in_writers >= conn.wants_write()
            }),
            "a connection has work and is in no queue"
        );
    }
}

/// An event for a connection that has ended.
#[derive(Debug)]
pub(crate) struct Stale;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use mio::Poll;

    use super::*;

    #[test]
    fn an_old_token_never_names_the_next_connection_in_its_slot() {
        let poll = Poll::new().unwrap();
        let mut conns = Conns::new(poll.registry().try_clone().unwrap());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let remote = listener.local_addr().unwrap();
        let insert = |conns: &mut Conns, id| {
            conns.insert(ConnId(id), remote, TcpStream::connect(remote).unwrap()).unwrap()
        };
        let first = insert(&mut conns, 1);
        assert!(conns.remove(first).is_some());
        assert!(conns.remove(first).is_none());
        let in_same_turn = insert(&mut conns, 2);
        assert_ne!(in_same_turn.slot, first.slot, "freed at the end of the turn only");
        conns.reap();
        let reused = insert(&mut conns, 3);
        assert_eq!(reused.slot, first.slot);
        assert!(conns.get_mut(first).is_none() && conns.remove(first).is_none());
        assert_eq!(conns.get_mut(reused).map(|conn| conn.id), Some(ConnId(3)));
        assert_eq!((conns.len(), conns.find(ConnId(1))), (2, None));
    }
}
