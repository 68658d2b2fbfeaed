//! Reads and writes the primitive types of the wire. The only file that takes byte slices apart.
//!
//! Invariant: a [`Reader`] never looks beyond its slice and never allocates more than the slice holds,
//! whatever lengths the bytes claim; a [`Writer`] never makes a payload above its type's maximum
//! unnoticed.

use std::ops::RangeInclusive;

use byteorder::{BigEndian, ByteOrder};

use crate::{DecodeError, frame, rules};

/// Takes fields off the front of a payload; each call names the field for the error.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(body: &'a [u8]) -> Self {
        Self { rest: body, at: 0 }
    }

    /// Where the next field begins.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Bytes that are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The error for a field that begins at `offset`.
    pub(crate) fn error_at(
        offset: usize,
        field: &'static str,
        problem: &'static str,
        rule: &'static str,
    ) -> DecodeError {
        DecodeError::Field { field, offset, problem, rule }
    }

    /// Exactly `len` bytes.
    pub(crate) fn bytes(
        &mut self,
        field: &'static str,
        len: usize,
    ) -> Result<&'a [u8], DecodeError> {
        // [F-7] [F-8]
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            return Err(Self::error_at(self.at, field, "the payload ends inside it", rules::EXACT));
        };
        self.rest = rest;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(field, N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let [byte] = self.array(field)?;
        Ok(byte)
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.bytes(field, 2).map(BigEndian::read_u16)
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.bytes(field, 4).map(BigEndian::read_u32)
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.bytes(field, 8).map(BigEndian::read_u64)
    }

    /// A u8 in a range.
    pub(crate) fn u8_in(
        &mut self,
        field: &'static str,
        range: RangeInclusive<u8>,
        rule: &'static str,
    ) -> Result<u8, DecodeError> {
        let at = self.at;
        let value = self.u8(field)?;
        self.check(range.contains(&value), at, field, "outside its range", rule)?;
        Ok(value)
    }

    /// A u32 in a range.
    pub(crate) fn u32_in(
        &mut self,
        field: &'static str,
        range: RangeInclusive<u32>,
        rule: &'static str,
    ) -> Result<u32, DecodeError> {
        let at = self.at;
        let value = self.u32(field)?;
        self.check(range.contains(&value), at, field, "outside its range", rule)?;
        Ok(value)
    }

    /// A u16 in a range.
    pub(crate) fn u16_in(
        &mut self,
        field: &'static str,
        range: RangeInclusive<u16>,
        rule: &'static str,
    ) -> Result<u16, DecodeError> {
        let at = self.at;
        let value = self.u16(field)?;
        self.check(range.contains(&value), at, field, "outside its range", rule)?;
        Ok(value)
    }

    /// A byte of flags of which only bit 0 has a meaning.
    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        let at = self.at;
        let value = self.u8(field)?;
        // [F-11]
        self.check(value <= 1, at, field, "expected 0 or 1", rules::SPARE)?;
        Ok(value == 1)
    }

    /// A string behind its u16 length, at most `max` bytes.
    pub(crate) fn str16(
        &mut self,
        field: &'static str,
        max: usize,
    ) -> Result<&'a str, DecodeError> {
        let at = self.at;
        let len = usize::from(self.u16(field)?);
        self.check(len <= max, at, field, "longer than allowed", rules::RANGE)?;
        let bytes = self.bytes(field, len)?;
        Self::utf8(bytes, at, field)
    }

    /// All bytes that are left, as text.
    pub(crate) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let at = self.at;
        let bytes = self.bytes(field, self.rest.len())?;
        Self::utf8(bytes, at, field)
    }

    fn utf8(bytes: &'a [u8], at: usize, field: &'static str) -> Result<&'a str, DecodeError> {
        // [F-9]
        str::from_utf8(bytes).map_err(|_| Self::error_at(at, field, "not UTF-8", rules::UTF8))
    }

    /// Refuses unless `holds`.
    pub(crate) fn check(
        &self,
        holds: bool,
        offset: usize,
        field: &'static str,
        problem: &'static str,
        rule: &'static str,
    ) -> Result<(), DecodeError> {
        debug_assert!(offset <= self.at, "a check names what was read");
        if holds { Ok(()) } else { Err(Self::error_at(offset, field, problem, rule)) }
    }

    /// Refuses trailing bytes.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        // [F-7]
        self.check(self.rest.is_empty(), self.at, "end", "bytes after the last field", rules::EXACT)
    }
}

/// Appends fields.
pub(crate) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    room: usize,
}

impl<'a> Writer<'a> {
    /// A writer of the payload of a frame; the header is filled in by [`Writer::finish_frame`].
    pub(crate) fn frame(out: &'a mut Vec<u8>, kind: u8) -> Self {
        out.extend_from_slice(&[kind, 0, 0, 0]);
        let room = frame::spec(kind).map_or(0, |spec| spec.max as usize);
        let start = out.len();
        Self { out, start, room }
    }

    /// A writer of something that is not a frame, at most `room` bytes.
    pub(crate) fn plain(out: &'a mut Vec<u8>, room: usize) -> Self {
        let start = out.len();
        Self { out, start, room }
    }

    /// Bytes that may still be written.
    pub(crate) fn room(&self) -> usize {
        self.room.saturating_sub(self.out.len() - self.start)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        let mut bytes = [0; 2];
        BigEndian::write_u16(&mut bytes, value);
        self.bytes(&bytes);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        let mut bytes = [0; 4];
        BigEndian::write_u32(&mut bytes, value);
        self.bytes(&bytes);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        let mut bytes = [0; 8];
        BigEndian::write_u64(&mut bytes, value);
        self.bytes(&bytes);
    }

    /// A string behind its u16 length; what is longer than `max` is a caller's mistake and is cut.
    pub(crate) fn str16(&mut self, text: &str, max: usize) {
        debug_assert!(text.len() <= max, "a string of {} bytes, at most {max}", text.len());
        let text = clip(text, max.min(usize::from(u16::MAX)));
        self.u16(u16::try_from(text.len()).expect("clipped to at most u16::MAX"));
        self.bytes(text.as_bytes());
    }

    /// Text to the end of the payload, cut at a character to what the frame has room for. Not a
    /// mistake: reasons for people may be as long as they happen to be.
    pub(crate) fn text(&mut self, text: &str) {
        let text = clip(text, self.room());
        self.bytes(text.as_bytes());
    }

    /// Fills in the length of the frame.
    pub(crate) fn finish_frame(self) {
        let len = self.out.len() - self.start;
        debug_assert!(len <= self.room, "a payload of {len} bytes, at most {}", self.room);
        let len = u32::try_from(len).expect("no message is near 4 GiB: every list is clipped");
        BigEndian::write_u24(&mut self.out[self.start - 3..self.start], len);
    }
}

/// The longest front of `text` that has at most `max` bytes and ends at a character.
fn clip(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
