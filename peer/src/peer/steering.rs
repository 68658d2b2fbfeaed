//! Those who have everything are asked for what nobody else has.
//!
//! While a piece waits for its turn at a seed, others may have got it from there: then it comes as well
//! from them, and the seed's turn is worth more for a piece that has not left it yet.

use protocol::ChannelId;
use reactor::{Actions, ConnId, Time};

use super::Peer;
use crate::disk::Task;
use crate::link::Link;

impl Peer {
    /// `conn` has these pieces now: calls off what was asked of seeds for them and has not begun to
    /// come, as long as there is something rarer to ask those for.
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
        if !transfer.picker.only_seeds_hold_some() {
            return;
        }
        let seeds =
            swarm.members.iter().filter(|(at, member)| **at != conn && member.counted_as_seed);
        for (at, member) in seeds {
            let mut called_off = false;
            for piece in pieces.iter().filter_map(|raw| manifest.geometry().piece(*raw)) {
                let Some(other) = self.links.get_mut(at) else { continue };
                if transfer.is_untouched(*at, piece) && transfer.drop_piece(*at, piece) {
                    other.session.cancel_piece(member.channel, piece.get());
                    called_off = true;
                }
            }
            if let Some(other) = self.links.get_mut(at).filter(|_| called_off) {
                other.flush(now, *at, out);
            }
        }
    }
}
