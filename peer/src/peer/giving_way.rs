//! Who makes room when every place for a connection is taken: a link that has long been of no use to either
//! side. Without that, a few silent remotes, or a few that have nothing we want, could keep us from those
//! who have it for ever.

use std::time::Duration;

use protocol::Code;
use reactor::{Actions, ConnId, Time};

use super::Peer;
use crate::disk::Task;
use crate::session::Side;
use crate::swarm::SwarmKey;
use crate::uploads::SessionKey;

/// A link is of no use if for so long no data came or went, and nothing is to go. Longer than any pause in
/// which a remote may still become useful: one that was silent is asked again, one that had nothing to give
/// may have got something.
const USELESS_AFTER: Duration = Duration::from_secs(30);

impl Peer {
    /// Ends the most useless of the links that we dialed, if an address waits to be dialed for a swarm.
    pub(super) fn make_room_to_dial(&mut self, now: Time, key: SwarmKey, out: &mut Actions<Task>) {
        let Some(swarm) = self.swarms.get(&key).filter(|swarm| swarm.dialing) else { return };
        if !swarm.candidates.has_ready(now) || !self.has_all_links(key) {
            return;
        }
        let Some(conn) = self.most_useless(now, Side::Dialer) else { return };
        mark!("useless-link-gives-way");
        // Others are tried before it.
        if let Some(link) = self.links.get(&conn) {
            log::debug!("of no use remote={}", link.remote);
            for swarm in self.swarms.values_mut() {
                link.addresses().for_each(|addr| swarm.candidates.failed(now, addr));
            }
        }
        self.end_link(now, conn, Code::OVERLOADED, "others wait for this connection", out);
    }

    /// The link that was of no use for longest, if there is one.
    pub(super) fn most_useless(&self, now: Time, side: Side) -> Option<ConnId> {
        let useless = self.links.iter().filter(|(conn, link)| {
            let idle = now.since(link.useful_at) >= USELESS_AFTER;
            let of_side = link.session.side() == side && !link.session.is_closing();
            let waits = self.uploads.queued(SessionKey(conn.0)) > 0 || link.is_being_served();
            idle && of_side && !waits
        });
        useless.min_by_key(|(conn, link)| (link.useful_at, **conn)).map(|(conn, _)| *conn)
    }
}
