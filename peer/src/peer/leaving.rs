//! How links end: politely, by a broken rule, by wrong data, by silence; and what of them is forgotten.

use std::time::Duration;

use protocol::Code;
use protocol::limits::BYE_LINGER;
use reactor::{Action, Actions, CloseCause, CloseReason, ConnId, Time};

use super::Peer;
use crate::disk::Task;
use crate::link::Link;
use crate::session::Violation;
use crate::swarm::SwarmKey;
use crate::uploads::SessionKey;

/// A node that sent wrong data is left alone for so long.
pub(super) const BAN: Duration = Duration::from_secs(600);

impl Peer {
    /// Ends an older connection to the same node; the swarms that were ours to join on it.
    pub(super) fn replace_link(
        &mut self,
        now: Time,
        conn: ConnId,
        out: &mut Actions<Task>,
    ) -> Vec<SwarmKey> {
        let dialing = |key: &SwarmKey| self.swarms.get(key).is_some_and(|swarm| swarm.dialing);
        let Some(link) = self.links.get(&conn) else { return Vec::new() };
        let mut keys: Vec<_> = link.channels.values().copied().filter(dialing).collect();
        keys.extend(link.dialed_for);
        keys.sort_unstable();
        keys.dedup();
        self.end_link(now, conn, Code::DUPLICATE, "we are connected already", out);
        keys
    }

    pub(super) fn on_bye(
        &mut self,
        now: Time,
        link: &mut Link,
        code: Code,
        text: &str,
        out: &mut Actions<Task>,
    ) {
        link.remote_left = true;
        log::debug!("bye remote={} code={code} text={text:?}", link.remote);
        if code == Code::BAD_DATA {
            mark!("accused-of-wrong-data");
            // They found wrong data in what we sent: our files may have changed under us.
            for key in link.channels.values().copied().collect::<Vec<_>>() {
                self.suspect_files(key, out);
            }
        }
        // Of two connections the other one stays, if we know it already.
        let other = link.node.and_then(|node| self.nodes.get(&node).copied());
        if let Some(other) = other.and_then(|other| self.links.get_mut(&other))
            && code == Code::DUPLICATE
        {
            other.take_addresses(link);
            return;
        }
        let polite = matches!(code, Code::OK | Code::SHUTDOWN);
        let Some(key) = link.dialed_for.filter(|_| !polite) else { return };
        if let Some(swarm) = self.swarms.get_mut(&key) {
            swarm.candidates.failed(now, link.remote);
        }
    }

    /// The remote broke the rules: tell it why, if anything may be told, and end.
    pub(super) fn on_violation(
        &mut self,
        now: Time,
        conn: ConnId,
        violation: &Violation,
        out: &mut Actions<Task>,
    ) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        log::debug!("violation remote={} {violation}", link.remote);
        let (remote, dialed_for) = (link.remote, link.dialed_for);
        if let Some(swarm) = dialed_for.and_then(|key| self.swarms.get_mut(&key)) {
            swarm.candidates.failed(now, remote);
        }
        match violation.code() {
            Some(code) => {
                mark!("violation-answered");
                self.end_link(now, conn, code, &violation.to_string(), out);
            }
            None => {
                mark!("violation-unanswered");
                self.drop_link(now, conn, out);
                out.close(conn, CloseReason::Violation);
            }
        }
    }

    /// Says BYE, and forgets the link's part in every swarm. The connection is closed once the BYE is
    /// out, or after a while.
    pub(super) fn end_link(
        &mut self,
        now: Time,
        conn: ConnId,
        code: Code,
        text: &str,
        out: &mut Actions<Task>,
    ) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        link.session.bye(code, text);
        link.flush(now, conn, out);
        self.leave_swarms(now, conn, out);
        out.push(Action::Finish { conn });
    }

    /// Wrong data came from this link.
    pub(super) fn ban(&mut self, now: Time, conn: ConnId, text: &str, out: &mut Actions<Task>) {
        let Some(link) = self.links.remove(&conn) else { return };
        self.shun(&link, now + BAN);
        self.links.insert(conn, link);
        self.end_link(now, conn, Code::BAD_DATA, text, out);
    }

    /// Leaves a node and its addresses alone until `until`. [P-49]
    pub(super) fn shun(&mut self, link: &Link, until: Time) {
        mark!("ban");
        if canary!("forget-to-ban") {
            return;
        }
        if let Some(node) = link.node {
            self.banned.insert(node, until);
        }
        for swarm in self.swarms.values_mut() {
            for addr in link.addresses() {
                swarm.candidates.avoid(addr, until);
            }
        }
    }

    /// Takes a link out of every swarm, so that others may send what it was sending.
    pub(super) fn leave_swarms(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        if !canary!("leak-on-close") {
            self.uploads.drop_session(SessionKey(conn.0));
        }
        if let Some(link) = self.links.get_mut(&conn) {
            link.channels.clear();
            if let Some(node) = link.node.filter(|node| self.nodes.get(node) == Some(&conn)) {
                self.nodes.remove(&node);
            }
        }
        let mut left = Vec::new();
        for (key, swarm) in &mut self.swarms {
            if swarm.members.contains_key(&conn) {
                swarm.remove_member(conn);
                left.push(*key);
            }
        }
        for key in left {
            self.fill_swarm(now, key, out);
        }
    }

    /// The connection is gone, or about to be closed.
    pub(super) fn drop_link(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        self.leave_swarms(now, conn, out);
        let Some(link) = self.links.remove(&conn) else { return };
        for swarm in self.swarms.values_mut() {
            for addr in link.addresses() {
                if link.node.is_some() {
                    swarm.candidates.lost(now, addr);
                } else {
                    swarm.candidates.failed(now, addr);
                }
            }
        }
    }

    pub(super) fn on_remote_finished(&mut self, now: Time, conn: ConnId, out: &mut Actions<Task>) {
        if self.tracker.owns(conn) {
            self.tracker.on_remote_finished(now, conn, out);
            return;
        }
        // A remote that will ask for nothing more and answer nothing more is of no use to anybody.
        self.drop_link(now, conn, out);
        out.close(conn, CloseReason::Done);
    }

    pub(super) fn on_closed(
        &mut self,
        now: Time,
        conn: ConnId,
        cause: CloseCause,
        out: &mut Actions<Task>,
    ) {
        if self.tracker.owns(conn) {
            self.tracker.on_closed(now, conn, out);
            return;
        }
        if let Some(link) = self.links.get(&conn) {
            log::debug!("closed remote={} cause={cause:?}", link.remote);
            if cause == CloseCause::SourceFailed {
                mark!("file-cut-under-a-send");
                for key in link.channels.values().copied().collect::<Vec<_>>() {
                    self.suspect_files(key, out);
                }
            }
        }
        self.drop_link(now, conn, out);
        self.dial(now, out);
    }

    /// Sessions whose time has come, and remotes that do not read.
    pub(super) fn check_links(&mut self, now: Time, out: &mut Actions<Task>) {
        let due: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.session.deadline() <= now || link.is_clogged(now))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in due {
            let Some(link) = self.links.get_mut(&conn) else { continue };
            let over = link.session.closing_since().is_some_and(|at| now.since(at) >= BYE_LINGER);
            if over || link.is_clogged(now) {
                mark!("remote-does-not-read");
                self.drop_link(now, conn, out);
                out.close(conn, CloseReason::Timeout);
                continue;
            }
            match link.session.on_deadline(now) {
                Ok(()) => link.flush(now, conn, out),
                Err(violation) => self.on_violation(now, conn, &violation, out),
            }
        }
    }

    /// Tells every peer that we are leaving. Who takes its data far more slowly than others is left in the
    /// middle of it: there is no BYE inside a frame [F-24], and the process would only sit out the moment
    /// that it gives to what is queued.
    pub(super) fn say_bye(&mut self, now: Time, out: &mut Actions<Task>) {
        for (conn, link) in self.links.iter_mut() {
            if link.is_being_served() && self.uploads.is_slow(now, SessionKey(conn.0)) {
                mark!("slow-reader-left");
                out.close(*conn, CloseReason::Done);
                continue;
            }
            link.session.bye(Code::SHUTDOWN, "");
            link.flush(now, *conn, out);
            out.push(Action::Finish { conn: *conn });
        }
    }
}
