"""Channels, requests and windows of one connection between peers. Section 7 of PROTOCOL.md.

The session knows the rules; what an object is and which piece is wanted next is the business of peer.py, which it
calls through `host`:

    host.find(object_id) -> Held | None        whether to accept an OPEN
    host.learned(session, channel)             a BITMAP or HAVE came
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from codec import CODES, LIMITS, Violation
from connection import Connection, code_name
from manifest import Manifest

MANIFEST_PIECE = LIMITS["MANIFEST_PIECE"]
NONE, ALL, BITS = 0, 1, 2
PEER_TYPES = {"OPEN", "CLOSE", "BITMAP", "HAVE", "REQUEST", "DATA", "REJECT", "CANCEL", "WINDOW"}


class Rejected(Exception):
    def __init__(self, code: str):
        super().__init__(code)
        self.code = code


@dataclass
class Held:
    """An object that is served or fetched. `manifest` is None until it is verified."""

    object: bytes
    manifest: Manifest | None = None
    have: set[int] = field(default_factory=set)
    read: object = None  # (piece, begin, length) -> bytes

    def piece_lengths(self) -> list[int]:
        return [length for _, _, length in self.manifest.pieces()]

    def length_of(self, piece: int) -> int | None:
        """Bytes of a piece or of the manifest; None if there is no such piece."""
        if piece == MANIFEST_PIECE:
            return len(self.manifest.raw)
        lengths = self.lengths = getattr(self, "lengths", None) or self.piece_lengths()
        return lengths[piece] if piece < len(lengths) else None

    def bitmap(self) -> dict:
        if self.manifest is None:
            return {"manifest_len": 0, "piece_count": 0, "kind": NONE}
        count = len(self.manifest.hashes)
        base = {"manifest_len": len(self.manifest.raw), "piece_count": count}
        if len(self.have) == count:
            return base | {"kind": ALL}
        if not self.have:
            return base | {"kind": NONE}
        bits = bytearray((count + 7) // 8)
        for piece in self.have:
            bits[piece // 8] |= 0x80 >> piece % 8
        return base | {"kind": BITS, "bits": bytes(bits)}


@dataclass
class Channel:
    number: int
    held: Held
    sent_bitmap: bool = False
    theirs: set[int] | None = None  # None until their BITMAP
    manifest_len: int | None = None  # what their BITMAP said
    can_serve_manifest: bool = False


class Session:
    def __init__(self, connection: Connection, host):
        self.connection, self.host = connection, host
        self.channels: dict[int, Channel] = {}
        self.last_opened = {0: -2, 1: -1}  # by parity
        self.window = connection.theirs["window"]
        self.asked: dict[tuple[int, int, int], tuple[int, asyncio.Future]] = {}
        self.queue: dict[tuple[int, int, int], int] = {}  # requests that wait for their answer -> length
        self.bad_ranges = 0
        self.room, self.work = asyncio.Event(), asyncio.Event()
        self.ended = False
        connection.frames.judge_data = self._judge_data

    @property
    def node(self) -> bytes:
        return self.connection.theirs["node"]

    async def run(self) -> None:
        """Until Ended."""
        server = asyncio.create_task(self._serve())
        try:
            async for name, m in self.connection.messages():
                if name not in PEER_TYPES:
                    await self._violation(f"{name} is not between peers")  # [F-14]
                await getattr(self, f"_on_{name.lower()}")(m)
        finally:
            self.ended = True
            server.cancel()
            for _, future in self.asked.values():
                if not future.done():
                    future.set_exception(Rejected("ENDED"))
            self.asked.clear()
            self.room.set()
            self.host.left(self)

    async def _violation(self, text: str) -> None:
        await self.connection.bye("BAD_STATE", text)

    # -------------------------------------------------------------------------------------- channels

    def open(self, held: Held) -> Channel:
        for channel in self.channels.values():
            if channel.held is held:
                return channel
        parity = 0 if self.connection.dialer else 1  # [P-1]
        self.last_opened[parity] += 2  # [P-2]
        channel = Channel(self.last_opened[parity], held)
        self.channels[channel.number] = channel
        self.connection.send("OPEN", ch=channel.number, object=held.object)
        self._send_bitmap(channel)  # [P-3]
        return channel

    def _send_bitmap(self, channel: Channel) -> None:
        channel.sent_bitmap = True  # [P-14]
        self.connection.send("BITMAP", ch=channel.number, **channel.held.bitmap())

    def close_channel(self, number: int, code: str) -> None:
        self.connection.send("CLOSE", ch=number, code=CODES[code])
        self._forget(number)

    def _forget(self, number: int) -> None:
        """Requests of both sides are void. [P-10]"""
        self.channels.pop(number, None)
        for key in [key for key in self.asked if key[0] == number]:
            _, future = self.asked.pop(key)
            if not future.done():
                future.set_exception(Rejected("CLOSED"))
        self.queue = {key: length for key, length in self.queue.items() if key[0] != number}
        self.room.set()

    async def _channel(self, m: dict, needs_bitmap: bool = True) -> Channel | None:
        """The channel of a frame; None if the frame is to be dropped."""
        channel = self.channels.get(m["ch"])
        if channel is None:
            if m["ch"] > self.last_opened[m["ch"] % 2]:
                await self._violation(f"channel {m['ch']} was never open")  # [P-13]
            return None  # [P-12]
        if needs_bitmap and channel.theirs is None:
            await self._violation("a frame before BITMAP")  # [P-15]
        return channel

    async def _on_open(self, m: dict) -> None:
        parity = 1 if self.connection.dialer else 0
        if m["ch"] % 2 != parity or m["ch"] <= self.last_opened[parity]:
            await self._violation(f"channel number {m['ch']}")  # [P-1] [P-2]
        self.last_opened[parity] = m["ch"]
        held = self.host.find(m["object"])
        same = [c for c in self.channels.values() if c.held.object == m["object"]]
        if any(c.number % 2 == parity for c in same) or (same and self.connection.dialer):
            self.connection.send("CLOSE", ch=m["ch"], code=CODES["DUPLICATE"])  # [P-7] [P-8]
        elif held is None:
            self.connection.send("CLOSE", ch=m["ch"], code=CODES["NOT_FOUND"])  # [P-5]
        elif len(self.channels) >= LIMITS["MAX_CHANNELS"]:
            self.connection.send("CLOSE", ch=m["ch"], code=CODES["LIMIT"])  # [P-6]
        else:
            for channel in same:
                self.close_channel(channel.number, "DUPLICATE")  # [P-8]
            channel = self.channels[m["ch"]] = Channel(m["ch"], held)
            self._send_bitmap(channel)  # [P-4]

    async def _on_close(self, m: dict) -> None:
        if await self._channel(m, needs_bitmap=False):
            self._forget(m["ch"])  # [P-9]

    async def _on_bitmap(self, m: dict) -> None:
        channel = await self._channel(m, needs_bitmap=False)
        if channel is None:
            return
        if channel.theirs is not None:
            await self._violation("a second BITMAP")  # [P-14]
        count = m["piece_count"]
        if m["kind"] == BITS:
            channel.theirs = {p for p in range(count) if m["bits"][p // 8] & 0x80 >> p % 8}
        else:
            channel.theirs = set(range(count)) if m["kind"] == ALL else set()
        channel.manifest_len, channel.can_serve_manifest = m["manifest_len"], m["manifest_len"] > 0
        channel.piece_count = count
        await self.check_bitmap(channel)
        self.host.learned(self, channel)

    async def check_bitmap(self, channel: Channel) -> None:
        """A BITMAP or HAVE against the verified manifest."""
        manifest = channel.held.manifest
        if manifest is None or channel.theirs is None:
            return
        if channel.manifest_len and (channel.manifest_len, channel.piece_count) != (
                len(manifest.raw), len(manifest.hashes)):
            await self.connection.bye("BAD_DATA", "BITMAP does not fit the manifest")  # [P-19]
        if any(piece >= len(manifest.hashes) for piece in channel.theirs):
            await self._violation("HAVE of a piece that the object does not have")  # [P-23]

    async def _on_have(self, m: dict) -> None:
        channel = await self._channel(m)
        if channel:
            channel.theirs |= set(m["pieces"])  # [P-24]
            channel.can_serve_manifest = True  # [P-26]
            await self.check_bitmap(channel)
            self.host.learned(self, channel)

    def announce(self, held: Held, piece: int) -> None:
        for channel in self.channels.values():
            if channel.held is held and channel.sent_bitmap and piece not in (channel.theirs or ()):
                self.connection.send("HAVE", ch=channel.number, pieces=[piece])  # [P-25]

    # --------------------------------------------------------------------------------------- asking

    async def request(self, channel: Channel, piece: int, begin: int, length: int) -> bytes:
        """The bytes, or Rejected."""
        while not self.ended and len(self.asked) >= self.window:  # [P-42] [P-43]
            self.room.clear()
            await self.room.wait()
        if self.ended or channel.number not in self.channels:
            raise Rejected("CLOSED")
        future = asyncio.get_running_loop().create_future()
        self.asked[channel.number, piece, begin] = (length, future)
        self.connection.send("REQUEST", ch=channel.number, piece=piece, begin=begin, len=length)
        return await future

    def cancel(self, channel: Channel, piece: int) -> None:
        """Asks to drop all requests of a piece; they stay open until answered. [P-39] [P-43]"""
        for number, asked, begin in list(self.asked):
            if (number, asked) == (channel.number, piece):
                self.connection.send("CANCEL", ch=number, piece=piece, begin=begin)

    def _answered(self, m: dict) -> tuple[int, asyncio.Future] | None:
        self.room.set()
        return self.asked.pop((m["ch"], m["piece"], m["begin"]), None)

    def _judge_data(self, number: int, piece: int, begin: int, length: int) -> None:
        """DATA that nobody asked for is not buffered. [F-16]"""
        asked = self.asked.get((number, piece, begin))
        closed = number not in self.channels and number <= self.last_opened[number % 2]
        if not closed and (asked is None or asked[0] != length):
            raise Violation("BAD_STATE", "P-36", "DATA that nobody asked for")

    async def _on_data(self, m: dict) -> None:
        if await self._channel(m):
            asked = self._answered(m)
            if asked is None or asked[0] != len(m["bytes"]):
                await self._violation("DATA that nobody asked for")  # [P-36]
            elif not asked[1].done():
                asked[1].set_result(m["bytes"])

    async def _on_reject(self, m: dict) -> None:
        if await self._channel(m):
            asked = self._answered(m)
            if asked is None:
                await self._violation("REJECT of no request")  # [P-36]
            elif not asked[1].done():
                asked[1].set_exception(Rejected(code_name(m["code"])))  # [F-26]

    async def _on_window(self, m: dict) -> None:
        self.window = min(m["requests"], LIMITS["MAX_WINDOW"])  # [H-18] [P-44]
        self.room.set()

    # -------------------------------------------------------------------------------------- serving

    async def _on_request(self, m: dict) -> None:
        channel = await self._channel(m)
        if channel is None:
            return
        key = (m["ch"], m["piece"], m["begin"])
        if key in self.queue:
            await self._violation("the same REQUEST twice")  # [P-32]
        if len(self.queue) >= LIMITS["MAX_WINDOW"]:
            await self.connection.bye("LIMIT", "too many open requests")  # [P-46]
        code = self._refusal(channel.held, m)
        if code == "BAD_RANGE":
            self.bad_ranges += 1
            if self.bad_ranges > LIMITS["MAX_BAD_RANGES"]:
                await self.connection.bye("LIMIT", "too many ranges outside their piece")  # [P-31]
        if code:
            self._reject(key, code)
        else:
            self.queue[key] = m["len"]
            self.work.set()

    @staticmethod
    def _refusal(held: Held, m: dict) -> str | None:
        if held.manifest is None:
            return "NO_PIECE"  # [P-33]
        size = held.length_of(m["piece"])
        if size is None or m["begin"] + m["len"] > size:
            return "BAD_RANGE"  # [P-30]
        return None if m["piece"] == MANIFEST_PIECE or m["piece"] in held.have else "NO_PIECE"

    def _reject(self, key: tuple[int, int, int], code: str) -> None:
        self.connection.send("REJECT", ch=key[0], piece=key[1], begin=key[2], code=CODES[code])

    async def _on_cancel(self, m: dict) -> None:
        if await self._channel(m):
            key = (m["ch"], m["piece"], m["begin"])
            if self.queue.pop(key, None):  # else [P-40]
                self._reject(key, "CANCELLED")  # [P-39]

    async def _serve(self) -> None:
        while True:
            while not self.queue:
                self.work.clear()
                await self.work.wait()
            number, piece, begin = next(iter(self.queue))
            length = self.queue.pop((number, piece, begin))
            held = self.channels[number].held
            try:
                data = held.manifest.raw[begin : begin + length] if piece == MANIFEST_PIECE else held.read(
                    piece, begin, length)
            except OSError:
                self._reject((number, piece, begin), "IO")  # [P-37]
                continue
            if len(data) != length:
                self._reject((number, piece, begin), "GONE")  # [P-37]
                continue
            self.connection.send("DATA", ch=number, piece=piece, begin=begin, bytes=data)  # [P-27] [P-35]
            await self.connection.writer.drain()
