//! The channels of one session: numbers, objects, who has told what it holds.
//!
//! Knows no request. Invariant S2: an object has at most one open channel, and a number is used once.

use std::collections::BTreeMap;

use protocol::limits::MAX_CHANNELS;
use protocol::message::{Bitmap, Open};
use protocol::{ChannelId, Code, ObjectId};

use super::{Side, Violation};

/// An open channel.
#[derive(Debug)]
pub(super) struct Channel {
    object: ObjectId,
    by_us: bool,
    /// Our BITMAP is sent.
    pub(super) told: bool,
    /// Theirs is here.
    heard: Option<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    /// Pieces of the object, if the remote knew then.
    pieces: Option<u32>,
}

/// What becomes of an OPEN.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The channel is open.
    New,
    /// The channel is open, in place of this one of ours, which is gone.
    Instead(ChannelId),
    /// No; the number is used up all the same.
    Refused(Code),
}

#[derive(Debug)]
pub(super) struct Channels {
    open: BTreeMap<ChannelId, Channel>,
    by_object: BTreeMap<ObjectId, ChannelId>,
    side: Side,
    /// `None`: all numbers are used up.
    next_ours: Option<u32>,
    last_theirs: Option<u32>,
}

impl Channels {
    pub(super) fn new(side: Side) -> Self {
        let next_ours = Some(first_number(side));
        let open = BTreeMap::new();
        Self { open, by_object: BTreeMap::new(), side, next_ours, last_theirs: None }
    }

    pub(super) fn open(&mut self, object: ObjectId) -> Option<ChannelId> {
        if self.open.len() >= MAX_CHANNELS || self.by_object.contains_key(&object) {
            return None;
        }
        let number = self.next_ours?;
        self.next_ours = number.checked_add(2);
        let channel = ChannelId(number);
        self.insert(channel, object, true);
        Some(channel)
    }

    pub(super) fn remote_opens(&mut self, open: Open) -> Result<Opening, Violation> {
        let Open { channel, object } = open;
        let wrong = |problem| Violation::Channel { got: "OPEN", channel, problem };
        // [P-1], [P-2]
        if self.is_our_number(channel) {
            return Err(wrong("a number of the other side"));
        }
        if self.last_theirs.is_some_and(|last| channel.0 <= last) {
            return Err(wrong("a number not above the last"));
        }
        self.last_theirs = Some(channel.0);
        let twin = self.by_object.get(&object).copied();
        let opening = match twin {
            // [P-8]: of two openers the dialer wins. Its refusal also answers the other's OPEN [P-4].
            Some(ours) if self.side == Side::Acceptor && self.open[&ours].by_us => {
                mark!("both-opened-acceptor");
                self.close(ours);
                Opening::Instead(ours)
            }
            // [P-7]
            Some(_) => {
                mark!("both-opened-dialer");
                Opening::Refused(Code::DUPLICATE)
            }
            // [P-6]
            None if self.open.len() >= MAX_CHANNELS => Opening::Refused(Code::LIMIT),
            None => Opening::New,
        };
        if !matches!(opening, Opening::Refused(_)) {
            self.insert(channel, object, false);
        }
        Ok(opening)
    }

    /// Takes the channel out; whether it was open.
    pub(super) fn close(&mut self, channel: ChannelId) -> bool {
        let Some(closed) = self.open.remove(&channel) else { return false };
        self.by_object.remove(&closed.object);
        true
    }

    pub(super) fn get_mut(&mut self, channel: ChannelId) -> Option<&mut Channel> {
        self.open.get_mut(&channel)
    }

    pub(super) fn get(&self, channel: ChannelId) -> Option<&Channel> {
        self.open.get(&channel)
    }

    pub(super) fn of(&self, object: ObjectId) -> Option<ChannelId> {
        self.by_object.get(&object).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ChannelId, ObjectId)> + '_ {
        self.open.iter().map(|(id, channel)| (*id, channel.object))
    }

    /// The channel that the remote's message is on; `None` if it was open once: the message is dropped
    /// without an effect [P-12].
    pub(super) fn named(
        &mut self,
        channel: ChannelId,
        got: &'static str,
    ) -> Result<Option<&mut Channel>, Violation> {
        let was_open = if self.is_our_number(channel) {
            self.next_ours.is_none_or(|next| channel.0 < next)
        } else {
            self.last_theirs.is_some_and(|last| channel.0 <= last)
        };
        if !was_open {
            // [P-13]
            return Err(Violation::Channel { got, channel, problem: "which was never open" });
        }
        Ok(self.open.get_mut(&channel))
    }

    /// As [`Channels::named`], for messages that need the remote's BITMAP in front of them. [P-15]
    pub(super) fn live(
        &mut self,
        channel: ChannelId,
        got: &'static str,
    ) -> Result<Option<&mut Channel>, Violation> {
        match self.named(channel, got)? {
            Some(found) if found.heard.is_none() => {
                Err(Violation::Channel { got, channel, problem: "before a BITMAP" })
            }
            found => Ok(found),
        }
    }

    /// Whether frames about pieces make sense on this channel.
    pub(super) fn is_live(&self, channel: ChannelId) -> bool {
        self.open.get(&channel).is_some_and(|found| found.heard.is_some())
    }

    fn insert(&mut self, channel: ChannelId, object: ObjectId, by_us: bool) {
        self.open.insert(channel, Channel { object, by_us, told: false, heard: None });
        self.by_object.insert(object, channel);
    }

    fn is_our_number(&self, channel: ChannelId) -> bool {
        channel.0 % 2 == first_number(self.side)
    }
}

impl Channel {
    /// Whether both BITMAPs are exchanged.
    pub(super) fn is_live(&self) -> bool {
        self.told && self.heard.is_some()
    }

    pub(super) fn hears(&mut self, bitmap: &Bitmap) -> Result<(), Violation> {
        if self.heard.is_some() {
            // [P-14]
            let channel = bitmap.channel;
            return Err(Violation::Channel {
                got: "BITMAP",
                channel,
                problem: "for the second time",
            });
        }
        let pieces = (bitmap.manifest_len > 0).then_some(bitmap.piece_count);
        self.heard = Some(Heard { pieces });
        Ok(())
    }

    /// Whether the object can have these pieces. [P-23]
    pub(super) fn check_pieces(&self, pieces: &[u32]) -> Result<(), Violation> {
        let Some(count) = self.heard.and_then(|heard| heard.pieces) else { return Ok(()) };
        match pieces.iter().find(|piece| **piece >= count) {
            Some(piece) => Err(Violation::NoSuchPiece { piece: *piece, count }),
            None => Ok(()),
        }
    }
}

/// Dialers open even channels, acceptors odd ones. [P-1]
fn first_number(side: Side) -> u32 {
    match side {
        Side::Dialer => 0,
        Side::Acceptor => 1,
    }
}
