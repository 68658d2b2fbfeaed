"""A peer's side of its tracker. Section 8 of PROTOCOL.md."""

from __future__ import annotations

import asyncio
import random
import sys

import codec
from codec import CODES, LIMITS
from connection import PEER, TRACKER, Connection, Ended, code_name, make_hello

ANSWERS = {"BEAT": "LEASE", "FIND": "SWARM", "LIST": "PAGE", "SUMMARY_REQUEST": "SUMMARY"}
TRACKER_TYPES = {t["name"] for t in codec.SPEC["type"] if t["dir"] == "tracker-peer"}


class Refused(Exception):
    """The tracker's STATUS is a failure."""

    def __init__(self, request: str, status: dict):
        super().__init__(f"{request}: {code_name(status['code'])} {status['text']}")
        self.code, self.retry = code_name(status["code"]), status["retry_ms"] / 1000


class TrackerClient:
    """Requests, BEATs, and a way back when the connection breaks.

    `peer` has `node`, `port`, `holdings()`, and `more_peers(swarm)` for those that nobody asked for. `greeting` is
    awaited on each new connection.
    """

    def __init__(self, peer, address: tuple[str, int], greeting=None):
        self.peer, self.address, self.greeting = peer, address, greeting
        self.rid = 0
        self.waiting: dict[int, tuple[str, asyncio.Future]] = {}
        self.connection: Connection | None = None

    async def start(self) -> None:
        """Connects; raises if that fails. From then on it comes back by itself."""
        await self._connect()
        self.staying = asyncio.create_task(self._stay())

    async def _connect(self) -> None:
        reader, writer = await asyncio.open_connection(*self.address)
        connection = Connection(reader, writer, make_hello(PEER, self.peer.node, self.peer.port), dialer=True)
        await connection.greet(TRACKER)
        self.connection = connection
        self.reading = asyncio.create_task(self._read(connection))
        self.beats = asyncio.create_task(self._beat())  # [T-11]
        await asyncio.sleep(0)
        if self.greeting:
            await self.greeting()

    async def _stay(self) -> None:
        wait = 1.0
        while True:
            if self.connection:
                await self.reading
                self.connection = None
                wait = 1.0
            await asyncio.sleep(random.uniform(0, wait))  # [T-23]
            wait = min(2 * wait, LIMITS["RECONNECT_MAX_S"])
            try:
                await self._connect()
            except (OSError, Ended, Refused) as error:
                print(f"the tracker cannot be reached: {error}", file=sys.stderr)

    async def _read(self, connection: Connection) -> None:
        try:
            async for name, m in connection.messages():
                if name not in TRACKER_TYPES:
                    await connection.bye("BAD_STATE", f"{name} from a tracker")  # [F-14]
                if name == "SWARM" and m["rid"] == 0:
                    self.peer.more_peers(m)  # [T-47]
                    continue
                request, future = self.waiting.pop(m["rid"], (None, None))
                if request is None:
                    continue  # [T-4]
                wanted = ANSWERS.get(request, "STATUS")
                if name != wanted and (name != "STATUS" or m["code"] == CODES["OK"]):
                    self.waiting[m["rid"]] = (request, future)
                    await connection.bye("BAD_STATE", f"{name} for {request}")  # [T-58]
                if not future.done():
                    future.set_result((name, m))
        except Ended as ended:
            self.beats.cancel()
            waiting, self.waiting = self.waiting, {}
            for _, future in waiting.values():
                if not future.done():
                    future.set_exception(ended)

    async def ask(self, name: str, /, **fields) -> dict:
        """The answer; Refused, or Ended if the connection breaks."""
        while True:
            if self.connection is None:
                raise Ended(None, "no tracker")
            self.rid += 1  # [T-1]
            future = asyncio.get_running_loop().create_future()
            self.waiting[self.rid] = (name, future)
            self.connection.send(name, rid=self.rid, **fields)
            answer, m = await future
            if answer != "STATUS" or m["code"] == CODES["OK"]:
                return m
            refused = Refused(name, m)
            if refused.code != "OVERLOADED":
                raise refused
            await asyncio.sleep(max(refused.retry, 0.2) * random.uniform(1, 1.25))  # [T-5]

    async def _beat(self) -> None:
        while True:
            holdings = self.peer.holdings()
            digest = codec.holdings_digest(holdings)
            try:
                lease = await self.ask("BEAT", objects=len(holdings), digest=digest, free=0, sent=0, received=0)
                if lease["flags"] & 1:
                    await self.announce(reset=True)  # [T-18]
                wait = min(max(lease["interval_s"], LIMITS["MIN_BEAT_S"]), LIMITS["MAX_BEAT_S"])  # [T-13]
            except Refused as refused:
                print(f"no lease: {refused}", file=sys.stderr)
                wait = max(refused.retry, LIMITS["MIN_BEAT_S"]) * 1.25  # [T-5]
            except Ended:
                return
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # [T-12]

    async def announce(self, reset: bool = False) -> None:
        """All holdings; without `reset` the tracker keeps what it knew beside them. [T-24]"""
        entries = [{"object": obj, "state": state} for obj, state in self.peer.holdings()]
        most = LIMITS["MAX_ANNOUNCE_ENTRIES"]
        for first in range(0, max(len(entries), 1), most):
            flags = int(reset and first == 0)  # [T-18]
            await self.ask("ANNOUNCE", flags=flags, entries=entries[first : first + most])

    async def leave(self) -> None:
        """Ends it for good."""
        self.staying.cancel()
        if self.connection:
            self.beats.cancel()
            try:
                await self.connection.bye("OK")  # [T-16]
            except Ended:
                pass
