//! The client behind `tracker status`, against everything that may sit at the other end.
#![allow(clippy::unwrap_used, reason = "a failed test shall end here")]

use std::time::Duration;

use protocol::message::{Bye, Hello, Role, Summary};
use protocol::{Code, Message, NodeId, RequestId};
use reactor::{Action, Actions, CloseCause, ConnId, ConnectError, Event, Machine, Time};
use tracker::{NoTask, StatusClient, StatusError};

struct Bench {
    client: StatusClient,
    out: Actions<NoTask>,
    now: Time,
    dialed: Vec<(ConnId, String)>,
    exits: usize,
}

impl Bench {
    fn new() -> Self {
        let targets = ["192.0.2.1:9000", "192.0.2.2:9000"].map(|addr| addr.parse().unwrap());
        let client = StatusClient::new(targets.into(), NodeId([1; 16]), None).unwrap();
        let (out, dialed) = (Actions::default(), Vec::new());
        let mut bench = Self { client, out, now: Time::ZERO, dialed, exits: 0 };
        bench.event(Event::Started);
        bench
    }

    fn event(&mut self, event: Event<'_, ()>) {
        self.client.handle(self.now, event, &mut self.out);
        while let Some(action) = self.out.pop() {
            match action {
                Action::Connect { conn, remote } => self.dialed.push((conn, remote.to_string())),
                Action::Exit => self.exits += 1,
                _ => {}
            }
        }
    }

    /// Connected, and these messages came.
    fn after(replies: &[Message]) -> Result<Summary, StatusError> {
        let mut bench = Self::new();
        let conn = bench.dialed[0].0;
        bench.event(Event::Connected { conn });
        for reply in replies {
            // Byte by byte, because a network may.
            reply.to_frame().iter().for_each(|byte| {
                bench.event(Event::Received { conn, bytes: std::slice::from_ref(byte) });
            });
        }
        if bench.exits == 0 {
            bench.event(Event::Closed { conn, cause: CloseCause::Reset });
        }
        assert_eq!((bench.exits, bench.client.deadline()), (1, None));
        bench.client.outcome().unwrap().clone()
    }
}

fn hello(role: Role, version: u8) -> Message {
    Message::Hello(Hello {
        version_min: version,
        version_max: version,
        role,
        node: NodeId([2; 16]),
        listen: 9_000,
        window: 0,
        tlvs: Vec::new(),
    })
}

fn summary(rid: u32) -> Message {
    Message::Summary(Summary {
        rid: RequestId(rid),
        uptime_s: 5,
        connections: 1,
        peers: 2,
        names: 3,
        versions: 4,
        objects: 5,
        holdings: 6,
        bytes: 7,
    })
}

#[test]
fn every_end_of_the_conversation_has_its_outcome() {
    let tracker = || hello(Role::Tracker, 1);
    let bye = |code| Message::Bye(Bye { code, text: "because".to_owned() });
    assert_eq!(Bench::after(&[tracker(), Message::Noop, summary(1)]).unwrap().holdings, 6);
    let error = |replies: &[Message]| Bench::after(replies).unwrap_err();
    assert!(matches!(error(&[]), StatusError::NoAnswer { .. }));
    assert!(matches!(error(&[tracker()]), StatusError::NoAnswer { .. }));
    assert!(matches!(error(&[hello(Role::Peer, 1)]), StatusError::Strange { .. }));
    assert!(matches!(error(&[hello(Role::Tracker, 2)]), StatusError::Version { .. }));
    assert!(matches!(error(&[tracker(), bye(Code::VERSION)]), StatusError::Version { .. }));
    assert!(matches!(error(&[tracker(), summary(2)]), StatusError::Strange { .. }));
    assert!(matches!(error(&[tracker(), tracker()]), StatusError::Strange { .. }));
    match error(&[tracker(), bye(Code::OVERLOADED)]) {
        StatusError::Refused { code, text, .. } => {
            assert_eq!((code, text.as_str()), (Code::OVERLOADED, "because"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn all_addresses_are_tried_and_time_is_limited() {
    let mut bench = Bench::new();
    bench.event(Event::ConnectFailed { conn: bench.dialed[0].0, error: ConnectError::Refused });
    assert_eq!(bench.dialed[1].1, "192.0.2.2:9000");
    bench.event(Event::ConnectFailed { conn: bench.dialed[1].0, error: ConnectError::TimedOut });
    let outcome = bench.client.outcome().unwrap().clone();
    assert!(matches!(outcome, Err(StatusError::Unreachable { cause: ConnectError::TimedOut, .. })));

    let mut bench = Bench::new();
    bench.event(Event::Connected { conn: bench.dialed[0].0 });
    bench.now = bench.client.deadline().unwrap();
    assert_eq!(bench.now, Time::ZERO + Duration::from_secs(10));
    bench.event(Event::Deadline);
    assert!(matches!(bench.client.outcome(), Some(Err(StatusError::NoAnswer { .. }))));
    assert_eq!(bench.exits, 1);
}

#[test]
fn bytes_of_another_protocol_are_strange() {
    let mut bench = Bench::new();
    let conn = bench.dialed[0].0;
    bench.event(Event::Connected { conn });
    bench.event(Event::Received { conn, bytes: b"HTTP/1.1 400 Bad Request\r\n\r\n" });
    assert!(matches!(bench.client.outcome(), Some(Err(StatusError::Strange { .. }))));
}
