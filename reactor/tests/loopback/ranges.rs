//! Blocks from files: whole, in order, and never at the price of the process.

use std::fs::File;
use std::io::Write;
use std::ops::Range;

use reactor::{Action, CloseCause, ConnId, FileStamp, RangeError, RangeTag, Source};

use crate::rig::{Job, Rig, Seen, noise, send};

fn file_with(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn map(file: &File, stamped: bool) -> Source {
    let metadata = file.metadata().unwrap();
    let stamp = stamped.then(|| FileStamp::of(&metadata));
    Source::map(file.try_clone().unwrap(), metadata.len(), stamp).unwrap()
}

fn range(conn: ConnId, tag: u64, header: &[u8], source: &Source, range: Range<u64>) -> Action<Job> {
    let (tag, source) = (RangeTag(tag), source.clone());
    Action::SendRange { conn, tag, header: header.to_vec(), source, range }
}

#[test]
fn a_slow_reader_gets_every_byte_of_mixed_entries() {
    for (size, portion) in [(400_000, 997), (9 << 20, 300_000)] {
        let data = noise(size);
        let file = file_with(&data);
        let source = map(&file, true);
        let memory = Source::from_bytes(data[..1000].to_vec());
        let mut rig = Rig::new();
        let (mut remote, conn) = rig.accept();
        let mut expected = Vec::new();
        let mut actions = Vec::new();
        let mut at = 0;
        for n in 0_u8..40 {
            let len = [0, 1, 4095, 70_000, 262_144, 600_001][usize::from(n) % 6].min(size - at);
            actions.push(range(conn, 1, &[n; 13], &source, at as u64..(at + len) as u64));
            expected.extend_from_slice(&[n; 13]);
            expected.extend_from_slice(&data[at..at + len]);
            actions.push(send(conn, &[n, n]));
            expected.extend_from_slice(&[n, n]);
            actions.push(range(conn, 2, &[], &memory, u64::from(n)..500));
            expected.extend_from_slice(&data[usize::from(n)..500]);
            at += len;
        }
        // One range that is larger than any budget.
        actions.push(range(conn, 3, b"all", &source, 0..data.len() as u64));
        expected.extend_from_slice(b"all");
        expected.extend_from_slice(&data);
        rig.act(move |out| actions.into_iter().for_each(|action| out.push(action)));
        let got = rig.read(&mut remote, expected.len(), portion);
        assert!(got == expected, "the stream differs, portion {portion}");
        rig.until(|probe| probe.has(Seen::Flushed(conn)));
        assert_eq!(rig.probe().count(|seen| matches!(seen, Seen::RangeFailed(..))), 0);
    }
}

#[test]
fn a_file_changed_before_it_is_served_leaves_the_stream_intact() {
    let mut file = file_with(&noise(100_000));
    let changed = map(&file, true);
    file.write_all(b"one more").unwrap();
    let good = Source::from_bytes(b"good".to_vec());
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.act(move |out| {
        out.push(send(conn, b"before "));
        out.push(range(conn, 1, b"header", &changed, 0..100));
        out.push(range(conn, 2, b"still ", &good, 0..4));
        out.push(range(conn, 3, b"header", &good, 3..5));
        out.push(Action::Finish { conn });
    });
    assert_eq!(rig.read_to_end(&mut remote), b"before still good");
    let seen = &rig.probe().seen;
    let tail = &seen[seen.len() - 3..];
    let expected = [
        Seen::RangeFailed(conn, RangeTag(1), RangeError::Changed),
        Seen::RangeFailed(conn, RangeTag(3), RangeError::OutOfBounds),
        Seen::Flushed(conn),
    ];
    assert_eq!(tail, expected);
}

#[test]
fn a_file_cut_before_it_is_served_leaves_the_stream_intact_even_without_a_stamp() {
    let file = file_with(&noise(100_000));
    let cut = map(&file, false);
    file.set_len(0).unwrap();
    let good = Source::from_bytes(b"good".to_vec());
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.act(move |out| {
        out.push(send(conn, b"before "));
        out.push(range(conn, 1, b"", &cut, 0..100));
        out.push(range(conn, 2, b"still ", &good, 0..4));
        out.push(Action::Finish { conn });
    });
    assert_eq!(rig.read_to_end(&mut remote), b"before still good");
    assert!(rig.probe().has(Seen::RangeFailed(conn, RangeTag(1), RangeError::Changed)));
}

#[test]
fn a_file_cut_while_it_is_served_costs_that_connection_only() {
    let data = noise(16 << 20);
    let file = file_with(&data);
    let source = map(&file, false);
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    let (mut other, other_conn) = rig.accept();
    let all = range(conn, 1, b"header", &source, 0..data.len() as u64);
    // What is queued behind a frame that can't be finished never leaves. [F-24], [P-38]
    rig.act(move |out| {
        out.push(all);
        out.push(send(conn, b"BYE"));
    });
    let start = rig.read(&mut remote, 100_000, 5000);
    assert!(start[6..] == data[..100_000 - 6]);
    file.set_len(200_000).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut last = Vec::new();
    rig.drive(|rig| {
        // A reset may overtake the end of what was sent.
        if let Ok(len @ 1..) = std::io::Read::read(&mut remote, &mut buffer) {
            last = buffer[..len].to_vec();
        }
        rig.probe().has(Seen::Closed(conn, CloseCause::SourceFailed))
    });
    assert!(!last.ends_with(b"BYE"));
    assert_eq!(rig.probe().count(|seen| *seen == Seen::Flushed(conn)), 0);
    rig.act(move |out| out.push(send(other_conn, b"alive")));
    assert_eq!(rig.read(&mut other, 5, 5), b"alive");
    assert_eq!(rig.reactor.stats().failed_sources, 1);
}
