//! The end: what is queued leaves, but nobody waits for a remote that does not read.

use std::io::Write;
use std::time::Duration;

use reactor::{Action, Options};

use crate::rig::{PATIENCE, Rig, Seen, noise, read_once};

#[test]
fn the_order_of_the_first_events() {
    let mut rig = Rig::new();
    let addr = rig.addr;
    assert_eq!(rig.probe().seen, [Seen::Started, Seen::Listening(addr)]);
}

#[test]
fn exit_sends_what_is_queued_and_hears_nothing_more() {
    let mut rig = Rig::with(Options { exit_flush: PATIENCE, ..Options::default() });
    let (mut remote, conn) = rig.accept();
    let data = noise(6 << 20);
    let sent = data.clone();
    rig.act(move |out| {
        out.send(conn, sent);
        out.push(Action::Exit);
        out.send(conn, b"after the exit".to_vec());
    });
    rig.turn();
    remote.write_all(b"never heard, but not a reason for a reset").unwrap();
    let heard = rig.probe().seen.len();
    let got = rig.read_to_end(&mut remote);
    assert!(got == data, "{} of {} bytes", got.len(), data.len());
    rig.drive(|rig| rig.reactor.exited());
    assert_eq!(rig.probe().seen.len(), heard);
    // Further turns are harmless.
    rig.turn();
}

#[test]
fn exit_does_not_wait_for_who_does_not_read() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    let begun = rig.reactor.now();
    rig.act(move |out| {
        out.send(conn, noise(32 << 20));
        out.push(Action::Exit);
    });
    rig.reactor.run().unwrap();
    let took = rig.reactor.now().since(begun);
    assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(2), "{took:?}");
    assert!(read_once(&mut remote, &mut [0; 10]).is_some());
}
