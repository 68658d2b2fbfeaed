//! The books of open requests: [`Asked`] of ours, [`Owed`] of the remote's.
//!
//! Know blocks and windows; no channel's state, no byte. Keep invariant S1: an answer needs an open
//! request, and takes it off the books.

use std::collections::BTreeMap;

use protocol::limits::{MAX_BAD_RANGES, MAX_BLOCK, MAX_WINDOW};
use protocol::message::{Block, DataHead, Request};
use protocol::{ChannelId, Code};

use super::Violation;

#[derive(Clone, Copy, Debug)]
struct Entry {
    len: u32,
    /// Whoever asked does not want it any more.
    cancelled: bool,
}

/// Requests that the remote has to answer.
#[derive(Debug, Default)]
pub(super) struct Asked {
    open: BTreeMap<Block, Entry>,
    window: usize,
}

impl Asked {
    /// A window above the maximum counts as the maximum. [H-18]
    pub(super) fn set_window(&mut self, requests: u16) {
        if requests == 0 {
            mark!("window-zero");
        }
        self.window = requests.min(MAX_WINDOW).into();
    }

    /// How many more may be asked. [P-42]
    pub(super) fn free(&self) -> usize {
        if canary!("overrun-window") {
            return 4;
        }
        self.window.saturating_sub(self.open.len())
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Books a request; whether it may be sent.
    pub(super) fn ask(&mut self, request: Request) -> bool {
        let Request { block, len } = request;
        let legal = (1..=MAX_BLOCK).contains(&len) && !self.open.contains_key(&block);
        if legal && self.free() > 0 {
            self.open.insert(block, Entry { len, cancelled: false });
            return true;
        }
        false
    }

    /// Whether CANCEL is to be sent: once, for an open request. It stays open. [P-43]
    pub(super) fn cancel(&mut self, block: Block) -> bool {
        self.open
            .get_mut(&block)
            .is_some_and(|entry| !std::mem::replace(&mut entry.cancelled, true))
    }

    /// The open requests of one piece.
    pub(super) fn of_piece(&self, channel: ChannelId, piece: u32) -> Vec<Block> {
        let first = Block { channel, piece, begin: 0 };
        let last = Block { channel, piece, begin: u32::MAX };
        self.open.range(first..=last).map(|(block, _)| *block).collect()
    }

    /// Whether this is the answer to an open request. [P-35], [P-36]
    pub(super) fn check_data(&self, head: DataHead) -> Result<(), Violation> {
        let DataHead { block, len: got } = head;
        match self.open.get(&block) {
            None => Err(unrequested("DATA", block)),
            Some(entry) if entry.len != got => {
                mark!("answer-of-another-length");
                Err(Violation::BlockLength { block, expected: entry.len, got })
            }
            Some(_) => Ok(()),
        }
    }

    /// An answer is complete.
    pub(super) fn answered(&mut self, block: Block) -> Option<Request> {
        self.open.remove(&block).map(|entry| Request { block, len: entry.len })
    }

    /// A REJECT came.
    pub(super) fn rejected(&mut self, block: Block) -> Result<Request, Violation> {
        self.answered(block).ok_or_else(|| unrequested("REJECT", block))
    }

    /// The channel is gone. [P-10]
    pub(super) fn void(&mut self, channel: ChannelId) {
        self.open.retain(|block, _| block.channel != channel);
    }
}

/// What becomes of a REQUEST.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is on the books.
    Booked,
    /// It is above the window: refuse it.
    Busy,
}

/// Requests that we have to answer.
#[derive(Debug)]
pub(super) struct Owed {
    open: BTreeMap<Block, Entry>,
    window: usize,
    bad_ranges: u32,
    /// Refusals that may still wait to be sent: open as far as the remote can know.
    unsent: usize,
}

impl Owed {
    pub(super) fn new(window: u16) -> Self {
        let window = window.min(MAX_WINDOW).into();
        Self { open: BTreeMap::new(), window, bad_ranges: 0, unsent: 0 }
    }

    pub(super) fn set_window(&mut self, requests: u16) {
        self.window = requests.min(MAX_WINDOW).into();
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn take(&mut self, request: Request) -> Result<Taken, Violation> {
        let Request { block, len } = request;
        if self.open.contains_key(&block) {
            mark!("request-asked-twice");
            // [P-32]
            let problem = "which is open already";
            return Err(Violation::Block { got: "REQUEST", block, problem });
        }
        // [P-46]: counting refusals that wait behind a remote that does not read, too, bounds them.
        let max = usize::from(MAX_WINDOW);
        if self.open.len() + self.unsent >= max {
            mark!("flood-ended");
            return Err(Violation::TooMany { what: "open requests", max });
        }
        // [P-45]
        if self.open.len() >= self.window {
            mark!("request-above-window");
            self.unsent += 1;
            return Ok(Taken::Busy);
        }
        self.open.insert(block, Entry { len, cancelled: false });
        Ok(Taken::Booked)
    }

    /// A CANCEL came; whether it is news. Of an unknown request it is not. [P-40]
    pub(super) fn cancelled(&mut self, block: Block) -> bool {
        self.open
            .get_mut(&block)
            .is_some_and(|entry| !std::mem::replace(&mut entry.cancelled, true))
    }

    /// Answers with a refusal; whether it is to be sent.
    pub(super) fn reject(&mut self, block: Block, code: Code) -> Result<bool, Violation> {
        if self.open.remove(&block).is_none() {
            return Ok(false);
        }
        if code == Code::BAD_RANGE {
            // [P-31]
            if self.bad_ranges >= MAX_BAD_RANGES {
                mark!("bad-ranges-ended");
                let max = MAX_BAD_RANGES as usize;
                return Err(Violation::TooMany { what: "requests out of range", max });
            }
            self.bad_ranges += 1;
        }
        self.unsent += 1;
        Ok(true)
    }

    /// Answers with data; whether it is to be sent.
    pub(super) fn serve(&mut self, head: DataHead) -> bool {
        let fits = self.open.get(&head.block).is_some_and(|entry| entry.len == head.len);
        if fits {
            self.open.remove(&head.block);
            // Nobody queues data behind much else, so earlier refusals are as good as sent.
            self.unsent = 0;
        }
        fits
    }

    /// What waited to be sent has left.
    pub(super) fn flushed(&mut self) {
        self.unsent = 0;
    }

    /// The channel is gone. [P-10]
    pub(super) fn void(&mut self, channel: ChannelId) {
        self.open.retain(|block, _| block.channel != channel);
    }
}

fn unrequested(got: &'static str, block: Block) -> Violation {
    Violation::Block { got, block, problem: "which is not asked for" }
}
