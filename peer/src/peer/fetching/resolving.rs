//! From a name to an object and its peers: what the tracker is asked, and what its answers mean.

use std::sync::Arc;

use protocol::message::{FindKey, Swarm as SwarmMessage};
use protocol::{Code, Manifest, Record};
use reactor::{Actions, Time};

use super::{
    Asked, FIND_WHEN_ALONE, FIND_WHEN_FED, Fetch, Goal, State, TRACKER_PATIENCE, WAIT_POLL,
    WANT_PEERS, unnamed_record,
};
use crate::disk::{FetchKey, Task};
use crate::job::Target;
use crate::notice::{Failure, Notice};
use crate::peer::Peer;
use crate::peer::asking::{drop_bad_name, without_bad_names};
use crate::similar::similar_names;
use crate::swarm::{Home, Swarm};
use crate::tracker_client::{Answer, Ask};

impl Peer {
    /// Asks the tracker for the object and its peers.
    pub(in crate::peer) fn find(&mut self, now: Time, fetch: &mut Fetch) {
        let version = match fetch.target {
            Target::Name { version, .. } => version,
            Target::Exact { .. } | Target::Manifest { .. } => 0,
        };
        let by_name = || FindKey::Name { version, name: fetch.split_name().0 };
        // A name may get another version while we fetch this one.
        let key = fetch.object().map_or_else(by_name, FindKey::Object);
        let ask = self.tracker.find(key, WANT_PEERS);
        self.set_ask(fetch, ask, Asked::Find);
        fetch.next_find = now + fetch.find_pause;
        fetch.find_pause = (fetch.find_pause * 2).min(FIND_WHEN_FED);
        self.next_tick = self.next_tick.min(fetch.next_find);
    }

    fn set_ask(&mut self, fetch: &mut Fetch, ask: Ask, asked: Asked) {
        if let Some((old, _)) = fetch.ask.replace((ask, asked)) {
            self.tracker.forget(old);
            self.asks.remove(&old);
        }
        self.asks.insert(ask, fetch.at);
    }

    pub(in crate::peer) fn fetch_answered(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        ask: Ask,
        answer: Answer,
        out: &mut Actions<Task>,
    ) {
        let Some((_, asked)) = fetch.ask.take_if(|(expected, _)| *expected == ask) else { return };
        match (asked, answer) {
            (Asked::Find, Answer::Swarm(mut found)) => {
                drop_bad_name(&mut found.record);
                self.found(now, fetch, found, out);
            }
            (Asked::Find, Answer::Status(status)) if status.code == Code::NOT_FOUND => {
                self.not_found(now, fetch, out);
            }
            (Asked::Similar, Answer::Page(page)) => {
                let page = without_bad_names(page);
                let names: Vec<_> =
                    page.entries.into_iter().map(|entry| entry.record.name).collect();
                let name = fetch.name().to_string();
                let similar = similar_names(&name, &names);
                if !similar.is_empty() {
                    mark!("did-you-mean");
                }
                self.fail_fetch(fetch, Failure::NotFound { name, similar }, out);
            }
            (Asked::Similar, Answer::Status(_)) => {
                let failure =
                    Failure::NotFound { name: fetch.name().to_string(), similar: Vec::new() };
                self.fail_fetch(fetch, failure, out);
            }
            (Asked::Find, Answer::Status(status)) if fetch.state != State::Resolving => {
                // What goes on needs the tracker only for more peers.
                log::debug!("no more peers code={} text={:?}", status.code, status.text);
                fetch.next_find = now + FIND_WHEN_FED;
            }
            (_, Answer::Status(status)) => {
                let failure = Failure::Refused { code: status.code, text: status.text };
                self.fail_fetch(fetch, failure, out);
            }
            (_, Answer::Swarm(_) | Answer::Page(_) | Answer::Summary(_)) => {}
        }
    }

    pub(in crate::peer) fn found(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        found: SwarmMessage,
        out: &mut Actions<Task>,
    ) {
        let other = fetch.object().is_some_and(|object| object != found.record.object);
        let version = match fetch.target {
            Target::Name { version, .. } if fetch.record.is_none() => version,
            _ => 0,
        };
        if other || (version != 0 && version != found.record.version) {
            log::warn!("the tracker answers with something else object={}", found.record.object);
            self.not_found(now, fetch, out);
            return;
        }
        if fetch.state == State::Resolving {
            fetch.moves(now);
            fetch.record = Some(found.record.clone());
            self.tell(Notice::Found { swarm: found.clone() });
            if fetch.recalls(out) {
                fetch.found = Some(found);
                return;
            }
            let known = match &fetch.target {
                Target::Manifest { manifest, .. } => Some(manifest.clone()),
                _ => None,
            };
            fetch.state = State::GettingManifest;
            self.enter_swarm(now, fetch, &found.record, known, out);
        }
        self.meet(now, fetch, &found, out);
    }

    /// The disk has said whether an earlier run kept the manifest.
    pub(in crate::peer) fn on_recalled(
        &mut self,
        now: Time,
        key: FetchKey,
        kept: Option<Arc<Manifest>>,
        out: &mut Actions<Task>,
    ) {
        self.with_fetch(
            |fetch| fetch.key == key && fetch.state == State::Recalling,
            |peer, fetch| {
                let Some(found) = fetch.found.take() else { return };
                fetch.state = State::GettingManifest;
                peer.enter_swarm(now, fetch, &found.record, kept, out);
                peer.meet(now, fetch, &found, out);
            },
        );
    }

    /// Goes to the peers that the tracker names.
    fn meet(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        found: &SwarmMessage,
        out: &mut Actions<Task>,
    ) {
        self.add_peers(found);
        if found.peers.is_empty() {
            fetch.next_find = now + FIND_WHEN_ALONE;
        }
        self.dial(now, out);
    }

    /// Peers that the tracker names, asked for or not.
    pub(in crate::peer) fn add_peers(&mut self, found: &SwarmMessage) {
        let Some(key) = self.by_object.get(&found.record.object) else { return };
        let Some(swarm) = self.swarms.get_mut(key) else { return };
        for peer in &found.peers {
            swarm.candidates.add(peer.addr);
        }
    }

    pub(in crate::peer) fn enter_swarm(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        record: &Record,
        manifest: Option<Arc<Manifest>>,
        out: &mut Actions<Task>,
    ) {
        if self.by_object.contains_key(&record.object) {
            let text = "this process shares that object already".into();
            self.fail_fetch(fetch, Failure::Refused { code: Code::DUPLICATE, text }, out);
            return;
        }
        let hint = Some(record.manifest_len).filter(|len| *len > 0);
        let mut swarm = Swarm::new(record.object, Home::Fetched(fetch.key), hint);
        swarm.dialing = true;
        let key = self.add_swarm(swarm);
        fetch.swarm = Some(key);
        if let Goal::Data(_) = fetch.goal {
            self.announce(key);
        }
        if let Some(manifest) = manifest {
            if let Some(swarm) = self.swarms.get_mut(&key) {
                swarm.set_manifest(manifest.clone());
            }
            self.use_manifest(now, fetch, manifest, out);
        }
    }

    pub(in crate::peer) fn not_found(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        out: &mut Actions<Task>,
    ) {
        if fetch.state != State::Resolving {
            // The name is gone, or nobody holds it now; links that we have go on.
            fetch.next_find = now + FIND_WHEN_ALONE;
            return;
        }
        let segments = fetch.name().segments().count();
        let by_name = matches!(fetch.target, Target::Name { .. });
        if by_name && fetch.job().is_some() && fetch.inner + 1 < segments {
            mark!("path-inside-an-object");
            fetch.inner += 1;
            self.find(now, fetch);
            return;
        }
        fetch.inner = 0;
        if let Target::Manifest { .. } = &fetch.target {
            fetch.next_find = now + FIND_WHEN_ALONE;
            self.enter_known(now, fetch, out);
        } else if now.since(fetch.started) < fetch.wait() {
            mark!("name-waited-for");
            fetch.next_find = now + WAIT_POLL;
        } else if by_name {
            let limit = protocol::limits::MAX_LIST_LIMIT;
            let ask = self.tracker.list(String::new(), String::new(), limit);
            self.set_ask(fetch, ask, Asked::Similar);
        } else {
            let failure = Failure::NotFound { name: fetch.name().to_string(), similar: Vec::new() };
            self.fail_fetch(fetch, failure, out);
        }
    }

    /// Goes on without the tracker if we know already what it is; who has it may be told later.
    fn enter_known(&mut self, now: Time, fetch: &mut Fetch, out: &mut Actions<Task>) {
        let Target::Manifest { manifest, .. } = &fetch.target else { return };
        let (manifest, record) = (manifest.clone(), unnamed_record(manifest, fetch.name()));
        fetch.state = State::GettingManifest;
        fetch.record = Some(record.clone());
        self.enter_swarm(now, fetch, &record, Some(manifest), out);
    }

    pub(in crate::peer) fn tick_search(
        &mut self,
        now: Time,
        fetch: &mut Fetch,
        out: &mut Actions<Task>,
    ) {
        if fetch.state == State::Resolving {
            self.enter_known(now, fetch, out);
        }
        let alone = fetch
            .swarm
            .and_then(|key| self.swarms.get(&key))
            .is_none_or(|swarm| swarm.members.is_empty());
        let soon = now + FIND_WHEN_ALONE;
        if alone && fetch.swarm.is_some() && fetch.next_find > soon {
            fetch.next_find = soon;
        }
        if fetch.next_find <= now && fetch.ask.is_none() && !self.config.trackers.is_empty() {
            self.find(now, fetch);
        }
        let Some((address, why, since)) = self.tracker_down.clone() else { return };
        let named_only = !matches!(fetch.target, Target::Manifest { .. });
        let patience = TRACKER_PATIENCE.max(fetch.wait());
        if fetch.state == State::Resolving && named_only && now.since(since) >= patience {
            mark!("fetch-without-tracker");
            self.fail_fetch(fetch, Failure::NoTracker { address, why }, out);
        }
    }
}
