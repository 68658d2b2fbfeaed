//! Single questions to the tracker, and the way of its answers to whoever asked.

use std::time::Duration;

use protocol::limits::MAX_LIST_LIMIT;
use protocol::message::{FindKey, Page};
use protocol::{Code, Record, check_name};
use reactor::{Actions, Time};

use super::{Peer, Running};
use crate::disk::Task;
use crate::job::Target;
use crate::notice::{Failure, Notice};
use crate::similar::similar_names;
use crate::tracker_client::{Answer, Ask, TrackerEvent};

/// A tracker that can't be reached for so long fails a question.
const PATIENCE: Duration = Duration::from_millis(3_500);

/// One question.
#[derive(Debug)]
pub(super) struct Question {
    ask: Ask,
    kind: Kind,
    over: bool,
}

#[derive(Debug)]
enum Kind {
    Find { name: String },
    Similar { name: String },
    List { prefix: String },
    Unpublish { name: String },
}

impl Question {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

impl Peer {
    pub(super) fn start_find(&mut self, at: usize, target: &Target, want: u16) -> Question {
        let (key, name) = match target {
            Target::Name { name, version } => {
                (FindKey::Name { version: *version, name: name.to_string() }, name)
            }
            Target::Exact { name, object } => (FindKey::Object(*object), name),
            Target::Manifest { name, manifest } => (FindKey::Object(manifest.id()), name),
        };
        let ask = self.tracker.find(key, want);
        self.question(at, ask, Kind::Find { name: name.to_string() })
    }

    pub(super) fn start_list(&mut self, at: usize, prefix: String) -> Question {
        let ask = self.tracker.list(prefix.clone(), String::new(), MAX_LIST_LIMIT);
        self.question(at, ask, Kind::List { prefix })
    }

    pub(super) fn start_unpublish(&mut self, at: usize, name: String) -> Question {
        let ask = self.tracker.unpublish(name.clone(), self.config.publisher);
        self.question(at, ask, Kind::Unpublish { name })
    }

    fn question(&mut self, at: usize, ask: Ask, kind: Kind) -> Question {
        self.asks.insert(ask, at);
        Question { ask, kind, over: false }
    }

    fn question_answered(&mut self, at: usize, question: &mut Question, answer: Answer) {
        question.over = true;
        match (&question.kind, answer) {
            (Kind::Find { .. }, Answer::Swarm(mut swarm)) => {
                drop_bad_name(&mut swarm.record);
                self.tell(Notice::Found { swarm });
            }
            (Kind::Find { name }, Answer::Status(status)) if status.code == Code::NOT_FOUND => {
                let name = name.clone();
                let ask = self.tracker.list(String::new(), String::new(), MAX_LIST_LIMIT);
                *question = self.question(at, ask, Kind::Similar { name });
            }
            (Kind::Similar { name }, Answer::Page(page)) => {
                let page = without_bad_names(page);
                let names: Vec<_> =
                    page.entries.into_iter().map(|entry| entry.record.name).collect();
                let similar = similar_names(name, &names);
                self.fail(Failure::NotFound { name: name.clone(), similar });
            }
            (Kind::List { prefix }, Answer::Page(page)) => {
                let last = page.entries.last().map(|entry| entry.record.name.clone());
                let next = last.filter(|_| page.more).map(|after| (prefix.clone(), after));
                self.tell(Notice::Page(without_bad_names(page)));
                if let Some((prefix, after)) = next {
                    let ask = self.tracker.list(prefix.clone(), after, MAX_LIST_LIMIT);
                    *question = self.question(at, ask, Kind::List { prefix });
                }
            }
            (Kind::Unpublish { name }, Answer::Status(status)) if status.code == Code::OK => {
                self.tell(Notice::Unpublished { name: name.clone() });
            }
            (Kind::Unpublish { name }, Answer::Status(status))
                if status.code == Code::NOT_FOUND =>
            {
                self.fail(Failure::NotFound { name: name.clone(), similar: Vec::new() });
            }
            (_, Answer::Status(status)) if status.code == Code::DENIED => {
                self.fail(Failure::Denied { text: status.text });
            }
            (_, Answer::Status(status)) => {
                self.fail(Failure::Refused { code: status.code, text: status.text });
            }
            (_, other) => {
                let text = format!("an answer that does not fit the question: {other:?}");
                self.fail(Failure::Refused { code: Code::BAD_STATE, text });
            }
        }
    }

    pub(super) fn tick_question(&mut self, now: Time, question: &mut Question) {
        let Some((address, why, since)) = self.tracker_down.clone() else { return };
        if !question.over && now.since(since) >= PATIENCE {
            question.over = true;
            self.tracker.forget(question.ask);
            self.fail(Failure::NoTracker { address, why });
        }
    }

    /// Passes on what the tracker said.
    pub(super) fn on_tracker_events(&mut self, now: Time, out: &mut Actions<Task>) {
        for event in self.tracker.take_events() {
            match event {
                TrackerEvent::Up { address } => {
                    self.tracker_up = true;
                    self.tracker_down = None;
                    self.tell(Notice::TrackerUp { address });
                }
                TrackerEvent::Down { address, why, retry } => {
                    self.tracker_up = false;
                    let since = self.tracker_down.as_ref().map_or(now, |(_, _, since)| *since);
                    self.tracker_down = Some((address.clone(), why.clone(), since));
                    self.tell(Notice::TrackerDown { address, why, retry });
                }
                TrackerEvent::Answer { ask, answer } => self.on_answer(now, ask, answer, out),
                TrackerEvent::Peers(swarm) => {
                    self.add_peers(&swarm);
                    self.dial(now, out);
                }
                TrackerEvent::Stranger => self.recheck_all_names(),
                TrackerEvent::Lease(lease) if lease.sync => self.recheck_all_names(),
                TrackerEvent::Lease(_) => {}
                TrackerEvent::Refused { code, text } => self.on_refused(code, &text, out),
            }
        }
    }

    fn on_answer(&mut self, now: Time, ask: Ask, answer: Answer, out: &mut Actions<Task>) {
        let Some(at) = self.asks.remove(&ask) else { return };
        self.with_job(at, |peer, job| match job {
            Running::Seed(seeding) => peer.seeding_answered(now, at, seeding, ask, &answer, out),
            Running::Fetch(fetch) => peer.fetch_answered(now, fetch, ask, answer, out),
            Running::Ask(question) => peer.question_answered(at, question, answer),
            Running::Over => {}
        });
    }

    fn recheck_all_names(&mut self) {
        for at in 0..self.jobs.len() {
            self.with_job(at, |peer, job| {
                if let Running::Seed(seeding) = job {
                    peer.recheck_names(at, seeding);
                }
            });
        }
    }

    /// The tracker will not have us: questions end, what runs without it goes on.
    fn on_refused(&mut self, code: Code, text: &str, out: &mut Actions<Task>) {
        let failure = match code {
            Code::VERSION => Failure::Incompatible { text: text.to_owned() },
            Code::DENIED => Failure::Denied { text: text.to_owned() },
            _ => Failure::Refused { code, text: text.to_owned() },
        };
        for at in 0..self.jobs.len() {
            let failure = failure.clone();
            self.with_job(at, |peer, job| match job {
                Running::Fetch(fetch) => peer.fetch_refused(fetch, failure, out),
                Running::Ask(question) if !question.over => {
                    question.over = true;
                    peer.fail(failure);
                }
                Running::Seed(_) | Running::Ask(_) | Running::Over => {}
            });
        }
    }
}

/// What a tracker calls an object is shown only if it can be a name; else the object has none. [T-9]
pub(super) fn drop_bad_name(record: &mut Record) {
    if check_name(&record.name).is_err() {
        record.name.clear();
    }
}

/// A page of names that can be names. [T-9]
pub(super) fn without_bad_names(mut page: Page) -> Page {
    page.entries.retain(|entry| check_name(&entry.record.name).is_ok());
    page
}
