//! Random conversations: two sessions that keep to their doors never offend each other, and a remote
//! that keeps to nothing achieves nothing.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use protocol::Code;
use reactor::Rng;

use super::*;

/// One of two ends, with its own picture of what must happen.
struct End {
    session: Session,
    /// On its way to the other end.
    wire: VecDeque<u8>,
    objects: BTreeMap<ChannelId, ObjectId>,
    /// Requests of ours that are open, with the bytes that came so far.
    asked: BTreeMap<Block, (Request, u32)>,
    todo: Vec<Request>,
    count: Count,
}

#[derive(Debug, Default)]
struct Count {
    requests: usize,
    data: usize,
    rejects: usize,
    void: usize,
}

impl End {
    fn new(side: Side, node: NodeId, seed: u64) -> Self {
        let session = Session::new(side, &local(node), &mut Rng::new(seed), Time::ZERO);
        let (wire, objects, asked) = (VecDeque::new(), BTreeMap::new(), BTreeMap::new());
        Self { session, wire, objects, asked, todo: Vec::new(), count: Count::default() }
    }

    fn flush(&mut self) {
        self.wire.extend(self.session.take_output().into_iter().flatten());
    }

    fn act(&mut self, op: u8, a: u8, b: u8) {
        let channel = self.objects.keys().nth(usize::from(a) % self.objects.len().max(1)).copied();
        match op {
            0 => {
                if let Some(channel) = self.session.open(object(a)) {
                    self.session.send_bitmap(channel, 10, 100, &Holdings::All);
                    self.objects.insert(channel, object(a));
                }
            }
            1..=4 => {
                let Some(channel) = channel else { return };
                let block = Block { channel, piece: u32::from(b % 32), begin: 0 };
                let request = Request { block, len: u32::from(b) + 1 };
                if self.session.request(request) {
                    assert!(self.asked.insert(block, (request, 0)).is_none(), "booked twice");
                    self.count.requests += 1;
                }
            }
            5..=7 => self.serve(a),
            8 if !self.todo.is_empty() => {
                let request = self.todo.swap_remove(usize::from(a) % self.todo.len());
                self.session.reject(request.block, Code::NO_PIECE).unwrap();
            }
            9 => {
                let block =
                    self.asked.keys().nth(usize::from(a) % self.asked.len().max(1)).copied();
                block.into_iter().for_each(|block| self.session.cancel(block));
            }
            10 => self.session.set_window(u16::from(b % 20)),
            11 => {
                let Some(channel) = channel else { return };
                self.session.have(channel, &[u32::from(b % 100)]);
            }
            12 => {
                let Some(channel) = channel.filter(|_| b < 64) else { return };
                self.session.close_channel(channel, Code::GONE);
                self.void(channel);
            }
            _ => {}
        }
    }

    fn serve(&mut self, a: u8) {
        if self.todo.is_empty() {
            return;
        }
        let Request { block, len } = self.todo.remove(usize::from(a) % self.todo.len());
        let head = self.session.data_head(DataHead { block, len }).expect("it is open");
        self.flush();
        if a < 16 {
            self.session.range_failed(block, Code::GONE);
        } else {
            self.wire.extend(head);
            self.wire.extend((0..len).map(|at| byte(block, at)));
        }
    }

    fn void(&mut self, channel: ChannelId) {
        self.objects.remove(&channel);
        self.todo.retain(|request| request.block.channel != channel);
        let before = self.asked.len();
        self.asked.retain(|block, _| block.channel != channel);
        self.count.void += before - self.asked.len();
    }

    fn receive(&mut self, bytes: &[u8]) {
        let mut input = bytes;
        loop {
            let event = self.session.next(Time::ZERO, &mut input);
            match event.expect("the other end keeps to the rules") {
                None => return,
                Some(event) => self.on_event(event),
            }
        }
    }

    fn on_event(&mut self, event: SessionEvent<'_>) {
        match event {
            SessionEvent::Opened { channel, object } => {
                assert!(self.objects.values().all(|open| *open != object), "two for one object");
                self.objects.insert(channel, object);
                self.session.send_bitmap(channel, 10, 100, &Holdings::All);
            }
            SessionEvent::Requested(request) => self.todo.push(request),
            SessionEvent::Cancelled(block) => {
                let at = self.todo.iter().position(|request| request.block == block);
                self.todo.swap_remove(at.expect("only open requests are cancelled"));
                self.session.reject(block, Code::CANCELLED).unwrap();
            }
            SessionEvent::Data { head, offset, bytes, last } => {
                let (request, done) = self.asked.get_mut(&head.block).expect("it was asked for");
                assert_eq!((request.len, *done), (head.len, offset));
                for (at, got) in (offset..).zip(bytes) {
                    assert_eq!(*got, byte(head.block, at));
                }
                *done += u32::try_from(bytes.len()).unwrap();
                assert_eq!(last, *done == head.len);
                if last {
                    self.asked.remove(&head.block);
                    self.count.data += 1;
                }
            }
            SessionEvent::Rejected { request, .. } => {
                let (asked, _) = self.asked.remove(&request.block).expect("it was asked for");
                assert_eq!(asked, request);
                self.count.rejects += 1;
            }
            SessionEvent::ChannelClosed { channel, .. } => self.void(channel),
            SessionEvent::Ready { .. }
            | SessionEvent::Bitmap { .. }
            | SessionEvent::Have { .. }
            | SessionEvent::Window => {}
            SessionEvent::Bye { .. } => panic!("nobody said BYE"),
        }
        assert_eq!(self.asked.len(), self.session.open_requests());
        assert_eq!(self.todo.len(), self.session.owed_requests());
    }
}

fn object(a: u8) -> ObjectId {
    ObjectId([a % 3; 32])
}

fn byte(block: Block, at: u32) -> u8 {
    u8::try_from((block.piece * 7 + block.channel.0 * 31 + at) % 251).unwrap()
}

/// Hands over at most `max` bytes that wait.
fn deliver(from: &mut End, to: &mut End, max: usize) {
    from.flush();
    let part: Vec<u8> = from.wire.drain(..max.min(from.wire.len())).collect();
    to.receive(&part);
    to.flush();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// #REQUEST = #DATA + #REJECT + void, whatever happens in between. [P-27]
    #[test]
    fn every_request_is_answered_once(ops in prop::collection::vec((0_u8..16, any::<u8>(), any::<u8>()), 0..400)) {
        let mut dialer = End::new(Side::Dialer, OURS, 1);
        let mut acceptor = End::new(Side::Acceptor, THEIRS, 2);
        for (op, a, b) in ops {
            match (op, a % 2) {
                (13.., 0) => deliver(&mut dialer, &mut acceptor, 1 + usize::from(b) * 4),
                (13.., _) => deliver(&mut acceptor, &mut dialer, 1 + usize::from(b) * 4),
                (_, 0) => dialer.act(op, a / 2, b),
                (_, _) => acceptor.act(op, a / 2, b),
            }
        }
        for _ in 0..1000 {
            deliver(&mut dialer, &mut acceptor, usize::MAX);
            deliver(&mut acceptor, &mut dialer, usize::MAX);
            dialer.serve(255);
            acceptor.serve(255);
        }
        for end in [&mut dialer, &mut acceptor] {
            prop_assert!(end.session.is_ready());
            prop_assert!(end.asked.is_empty() && end.todo.is_empty());
            let Count { requests, data, rejects, void } = end.count;
            prop_assert_eq!(requests, data + rejects + void);
        }
        let channels = |end: &End| end.session.channels().collect::<Vec<_>>();
        prop_assert_eq!(channels(&dialer), channels(&acceptor));
    }

    /// Bytes that mean nothing end in a violation at worst, and provoke no more than they are.
    #[test]
    fn any_bytes_only_end_in_a_violation(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        cut in prop::collection::vec(1_usize..40, 1..20),
        greeted: bool,
    ) {
        let mut session = if greeted { live() } else { session(Side::Acceptor) };
        suffer(&mut session, &noise, &cut)?;
    }

    /// The same for real frames in which some bits are wrong.
    #[test]
    fn mutated_frames_only_end_in_a_violation(
        kinds in prop::collection::vec((0_usize..9, 0_u32..6), 1..60),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..8), 0..4),
        cut in prop::collection::vec(1_usize..200, 1..20),
    ) {
        let mut bytes: Vec<u8> = kinds.into_iter().flat_map(|(kind, n)| frame(kind, n)).collect();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        let mut session = live();
        (0..4).for_each(|piece| assert!(session.request(request(piece))));
        sent(&mut session);
        suffer(&mut session, &bytes, &cut)?;
    }
}

fn frame(kind: usize, n: u32) -> Vec<u8> {
    use protocol::message::{Cancel, Close, Have, Reject, Window};
    match kind {
        0 => Message::Noop.to_frame(),
        1 => open(ChannelId(2 * n + 3), ObjectId([u8::try_from(n).unwrap(); 32])).to_frame(),
        2 => bitmap(ChannelId(2 * n + 3), 100).to_frame(),
        3 => Message::Have(Have { channel: ODD, pieces: vec![n; 5] }).to_frame(),
        4 => Message::Request(request(n)).to_frame(),
        5 => Message::Cancel(Cancel { block: block(n) }).to_frame(),
        6 => data(block(n), b"hello"),
        7 => Message::Reject(Reject { block: block(n), code: Code::BUSY }).to_frame(),
        _ if n == 0 => Message::Close(Close { channel: ODD, code: Code::OK }).to_frame(),
        _ => Message::Window(Window { requests: 10 }).to_frame(),
    }
}

/// Feeds bytes in pieces as a machine would, to the first violation and beyond.
fn suffer(session: &mut Session, bytes: &[u8], cut: &[usize]) -> Result<(), TestCaseError> {
    let mut rest = bytes;
    let mut cut = cut.iter().cycle();
    let mut output = session.take_output().unwrap_or_default().len();
    let mut broken = false;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(*cut.next().expect("a cycle")));
        rest = after;
        let mut input = part;
        loop {
            match session.next(Time::ZERO, &mut input) {
                Ok(None) => break,
                Ok(Some(_)) => prop_assert!(!broken, "an event after the end"),
                Err(violation) => {
                    prop_assert!(!broken, "a second violation");
                    broken = true;
                    prop_assert!(session.is_closing());
                    violation
                        .code()
                        .into_iter()
                        .for_each(|code| session.bye(code, &violation.to_string()));
                }
            }
        }
        output += session.take_output().map_or(0, |bytes| bytes.len());
    }
    // HELLO, grease and BYE, and for the rest never more than came.
    prop_assert!(output <= bytes.len() + 500, "{output} bytes for {}", bytes.len());
    Ok(())
}
