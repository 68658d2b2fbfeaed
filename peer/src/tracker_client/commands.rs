//! What the owner can ask and say. Nothing is sent here: that is
//! [`pump`](super::TrackerClient::pump)'s. Invariant: whatever is queued can be encoded, so text is
//! checked and numbers are clamped here, once.

use protocol::limits::{MAX_FIND_WANT, MAX_LIST_LIMIT, MAX_PATH};
use protocol::message::{FindKey, Record, Status};
use protocol::{Code, Holding, ObjectId, PublisherKey, RequestId, check_name};

use super::asks::Command;
use super::{Answer, Ask, MAX_ASKS, Totals, TrackerClient, TrackerEvent};

/// When to try again after the answer BUSY from here, milliseconds.
const BUSY_RETRY_MS: u32 = 1_000;

impl TrackerClient {
    /// How many more asks are taken now. One beyond it is answered with STATUS BUSY by us.
    pub fn room(&self) -> usize {
        self.asks.room()
    }

    /// Asks for a record and up to `want` peers (at most [`MAX_FIND_WANT`]; 0 = the record only). A
    /// name that can't be one is answered with STATUS BAD_NAME by us.
    pub fn find(&mut self, key: FindKey, want: u16) -> Ask {
        let problem = match &key {
            FindKey::Name { name, .. } => name_problem(name),
            FindKey::Object(_) | FindKey::Content(_) => None,
        };
        self.ask(problem, Command::Find { key, want: want.min(MAX_FIND_WANT) })
    }

    /// Asks for up to `limit` names (1 to [`MAX_LIST_LIMIT`]) with this prefix, after this name; both
    /// may be empty.
    pub fn list(&mut self, prefix: String, after: String, limit: u16) -> Ask {
        let problem = (prefix.len().max(after.len()) > MAX_PATH)
            .then(|| format!("expected at most {MAX_PATH} bytes of a name"));
        let limit = limit.clamp(1, MAX_LIST_LIMIT);
        self.ask(problem, Command::List { prefix, after, limit })
    }

    /// Binds the record's name to its object. Its numbers are those of a manifest; `version` and
    /// `published_at` do not matter. `copies` = wanted copies, 0 = the tracker's default.
    pub fn publish(&mut self, record: Record, key: PublisherKey, copies: u8) -> Ask {
        let problem = name_problem(&record.name);
        self.ask(problem, Command::Publish { record: Box::new(record), key, copies })
    }

    /// Removes a name.
    pub fn unpublish(&mut self, name: String, key: PublisherKey) -> Ask {
        self.ask(name_problem(&name), Command::Unpublish { name, key })
    }

    /// Asks for the tracker's totals.
    pub fn summary(&mut self) -> Ask {
        self.ask(None, Command::Summary)
    }

    /// Gives up an ask: no answer to it is told any more, except one that waits to be
    /// [taken](Self::take_events). If its request is out already, it may still take effect.
    pub fn forget(&mut self, ask: Ask) {
        self.asks.remove(ask);
    }

    /// What we hold of an object from now on. Told at the next [`pump`](Self::pump) with a session.
    pub fn set_holding(&mut self, object: ObjectId, holding: Holding) {
        self.holdings.set(object, holding);
    }

    /// Figures for the next BEATs: bytes that we could still store; payload bytes sent to and received
    /// from peers since the start.
    pub fn set_totals(&mut self, free: u64, sent: u64, received: u64) {
        self.totals = Totals { free, sent, received };
    }

    /// Queues an ask, or answers it here if it can't be one.
    fn ask(&mut self, bad_name: Option<String>, command: Command) -> Ask {
        let ask = self.asks.number();
        let (code, retry_ms, text) = match bad_name {
            Some(problem) => (Code::BAD_NAME, 0, problem),
            None if self.asks.room() == 0 => {
                let text = format!("{MAX_ASKS} requests to the tracker are waiting already");
                (Code::BUSY, BUSY_RETRY_MS, text)
            }
            None => {
                self.asks.insert(ask, command);
                return ask;
            }
        };
        let answer = Answer::Status(Status { rid: RequestId(0), code, retry_ms, text });
        self.events.push(TrackerEvent::Answer { ask, answer });
        ask
    }
}

fn name_problem(name: &str) -> Option<String> {
    check_name(name).err().map(|error| error.to_string())
}
