//! Running out of descriptors, in a process of its own because the limit is the process's.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "loopback/rig.rs"]
mod rig;

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use reactor::{CloseReason, Options};
use rustix::process::{Resource, Rlimit, setrlimit};

use rig::{Rig, Seen};

/// Enough for the remotes, which are in this process too, but not for both ends of each connection.
const FILES: u64 = 100;
const REMOTES: usize = 60;

#[test]
fn at_the_limit_the_old_are_served_and_the_new_wait() {
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), maximum: Some(FILES) }).unwrap();
    relief_by_the_timer();
    // From here on the timer helps nobody.
    let hour = Duration::from_secs(3600);
    let options = Options { reserved_descriptors: 0, accept_retry: hour, ..Options::default() };
    let mut rig = Rig::with(options);
    rig.react(|seen, bytes, out| match seen {
        Seen::Received(conn) => out.send(conn, bytes.to_vec()),
        Seen::RemoteFinished(conn) => out.close(conn, CloseReason::Done),
        _ => {}
    });
    let accepted = |rig: &mut Rig| rig.probe().count(|seen| matches!(seen, Seen::Accepted(_)));
    let (mut old, _) = rig.accept();
    let mut remotes: Vec<_> = (0..REMOTES).map(|_| TcpStream::connect(rig.addr).unwrap()).collect();

    rig.drive(|rig| rig.reactor.stats().accept_failures > 0);
    let before = accepted(&mut rig);
    assert!(before > 10 && before < REMOTES, "{before} accepted");

    // It serves whom it has.
    old.write_all(b"still there?").unwrap();
    assert_eq!(rig.read(&mut old, 12, 12), b"still there?");

    // No descriptor is left for a connection of its own either.
    let addr = rig.addr;
    rig.act(move |out| {
        out.connect(addr);
    });
    rig.until(|probe| probe.count(|seen| matches!(seen, Seen::ConnectFailed(..))) == 1);

    // Each one that goes lets another in, without a new event and without waiting for the timer.
    let failures = rig.reactor.stats().accept_failures;
    let gone: Vec<_> = remotes.drain(1..6).collect();
    drop(gone);
    rig.drive(|rig| accepted(rig) >= before + 5);
    assert!(rig.reactor.stats().accept_failures > failures, "still at the limit");

    remotes.truncate(1);
    rig.drive(|rig| accepted(rig) == REMOTES + 1);
    let mut late = connect_when_possible(&mut rig);
    late.write_all(b"and me?").unwrap();
    assert_eq!(rig.read(&mut late, 7, 7), b"and me?");
}

/// Descriptors that others free are found by trying again now and then, without spinning.
fn relief_by_the_timer() {
    let mut rig = Rig::with(Options { reserved_descriptors: 0, ..Options::default() });
    let files: Vec<_> = (0..25).map(|_| tempfile::tempfile().unwrap()).collect();
    let remotes: Vec<_> = (0..40).map(|_| TcpStream::connect(rig.addr).unwrap()).collect();
    rig.drive(|rig| rig.reactor.stats().accept_failures > 0);
    let turns = rig.reactor.stats().turns;
    let end = rig.reactor.now() + Duration::from_millis(250);
    while rig.reactor.now() < end {
        rig.reactor.turn(None).unwrap();
    }
    assert!(rig.reactor.stats().turns - turns <= 6, "it spins");
    drop(files);
    let all = remotes.len();
    rig.until(|probe| probe.count(|seen| matches!(seen, Seen::Accepted(_))) == all);
}

fn connect_when_possible(rig: &mut Rig) -> TcpStream {
    loop {
        match TcpStream::connect(rig.addr) {
            Ok(stream) => {
                stream.set_nonblocking(true).unwrap();
                return stream;
            }
            Err(error) => assert_eq!(
                error.raw_os_error(),
                io::Error::from(rustix::io::Errno::MFILE).raw_os_error()
            ),
        }
        rig.turn();
    }
}
