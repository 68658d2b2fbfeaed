//! Frames that are nearly right: real ones and those of the specification's vectors, with something
//! wrong.

use std::sync::LazyLock;

use protocol::message::{
    Bitmap, Block, Bye, Cancel, Close, DataHead, Have, Holdings, Open, Reject, Request, Window,
};
use protocol::{ChannelId, Code, Message, Record};
use reactor::Rng;

/// The frames of the specification's vectors.
static VECTORS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let files = [
        include_str!("../../../spec/vectors/frames.json"),
        include_str!("../../../spec/vectors/streams.json"),
        include_str!("../../../spec/vectors/handshake.json"),
    ];
    let found = files.iter().flat_map(|text| text.split("\"hex\": \"").skip(1));
    let bytes = |hex: &str| -> Option<Vec<u8>> {
        let digits = hex.split('"').next()?;
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        (0..digits.len()).step_by(2).map(byte).collect()
    };
    found.filter_map(bytes).collect()
});

fn number(rng: &mut Rng, bound: u64) -> u32 {
    u32::try_from(rng.below(bound)).unwrap_or(u32::MAX)
}

/// A message that a peer may say, with random numbers in it.
fn message(record: &Record, rng: &mut Rng) -> Vec<u8> {
    let pieces = u64::from(record.piece_count) + 1;
    let channel = ChannelId(number(rng, 3));
    let block = Block { channel, piece: number(rng, pieces), begin: number(rng, 3) << 14 };
    let message = match rng.below(11) {
        0 => Message::Noop,
        1 => Message::Open(Open { channel, object: record.object }),
        2 => Message::Close(Close { channel, code: Code::OK }),
        3 => Message::Bitmap(Bitmap {
            channel,
            manifest_len: record.manifest_len,
            piece_count: record.piece_count,
            holdings: Holdings::All,
        }),
        4 => Message::Have(Have { channel, pieces: vec![block.piece] }),
        5 => Message::Request(Request { block, len: 1 << number(rng, 20) }),
        6 => Message::Reject(Reject { block, code: Code::BUSY }),
        7 => Message::Cancel(Cancel { block }),
        8 => Message::Window(Window { requests: 0 }),
        9 => Message::Bye(Bye { code: Code::BAD_DATA, text: "no".to_owned() }),
        _ => return DataHead { block, len: 100 }.to_frame_head().to_vec(),
    };
    message.to_frame()
}

/// A frame, mostly with something wrong; more than one now and then.
pub(super) fn frame(record: &Record, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = if rng.below(2) == 0 || VECTORS.is_empty() {
        message(record, rng)
    } else {
        VECTORS[rng.index(VECTORS.len())].clone()
    };
    for _ in 0..rng.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = rng.index(bytes.len());
        match rng.below(5) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, bytes[at]),
            3 => bytes[at] = 0xff,
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes.truncate(64 << 10);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_are_found() {
        assert!(VECTORS.len() > 50, "only {} vectors", VECTORS.len());
    }
}
