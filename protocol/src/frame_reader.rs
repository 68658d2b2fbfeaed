//! Frames out of a byte stream that is cut anywhere.

use crate::DecodeError;
use crate::frame::{Header, kind};
use crate::limits::{FRAME_HEADER, MAGIC};
use crate::message::{DataHead, Message};

/// What the reader found next. `'i` is the input; nothing refers to the reader's own buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'i> {
    /// A whole control message.
    Message(Message),
    /// An unknown frame type that may be skipped was skipped.
    Skipped {
        /// Its type, 0x80 or more.
        kind: u8,
    },
    /// The next part of a DATA frame's data, straight from the input.
    Data {
        /// Which block.
        head: DataHead,
        /// Where in the block these bytes begin, 0 for the first part.
        offset: u32,
        /// At least one byte.
        bytes: &'i [u8],
    },
}

/// Reassembles frames [F-2]. Keeps at most one control frame's bytes; never data.
///
/// Invariant 1: never holds more bytes than it was given, and never more than one frame of its type's
/// maximum [F-16]. Invariant 2 [F-12]: the same bytes give the same frames however they are cut (parts of one DATA
/// taken together).
#[derive(Debug, Default)]
pub struct FrameReader {
    state: State,
    /// The bytes so far of the header or body that `state` waits for; empty while it can be taken
    /// straight from the input.
    partial: Vec<u8>,
    /// Whether the first frame is complete.
    greeted: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Header,
    Body(Header),
    /// The first 12 payload bytes of a DATA.
    DataHead(Header),
    Data {
        head: DataHead,
        done: u32,
    },
    Skip {
        kind: u8,
        left: u32,
    },
}

impl FrameReader {
    /// A reader at the start of a stream: the first frame must be a HELLO.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` until one thing is complete, and returns it; `None` when
    /// the input is used up. Call it until then.
    ///
    /// # Errors
    /// After an error the stream has no meaning: close the connection as [`DecodeError::code`] says.
    pub fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Incoming<'i>>, DecodeError> {
        loop {
            match self.state {
                State::Header => {
                    let header = self.whole(input, FRAME_HEADER, |bytes| {
                        let mut header = [0; FRAME_HEADER];
                        header.copy_from_slice(bytes);
                        Header::read(header)
                    });
                    self.check_greeting(header)?;
                    let Some(header) = header else { return Ok(None) };
                    self.state = Self::after_header(header)?;
                }
                State::Body(header) => {
                    self.check_magic(input)?;
                    let message = self.whole(input, header.len as usize, |body| {
                        Message::decode(header.kind, body)
                    });
                    let Some(message) = message else { return Ok(None) };
                    self.state = State::Header;
                    self.greeted = true;
                    return message.map(|message| Some(Incoming::Message(message)));
                }
                State::DataHead(header) => {
                    let head = self.whole(input, DataHead::LEN as usize, |body| {
                        DataHead::read(body, header.len)
                    });
                    let Some(head) = head else { return Ok(None) };
                    self.state = State::Data { head: head?, done: 0 };
                }
                State::Data { head, done } => {
                    let bytes = take_up_to(input, head.len - done);
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    let now = done + len_u32(bytes);
                    let complete = now == head.len;
                    self.state =
                        if complete { State::Header } else { State::Data { head, done: now } };
                    return Ok(Some(Incoming::Data { head, offset: done, bytes }));
                }
                State::Skip { kind, left } => {
                    let left = left - len_u32(take_up_to(input, left));
                    if left > 0 {
                        self.state = State::Skip { kind, left };
                        return Ok(None);
                    }
                    self.state = State::Header;
                    return Ok(Some(Incoming::Skipped { kind }));
                }
            }
        }
    }

    /// Whether the stream stands between two frames.
    pub fn at_boundary(&self) -> bool {
        matches!(self.state, State::Header) && self.partial.is_empty()
    }

    /// Bytes that are kept for the next call.
    pub fn buffered(&self) -> usize {
        self.partial.len()
    }

    /// The DATA frame whose data comes next, and how many bytes of that came already. `None` before the
    /// first of them.
    pub fn data_under_way(&self) -> Option<(DataHead, u32)> {
        match self.state {
            State::Data { head, done } if done > 0 => Some((head, done)),
            _ => None,
        }
    }

    /// The next bytes of the data under way were taken from the stream past this reader: `len`, or as many
    /// as were left of it. Returns how many.
    pub fn pass_data(&mut self, len: u32) -> u32 {
        let State::Data { head, done } = self.state else { return 0 };
        let len = len.min(head.len - done);
        let done = done + len;
        self.state = if done == head.len { State::Header } else { State::Data { head, done } };
        len
    }

    fn after_header(header: Header) -> Result<State, DecodeError> {
        let known = header.check()?;
        Ok(match header.kind {
            _ if !known => State::Skip { kind: header.kind, left: header.len },
            kind::DATA => State::DataHead(header),
            _ => State::Body(header),
        })
    }

    /// The next `size` bytes as seen through `read`, or `None` after keeping all there is.
    fn whole<T>(
        &mut self,
        input: &mut &[u8],
        size: usize,
        read: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        if self.partial.is_empty()
            && let Some((bytes, rest)) = input.split_at_checked(size)
        {
            *input = rest;
            return Some(read(bytes));
        }
        let missing = u32::try_from(size - self.partial.len()).expect("frames are below 16 MiB");
        let part = take_up_to(input, missing);
        // Room for what came, doubled to spare copies, but not for more than this frame: never for
        // what a header merely claims.
        let len = self.partial.len() + part.len();
        if len > self.partial.capacity() {
            let room = len.next_power_of_two().min(size);
            self.partial.reserve_exact(room - self.partial.len());
        }
        self.partial.extend_from_slice(part);
        if self.partial.len() < size {
            return None;
        }
        let value = read(&self.partial);
        // An idle connection keeps no memory for the big frame that it once got.
        if self.partial.capacity() <= KEPT_CAPACITY {
            self.partial.clear();
        } else {
            self.partial = Vec::new();
        }
        Some(value)
    }

    /// Refuses a first frame whose header is not that of a HELLO, as soon as its bytes say so. [H-2]
    fn check_greeting(&self, header: Option<Header>) -> Result<(), DecodeError> {
        if self.greeted {
            return Ok(());
        }
        let ours = match header {
            Some(header) => header.kind == kind::HELLO && header.check().is_ok(),
            None => self.partial.first().is_none_or(|first| *first == kind::HELLO),
        };
        if ours { Ok(()) } else { Err(DecodeError::NotOurs) }
    }

    /// Refuses a first frame that does not begin with the magic, as soon as its bytes say so. [H-3]
    fn check_magic(&self, input: &[u8]) -> Result<(), DecodeError> {
        let came = self.partial.iter().chain(input);
        if self.greeted || came.zip(MAGIC.to_be_bytes()).all(|(came, expected)| *came == expected) {
            Ok(())
        } else {
            Err(DecodeError::NotOurs)
        }
    }
}

/// A buffer of this size is kept from frame to frame.
const KEPT_CAPACITY: usize = 512;

fn take_up_to<'i>(input: &mut &'i [u8], most: u32) -> &'i [u8] {
    let (taken, rest) = input.split_at(input.len().min(most as usize));
    *input = rest;
    taken
}

fn len_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("a part of a frame is below 16 MiB")
}
