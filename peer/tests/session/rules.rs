//! One test for each row of the protocol's tables of violations and of what is tolerated.

use protocol::message::{
    Bye, Cancel, Close, Find, FindKey, Have, Reject, SummaryRequest, Tlv, TlvTag, Window,
};
use protocol::{Code, PeerAddr, RequestId};

use super::*;

/// What is sent when the session judges the remote as its driver would.
fn judge(session: &mut Session, messages: &[Message]) -> (Option<Code>, Vec<Message>) {
    match feed(session, messages) {
        Ok(events) => panic!("no violation, but {events:?}"),
        Err(violation) => {
            let code = violation.code();
            if let Some(code) = code {
                session.bye(code, &violation.to_string());
            }
            (code, sent(session))
        }
    }
}

fn code_of(session: &mut Session, messages: &[Message]) -> Option<Code> {
    judge(session, messages).0
}

fn bye_of(messages: &[Message]) -> &Bye {
    match messages.last() {
        Some(Message::Bye(bye)) => bye,
        other => panic!("expected BYE last, got {other:?}"),
    }
}

// --- HELLO ---

#[test]
fn strangers_get_no_byte() {
    for bytes in
        [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01\x02\x00", b"\x01\x00\x00\x1c\xd3\x53\x57\x51"]
    {
        let mut session = session(Side::Acceptor);
        let violation = feed_bytes(&mut session, Time::ZERO, bytes).unwrap_err();
        assert_eq!(violation.code(), None);
        session.bye(Code::MALFORMED, "");
        assert_eq!(session.take_output(), None, "[H-2], [H-3], [H-5], [F-25]");
    }
}

#[test]
fn the_dialer_speaks_first_and_nobody_speaks_twice() {
    let mut dialer = session(Side::Dialer);
    let mut acceptor = Session::new(Side::Acceptor, &local(THEIRS), &mut Rng::new(2), Time::ZERO);
    assert_eq!(acceptor.take_output(), None);
    let greeting = dialer.take_output().expect("[H-4]");
    let ready = |node| vec![SessionEvent::Ready { node, listen: 4000, agent: "test/1".to_owned() }];
    assert_eq!(feed_bytes(&mut acceptor, Time::ZERO, &greeting).unwrap(), ready(OURS));
    let answer = acceptor.take_output().unwrap();
    assert_eq!(feed_bytes(&mut dialer, Time::ZERO, &answer).unwrap(), ready(THEIRS));
    assert!(dialer.is_ready() && acceptor.is_ready());
    assert_eq!((dialer.remote_node(), acceptor.remote_node()), (Some(THEIRS), Some(OURS)));
    assert_eq!((dialer.free_requests(), acceptor.free_requests()), (16, 16));
}

#[test]
fn both_sides_send_what_means_nothing() {
    let mut session = session(Side::Acceptor);
    feed(&mut session, &[Message::Hello(hello())]).unwrap();
    let output = session.take_output().unwrap();
    let mut input = output.as_slice();
    let mut reader = FrameReader::new();
    let Some(Incoming::Message(Message::Hello(hello))) = reader.next(&mut input).unwrap() else {
        panic!("no HELLO");
    };
    assert_eq!(hello.tlvs.last().unwrap().tag.0 & 0xFF00, 0xEE00, "[X-5]");
    let grease = reader.next(&mut input).unwrap();
    assert!(matches!(grease, Some(Incoming::Skipped { kind: 0xE0..=0xEF })), "{grease:?}");
}

#[test]
fn what_is_private_is_not_sent_and_what_is_grease_has_no_meaning() {
    for seed in 0..200 {
        let ours = Local { token: Some(b"secret".to_vec()), ..local(OURS) };
        let mut session = Session::new(Side::Dialer, &ours, &mut Rng::new(seed), Time::ZERO);
        let tlv = Tlv { tag: TlvTag::CLUSTER_TOKEN, value: b"secret".to_vec() };
        feed(&mut session, &[Message::Hello(Hello { tlvs: vec![tlv], ..hello() })]).unwrap();
        let output = session.take_output().unwrap();
        let mut input = output.as_slice();
        let mut reader = FrameReader::new();
        while let Some(incoming) = reader.next(&mut input).unwrap() {
            match incoming {
                Incoming::Skipped { kind } => assert!(kind < 0xF0, "[X-3]: type {kind:#x}"),
                Incoming::Message(Message::Hello(hello)) => {
                    assert!(hello.tlvs.iter().all(|tlv| tlv.tag.0 < 0xF000), "[X-3]: {hello:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // Whatever grease holds, it is as if it had not come.
    let tlvs = (0xEE00..=0xEEFF).step_by(5).map(|tag| Tlv { tag: TlvTag(tag), value: vec![1; 3] });
    let mut session = session(Side::Dialer);
    let greased = Message::Hello(Hello { tlvs: tlvs.collect(), ..hello() });
    assert_eq!(feed(&mut session, &[greased]).unwrap().len(), 1);
    sent(&mut session);
    for kind in 0xE0..=0xEF {
        let frame = [&[kind, 0, 0, 36][..], &[kind; 36]].concat();
        assert_eq!(feed_bytes(&mut session, Time::ZERO, &frame), Ok(vec![]), "{kind:#x}");
    }
    assert_eq!(session.take_output(), None);
}

#[test]
fn who_is_refused_still_gets_a_hello() {
    let newer = Hello { version_min: 2, version_max: 3, ..hello() };
    let (code, sent) = judge(&mut session(Side::Acceptor), &[Message::Hello(newer)]);
    assert_eq!(code, Some(Code::VERSION), "[H-13]");
    assert!(matches!(sent[0], Message::Hello(_)), "[H-6]");
    assert_eq!(bye_of(&sent).text, "this side speaks versions 1 to 1, the remote 2 to 3");

    let mut malformed = Message::Hello(hello()).to_frame();
    malformed[8] = 0; // vmin
    let mut session = session(Side::Acceptor);
    let violation = feed_bytes(&mut session, Time::ZERO, &malformed).unwrap_err();
    assert_eq!(violation.code(), Some(Code::MALFORMED), "[H-8]");
    session.bye(Code::MALFORMED, "");
    assert!(matches!(super::sent(&mut session)[..], [Message::Hello(_), Message::Bye(_)]));
}

#[test]
fn hellos_are_judged() {
    let with =
        |tag, value: &[u8]| Hello { tlvs: vec![Tlv { tag, value: value.to_vec() }], ..hello() };
    let judge = |hello| code_of(&mut session(Side::Acceptor), &[Message::Hello(hello)]);
    assert_eq!(judge(Hello { role: Role::Tracker, ..hello() }), Some(Code::WRONG_ROLE), "[H-14]");
    assert_eq!(judge(Hello { node: OURS, ..hello() }), Some(Code::DUPLICATE), "[H-16]");
    assert_eq!(judge(with(TlvTag(0x0004), b"?")), Some(Code::UNKNOWN_TYPE), "[H-22]");
    assert_eq!(judge(with(TlvTag::CLUSTER_TOKEN, b"x")), Some(Code::DENIED), "[H-26]");
    for skipped in
        [with(TlvTag(0x9999), b"?"), with(TlvTag::ADVERTISED, b"?"), with(TlvTag::AGENT, &[255])]
    {
        let events = feed(&mut session(Side::Acceptor), &[Message::Hello(skipped)]).unwrap();
        assert!(matches!(&events[..], [SessionEvent::Ready { agent, .. }] if agent.is_empty()));
    }
    let named = with(TlvTag::AGENT, b"evil\x1b[2J");
    let events = feed(&mut session(Side::Acceptor), &[Message::Hello(named)]).unwrap();
    assert!(
        matches!(&events[..], [SessionEvent::Ready { agent, .. }] if agent == "evil\u{fffd}[2J")
    );
}

#[test]
fn the_cluster_token_opens_and_is_not_shown_to_strangers() {
    let ours = Local { token: Some(b"secret".to_vec()), ..local(OURS) };
    let with = |token: Option<&[u8]>| {
        let tlv = |value: &[u8]| Tlv { tag: TlvTag::CLUSTER_TOKEN, value: value.to_vec() };
        Message::Hello(Hello { tlvs: token.map(tlv).into_iter().collect(), ..hello() })
    };
    let new = || Session::new(Side::Acceptor, &ours, &mut Rng::new(1), Time::ZERO);
    let shown = |sent: &[Message]| match &sent[0] {
        Message::Hello(hello) => hello.tlv(TlvTag::CLUSTER_TOKEN).map(<[u8]>::to_vec),
        other => panic!("{other:?}"),
    };
    for wrong in [None, Some(&b"secreT"[..]), Some(b"secret!"), Some(b"")] {
        let (code, sent) = judge(&mut new(), &[with(wrong)]);
        assert_eq!(code, Some(Code::DENIED), "[H-25]");
        assert_eq!(shown(&sent), None);
    }
    let mut session = new();
    assert_eq!(feed(&mut session, &[with(Some(b"secret"))]).unwrap().len(), 1);
    assert_eq!(shown(&sent(&mut session)), Some(b"secret".to_vec()));
}

#[test]
fn an_advertised_address_is_told() {
    let addr =
        PeerAddr { holding: protocol::Holding::Complete, addr: "10.1.2.3:99".parse().unwrap() };
    let ours = Local { advertise: Some(addr), ..local(OURS) };
    let mut session = Session::new(Side::Dialer, &ours, &mut Rng::new(1), Time::ZERO);
    let sent = sent(&mut session);
    assert!(matches!(&sent[..], [Message::Hello(hello)] if hello.advertised() == Some(addr)));
}

// --- a valid message at a wrong time ---

#[test]
fn messages_out_of_place_are_bad_state() {
    let find = Find { rid: RequestId(1), want: 1, key: FindKey::Object(OBJECT) };
    let cases: Vec<(&str, Session, Vec<Message>)> = vec![
        ("second HELLO [H-10]", ready(), vec![Message::Hello(hello())]),
        ("FIND at a peer [F-14]", ready(), vec![Message::Find(find)]),
        (
            "SUMMARY_REQUEST at a peer [F-14]",
            ready(),
            vec![Message::SummaryRequest(SummaryRequest { rid: RequestId(1) })],
        ),
        ("OPEN with our parity [P-1]", ready(), vec![open(EVEN, OBJECT)]),
        (
            "OPEN again [P-2]",
            ready(),
            vec![open(ChannelId(3), OBJECT), open(ODD, ObjectId([8; 32]))],
        ),
        (
            "OPEN of a dead number [P-2]",
            ready(),
            vec![open(ODD, OBJECT), close(ODD), open(ODD, OBJECT)],
        ),
        ("second BITMAP [P-14]", live(), vec![bitmap(ODD, 100)]),
        ("HAVE outside the object [P-23]", live(), vec![have(100)]),
        ("same REQUEST twice [P-32]", live(), vec![Message::Request(request(1)); 2]),
        ("unrequested REJECT [P-36]", live(), vec![reject(1, Code::BUSY)]),
    ];
    for (what, mut session, messages) in cases {
        assert_eq!(code_of(&mut session, &messages), Some(Code::BAD_STATE), "{what}");
        assert!(session.is_closing());
        // Whatever follows has no effect.
        assert_eq!(feed(&mut session, &[have(100), bitmap(ODD, 1)]), Ok(vec![]), "{what}");
    }
}

fn on_channel() -> Vec<Message> {
    vec![
        have(1),
        Message::Request(request(1)),
        reject(1, Code::BUSY),
        Message::Cancel(Cancel { block: block(1) }),
    ]
}

#[test]
fn frames_need_a_channel_and_a_bitmap_first() {
    for message in on_channel() {
        assert_eq!(
            code_of(&mut ready(), std::slice::from_ref(&message)),
            Some(Code::BAD_STATE),
            "[P-13]"
        );
        let early = [open(ODD, OBJECT), message];
        assert_eq!(code_of(&mut ready(), &early), Some(Code::BAD_STATE), "[P-15]");
    }
    for message in [close(ODD), bitmap(ODD, 1)] {
        assert_eq!(code_of(&mut ready(), &[message]), Some(Code::BAD_STATE), "[P-13]");
    }
    let mut session = ready();
    feed(&mut session, &[open(ODD, OBJECT), bitmap(ODD, 100)]).unwrap();
    let unanswered = [Message::Request(request(1))];
    assert_eq!(code_of(&mut session, &unanswered), Some(Code::BAD_STATE), "[P-34]");
    // A number of ours that we have not used yet.
    let block = Block { channel: ChannelId(2), ..block(0) };
    assert_eq!(code_of(&mut live(), &[Message::Cancel(Cancel { block })]), Some(Code::BAD_STATE));
    let violation = feed_bytes(&mut ready(), Time::ZERO, &data(super::block(1), b"x")).unwrap_err();
    assert_eq!(violation.code(), Some(Code::BAD_STATE), "[P-13]");
}

#[test]
fn data_must_be_asked_for_and_exact() {
    let now = Time::ZERO;
    let mut session = live();
    let violation = feed_bytes(&mut session, now, &data(block(1), b"hello")).unwrap_err();
    assert_eq!(violation.code(), Some(Code::BAD_STATE), "[P-36]");

    let mut session = live();
    assert!(session.request(request(1)));
    let violation = feed_bytes(&mut session, now, &data(block(1), b"hell")).unwrap_err();
    assert_eq!(violation.to_string(), "expected 5 bytes of piece 1 begin 0, got 4");
    assert_eq!(violation.code(), Some(Code::BAD_STATE), "[P-35]");

    let mut session = live();
    assert!(session.request(request(1)));
    assert_eq!(feed_bytes(&mut session, now, &data(block(1), b"hello")).unwrap().len(), 1);
    let violation = feed_bytes(&mut session, now, &data(block(1), b"hello")).unwrap_err();
    assert_eq!(violation.code(), Some(Code::BAD_STATE), "a second answer");
}

#[test]
fn lengths_and_values_keep_the_decoders_codes() {
    let mut session = live();
    let violation = feed_bytes(&mut session, Time::ZERO, &[0x14, 0, 0, 17]).unwrap_err();
    assert_eq!(violation.code(), Some(Code::LIMIT), "[F-3]");
    let violation = feed_bytes(&mut live(), Time::ZERO, &[0x7F, 0, 0, 0]).unwrap_err();
    assert_eq!(violation.code(), Some(Code::UNKNOWN_TYPE), "[F-4]");
    let mut zero_len = Message::Request(request(1)).to_frame();
    zero_len[19] = 0;
    let violation = feed_bytes(&mut live(), Time::ZERO, &zero_len).unwrap_err();
    assert_eq!(violation.code(), Some(Code::MALFORMED), "[P-29]");
}

// --- limits ---

#[test]
fn requests_out_of_range_are_counted() {
    let mut session = live();
    for piece in 0..17 {
        feed(&mut session, &[Message::Request(request(piece))]).unwrap();
        let outcome = session.reject(block(piece), Code::BAD_RANGE);
        if piece < 16 {
            assert_eq!(outcome, Ok(()));
            assert_eq!(sent(&mut session), [reject(piece, Code::BAD_RANGE)]);
        } else {
            assert_eq!(outcome.unwrap_err().code(), Some(Code::LIMIT), "[P-31]");
        }
    }
}

#[test]
fn requests_above_the_window_are_refused_and_counted() {
    let ask = |range: std::ops::Range<u32>| {
        range.map(|p| Message::Request(request(p))).collect::<Vec<_>>()
    };
    let mut session = live();
    assert_eq!(feed(&mut session, &ask(0..20)).unwrap().len(), 16);
    let refused: Vec<_> = (16..20).map(|piece| reject(piece, Code::BUSY)).collect();
    assert_eq!(sent(&mut session), refused, "[P-45]");
    // As long as our answers get through, that may go on.
    for _ in 0..10 {
        feed(&mut session, &ask(16..1000)).unwrap();
        session.note_progress_out(Time::ZERO);
    }
    // They don't: 16 are open, and so are the refused ones.
    assert!(feed(&mut session, &ask(16..4096)).is_ok());
    let violation = feed(&mut session, &ask(4096..4097)).unwrap_err();
    assert_eq!(violation.code(), Some(Code::LIMIT), "[P-46]");
}

#[test]
fn too_many_channels_are_refused() {
    let mut session = ready();
    let object = |n: u32| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&n.to_be_bytes());
        ObjectId(id)
    };
    let opens: Vec<_> = (0..1025).map(|n| open(ChannelId(2 * n + 1), object(n))).collect();
    assert_eq!(feed(&mut session, &opens).unwrap().len(), 1024);
    let refused = Close { channel: ChannelId(2049), code: Code::LIMIT };
    assert_eq!(sent(&mut session), [Message::Close(refused)], "[P-6]");
    assert_eq!(session.open(object(5000)), None);
    // Whoever goes on and never reads our answers is sent away, but not before 1,024 of them. [P-54]
    let more: Vec<_> = (1025..2_048).map(|n| open(ChannelId(2 * n + 1), object(n))).collect();
    assert_eq!(feed(&mut session, &more), Ok(vec![]));
    let flood: Vec<_> = (2_048..10_000).map(|n| open(ChannelId(2 * n + 1), object(n))).collect();
    assert_eq!(feed(&mut session, &flood).unwrap_err().code(), Some(Code::LIMIT));
}

// --- channels ---

#[test]
fn one_object_has_one_channel() {
    // The remote opens what it has open already. [P-7]
    let mut session = live();
    assert_eq!(feed(&mut session, &[open(ChannelId(3), OBJECT)]), Ok(vec![]));
    let refused = Message::Close(Close { channel: ChannelId(3), code: Code::DUPLICATE });
    assert_eq!(sent(&mut session), [refused]);
    assert_eq!(session.open(OBJECT), None);
    assert_eq!(session.channels().collect::<Vec<_>>(), [(ODD, OBJECT)]);
}

#[test]
fn of_crossing_opens_the_dialers_stays() {
    let mut dialer = ready();
    assert_eq!(dialer.open(OBJECT), Some(EVEN));
    dialer.send_bitmap(EVEN, 0, 0, &Holdings::None);
    assert_eq!(feed(&mut dialer, &[open(ODD, OBJECT), bitmap(ODD, 100)]), Ok(vec![]), "[P-8]");
    assert_eq!(dialer.channels().collect::<Vec<_>>(), [(EVEN, OBJECT)]);
    // The acceptor closes its own, too: no effect.
    assert_eq!(feed(&mut dialer, &[close(ODD)]), Ok(vec![]));

    let mut acceptor = session(Side::Acceptor);
    feed(&mut acceptor, &[Message::Hello(hello())]).unwrap();
    assert_eq!(acceptor.open(OBJECT), Some(ODD));
    acceptor.send_bitmap(ODD, 0, 0, &Holdings::None);
    feed(&mut acceptor, &[bitmap(ODD, 100)]).unwrap();
    assert!(acceptor.request(request(1)));
    sent(&mut acceptor);
    let events = feed(&mut acceptor, &[open(EVEN, OBJECT), bitmap(EVEN, 100)]).unwrap();
    let expected = [
        SessionEvent::ChannelClosed { channel: ODD, code: Code::DUPLICATE },
        SessionEvent::Opened { channel: EVEN, object: OBJECT },
    ];
    assert_eq!(events[..2], expected, "[P-8]");
    assert_eq!(acceptor.open_requests(), 0, "[P-10]");
    assert_eq!(
        sent(&mut acceptor),
        [Message::Close(Close { channel: ODD, code: Code::DUPLICATE })]
    );
    assert_eq!(acceptor.channels().collect::<Vec<_>>(), [(EVEN, OBJECT)]);
}

#[test]
fn closed_channels_are_quiet() {
    let mut session = live();
    assert!(session.request(request(1)));
    feed(&mut session, &[Message::Request(request(2))]).unwrap();
    session.close_channel(ODD, Code::GONE);
    session.close_channel(ODD, Code::GONE);
    assert_eq!((session.open_requests(), session.owed_requests()), (0, 0), "[P-10]");
    assert_eq!(sent(&mut session).len(), 2, "REQUEST and one CLOSE");
    let mut late = on_channel();
    late.extend([bitmap(ODD, 1), have(5000), close(ODD)]);
    assert_eq!(feed(&mut session, &late), Ok(vec![]), "[P-12]");
    assert_eq!(feed_bytes(&mut session, Time::ZERO, &data(block(1), b"hello")), Ok(vec![]));
    // Nor do we say anything on it. [P-11]
    session.have(ODD, &[1]);
    session.send_bitmap(ODD, 0, 0, &Holdings::None);
    session.reject(block(2), Code::IO).unwrap();
    session.range_failed(block(2), Code::IO);
    assert_eq!(session.data_head(DataHead { block: block(2), len: 5 }), None);
    assert!(!session.request(request(3)));
    assert_eq!(session.take_output(), None);

    let mut session = live();
    let closed = SessionEvent::ChannelClosed { channel: ODD, code: Code(999) };
    let close = Message::Close(Close { channel: ODD, code: Code(999) });
    assert_eq!(feed(&mut session, &[close]), Ok(vec![closed]), "[F-26]");
}

#[test]
fn data_comes_in_parts_and_stops_with_its_channel() {
    let mut session = live();
    assert!(session.request(request(1)) && session.request(request(2)));
    let frame = data(block(1), b"hello");
    let head = DataHead { block: block(1), len: 5 };
    let part = |offset, bytes, last| SessionEvent::Data { head, offset, bytes, last };
    let now = Time::ZERO;
    assert_eq!(feed_bytes(&mut session, now, &frame[..16]), Ok(vec![]));
    assert_eq!(feed_bytes(&mut session, now, &frame[16..18]), Ok(vec![part(0, b"he", false)]));
    assert_eq!(session.open_requests(), 2);
    assert_eq!(feed_bytes(&mut session, now, &frame[18..]), Ok(vec![part(2, b"llo", true)]));
    assert_eq!(session.open_requests(), 1);

    let frame = data(block(2), b"hello");
    assert_eq!(feed_bytes(&mut session, now, &frame[..18]).unwrap().len(), 1);
    session.close_channel(ODD, Code::GONE);
    assert_eq!(feed_bytes(&mut session, now, &frame[18..]), Ok(vec![]));
    assert_eq!(
        feed(&mut session, &[Message::Window(Window { requests: 1 })]),
        Ok(vec![SessionEvent::Window])
    );
}

// --- requests ---

#[test]
fn our_requests_keep_to_the_remotes_window() {
    let mut session = live();
    assert_eq!((0..20).filter(|piece| session.request(request(*piece))).count(), 8, "[P-42]");
    session.cancel(block(0));
    session.cancel(block(0));
    session.cancel(block(19));
    let sent = sent(&mut session);
    assert_eq!(sent.len(), 9);
    assert_eq!(sent[8], Message::Cancel(Cancel { block: block(0) }), "once, and only if open");
    assert!(!session.request(request(8)), "[P-43]");
    // The answer to a cancelled request is an answer like any other.
    let refused = SessionEvent::Rejected { request: request(0), code: Code::CANCELLED };
    assert_eq!(feed(&mut session, &[reject(0, Code::CANCELLED)]), Ok(vec![refused]));
    assert!(!session.request(request(1)), "open already");
    assert!(session.request(request(8)));
    feed(&mut session, &[Message::Window(Window { requests: 3 })]).unwrap();
    assert_eq!((session.free_requests(), session.open_requests()), (0, 8), "[P-44]");
    feed(&mut session, &[Message::Window(Window { requests: 65_535 })]).unwrap();
    assert_eq!(session.free_requests(), 4096 - 8, "[H-18]");
}

#[test]
fn answers_are_given_once() {
    let mut session = live();
    let asked: Vec<_> = (0..3).map(|piece| Message::Request(request(piece))).collect();
    assert_eq!(
        feed(&mut session, &asked).unwrap(),
        [0, 1, 2].map(|p| SessionEvent::Requested(request(p)))
    );
    let cancel = Message::Cancel(Cancel { block: block(0) });
    let unknown = Message::Cancel(Cancel { block: block(50) });
    let events = feed(&mut session, &[cancel.clone(), cancel, unknown]).unwrap();
    assert_eq!(events, [SessionEvent::Cancelled(block(0))], "[P-40]");
    session.reject(block(0), Code::CANCELLED).unwrap();
    session.reject(block(0), Code::CANCELLED).unwrap();
    assert_eq!(sent(&mut session), [reject(0, Code::CANCELLED)], "[P-39]");

    let head = DataHead { block: block(1), len: 5 };
    assert_eq!(session.data_head(DataHead { len: 4, ..head }), None);
    assert_eq!(session.data_head(head), Some(head.to_frame_head().to_vec()));
    assert_eq!(session.data_head(head), None);
    assert_eq!(session.take_output(), None);
    session.range_failed(block(1), Code::GONE);
    assert_eq!(sent(&mut session), [reject(1, Code::GONE)], "[P-37]");
    assert_eq!(session.owed_requests(), 1);
}

#[test]
fn answers_come_in_any_order() {
    let mut session = live();
    (1..=4).for_each(|piece| assert!(session.request(request(piece))));
    let mut answered = Vec::new();
    let mut bytes = data(block(3), b"three");
    reject(1, Code::BUSY).encode(&mut bytes);
    bytes.extend(data(block(4), b"four!"));
    bytes.extend(data(block(2), b"two!!"));
    for event in feed_bytes(&mut session, Time::ZERO, &bytes).unwrap() {
        match event {
            SessionEvent::Data { head, last: true, .. } => answered.push(head.block.piece),
            SessionEvent::Rejected { request, .. } => answered.push(request.block.piece),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(answered, [3, 1, 4, 2], "[P-28]");
    assert_eq!(session.open_requests(), 0);
}

#[test]
fn keep_alives_are_not_answered() {
    let mut session = live();
    assert_eq!(feed(&mut session, &[Message::Noop, Message::Noop]), Ok(vec![]));
    assert_eq!(session.take_output(), None, "[F-18]");
}

#[test]
fn a_smaller_window_refuses_only_what_comes_after() {
    let mut session = live();
    let asked: Vec<_> = (0..10).map(|piece| Message::Request(request(piece))).collect();
    feed(&mut session, &asked[..6]).unwrap();
    session.set_window(4);
    session.set_window(4);
    assert_eq!(sent(&mut session), [Message::Window(Window { requests: 4 })]);
    assert_eq!(session.owed_requests(), 6, "[P-44]");
    feed(&mut session, &asked[6..]).unwrap();
    assert_eq!(sent(&mut session), [6, 7, 8, 9].map(|piece| reject(piece, Code::BUSY)), "[P-45]");
}

#[test]
fn a_window_set_early_is_told_late() {
    let mut dialer = session(Side::Dialer);
    dialer.set_window(3);
    assert_eq!(sent(&mut dialer).len(), 1, "[H-7]");
    feed(&mut dialer, &[Message::Hello(hello())]).unwrap();
    assert_eq!(sent(&mut dialer), [Message::Window(Window { requests: 3 })]);
}

#[test]
fn haves_fit_frames_and_may_come_before_the_manifest() {
    let mut session = live();
    session.have(ODD, &(0..40_000).collect::<Vec<_>>());
    let pieces = |message: &Message| match message {
        Message::Have(have) => have.pieces.len(),
        other => panic!("{other:?}"),
    };
    assert_eq!(sent(&mut session).iter().map(pieces).collect::<Vec<_>>(), [16_383, 16_383, 7_234]);
    let mut session = ready();
    let early = [open(ODD, OBJECT), bitmap(ODD, 0), have(262_143), have(262_143)];
    assert_eq!(feed(&mut session, &early).unwrap().len(), 4, "[P-24]");
}

// --- the end ---

#[test]
fn bye_is_the_last_word() {
    let mut session = live();
    session.bye(Code::SHUTDOWN, &"ä".repeat(200));
    session.bye(Code::OK, "");
    session.have(ODD, &[1]);
    session.set_window(1);
    assert_eq!(session.open(ObjectId([9; 32])), None);
    assert!(!session.request(request(1)));
    let bye = Bye { code: Code::SHUTDOWN, text: "ä".repeat(127) };
    assert_eq!(sent(&mut session), [Message::Bye(bye)], "[F-21]");
    assert_eq!(feed(&mut session, &[have(1), have(5000)]), Ok(vec![]), "dropped in DRAIN");

    let mut session = live();
    let bye = Message::Bye(Bye { code: Code(4711), text: "go\raway".to_owned() });
    let event = SessionEvent::Bye { code: Code(4711), text: "go\u{fffd}away".to_owned() };
    assert_eq!(feed(&mut session, &[bye, have(5000)]), Ok(vec![event]));
    session.bye(Code::OK, "");
    assert_eq!(session.take_output(), None, "[F-23]");
    assert!(session.is_closing() && session.closing_since().is_none());
}

#[test]
fn nothing_opens_before_the_hellos() {
    let mut session = session(Side::Dialer);
    assert_eq!(session.open(OBJECT), None);
    assert_eq!(session.free_requests(), 0);
    assert!(!session.is_ready());
}

fn close(channel: ChannelId) -> Message {
    Message::Close(Close { channel, code: Code::OK })
}

fn have(piece: u32) -> Message {
    Message::Have(Have { channel: ODD, pieces: vec![piece] })
}

fn reject(piece: u32, code: Code) -> Message {
    Message::Reject(Reject { block: block(piece), code })
}
