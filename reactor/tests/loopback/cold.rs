//! Files that are not in memory: the disk may take its time, the loop may not.

use std::fs::File;
use std::io::Write;

use reactor::{Action, FileStamp, RangeTag, Source};
use rustix::fs::{Advice, fadvise};

use crate::rig::{Rig, Seen, noise};

/// A file on the disk of which the system remembers nothing, if it does as it is told.
fn forgotten(data: &[u8]) -> Source {
    let mut file = tempfile::tempfile_in(".").unwrap();
    file.write_all(data).unwrap();
    forget(&file);
    let metadata = file.metadata().unwrap();
    Source::map(file, metadata.len(), Some(FileStamp::of(&metadata))).unwrap()
}

fn forget(file: &File) {
    file.sync_all().unwrap();
    fadvise(file, 0, None, Advice::DontNeed).unwrap();
}

/// Sends all of `source` in blocks of 1 MiB; what came out.
fn serve(rig: &mut Rig, source: &Source, portion: usize) -> Vec<u8> {
    let (mut remote, conn) = rig.accept();
    let (len, blocks) = (source.len(), source.clone());
    rig.act(move |out| {
        for start in (0..len).step_by(1 << 20) {
            let (source, range) = (blocks.clone(), start..len.min(start + (1 << 20)));
            let header = b"head".to_vec();
            out.push(Action::SendRange { conn, tag: RangeTag(start), header, source, range });
        }
    });
    let headers = 4 * usize::try_from(len.div_ceil(1 << 20)).unwrap();
    let got = rig.read(&mut remote, usize::try_from(len).unwrap() + headers, portion);
    rig.until(|probe| probe.has(Seen::Flushed(conn)));
    got
}

#[test]
fn what_was_forgotten_is_sent_all_the_same() {
    let data = noise((5 << 20) + 77);
    let source = forgotten(&data);
    let mut rig = Rig::new();
    let expected: Vec<u8> =
        data.chunks(1 << 20).flat_map(|block| [b"head", block].concat()).collect();
    assert!(serve(&mut rig, &source, 300_000) == expected);
    assert!(serve(&mut rig, &source, 1 << 20) == expected, "and again from memory");
    assert!(rig.reactor.stats().loads <= 6, "a block is brought into memory once");
}

/// `cargo test --release -p reactor --test loopback disk_take -- --ignored --nocapture`.
#[test]
#[ignore = "prints times, which are to be looked at"]
fn how_long_does_the_disk_take_the_loop() {
    let source = forgotten(&noise(256 << 20));
    for what in ["cold", "warm"] {
        let mut rig = Rig::new();
        serve(&mut rig, &source, 1 << 20);
        let stats = rig.reactor.stats();
        let (p99, max) = (stats.lag.percentile(99), stats.lag.max());
        println!("{what}: turns {} lag p99 {p99:?} max {max:?}", stats.turns);
    }
}
