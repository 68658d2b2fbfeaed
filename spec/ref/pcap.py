"""Captures without a capture program: writes TCP conversations as pcap files, and reads pcap and pcapng.

Writing needs no privileges: the bytes come from whoever sent or received them. The packets are made up (IPv4 or IPv6,
TCP, with right checksums and sequence numbers), the payload is real.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field
from pathlib import Path

RAW, ETHERNET, NULL, SLL, SLL2 = 101, 1, 0, 113, 276
FIN, SYN, PSH, ACK = 1, 2, 8, 16
SEGMENT = 32_768


def _checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class _End:
    ip: bytes
    port: int
    seq: int


class Writer:
    """A pcap file of TCP conversations."""

    def __init__(self, path: Path):
        self.file = open(path, "wb")
        self.file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, RAW))

    def connect(self, time: float, client: tuple[str, int], server: tuple[str, int]) -> list[_End]:
        """The handshake; the two ends are for `send` and `close`."""
        ends = [_End(ipaddress.ip_address(ip).packed, port, 0) for ip, port in (client, server)]
        for sender, flags in ((0, SYN), (1, SYN | ACK), (0, ACK)):
            self._packet(time, ends[sender], ends[1 - sender], flags, b"")
            ends[sender].seq += 1 if flags & SYN else 0
        return ends

    def send(self, time: float, ends: list[_End], sender: int, data: bytes) -> None:
        """Bytes from end 0 (the client) or 1 (the server)."""
        for at in range(0, len(data), SEGMENT):
            part = data[at : at + SEGMENT]
            self._packet(time, ends[sender], ends[1 - sender], PSH | ACK, part)
            ends[sender].seq += len(part)
        self.file.flush()

    def close(self, time: float, ends: list[_End]) -> None:
        for sender in (0, 1):
            self._packet(time, ends[sender], ends[1 - sender], FIN | ACK, b"")
            ends[sender].seq += 1
        self._packet(time, ends[0], ends[1], ACK, b"")
        self.file.flush()

    def _packet(self, time: float, source: _End, target: _End, flags: int, data: bytes) -> None:
        ack = target.seq if flags & ACK else 0
        head = struct.pack(">HHIIBBHHH", source.port, target.port, source.seq & 0xFFFFFFFF, ack & 0xFFFFFFFF,
                           5 << 4, flags, 65_535, 0, 0)
        pseudo = source.ip + target.ip + (struct.pack(">BBH", 0, 6, 20 + len(data)) if len(source.ip) == 4
                                          else struct.pack(">IHBB", 20 + len(data), 0, 0, 6))
        check = struct.pack(">H", _checksum(pseudo + head + data))
        packet = self._ip(source.ip, target.ip, 20 + len(data)) + head[:16] + check + head[18:] + data
        seconds = int(time)
        stamp = struct.pack("<IIII", seconds, int((time - seconds) * 1e6), len(packet), len(packet))
        self.file.write(stamp + packet)

    @staticmethod
    def _ip(source: bytes, target: bytes, size: int) -> bytes:
        if len(source) == 16:
            return struct.pack(">IHBB", 6 << 28, size, 6, 64) + source + target
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + size, 0, 0x4000, 64, 6, 0) + source + target
        return head[:10] + struct.pack(">H", _checksum(head)) + head[12:]


# -------------------------------------------------------------------------------------------------- reading


def packets(raw: bytes):
    """(time, link type, bytes) of each packet of a pcap or pcapng file."""
    if raw[:4] == b"\x0a\x0d\x0d\x0a":
        yield from _pcapng(raw)
        return
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\x4d\x3c\xb2\xa1": "<"}.get(raw[:4])
    if order is None:
        raise ValueError("not a pcap or pcapng file")
    unit = 1e9 if raw[:4] == b"\x4d\x3c\xb2\xa1" else 1e6
    link, at = struct.unpack_from(order + "I", raw, 20)[0], 24
    while at + 16 <= len(raw):
        seconds, fraction, size, full = struct.unpack_from(order + "IIII", raw, at)
        if size < full:
            raise ValueError("packets are cut: capture without a snap length")
        yield seconds + fraction / unit, link, raw[at + 16 : at + 16 + size]
        at += 16 + size


def _pcapng(raw: bytes):
    at, order, links = 0, "<", []
    while at + 12 <= len(raw):
        if raw[at : at + 4] == b"\x0a\x0d\x0d\x0a":
            order = "<" if raw[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            links = []
        kind, size = struct.unpack_from(order + "II", raw, at)
        if size < 12:
            raise ValueError("a block of no length")
        if kind == 1:
            links.append(struct.unpack_from(order + "H", raw, at + 8)[0])
        elif kind == 6:
            interface, high, low, captured, full = struct.unpack_from(order + "IIIII", raw, at + 8)
            if captured < full:
                raise ValueError("packets are cut: capture without a snap length")
            yield (high << 32 | low) / 1e6, links[interface], raw[at + 28 : at + 28 + captured]
        at += size


@dataclass
class Conversation:
    """One TCP connection: end 0 is who sent SYN, or was seen first."""

    ends: tuple
    parts: list = field(default_factory=list)  # (time, sender, bytes) in the order in which they became contiguous
    closed: set = field(default_factory=set)  # ends that have sent FIN or RST
    expected: dict = field(default_factory=dict)
    early: dict = field(default_factory=lambda: {0: {}, 1: {}})

    def add(self, time: float, sender: int, seq: int, flags: int, data: bytes) -> None:
        if flags & SYN:
            self.expected[sender] = (seq + 1) & 0xFFFFFFFF
            return
        if flags & (FIN | 4):
            self.closed.add(sender)
        if not data:
            return
        self.expected.setdefault(sender, seq)
        self.early[sender][seq] = data
        while self.early[sender]:
            want = self.expected[sender]
            seq = min(self.early[sender], key=lambda s: (s - want + 2**31) % 2**32)
            ahead = (seq - want + 2**31) % 2**32 - 2**31
            if ahead > 0:
                break
            part = self.early[sender].pop(seq)[-ahead:] if ahead else self.early[sender].pop(seq)
            if part and -ahead < 2**31:
                self.expected[sender] = (want + len(part)) & 0xFFFFFFFF
                self.parts.append((time, sender, part))

    def gaps(self) -> bool:
        return any(self.early.values())


def conversations(path: Path) -> list[Conversation]:
    """TCP connections of a capture, each direction's bytes in order."""
    found: dict = {}
    out = []
    for time, link, raw in packets(Path(path).read_bytes()):
        parsed = _tcp(link, raw)
        if parsed is None:
            continue
        source, target, seq, flags, data = parsed
        key = frozenset((source, target))
        conversation = found.get(key)
        if conversation is None or (flags & SYN and not flags & ACK and conversation.closed):
            ends = (target, source) if flags & SYN and flags & ACK else (source, target)
            conversation = found[key] = Conversation(ends)
            out.append(conversation)
        conversation.add(time, conversation.ends.index(source), seq, flags, data)
    return out


def _tcp(link: int, raw: bytes):
    """(source, target, seq, flags, data) of a packet, None if it is not TCP."""
    skip = {RAW: 0, 228: 0, 229: 0, ETHERNET: 14, NULL: 4, SLL: 16, SLL2: 20}.get(link)
    if skip is None:
        raise ValueError(f"unknown link type {link}")
    ip = raw[skip:]
    if not ip:
        return None
    if ip[0] >> 4 == 4 and ip[9] == 6:
        size = (ip[0] & 15) * 4
        source, target, tcp = ip[12:16], ip[16:20], ip[size : int.from_bytes(ip[2:4], "big") or len(ip)]
    elif ip[0] >> 4 == 6 and ip[6] == 6:
        source, target, tcp = ip[8:24], ip[24:40], ip[40 : 40 + int.from_bytes(ip[4:6], "big")]
    else:
        return None
    source_port, target_port, seq = struct.unpack_from(">HHI", tcp)
    return (source, source_port), (target, target_port), seq, tcp[13], tcp[(tcp[12] >> 4) * 4 :]
