//! The vectors, and what the protocol crate makes of a stream.

use std::path::PathBuf;

use protocol::message::DataHead;
use protocol::{DecodeError, FrameReader, Incoming, Message};
use serde_json::{Value, json};

use super::message_json::{block, describe, hex, with};

pub(crate) fn spec(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../spec").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn document(name: &str) -> Value {
    serde_json::from_str(&spec(&format!("vectors/{name}.json"))).expect("vectors are JSON")
}

pub(crate) fn rows<'v>(document: &'v Value, list: &str) -> &'v [Value] {
    let rows = document[list].as_array().unwrap_or_else(|| panic!("no list {list}"));
    assert!(rows.len() > 5, "{list} has only {} vectors", rows.len());
    rows
}

pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "an odd number of hex digits");
    let pairs = digits.chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).expect("hex is ASCII");
        u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("{pair} is not hex"))
    });
    pairs.collect()
}

/// The bytes of a vector: `hex`, or `parts` that are repeated.
pub(crate) fn bytes_of(vector: &Value) -> Vec<u8> {
    let Some(parts) = vector["parts"].as_array() else {
        return unhex(text(vector, "hex"));
    };
    let piece = |part: &Value| {
        let times = part[1].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a count");
        unhex(part[0].as_str().expect("hex")).repeat(times)
    };
    parts.iter().flat_map(piece).collect()
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Seen {
    Message(Message),
    Skipped(u8),
    Data(DataHead, Vec<u8>),
}

impl Seen {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Message(message) => describe(message).0.to_owned(),
            Self::Skipped(kind) => format!("SKIPPED {kind:#04x}"),
            Self::Data(..) => "DATA".to_owned(),
        }
    }

    pub(crate) fn fields(&self) -> Value {
        match self {
            Self::Message(message) => describe(message).1,
            Self::Skipped(kind) => json!({"type": kind}),
            Self::Data(head, bytes) => with(block(&head.block), json!({"bytes": hex(bytes)})),
        }
    }

    /// The frame again, from what was understood of it.
    pub(crate) fn encode(&self) -> Option<Vec<u8>> {
        match self {
            Self::Message(message) => Some(message.to_frame()),
            Self::Skipped(_) => None,
            Self::Data(head, bytes) => Some([&head.to_frame_head()[..], bytes].concat()),
        }
    }
}

/// All that a reader makes of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) seen: Vec<Seen>,
    pub(crate) error: Option<DecodeError>,
    pub(crate) at_boundary: bool,
}

impl Reading {
    /// The name of the closing code, "CLOSE" where nothing may be sent, or `None`.
    pub(crate) fn code(&self) -> Option<String> {
        let error = self.error.as_ref()?;
        Some(error.code().map_or_else(|| "CLOSE".to_owned(), |code| code.to_string()))
    }
}

/// Feeds `chunks` in order, after a HELLO unless they are the `first` bytes of a connection.
pub(crate) fn read<'c>(first: bool, chunks: impl Iterator<Item = &'c [u8]>) -> Reading {
    let mut reader = FrameReader::new();
    if !first {
        let hello = unhex("0100001cd353575001010100000102030405060708090a0b0c0d0e0f23290200");
        let greeted = reader.next(&mut hello.as_slice());
        assert!(matches!(greeted, Ok(Some(Incoming::Message(Message::Hello(_))))), "{greeted:?}");
    }
    let mut seen = Vec::new();
    for mut chunk in chunks {
        loop {
            match reader.next(&mut chunk) {
                Ok(Some(incoming)) => keep(&mut seen, incoming),
                Ok(None) => break,
                Err(error) => return Reading { seen, error: Some(error), at_boundary: false },
            }
        }
        assert!(chunk.is_empty(), "the reader left bytes that it wants no more of");
    }
    let cut_data =
        matches!(seen.last(), Some(Seen::Data(head, bytes)) if bytes.len() < head.len as usize);
    if cut_data {
        seen.pop();
    }
    Reading { seen, error: None, at_boundary: reader.at_boundary() }
}

/// Adds what came; parts of one DATA become one.
fn keep(seen: &mut Vec<Seen>, incoming: Incoming<'_>) {
    match incoming {
        Incoming::Message(message) => seen.push(Seen::Message(message)),
        Incoming::Skipped { kind } => seen.push(Seen::Skipped(kind)),
        Incoming::Data { head, offset: 0, bytes } => seen.push(Seen::Data(head, bytes.to_vec())),
        Incoming::Data { head, offset, bytes } => match seen.last_mut() {
            Some(Seen::Data(before, so_far)) => {
                assert_eq!(*before, head, "the parts of one DATA name one block");
                assert_eq!(so_far.len(), offset as usize, "the parts of a DATA are in order");
                so_far.extend_from_slice(bytes);
            }
            other => panic!("the rest of a DATA after {other:?}"),
        },
    }
}

pub(crate) fn whole(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::once(bytes)
}
