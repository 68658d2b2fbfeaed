//! Connections that the machine opens.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use reactor::{CloseReason, ConnId, ConnectError, Options};
use socket2::{Domain, Socket, Type};

use crate::rig::{Rig, Seen};

fn any_port() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn failure(rig: &mut Rig) -> Option<(ConnId, ConnectError)> {
    rig.probe().seen.iter().find_map(|seen| match seen {
        Seen::ConnectFailed(conn, error) => Some((*conn, *error)),
        _ => None,
    })
}

#[test]
fn bytes_queued_before_the_connection_is_up_follow_it() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind(any_port()).unwrap();
    let remote = listener.local_addr().unwrap();
    rig.act(move |out| {
        let conn = out.connect(remote);
        out.send(conn, b"hello".to_vec());
    });
    rig.until(|probe| probe.count(|seen| matches!(seen, Seen::Flushed(_))) == 1);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    assert_eq!(rig.read(&mut stream, 5, 5), b"hello");
    stream.write_all(b"hello yourself").unwrap();
    let conn = rig.probe().seen.iter().find_map(|seen| match seen {
        Seen::Connected(conn) => Some(*conn),
        _ => None,
    });
    rig.until(|probe| probe.received(conn.unwrap()) == b"hello yourself");
}

#[test]
fn nobody_there_is_refused() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind(any_port()).unwrap();
    let remote = listener.local_addr().unwrap();
    drop(listener);
    rig.act(move |out| {
        let conn = out.connect(remote);
        out.send(conn, b"lost".to_vec());
    });
    rig.drive(|rig| failure(rig).is_some());
    assert_eq!(failure(&mut rig).unwrap().1, ConnectError::Refused);
    rig.settle();
    assert_eq!(rig.probe().count(|seen| matches!(seen, Seen::ConnectFailed(..))), 1);
    assert_eq!(rig.reactor.stats().connect_failures, 1);
}

#[test]
fn an_attempt_closed_at_once_is_not_heard_of() {
    let mut rig = Rig::new();
    let listener = TcpListener::bind(any_port()).unwrap();
    let alive = listener.local_addr().unwrap();
    let dead = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    rig.act(move |out| {
        for remote in [alive, dead, SocketAddr::from(([255, 255, 255, 255], 1))] {
            let conn = out.connect(remote);
            out.close(conn, CloseReason::Done);
        }
    });
    rig.settle();
    assert_eq!(rig.probe().count(|seen| matches!(seen, Seen::ConnectFailed(..))), 0);
    assert_eq!(rig.probe().count(|seen| matches!(seen, Seen::Connected(_))), 0);
}

#[test]
fn silence_times_out() {
    let wait = Duration::from_millis(60);
    let mut rig = Rig::with(Options { connect_timeout: wait, ..Options::default() });
    // A queue of one that nobody empties: once it is full, the system drops further attempts.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    full.bind(&any_port().into()).unwrap();
    full.listen(0).unwrap();
    let remote = full.local_addr().unwrap().as_socket().unwrap();
    let _first = std::net::TcpStream::connect(remote).unwrap();
    let asked = rig.reactor.now();
    rig.act(move |out| {
        out.connect(remote);
    });
    rig.drive(|rig| failure(rig).is_some());
    assert_eq!(failure(&mut rig).unwrap().1, ConnectError::TimedOut);
    assert!(rig.reactor.now().since(asked) >= wait);
}

#[test]
fn beyond_the_cap_attempts_fail_and_arrivals_wait() {
    let mut rig = Rig::with(Options { max_connections: 1, ..Options::default() });
    let (first, _) = rig.accept();
    let addr = rig.addr;
    let _second = std::net::TcpStream::connect(addr).unwrap();
    rig.act(move |out| {
        out.connect(addr);
    });
    rig.drive(|rig| failure(rig).is_some());
    assert_eq!(failure(&mut rig).unwrap().1, ConnectError::NoResources);
    rig.settle();
    assert_eq!(rig.probe().count(|seen| matches!(seen, Seen::Accepted(_))), 1);
    // No spinning while one waits.
    let turns = rig.reactor.stats().turns;
    let end = rig.reactor.now() + Duration::from_millis(100);
    while rig.reactor.now() < end {
        rig.turn();
    }
    assert!(rig.reactor.stats().turns - turns < 20);
    rig.react(|seen, _, out| {
        if let Seen::RemoteFinished(conn) = seen {
            out.close(conn, CloseReason::Done);
        }
    });
    drop(first);
    rig.until(|probe| probe.count(|seen| matches!(seen, Seen::Accepted(_))) == 2);
}
