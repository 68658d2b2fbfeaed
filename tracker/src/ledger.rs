//! Wishes under way: checks a PUBLISH or UNPUBLISH against what will be, gathers what is accepted, and
//! knows who waits for it.
//!
//! While one batch is being made durable the next one gathers. Invariant G1: nobody gets an OK for a
//! write before its batch is durable. Invariant G2: after a failed batch no write is accepted any more.
//! Invariant G3: `staged` holds exactly the names that some unfinished write is about.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::limits::{MAX_OBJECT, MIN_PIECE_LOG2};
use protocol::message::{Publish, Unpublish};
use protocol::{Code, Digest, ObjectId, PublisherKey, Record, check_name};
use reactor::{Actions, ConnId, TaskId, Time};

use crate::catalog::{Catalog, NameEntry, Version};
use crate::config::same_bytes;
use crate::store::{Batch, StoreError, Write, WriteKind};

/// Writes that go into one batch at most, so that no transaction takes long.
const MAX_BATCH: usize = 4_096;

/// Writes that may wait for a batch at all; more are refused as overload.
const MAX_GATHERED: usize = 65_536;

/// Names one wish towards the session that waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

/// Somebody who waits for a batch.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) conn: ConnId,
    pub(crate) ticket: Ticket,
    /// What to say if all goes well.
    pub(crate) text: String,
}

/// What becomes of a wish.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Answer at once.
    Now {
        code: Code,
        text: String,
        /// Worth trying again later.
        retry: bool,
    },
    /// Answer when this ticket comes up.
    Later(Ticket),
}

impl Verdict {
    fn no(code: Code, text: impl Into<String>) -> Self {
        Self::Now { code, text: text.into(), retry: false }
    }
}

/// What a name will be when everything accepted so far is durable.
#[derive(Clone, Debug)]
struct NameState {
    owner: Digest,
    top: u32,
    newest: Option<ObjectId>,
}

#[derive(Debug)]
struct Staged {
    state: NameState,
    /// Unfinished writes about it.
    writes: u32,
    /// The batch of the last of them.
    batch: u64,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Ledger {
    gathered: Vec<Write>,
    /// Waiters of batches that are not finished, by the number of the batch.
    waiters: BTreeMap<u64, Vec<Waiter>>,
    staged: BTreeMap<Arc<str>, Staged>,
    /// Staged names that are new, and so count against the limit already.
    new_names: usize,
    /// Number of the batch under way, if there is one.
    under_way: Option<u64>,
    /// Number of the batch that is being handed out next.
    next_batch: u64,
    next_ticket: u64,
    failed: Option<(StoreError, Time)>,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            gathered: Vec::new(),
            waiters: BTreeMap::new(),
            staged: BTreeMap::new(),
            new_names: 0,
            under_way: None,
            next_batch: 0,
            next_ticket: 0,
            failed: None,
        }
    }

    /// Why the store is not written to any more, and since when.
    pub(crate) fn failure(&self) -> Option<&(StoreError, Time)> {
        self.failed.as_ref()
    }

    /// Whether somebody waits for something to become durable.
    pub(crate) fn busy(&self) -> bool {
        self.under_way.is_some() || !self.gathered.is_empty()
    }

    /// A wish to publish.
    pub(crate) fn publish(
        &mut self,
        catalog: &Catalog,
        max_names: usize,
        conn: ConnId,
        wish: &Publish,
    ) -> Verdict {
        if let Some(refusal) = self.refusal() {
            return refusal;
        }
        let name = wish.record.name.as_str();
        if let Err(error) = check_name(name) {
            // [T-29]
            return Verdict::no(Code::BAD_NAME, error.to_string());
        }
        if !plausible(&wish.record) {
            // [T-31]
            return Verdict::no(Code::MALFORMED, "no manifest can have these numbers");
        }
        let owner = owner_of(wish.key);
        let state = self.state(catalog, name);
        let known = state.is_some();
        let state = match state {
            // [T-33] The same object again is the same version, whoever says so: seeders on many
            // machines share one name.
            Some(state) if state.newest == Some(wish.record.object) => {
                mark!("same-version-again");
                return self.already(conn, name, state.top);
            }
            // [T-30]
            Some(state) if !same_bytes(&state.owner.0, &owner.0) => {
                mark!("name-taken");
                return Verdict::no(
                    Code::NAME_TAKEN,
                    "this name was first published by somebody else",
                );
            }
            Some(state) => state,
            None if catalog.known_count() + self.new_names >= max_names => {
                let text = format!("this tracker keeps {max_names} names at most");
                return Verdict::Now { code: Code::OVERLOADED, text, retry: true };
            }
            None => NameState { owner, top: 0, newest: None },
        };
        let Some(top) = state.top.checked_add(1) else {
            return Verdict::no(Code::FULL, "this name has no version numbers left");
        };
        let after = NameState { top, newest: Some(wish.record.object), ..state };
        let version = Version::from_record(&wish.record, top);
        let kind = WriteKind::Publish { owner: after.owner, copies: wish.copies, version };
        if known {
            mark!("name-gets-a-version");
        } else {
            self.new_names += 1;
        }
        self.accept(conn, name, kind, after, top.to_string())
    }

    /// A wish to remove a name. // [T-37]
    pub(crate) fn unpublish(
        &mut self,
        catalog: &Catalog,
        conn: ConnId,
        wish: &Unpublish,
    ) -> Verdict {
        if let Some(refusal) = self.refusal() {
            return refusal;
        }
        match self.state(catalog, &wish.name) {
            None => Verdict::no(Code::NOT_FOUND, "no such name"),
            Some(state) if !same_bytes(&state.owner.0, &owner_of(wish.key).0) => {
                mark!("not-the-owner");
                Verdict::no(Code::NOT_OWNER, "this name was first published by somebody else")
            }
            Some(NameState { newest: None, .. }) => Verdict::no(Code::NOT_FOUND, "no such name"),
            Some(state) => {
                mark!("unpublished");
                let after = NameState { newest: None, ..state };
                self.accept(conn, &wish.name, WriteKind::Unpublish, after, String::new())
            }
        }
    }

    /// Hands out the next batch if none is under way.
    pub(crate) fn start(&mut self, out: &mut Actions<Batch>) {
        if self.under_way.is_some() || self.gathered.is_empty() || self.failed.is_some() {
            return;
        }
        let rest = self.gathered.split_off(self.gathered.len().min(MAX_BATCH));
        let writes = std::mem::replace(&mut self.gathered, rest);
        out.run(TaskId(self.next_batch), Batch { writes });
        self.under_way = Some(self.next_batch);
        self.next_batch += 1;
    }

    /// A batch is durable: takes it over, and returns who waited for it, in order.
    pub(crate) fn committed(
        &mut self,
        catalog: &mut Catalog,
        id: TaskId,
        batch: Batch,
        published_at: u64,
    ) -> Vec<Waiter> {
        debug_assert_eq!(self.under_way, Some(id.0), "one batch is under way at most");
        self.under_way = None;
        for write in batch.writes {
            self.unstage(catalog, &write.name);
            catalog.apply(write, published_at);
        }
        self.waiters.remove(&id.0).unwrap_or_default()
    }

    /// A batch failed: gives up writing for good, and returns everybody who waited for anything.
    pub(crate) fn fail(&mut self, now: Time, error: StoreError) -> Vec<Waiter> {
        self.under_way = None;
        self.gathered.clear();
        self.staged.clear();
        self.new_names = 0;
        self.failed = Some((error, now));
        std::mem::take(&mut self.waiters).into_values().flatten().collect()
    }

    fn refusal(&self) -> Option<Verdict> {
        if let Some((error, _)) = &self.failed {
            let code = failure_code(error);
            return Some(Verdict::Now { code, text: error.to_string(), retry: true });
        }
        (self.gathered.len() >= MAX_GATHERED).then(|| Verdict::Now {
            code: Code::OVERLOADED,
            text: "too many names are waiting for the disk".to_owned(),
            retry: true,
        })
    }

    fn state(&self, catalog: &Catalog, name: &str) -> Option<NameState> {
        let staged = self.staged.get(name).map(|staged| staged.state.clone());
        staged.or_else(|| {
            let NameEntry { owner, top, .. } = *catalog.entry(name)?;
            let newest = catalog.entry(name)?.newest().map(|version| version.object);
            Some(NameState { owner, top, newest })
        })
    }

    /// The name is, or will be, what is wished: answer as soon as that is durable.
    fn already(&mut self, conn: ConnId, name: &str, version: u32) -> Verdict {
        let text = version.to_string();
        match self.staged.get(name).map(|staged| staged.batch) {
            None => Verdict::Now { code: Code::OK, text, retry: false },
            Some(batch) => self.wait(conn, batch, text),
        }
    }

    fn accept(
        &mut self,
        conn: ConnId,
        name: &str,
        kind: WriteKind,
        after: NameState,
        text: String,
    ) -> Verdict {
        // The gathered writes go out in batches of MAX_BATCH, beginning with `next_batch`.
        let ahead = self.gathered.len() / MAX_BATCH;
        let batch = self.next_batch + u64::try_from(ahead).expect("bounded by MAX_GATHERED");
        let name: Arc<str> = name.into();
        let writes = self.staged.get(&name).map_or(0, |staged| staged.writes) + 1;
        self.staged.insert(Arc::clone(&name), Staged { state: after, writes, batch });
        self.gathered.push(Write { name, kind });
        self.wait(conn, batch, text)
    }

    fn wait(&mut self, conn: ConnId, batch: u64, text: String) -> Verdict {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiters.entry(batch).or_default().push(Waiter { conn, ticket, text });
        Verdict::Later(ticket)
    }

    /// One write about `name` is finished; called before the catalogue takes it over.
    fn unstage(&mut self, catalog: &Catalog, name: &Arc<str>) {
        if catalog.entry(name).is_none() {
            self.new_names -= 1;
        }
        let staged = self.staged.get_mut(name).expect("G3: an unfinished write was about it");
        staged.writes -= 1;
        if staged.writes == 0 {
            self.staged.remove(name);
        }
    }
}

/// What a writer is told about a store that failed.
pub(crate) fn failure_code(error: &StoreError) -> Code {
    if error.full { Code::FULL } else { Code::IO }
}

/// Whether some manifest could have these numbers, as far as that shows without it.
fn plausible(record: &Record) -> bool {
    record.manifest_len > 0
        && record.file_count > 0
        && record.piece_log2 >= MIN_PIECE_LOG2
        && record.length <= MAX_OBJECT
}

/// Names are bound to the digest of a key, so that neither memory nor disk holds keys.
fn owner_of(key: PublisherKey) -> Digest {
    Digest::of(&key.0)
}
