//! Reads a fetch's journal as its format is written down, without the code that writes it.

use protocol::{ObjectId, PieceSet};

/// What a journal says: the inode of its data, and the pieces that it calls durable and written.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) inode: u64,
    pub(crate) durable: PieceSet,
    pub(crate) written: PieceSet,
}

/// `None` if these bytes are not a journal of this object.
pub(crate) fn read(bytes: &[u8], object: ObjectId, pieces: u32) -> Option<Claims> {
    let word = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let head = bytes.get(..64)?;
    let right = head[..8] == *b"SWPJ\0\0\0\x01" && head[8..40] == object.0;
    if !right || word(40)? != pieces || word(60)? != crc(&head[..60]) {
        return None;
    }
    let inode = u64::from_be_bytes(head[44..52].try_into().ok()?);
    let none = PieceSet::empty(pieces);
    let mut claims = Claims { inode, durable: none.clone(), written: none };
    for (number, record) in (0u32..).zip(bytes[64..].chunks_exact(16)) {
        let field = |at: usize| {
            record[at..at + 4].iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte))
        };
        if field(8) != number || field(12) != crc(&record[..12]) {
            break;
        }
        let set = if field(0) == 2 { &mut claims.durable } else { &mut claims.written };
        let mut bits = set.as_bytes().to_vec();
        let piece = usize::try_from(field(4)).ok()?;
        let bit = 0x80 >> (piece % 8);
        match field(0) {
            1 | 2 => *bits.get_mut(piece / 8)? |= bit,
            _ => *bits.get_mut(piece / 8)? &= !bit,
        }
        *set = PieceSet::from_bytes(pieces, &bits)?;
    }
    Some(claims)
}

/// CRC-32 as in IEEE 802.3, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}
