//! Where else to ask for what was asked of somebody and has not begun to come, when one more holds it.
//!
//! Whoever gets a piece first is asked for it by everybody. As it spreads, the requests spread with it:
//! the `k`th holder takes each waiting request over with a chance of one in `k`, which leaves every holder
//! with the same share of them. From those who have everything a request is always taken, as long as
//! there is something to ask them for that nobody else has: their turn is worth more for that.

use protocol::ChannelId;
use reactor::{Actions, ConnId, Time};

use super::Peer;
use crate::disk::Task;
use crate::link::Link;

impl Peer {
    /// `conn` has these pieces now: calls off what waits elsewhere for them, so that it can be asked of
    /// `conn`.
    pub(super) fn steer(
        &mut self,
        now: Time,
        conn: ConnId,
        link: &Link,
        channel: ChannelId,
        pieces: &[u32],
        out: &mut Actions<Task>,
    ) {
        let Some(key) = link.channels.get(&channel) else { return };
        let Some(swarm) = self.swarms.get_mut(key) else { return };
        let (Some(manifest), Some(transfer)) = (&swarm.manifest, &mut swarm.transfer) else {
            return;
        };
        let mut room = link.pipeline.room() > 0 && link.snubbed_until <= now;
        for piece in pieces.iter().filter_map(|raw| manifest.geometry().piece(*raw)) {
            let Some(at) = transfer.waits_at(piece).filter(|at| *at != conn) else { continue };
            let Some(member) = swarm.members.get(&at) else { continue };
            let better_used = member.counted_as_seed && transfer.picker.only_seeds_hold_some();
            let holders = transfer.picker.availability(piece).max(1);
            let moves = room && self.rng.index(holders as usize) == 0;
            let Some(other) = self.links.get_mut(&at).filter(|_| better_used || moves) else {
                continue;
            };
            if better_used {
                mark!("seed-steered");
            } else {
                mark!("request-spread");
            }
            room &= !moves;
            transfer.recall(at, piece, conn);
            other.session.cancel_piece(member.channel, piece.get());
            other.flush(now, at, out);
        }
    }
}
