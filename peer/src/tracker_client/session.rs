//! What is said on a link: reads the tracker's messages, and fills the link with ours.
//!
//! Nothing here opens or closes connections: a conversation that can't go on is an [`Ending`].

use std::time::Duration;

use protocol::limits::{MAX_BEAT_S, MAX_PUSH, MIN_BEAT_S};
use protocol::message::{Announce, Beat, Hello, Lease, Status, Swarm};
use protocol::{Code, Incoming, Message, RequestId};
use reactor::{Actions, CloseReason, Time};

use super::ending::{Ending, harmless};
use super::link::{Flight, Link, Stage};
use super::route::{Failure, FailureKind, random_up_to};
use super::{Answer, Ask, TrackerClient, TrackerEvent, hello};
use crate::disk::Task;

/// Waits that a tracker may ask for, and what is taken for 0.
const MIN_RETRY: Duration = Duration::from_millis(100);
const DEFAULT_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(300);
/// When to announce again what the tracker refused for a reason that may last.
const REFUSED_RETRY: Duration = Duration::from_secs(60);

/// An answer of the tracker to a request of ours.
enum Reply {
    Lease(Lease),
    Answer(Answer),
}

impl TrackerClient {
    /// Takes in bytes of the tracker.
    pub(super) fn read(&mut self, now: Time, link: &mut Link, bytes: &[u8]) -> Result<(), Ending> {
        let mut input = bytes;
        loop {
            match link.reader.next(&mut input) {
                Ok(Some(Incoming::Message(message))) => self.message(now, link, message)?,
                Ok(Some(Incoming::Skipped { .. })) => {}
                Ok(Some(Incoming::Data { .. })) => return Err(misplaced("DATA")),
                Ok(None) => return Ok(()),
                Err(error) => return Err(Ending::undecodable(&error)),
            }
        }
    }

    fn message(&mut self, now: Time, link: &mut Link, message: Message) -> Result<(), Ending> {
        match message {
            Message::Noop => Ok(()),
            Message::Bye(bye) => Err(Ending::bye(&bye)),
            Message::Hello(theirs) if matches!(link.stage, Stage::Greeting { .. }) => {
                self.greeted(now, link, &theirs)
            }
            Message::Swarm(swarm) if swarm.rid == RequestId(0) => {
                self.pushed(swarm);
                Ok(())
            }
            Message::Lease(lease) => self.reply(now, link, lease.rid, Reply::Lease(lease)),
            Message::Swarm(swarm) => {
                self.reply(now, link, swarm.rid, Reply::Answer(Answer::Swarm(swarm)))
            }
            Message::Page(page) => {
                self.reply(now, link, page.rid, Reply::Answer(Answer::Page(page)))
            }
            Message::Summary(summary) => {
                self.reply(now, link, summary.rid, Reply::Answer(Answer::Summary(summary)))
            }
            Message::Status(mut status) => {
                status.text = harmless(&status.text);
                self.reply(now, link, status.rid, Reply::Answer(Answer::Status(status)))
            }
            // [F-14] [H-10]
            other => Err(misplaced(other.name())),
        }
    }

    fn greeted(&mut self, now: Time, link: &mut Link, theirs: &Hello) -> Result<(), Ending> {
        hello::check(theirs, &self.settings)?;
        log::debug!("tracker session ready conn={} tracker={:?}", link.conn.0, theirs.node);
        link.stage = Stage::Ready;
        link.next_beat = Some(now); // [T-11]
        if self.last_tracker != Some(theirs.node) {
            // It is new, or was started anew, and knows nothing of us. One that we have met before
            // says so with SYNC if it has forgotten.
            if self.last_tracker.is_some() {
                mark!("tracker-started-anew");
            }
            self.last_tracker = Some(theirs.node);
            self.holdings.tell_stranger();
            self.events.push(TrackerEvent::Stranger);
        }
        Ok(())
    }

    /// [T-46] [T-47]
    fn pushed(&mut self, mut swarm: Swarm) {
        mark!("pushed-to");
        swarm.peers.truncate(MAX_PUSH);
        self.events.push(TrackerEvent::Peers(swarm));
    }

    fn reply(
        &mut self,
        now: Time,
        link: &mut Link,
        rid: RequestId,
        reply: Reply,
    ) -> Result<(), Ending> {
        // [T-4] What nobody asked for is ignored.
        let Some(flight) = link.answered(now, rid) else { return Ok(()) };
        match (flight, reply) {
            (Flight::Beat, Reply::Lease(lease)) => {
                self.leased(now, link, lease);
                Ok(())
            }
            (Flight::Beat, Reply::Answer(Answer::Status(status))) if status.code != Code::OK => {
                self.beat_refused(now, link, &status)
            }
            (Flight::Announce(undo), Reply::Answer(Answer::Status(status))) => {
                if status.code != Code::OK {
                    self.holdings.undo(undo);
                    let least = if status.code == Code::OVERLOADED {
                        Duration::ZERO
                    } else {
                        log::warn!("tracker refuses holdings: {} {}", status.code, status.text);
                        REFUSED_RETRY
                    };
                    self.announce_from = now + self.patience(&status).max(least);
                }
                Ok(())
            }
            (Flight::Ask(ask), Reply::Answer(answer)) => self.answer(now, ask, answer),
            (flight, _) => {
                if matches!(flight, Flight::Announce(_)) {
                    self.holdings.tell_all();
                }
                Err(wrong_answer("an answer of another kind than the request's"))
            }
        }
    }

    fn leased(&mut self, now: Time, link: &mut Link, lease: Lease) {
        // [T-13] Neither a flood of BEATs nor a silence that outlasts a lease.
        let interval = lease.interval_s.clamp(MIN_BEAT_S, MAX_BEAT_S);
        // [T-12] The interval, give or take a fifth.
        let fifth = Duration::from_secs(u64::from(interval)) / 5;
        link.next_beat = Some(link.last_beat + fifth * 4 + random_up_to(&mut self.rng, fifth * 2));
        if link.up_since.is_none() {
            link.up_since = Some(now);
            self.route.works();
            self.told_refusal = None;
            let address = self.route.address().to_owned();
            self.events.push(TrackerEvent::Up { address });
        }
        // [T-18] Unless everything has been sent since that BEAT anyway.
        if lease.sync && lease.rid.0 > link.last_reset {
            mark!("tracker-asks-for-all");
            self.holdings.tell_all();
        }
        self.events.push(TrackerEvent::Lease(lease));
    }

    fn beat_refused(&mut self, now: Time, link: &mut Link, status: &Status) -> Result<(), Ending> {
        if status.code == Code::OVERLOADED {
            link.next_beat = Some(now + self.patience(status));
            return Ok(());
        }
        let why = format!("it refuses us ({}: {})", status.code, status.text);
        Err(Ending {
            bye: Some((Code::OK, String::new())),
            reason: CloseReason::Done,
            failure: Failure { why, kind: FailureKind::Overloaded },
        })
    }

    fn answer(&mut self, now: Time, ask: Ask, mut answer: Answer) -> Result<(), Ending> {
        // It may have been forgotten.
        let Some(command) = self.asks.get_out(ask) else { return Ok(()) };
        if let Answer::Status(status) = &answer
            && status.code == Code::OVERLOADED
        {
            let time = now + self.patience(status);
            self.asks.postpone(ask, time);
            return Ok(());
        }
        command.check(&mut answer).map_err(wrong_answer)?;
        self.asks.remove(ask);
        self.events.push(TrackerEvent::Answer { ask, answer });
        Ok(())
    }

    /// How long to wait before what got this STATUS is repeated: what it asks for, and up to a quarter
    /// more, so that not all come back at once. [T-5]
    fn patience(&mut self, status: &Status) -> Duration {
        let asked = match status.retry_ms {
            0 => DEFAULT_RETRY,
            ms => Duration::from_millis(u64::from(ms)).clamp(MIN_RETRY, MAX_RETRY),
        };
        asked + random_up_to(&mut self.rng, asked / 4)
    }

    // ---- our side

    /// From when on there is something to send, as far as the link has room.
    pub(super) fn work_at(&self, link: &Link) -> Time {
        if !link.is_ready() || !link.has_room(0) {
            return Time::MAX;
        }
        let announce = if self.holdings.is_pending() { self.announce_from } else { Time::MAX };
        self.asks.ready_at().unwrap_or(Time::MAX).min(announce)
    }

    /// Sends whatever is due, in one go.
    pub(super) fn fill(&mut self, now: Time, link: &mut Link, out: &mut Actions<Task>) {
        if !link.is_ready() {
            return;
        }
        let mut bytes = Vec::new();
        if link.next_beat.is_some_and(|due| due <= now) {
            self.beat(now, link, &mut bytes);
        }
        if !link.greased {
            link.greased = true;
            bytes.extend(hello::grease_frame(&mut self.rng));
        }
        while self.announce_from <= now
            && link.has_room(bytes.len())
            && let Some(part) = self.holdings.take_part()
        {
            let (reset, entries) = (part.reset, part.entries);
            let rid = link.request(now, &mut bytes, Flight::Announce(part.undo), |rid| {
                Message::Announce(Announce { rid, reset, entries })
            });
            if reset {
                link.last_reset = rid;
            }
        }
        while link.has_room(bytes.len())
            && let Some((ask, command)) = self.asks.take_ready(now)
        {
            link.request(now, &mut bytes, Flight::Ask(ask), |rid| command.to_message(rid));
        }
        if bytes.is_empty() && link.noop_at() <= now {
            Message::Noop.encode(&mut bytes);
        }
        if !bytes.is_empty() {
            link.sent(now, bytes.len());
            out.send(link.conn, bytes);
        }
    }

    fn beat(&self, now: Time, link: &mut Link, bytes: &mut Vec<u8>) {
        let (objects, digest) = self.holdings.told();
        let totals = self.totals;
        link.next_beat = None;
        link.last_beat = now;
        link.request(now, bytes, Flight::Beat, |rid| {
            Message::Beat(Beat {
                rid,
                objects,
                digest,
                free: totals.free,
                sent: totals.sent,
                received: totals.received,
            })
        });
    }
}

/// A valid message where it has no place.
fn misplaced(name: &str) -> Ending {
    Ending::violation(Code::BAD_STATE, format!("{name} from a tracker at this time"))
}

fn wrong_answer(why: &'static str) -> Ending {
    Ending::violation(Code::BAD_STATE, why)
}
