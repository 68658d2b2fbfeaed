//! Questions that have no answer yet: which wait, which are out, and what may answer them.
//!
//! Knows nothing of connections. Invariant: an open ask is either in `ready` or out, never both, and
//! there are at most [`MAX_ASKS`] open.

use std::collections::{BTreeMap, BTreeSet};

use protocol::message::{Find, FindKey, List, Page, Publish, Record, SummaryRequest, Unpublish};
use protocol::{Code, Message, PublisherKey, RequestId};
use reactor::Time;

use super::types::{Answer, Ask, MAX_ASKS};

/// What is asked.
#[derive(Debug)]
pub(super) enum Command {
    Find { key: FindKey, want: u16 },
    List { prefix: String, after: String, limit: u16 },
    Publish { record: Box<Record>, key: PublisherKey, copies: u8 },
    Unpublish { name: String, key: PublisherKey },
    Summary,
}

#[derive(Debug)]
struct Entry {
    command: Command,
    /// Not to be sent earlier.
    not_before: Time,
    /// A request with it is on its way.
    out: bool,
}

#[derive(Debug, Default)]
pub(super) struct Asks {
    last: u32,
    open: BTreeMap<Ask, Entry>,
    /// Open asks that are not out, by the time from which they may be sent.
    ready: BTreeSet<(Time, Ask)>,
}

impl Asks {
    /// A number that no open ask has.
    pub(super) fn number(&mut self) -> Ask {
        loop {
            // Wraps after years of constant asking; then the oldest numbers are free again.
            self.last = self.last.wrapping_add(1);
            if !self.open.contains_key(&Ask(self.last)) {
                return Ask(self.last);
            }
        }
    }

    /// How many more can be open.
    pub(super) fn room(&self) -> usize {
        MAX_ASKS - self.open.len()
    }

    /// Opens an ask, to be sent as soon as possible. The caller has seen that there is room.
    pub(super) fn insert(&mut self, ask: Ask, command: Command) {
        assert!(self.room() > 0, "the caller checks for room");
        self.open.insert(ask, Entry { command, not_before: Time::ZERO, out: false });
        self.ready.insert((Time::ZERO, ask));
    }

    /// From when on the next one may be sent.
    pub(super) fn ready_at(&self) -> Option<Time> {
        self.ready.first().map(|(time, _)| *time)
    }

    /// Takes the next one that may be sent now; it is out from here on.
    pub(super) fn take_ready(&mut self, now: Time) -> Option<(Ask, &Command)> {
        let (time, ask) = *self.ready.first()?;
        if time > now {
            return None;
        }
        self.ready.pop_first();
        let entry = self.open.get_mut(&ask).expect("whatever is ready is open");
        entry.out = true;
        Some((ask, &entry.command))
    }

    /// What an ask that is out asks; `None` if it was forgotten meanwhile.
    pub(super) fn get_out(&self, ask: Ask) -> Option<&Command> {
        self.open.get(&ask).filter(|entry| entry.out).map(|entry| &entry.command)
    }

    /// Ends an ask.
    pub(super) fn remove(&mut self, ask: Ask) {
        if let Some(entry) = self.open.remove(&ask)
            && !entry.out
        {
            self.ready.remove(&(entry.not_before, ask));
        }
    }

    /// An ask that is out gets no answer from this request; send it again, but not before `time`.
    pub(super) fn postpone(&mut self, ask: Ask, time: Time) {
        if let Some(entry) = self.open.get_mut(&ask)
            && entry.out
        {
            entry.out = false;
            entry.not_before = time;
            self.ready.insert((time, ask));
        }
    }

    /// The session is over: what was out may be sent again at once, in the order of asking.
    pub(super) fn requeue(&mut self) {
        for (ask, entry) in &mut self.open {
            if entry.out {
                entry.out = false;
                entry.not_before = Time::ZERO;
                self.ready.insert((Time::ZERO, *ask));
            }
        }
    }
}

impl Command {
    /// The request on the wire.
    pub(super) fn to_message(&self, rid: RequestId) -> Message {
        match self {
            Self::Find { key, want } => Message::Find(Find { rid, want: *want, key: key.clone() }),
            Self::List { prefix, after, limit } => Message::List(List {
                rid,
                limit: *limit,
                prefix: prefix.clone(),
                after: after.clone(),
            }),
            Self::Publish { record, key, copies } => Message::Publish(Publish {
                rid,
                key: *key,
                copies: *copies,
                record: record.as_ref().clone(),
            }),
            Self::Unpublish { name, key } => {
                Message::Unpublish(Unpublish { rid, key: *key, name: name.clone() })
            }
            Self::Summary => Message::SummaryRequest(SummaryRequest { rid }),
        }
    }

    /// Whether this can be the answer; what is too much in it is cut off.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn check(&self, answer: &mut Answer) -> Result<(), &'static str> {
        match (self, answer) {
            (Self::Find { want, .. }, Answer::Swarm(swarm)) => {
                // [T-44] More are a waste, not a danger: they are hints.
                swarm.peers.truncate(usize::from(*want));
                Ok(())
            }
            (Self::List { after, limit, .. }, Answer::Page(page)) => {
                check_page(after, *limit, page)
            }
            (Self::Summary, Answer::Summary(_)) => Ok(()),
            (Self::Publish { .. } | Self::Unpublish { .. }, Answer::Status(_)) => Ok(()),
            (_, Answer::Status(status)) if status.code != Code::OK => Ok(()),
            (_, _) => Err("an answer of another kind than the request's"),
        }
    }
}

/// Whoever pages on from the last name of each page must come to an end, whatever the tracker says.
fn check_page(after: &str, limit: u16, page: &Page) -> Result<(), &'static str> {
    if page.entries.len() > usize::from(limit) {
        return Err("a page of more entries than asked for"); // [T-49]
    }
    if page.more && page.entries.is_empty() {
        return Err("an empty page that claims to go on"); // [T-50]
    }
    let mut last = after;
    for entry in &page.entries {
        let name = entry.record.name.as_str();
        if name <= last {
            return Err("a page whose names do not ascend"); // [T-48]
        }
        last = name;
    }
    Ok(())
}
