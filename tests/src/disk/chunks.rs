//! What is in a file, in chunks that copies of it share: a thousand disks may hold the same object, and
//! each of them twice, as it shows and as it is durable.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a chunk. A write of just one whole chunk is kept as it is, and not copied.
pub(super) const CHUNK: usize = 256 << 10;

static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// Bytes of a file. Chunks may be shorter than they could be, and missing; zeros follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    len: usize,
    chunks: Vec<Option<Arc<[u8]>>>,
}

impl Chunks {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Cuts bytes off, or adds zeros.
    pub(super) fn resize(&mut self, len: usize) {
        let count = len.div_ceil(CHUNK);
        self.chunks.resize(count, None);
        if let (true, Some(Some(last))) = (len < self.len, self.chunks.last_mut()) {
            let kept = len - (count - 1) * CHUNK;
            *last = last.get(..kept).unwrap_or(last).into();
        }
        self.len = len;
    }

    /// Puts bytes in their place, which must not begin behind the end.
    pub(super) fn write(&mut self, start: usize, bytes: &Arc<[u8]>) {
        let end = start + bytes.len();
        if self.len < end {
            self.resize(end);
        }
        if start.is_multiple_of(CHUNK) && bytes.len() == CHUNK {
            self.chunks[start / CHUNK] = Some(bytes.clone());
            return;
        }
        let (mut at, mut rest) = (start, &bytes[..]);
        while !rest.is_empty() {
            let (index, skew) = (at / CHUNK, at % CHUNK);
            let (now, later) = rest.split_at(rest.len().min(CHUNK - skew));
            let end = skew + now.len();
            let own = self.chunks[index].as_mut().and_then(Arc::get_mut);
            if let Some(there) = own.and_then(|own| own.get_mut(skew..end)) {
                there.copy_from_slice(now);
            } else {
                let mut chunk = self.chunks[index].as_deref().unwrap_or_default().to_vec();
                chunk.resize(chunk.len().max(end), 0);
                chunk[skew..end].copy_from_slice(now);
                self.chunks[index] = Some(chunk.into());
            }
            (at, rest) = (at + now.len(), later);
        }
    }

    /// The bytes of a range that lies inside, part by part.
    fn parts(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let mut at = range.start;
        std::iter::from_fn(move || {
            let (index, skew) = (at / CHUNK, at % CHUNK);
            let end = range.end.min((index + 1) * CHUNK);
            if at >= end {
                return None;
            }
            let chunk = self.chunks.get(index)?.as_deref().unwrap_or_default();
            let there = chunk.get(skew..chunk.len().min(skew + end - at)).unwrap_or_default();
            let part = if there.is_empty() { &ZEROS[..end - at] } else { there };
            at += part.len();
            Some(part)
        })
    }

    /// Adds the bytes of a range to `out`; `None` if it does not lie inside.
    pub(super) fn append_to(&self, out: &mut Vec<u8>, range: Range<usize>) -> Option<()> {
        let inside = range.start <= range.end && range.end <= self.len;
        inside.then(|| self.parts(range).for_each(|part| out.extend_from_slice(part)))
    }

    /// The bytes of a range; `None` if it does not lie inside.
    pub(super) fn get(&self, range: Range<usize>) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        self.append_to(&mut all, range).map(|()| all)
    }

    /// Fills `buffer` with what is from `start` on, which must be as much.
    pub(super) fn read(&self, start: usize, buffer: &mut [u8]) {
        let end = start + buffer.len();
        let mut rest = buffer;
        for part in self.parts(start..end) {
            let (now, later) = rest.split_at_mut(part.len());
            now.copy_from_slice(part);
            rest = later;
        }
    }

    /// All bytes.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        self.get(0..self.len).expect("all of it lies inside")
    }
}

impl Hash for Chunks {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.len.hash(hasher);
        self.to_vec().hash(hasher);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_plain_vector_would() {
        let mut rng = reactor::Rng::new(1);
        let (mut chunks, mut plain) = (Chunks::default(), Vec::new());
        for round in 0..100_u8 {
            match rng.below(4) {
                0 => {
                    let len = rng.index(5 * CHUNK);
                    chunks.resize(len);
                    plain.resize(len, 0);
                }
                1 => {
                    let start = rng.index(plain.len() / CHUNK + 1) * CHUNK;
                    let whole: Arc<[u8]> = vec![round; CHUNK].into();
                    chunks.write(start, &whole);
                    plain.resize(plain.len().max(start + CHUNK), 0);
                    plain[start..start + CHUNK].copy_from_slice(&whole);
                }
                _ => {
                    let start = rng.index(plain.len() + 1);
                    let bytes: Arc<[u8]> = vec![round; rng.index(2 * CHUNK)].into();
                    chunks.write(start, &bytes);
                    plain.resize(plain.len().max(start + bytes.len()), 0);
                    plain[start..start + bytes.len()].copy_from_slice(&bytes);
                }
            }
            assert_eq!(chunks.len(), plain.len());
            assert_eq!(chunks.to_vec(), plain);
            let (a, b) = (rng.index(plain.len() + 1), rng.index(plain.len() + 1));
            let range = a.min(b)..a.max(b);
            assert_eq!(chunks.get(range.clone()).as_deref(), Some(&plain[range]));
            assert_eq!(chunks.get(0..plain.len() + 1), None);
        }
    }
}
