//! One connection of the tracker, from outside: what it asks, and what it is told.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use protocol::limits::{MAX_PUSH, PUSH_INTERVAL_S};
use protocol::message::{List, Page, Swarm};
use protocol::{Code, FrameReader, Holding, Incoming, Message, ObjectId, RequestId};
use reactor::Time;

/// One connection, from outside.
pub(super) struct Wire {
    remote: SocketAddr,
    node: u8,
    /// What the tracker says.
    reader: FrameReader,
    /// What it is told, to know what it must answer; `None` after an error.
    oracle: Option<FrameReader>,
    /// Requests that are not answered yet, oldest first.
    pub(super) asked: VecDeque<Message>,
    /// Written, but not yet delivered.
    pub(super) unsent: VecDeque<u8>,
    pub(super) waiting: usize,
    pub(super) stuck: bool,
    pub(super) paused: bool,
    greeted: bool,
    /// BYE was said by the tracker, or it finished.
    pub(super) ended: bool,
    /// The remote said or did something after which it gets no more answers.
    pub(super) spoiled: bool,
    /// Last unsolicited SWARM by object.
    pushed: BTreeMap<ObjectId, Time>,
}

impl Wire {
    /// A connection that has just come.
    pub(super) fn new(remote: SocketAddr, node: u8) -> Self {
        Self {
            remote,
            node,
            reader: FrameReader::new(),
            oracle: Some(FrameReader::new()),
            asked: VecDeque::new(),
            unsent: VecDeque::new(),
            waiting: 0,
            stuck: false,
            paused: false,
            greeted: false,
            ended: false,
            spoiled: false,
            pushed: BTreeMap::new(),
        }
    }

    /// Whether every request of it must be answered.
    pub(super) fn is_sound(&self) -> bool {
        self.greeted && !self.ended && !self.spoiled && self.oracle.is_some()
    }

    /// Notes what the tracker is told now.
    pub(super) fn told(&mut self, mut bytes: &[u8]) {
        let Some(reader) = &mut self.oracle else { return };
        loop {
            match reader.next(&mut bytes) {
                Ok(Some(Incoming::Message(message))) => {
                    if matches!(message, Message::Bye(_)) {
                        self.spoiled = true;
                    }
                    if rid_of_request(&message).is_some_and(|rid| rid.0 != 0) {
                        self.asked.push_back(message);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    self.oracle = None;
                    return;
                }
            }
        }
    }

    /// Checks what the tracker says.
    pub(super) fn hear(&mut self, now: Time, mut bytes: &[u8]) {
        assert!(!self.ended, "[F-21]: bytes after the last word");
        while let Some(incoming) = self.reader.next(&mut bytes).expect("frames") {
            assert!(!self.ended, "[F-21]: a frame after BYE");
            match incoming {
                Incoming::Message(message) => self.hear_message(now, &message),
                Incoming::Skipped { kind } => assert!((0xE0..=0xEF).contains(&kind)),
                Incoming::Data { .. } => panic!("a tracker has no data"),
            }
        }
        assert!(self.reader.at_boundary(), "half a frame");
    }

    fn hear_message(&mut self, now: Time, message: &Message) {
        let rid = match message {
            Message::Hello(_) => {
                assert!(!std::mem::replace(&mut self.greeted, true), "a second HELLO");
                return;
            }
            Message::Bye(_) => {
                self.ended = true;
                return;
            }
            Message::Noop => return,
            Message::Swarm(swarm) if swarm.rid.0 == 0 => return self.pushed(now, swarm),
            Message::Lease(lease) => {
                assert!(lease.lease_s >= 3 * lease.interval_s + 10, "[T-14]");
                lease.rid
            }
            Message::Status(status) => status.rid,
            Message::Swarm(swarm) => swarm.rid,
            Message::Page(page) => page.rid,
            Message::Summary(summary) => summary.rid,
            other => panic!("a tracker does not say {other:?}"),
        };
        let asked = self.asked.pop_front().expect("[T-2]: an answer too many");
        assert_eq!(Some(rid), rid_of_request(&asked), "[T-3]");
        match (&asked, message) {
            (Message::Beat(_), Message::Lease(_))
            | (Message::SummaryRequest(_), Message::Summary(_))
            | (
                Message::Announce(_) | Message::Unpublish(_) | Message::Publish(_),
                Message::Status(_),
            ) => {}
            (_, Message::Status(status)) => assert_ne!(status.code, Code::OK, "[T-2]"),
            (Message::Find(find), Message::Swarm(swarm)) => {
                assert!(swarm.peers.len() <= usize::from(find.want), "[T-44]");
                self.check_peers(swarm);
            }
            (Message::List(list), Message::Page(page)) => check_page(list, page),
            (asked, got) => panic!("[T-2]: {} answers {}", got.name(), asked.name()),
        }
        if let (Message::Publish(publish), Message::Status(status)) = (&asked, message)
            && status.code == Code::OK
        {
            assert!(status.text.parse::<u32>().is_ok_and(|version| version > 0), "[T-35]");
            assert!(protocol::check_name(&publish.record.name).is_ok(), "[T-29]");
        }
    }

    fn check_peers(&self, swarm: &Swarm) {
        let near = self.remote.ip().is_loopback();
        for peer in &swarm.peers {
            let ip = peer.addr.ip();
            assert_ne!(peer.addr.port(), 0, "[T-21]");
            assert!(near || !ip.is_loopback(), "[T-22]");
            assert!(!ip.is_unspecified() && !ip.is_multicast(), "[T-10]");
            assert_ne!(peer.holding, Holding::Dropped);
        }
        let mut addrs: Vec<_> = swarm.peers.iter().map(|peer| peer.addr).collect();
        addrs.sort();
        addrs.dedup();
        // Two nodes may have one advertised address.
        assert!(addrs.len() == swarm.peers.len() || addrs.len() < 8);
    }

    fn pushed(&mut self, now: Time, swarm: &Swarm) {
        assert!(!swarm.peers.is_empty() && swarm.peers.len() <= MAX_PUSH, "[T-46]");
        let least = Duration::from_secs(u64::from(PUSH_INTERVAL_S));
        let last = self.pushed.insert(swarm.record.object, now);
        assert!(last.is_none_or(|last| now.since(last) >= least), "[T-46], node {}", self.node);
        self.check_peers(swarm);
    }
}

fn check_page(list: &List, page: &Page) {
    assert!(page.entries.len() <= usize::from(list.limit), "[T-49]");
    assert!(!page.more || !page.entries.is_empty(), "[T-50]");
    let mut last = list.after.as_str();
    for entry in &page.entries {
        let name = entry.record.name.as_str();
        assert!(name.starts_with(&list.prefix), "[T-48]");
        assert!(name > last || (last.is_empty() && !name.is_empty()), "[T-48]");
        assert!(protocol::check_name(name).is_ok(), "[T-29]");
        last = name;
    }
}

fn rid_of_request(message: &Message) -> Option<RequestId> {
    Some(match message {
        Message::Beat(beat) => beat.rid,
        Message::Announce(announce) => announce.rid,
        Message::Publish(publish) => publish.rid,
        Message::Unpublish(unpublish) => unpublish.rid,
        Message::Find(find) => find.rid,
        Message::List(list) => list.rid,
        Message::SummaryRequest(request) => request.rid,
        _ => return None,
    })
}
