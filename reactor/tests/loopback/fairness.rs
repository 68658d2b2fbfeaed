//! Nobody starves: not behind a flood of bytes, nor of connections, nor behind an eager timer.

use std::io::Write;
use std::net::TcpStream;

use reactor::{Options, Time};

use crate::rig::{PATIENCE, Rig, Seen, fill, noise, read_once};

const QUIET: usize = 100;

/// Turns in which an answer must come: the ping's arrival, and the answer's departure.
const TURNS: usize = 3;

#[test]
fn a_flood_does_not_delay_others() {
    let budget = 64 * 1024;
    let mut rig = Rig::with(Options { read_budget: budget, ..Options::default() });
    let (mut flood, flooder) = rig.accept();
    let mut quiet: Vec<TcpStream> = (0..QUIET).map(|_| rig.accept().0).collect();
    rig.react(move |seen, bytes, out| match seen {
        Seen::Received(conn) if conn != flooder => out.send(conn, bytes.to_vec()),
        _ => {}
    });
    let chunk = noise(1 << 16);
    let mut sent = 0;
    for round in 0..10 {
        sent += fill(&mut flood, &chunk);
        quiet.iter_mut().for_each(|remote| remote.write_all(b"ping").unwrap());
        for _ in 0..TURNS {
            sent += fill(&mut flood, &chunk);
            let before = rig.probe().received(flooder).len();
            rig.turn();
            let delivered = rig.probe().received(flooder).len() - before;
            assert!(delivered > 0 && delivered <= budget, "round {round}: {delivered}");
        }
        for remote in &mut quiet {
            let mut buffer = [0; 8];
            assert_eq!(read_once(remote, &mut buffer), Some(&b"ping"[..]), "round {round}");
        }
    }
    rig.until(|probe| probe.received(flooder).len() == sent);
}

#[test]
fn arrivals_are_taken_in_portions() {
    let mut rig = Rig::with(Options { accept_budget: 4, ..Options::default() });
    let (mut old, _) = rig.accept();
    let arrivals: Vec<_> = (0..30).map(|_| TcpStream::connect(rig.addr).unwrap()).collect();
    rig.react(|seen, bytes, out| {
        if let Seen::Received(conn) = seen {
            out.send(conn, bytes.to_vec());
        }
    });
    old.write_all(b"ping").unwrap();
    let mut known = 1;
    for turn in 0.. {
        let begun = rig.reactor.now();
        rig.reactor.turn(Some(PATIENCE)).unwrap();
        assert!(rig.reactor.now().since(begun) < PATIENCE, "those left over wait for an event");
        let now_known = rig.probe().count(|seen| matches!(seen, Seen::Accepted(_)));
        assert!(now_known <= known + 4, "turn {turn}");
        known = now_known;
        if turn == 1 {
            assert_eq!(read_once(&mut old, &mut [0; 8]), Some(&b"ping"[..]));
        }
        if known == 1 + arrivals.len() {
            break;
        }
    }
}

#[test]
fn a_deadline_that_is_always_due_comes_once_per_turn() {
    let mut rig = Rig::new();
    let (mut remote, conn) = rig.accept();
    rig.probe().wake_at = Some(Time::ZERO);
    let deadlines = |rig: &mut Rig| rig.probe().count(|seen| *seen == Seen::Deadline);
    let (before, turns) = (deadlines(&mut rig), rig.reactor.stats().turns);
    remote.write_all(b"still heard").unwrap();
    rig.until(|probe| probe.received(conn) == b"still heard");
    let turned = rig.reactor.stats().turns - turns;
    assert_eq!((deadlines(&mut rig) - before) as u64, turned);
}

#[test]
fn a_deadline_is_never_early() {
    let mut rig = Rig::new();
    let at = rig.reactor.now() + std::time::Duration::from_millis(30);
    rig.probe().wake_at = Some(at);
    let turns = rig.reactor.stats().turns;
    while !rig.probe().has(Seen::Deadline) {
        rig.reactor.turn(None).unwrap();
    }
    assert!(rig.reactor.now() >= at);
    assert!(rig.reactor.stats().turns - turns < 5, "it waited instead of turning");
}
