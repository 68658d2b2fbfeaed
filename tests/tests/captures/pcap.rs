//! TCP conversations as a classic pcap file: made-up IPv4 packets with right checksums and sequence
//! numbers around real payload.

use std::net::SocketAddrV4;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// The link type of packets that begin with their IP header.
const RAW: u32 = 101;
/// Virtual time 0, in seconds since 1970.
const BEGIN: u64 = 1_700_000_000;

/// One TCP connection: addresses and next sequence numbers, of the dialer and of the acceptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conversation {
    ends: [SocketAddrV4; 2],
    next: [u32; 2],
}

impl Conversation {
    pub(crate) fn new(dialer: SocketAddrV4, acceptor: SocketAddrV4) -> Self {
        Self { ends: [dialer, acceptor], next: [0; 2] }
    }
}

/// A capture in memory.
#[derive(Debug)]
pub(crate) struct Pcap {
    pub(crate) bytes: Vec<u8>,
}

impl Pcap {
    pub(crate) fn new() -> Self {
        let mut bytes = 0xA1B2_C3D4u32.to_le_bytes().to_vec();
        bytes.extend([2u16, 4].iter().flat_map(|half| half.to_le_bytes()));
        bytes.extend([0u32, 0, 262_144, RAW].iter().flat_map(|word| word.to_le_bytes()));
        Self { bytes }
    }

    /// The three packets by which a connection comes up.
    pub(crate) fn open(&mut self, at: u64, talk: &mut Conversation) {
        for (side, flags) in [(0, SYN), (1, SYN | ACK), (0, ACK)] {
            self.packet(at, talk, side, flags, &[]);
        }
    }

    /// Payload of one side, in one packet.
    pub(crate) fn data(&mut self, at: u64, talk: &mut Conversation, side: usize, data: &[u8]) {
        self.packet(at, talk, side, PSH | ACK, data);
    }

    /// The end of one side.
    pub(crate) fn finish(&mut self, at: u64, talk: &mut Conversation, side: usize) {
        self.packet(at, talk, side, FIN | ACK, &[]);
    }

    /// One side says that there is no such connection any more.
    pub(crate) fn reset(&mut self, at: u64, talk: &mut Conversation, side: usize) {
        self.packet(at, talk, side, RST | ACK, &[]);
    }

    fn packet(&mut self, at: u64, talk: &mut Conversation, side: usize, flags: u8, data: &[u8]) {
        let (from, to) = (talk.ends[side], talk.ends[1 - side]);
        let ack = if flags & ACK == 0 { 0 } else { talk.next[1 - side] };
        let mut tcp = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        tcp.extend(talk.next[side].to_be_bytes());
        tcp.extend(ack.to_be_bytes());
        tcp.extend([5 << 4, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
        tcp.extend(data);
        let len = u16::try_from(tcp.len()).expect("segments are short");
        let mut pseudo = [from.ip().octets(), to.ip().octets()].concat();
        pseudo.extend([0, 6]);
        pseudo.extend(len.to_be_bytes());
        let sum = checksum(&[&pseudo[..], &tcp].concat());
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());

        let mut ip = vec![0x45, 0];
        ip.extend((len + 20).to_be_bytes());
        ip.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        ip.extend(from.ip().octets());
        ip.extend(to.ip().octets());
        let sum = checksum(&ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());

        self.record(at, &[ip, tcp].concat());
        let takes_one = u32::from(flags & (SYN | FIN) != 0);
        let sent = u32::try_from(data.len()).expect("segments are short");
        talk.next[side] = talk.next[side].wrapping_add(sent + takes_one);
    }

    fn record(&mut self, at: u64, packet: &[u8]) {
        let seconds = u32::try_from(BEGIN + at / 1_000_000_000).expect("before 2106");
        let micros = u32::try_from(at % 1_000_000_000 / 1_000).expect("below a million");
        let len = u32::try_from(packet.len()).expect("packets are short");
        for word in [seconds, micros, len, len] {
            self.bytes.extend(word.to_le_bytes());
        }
        self.bytes.extend(packet);
    }
}

/// The checksum of IP and TCP: the complement of the sum of 16-bit words in one's complement.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let sum: u32 = bytes.chunks(2).map(word).sum();
    let sum = (sum & 0xFFFF) + (sum >> 16);
    let sum = (sum & 0xFFFF) + (sum >> 16);
    !u16::try_from(sum).expect("folded")
}
