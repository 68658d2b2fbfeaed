"""One connection: HELLO, NOOP, BYE, timers. Sections 4 and 5 of PROTOCOL.md. Used by peer.py and tracker.py."""

from __future__ import annotations

import asyncio
import os
import random
import time

import codec
import pcap
from codec import LIMITS, TLVS, Violation

PEER, TRACKER = 1, 2
AGENT = b"swp-ref/1"


CAPTURE: pcap.Writer | None = None  # where all connections of this program are recorded


def capture_to(path: str | None) -> None:
    global CAPTURE
    CAPTURE = pcap.Writer(path) if path else None


class Ended(Exception):
    """The connection is over. `code` is the name of the code that was sent or received, None without one."""

    def __init__(self, code: str | None, text: str = ""):
        super().__init__(f"{code}: {text}")
        self.code = code


def code_name(code: int) -> str:
    return next((name for name, value in codec.CODES.items() if value == code), f"CODE_{code}")


def make_hello(role: int, node: bytes, listen: int, token: bytes | None = None) -> dict:
    tlvs = [{"tag": TLVS["CLUSTER_TOKEN"], "value": token}] if token is not None else []
    tlvs.append({"tag": TLVS["AGENT"], "value": AGENT})
    grease = {"tag": 0xEE00 | random.randrange(256), "value": os.urandom(random.randrange(17))}
    window = LIMITS["DEFAULT_WINDOW"] if role == PEER else 0
    return {"vmin": 1, "vmax": 1, "role": role, "node": node, "listen": listen, "window": window,
            "tlvs": [*tlvs, grease]}


class Connection:
    """After `greet`, iterate over `messages()` and call `send`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hello: dict, dialer: bool):
        self.reader, self.writer, self.hello, self.dialer = reader, writer, hello, dialer
        self.frames = codec.FrameReader()
        self.pending: list[tuple[str, dict]] = []
        self.theirs: dict = {}
        self.greeted = self.said_bye = self.reading = False
        self.finished = asyncio.Event()
        self.last_sent = 0.0
        ends = [writer.get_extra_info(name)[:2] for name in ("sockname", "peername")]
        self.tape = CAPTURE and CAPTURE.connect(time.time(), *(ends if dialer else ends[::-1]))

    def _record(self, sent: bool, data: bytes) -> None:
        if self.tape:
            CAPTURE.send(time.time(), self.tape, int(sent != self.dialer), data)

    def remote(self) -> tuple[str, int]:
        return self.writer.get_extra_info("peername")[:2]

    def send(self, name: str, /, **fields) -> None:
        self.send_raw(codec.encode(name, **fields))

    def send_raw(self, raw: bytes) -> None:
        if not self.said_bye and not self.writer.is_closing():
            self.last_sent = asyncio.get_running_loop().time()
            self._record(True, raw)
            self.writer.write(raw)

    def _say_hello(self) -> None:
        if not self.greeted:
            self.greeted = True
            hello, token = self.hello, TLVS["CLUSTER_TOKEN"]
            if not self.dialer and self._tlv(self.theirs or {"tlvs": []}, token) != self._tlv(hello, token):
                tlvs = [tlv for tlv in hello["tlvs"] if tlv["tag"] != token]
                hello = hello | {"tlvs": tlvs}  # [H-27]
            self.send("HELLO", **hello)

    async def greet(self, expects: int) -> None:
        """Both HELLOs, or Ended."""
        if self.dialer:
            self._say_hello()  # [H-4]
        try:
            async with asyncio.timeout(LIMITS["HELLO_TIMEOUT"]):
                name, self.theirs = await self._next()
        except TimeoutError:
            await self.close()  # [H-11]
            raise Ended(None, "no HELLO in time") from None
        self._say_hello()  # [H-6]
        assert name == "HELLO", "the frame reader gives nothing else first"
        await self._judge(expects)
        self.send_raw(codec.frame(0xE0 | random.randrange(16), os.urandom(random.randrange(17))))
        asyncio.create_task(self._keep_alive())

    async def _judge(self, expects: int) -> None:
        theirs, mine = self.theirs, self.hello
        if codec.negotiate(mine, theirs) is None:
            await self.bye("VERSION", f"this side speaks {mine['vmin']} to {mine['vmax']}")
        if theirs["role"] != expects:
            await self.bye("WRONG_ROLE", f"expected role {expects}")
        if theirs["node"] == mine["node"]:
            await self.bye("DUPLICATE", "this is myself")
        token = TLVS["CLUSTER_TOKEN"]
        shown = self._tlv(theirs, token)
        silent_tracker = self.dialer and expects == TRACKER and shown is None
        if shown != self._tlv(mine, token) and not silent_tracker:
            await self.bye("DENIED", "cluster token")  # [H-25] [H-26] [H-28]
        theirs["window"] = min(theirs["window"], LIMITS["MAX_WINDOW"])  # [H-18]

    @staticmethod
    def _tlv(hello: dict, tag: int) -> bytes | None:
        return next((tlv["value"] for tlv in hello["tlvs"] if tlv["tag"] == tag), None)

    async def _read(self) -> bytes:
        inside = not self.frames.at_boundary()
        limit = LIMITS["FRAME_STALL" if inside else "DEAD_AFTER"]  # [F-19] [F-20]
        self.reading = True
        try:
            async with asyncio.timeout(limit):
                data = await self.reader.read(1 << 18)
                self._record(False, data)
                return data
        except TimeoutError:
            self.reading = False
            await self.bye("TIMEOUT", "silent for too long")
        except OSError:
            return b""
        finally:
            self.reading = False
        raise AssertionError("bye raises")

    async def _next(self) -> tuple[str, dict]:
        while not self.pending:
            data = await self._read()
            if not data:
                await self.close()
                raise Ended(None, "end of stream")
            if self.said_bye:
                continue  # a frame in DRAIN is dropped
            try:
                for message in self.frames.feed(data):
                    self.pending.append(message)
            except Violation as violation:
                self.pending.append(("VIOLATION", {"violation": violation}))
        name, fields = self.pending.pop(0)
        if name == "VIOLATION":
            violation = fields["violation"]
            if violation.code is None:
                await self.close()
                raise Ended(None, str(violation))  # [H-2] [H-3]
            self._say_hello()  # [H-6]
            await self.bye(violation.code, str(violation))
        return name, fields

    async def messages(self):
        """What comes after HELLO; ends with Ended."""
        while True:
            name, fields = await self._next()
            if name == "BYE":
                await self.close()  # [F-23]
                raise Ended(code_name(fields["code"]), fields["text"])
            if name == "HELLO":
                await self.bye("BAD_STATE", "a second HELLO")  # [H-10]
            if name not in ("NOOP", "SKIPPED"):  # [F-5] [F-18]
                yield name, fields

    async def bye(self, code: str, text: str = "") -> None:
        """Sends BYE, closes, and raises Ended."""
        self.send("BYE", code=codec.CODES[code], text=text[:120])
        self.said_bye = True  # [F-21]
        try:
            async with asyncio.timeout(LIMITS["BYE_LINGER"]):  # [F-22]
                await self.writer.drain()
                if self.writer.can_write_eof():
                    self.writer.write_eof()
                if self.reading:  # somebody else drains: see _next
                    await self.finished.wait()
                while not self.finished.is_set() and await self.reader.read(1 << 16):
                    pass
        except (TimeoutError, OSError):
            pass
        await self.close()
        raise Ended(code, text)

    async def close(self) -> None:
        if self.tape and not self.writer.is_closing():
            CAPTURE.close(time.time(), self.tape)
        self.said_bye = True
        self.finished.set()
        self.writer.close()

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.writer.is_closing():
            idle = loop.time() - self.last_sent
            if idle >= LIMITS["NOOP_AFTER"]:
                self.send("NOOP")  # [F-17]
            await asyncio.sleep(max(0.05, LIMITS["NOOP_AFTER"] - idle))
