#!/usr/bin/env python3
"""A small peer, from PROTOCOL.md.

    peer.py seed PATH --name NAME --tracker HOST:PORT [--piece-log2 N]    prints "seeding ..." and serves
    peer.py fetch NAME --tracker HOST:PORT --out DIR                      prints "fetched ..." and leaves
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import ipaddress
import os
import random
import sys
from pathlib import Path

import codec
import manifest as mf
from codec import CODES, LIMITS
from connection import PEER, TRACKER, Connection, Ended, capture_to, code_name, make_hello
from manifest import Manifest, Refused
from session import MANIFEST_PIECE, Channel, Held, Rejected, Session

PARTIAL, COMPLETE = 1, 2
BLOCK = 1 << 16
ANSWER_TIMEOUT = 4.0  # for a whole piece; then somebody else is asked


class Failed(Exception):
    """The command cannot be done; says why."""


class TrackerClient:
    """Requests to a tracker, answered in order; BEATs."""

    def __init__(self, peer: "Peer"):
        self.peer, self.rid = peer, 0
        self.waiting: dict[int, asyncio.Future] = {}

    async def connect(self, host: str, port: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        hello = make_hello(PEER, self.peer.node, self.peer.port)
        self.connection = Connection(reader, writer, hello, dialer=True)
        await self.connection.greet(TRACKER)
        self.task = asyncio.create_task(self._read())
        self.beats = asyncio.create_task(self._beat())  # [T-11]
        await asyncio.sleep(0)

    async def _read(self) -> None:
        try:
            async for name, m in self.connection.messages():
                future = self.waiting.pop(m.get("rid"), None)
                if future and not future.done():  # else [T-4] [T-47]
                    future.set_result((name, m))
        except Ended as ended:
            self.beats.cancel()
            for future in self.waiting.values():
                if not future.done():
                    future.set_exception(Failed(f"the tracker left: {ended}"))

    async def ask(self, name: str, /, **fields) -> tuple[str, dict]:
        self.rid += 1  # [T-1]
        future = self.waiting[self.rid] = asyncio.get_running_loop().create_future()
        self.connection.send(name, rid=self.rid, **fields)
        answer, m = await future
        if answer == "STATUS" and m["code"] != CODES["OK"]:
            raise Failed(f"{name}: {code_name(m['code'])} {m['text']}")
        return answer, m

    async def _beat(self) -> None:
        while True:
            holdings = self.peer.holdings()
            _, lease = await self.ask("BEAT", objects=len(holdings), digest=codec.holdings_digest(holdings),
                                      free=0, sent=0, received=0)
            if lease["flags"] & 1:
                await self.announce(reset=True)  # [T-18]
            interval = min(max(lease["interval_s"], LIMITS["MIN_BEAT_S"]), LIMITS["MAX_BEAT_S"])  # [T-13]
            await asyncio.sleep(interval * random.uniform(0.8, 1.0))  # [T-12]

    async def announce(self, reset: bool = False) -> None:
        entries = [{"object": obj, "state": state} for obj, state in self.peer.holdings()]
        await self.ask("ANNOUNCE", flags=int(reset), entries=entries)  # [T-24]

    async def leave(self) -> None:
        self.beats.cancel()
        try:
            await self.connection.bye("OK")
        except Ended:
            pass


class Peer:
    def __init__(self, make_session=Session):
        self.make_session = make_session
        self.node, self.port = os.urandom(16), 0  # [H-15]
        self.objects: dict[bytes, Held] = {}
        self.sessions: dict[bytes, Session] = {}
        self.changed = asyncio.Event()

    def holdings(self) -> list[tuple[bytes, int]]:
        held = [(obj, it) for obj, it in self.objects.items() if it.manifest]
        return [(obj, COMPLETE if len(it.have) == len(it.manifest.hashes) else PARTIAL) for obj, it in held]

    async def listen(self, address: str) -> None:
        self.server = await asyncio.start_server(lambda r, w: self._run(r, w, False), *parse_address(address))
        self.port = self.server.sockets[0].getsockname()[1]

    async def _run(self, reader, writer, dialer: bool) -> None:
        connection = Connection(reader, writer, make_hello(PEER, self.node, self.port), dialer)
        try:
            await connection.greet(PEER)
            if not await self._keep(connection):
                await connection.bye("DUPLICATE", "connected already")
            session = self.sessions[connection.theirs["node"]] = self.make_session(connection, self)
            for held in self.objects.values():
                if held.manifest is None or len(held.have) < len(held.manifest.hashes):
                    session.open(held)
            await session.run()
        except Ended as ended:
            print(f"connection ended: {ended}", file=sys.stderr)

    async def _keep(self, connection: Connection) -> bool:
        """Of two connections between two nodes one stays. [H-17]"""
        old = self.sessions.get(connection.theirs["node"])
        if old is None:
            return True
        dialed_by = {True: self.node, False: connection.theirs["node"]}
        smaller = min(dialed_by.values())
        if old.connection.dialer != connection.dialer and dialed_by[old.connection.dialer] == smaller:
            return False
        asyncio.create_task(self._drop(old))
        return True

    @staticmethod
    async def _drop(session: Session) -> None:
        try:
            await session.connection.bye("DUPLICATE", "another connection stays")
        except Ended:
            pass

    async def dial(self, address: dict) -> None:
        ip = ipaddress.ip_address(address["ip"])
        if not address["port"] or ip.is_unspecified or ip.is_multicast:
            return  # [T-10]
        try:
            async with asyncio.timeout(LIMITS["HELLO_TIMEOUT"]):
                reader, writer = await asyncio.open_connection(str(ip), address["port"])
        except (OSError, TimeoutError) as error:
            print(f"{ip}:{address['port']}: {error}", file=sys.stderr)
            return
        await self._run(reader, writer, True)

    # what Session asks for

    def find(self, obj: bytes) -> Held | None:
        return self.objects.get(obj)

    def learned(self, session: Session, channel: Channel) -> None:
        self.changed.set()

    def left(self, session: Session) -> None:
        if self.sessions.get(session.node) is session:
            del self.sessions[session.node]
        self.changed.set()


# -------------------------------------------------------------------------------------------------- seeding


def scan(path: Path) -> dict[bytes, Path | None]:
    """Path in the object -> file; None for an empty folder."""
    if path.is_file():
        return {b"": path}
    files: dict[bytes, Path | None] = {}
    for entry in sorted(path.rglob("*")):
        inside = str(entry.relative_to(path)).encode()
        if entry.is_file():
            files[inside] = entry
        elif not any(entry.iterdir()):
            files[inside + b"/"] = None
    return files


def seed_object(path: Path, piece_log2: int | None) -> Held:
    files = scan(path)
    contents = {inside: file.read_bytes() if file else None for inside, file in files.items()}
    executable = {inside for inside, file in files.items() if file and os.access(file, os.X_OK)}
    parsed = mf.parse(mf.build(contents, piece_log2, executable))
    spans, paths = list(parsed.pieces()), [files[e.path.encode()] for e in parsed.entries]

    def read(piece: int, begin: int, length: int) -> bytes:
        index, offset, _ = spans[piece]
        with open(paths[index], "rb") as file:
            file.seek(offset + begin)
            return file.read(length)

    return Held(parsed.id(), parsed, set(range(len(parsed.hashes))), read)


async def seed(args) -> None:
    peer = Peer()
    await peer.listen(args.listen)
    held = seed_object(Path(args.path), args.piece_log2)
    peer.objects[held.object] = held
    record = {
        "object": held.object, "content": held.manifest.entries[0].digest, "published_at": 0, "version": 0,
        "length": sum(e.length for e in held.manifest.entries), "manifest_len": len(held.manifest.raw),
        "piece_count": len(held.manifest.hashes), "file_count": len(held.manifest.entries),
        "piece_log2": held.manifest.piece_log2, "name": args.name,
    }
    if held.manifest.entries[0].path:
        record["content"] = bytes(32)
    key, wait = os.urandom(16), 1.0
    while True:
        tracker = TrackerClient(peer)
        try:
            await tracker.connect(*parse_address(args.tracker))
            _, status = await tracker.ask("PUBLISH", key=key, copies=0, record=record)
            print(f"seeding {args.name}@{status['text']} {held.object.hex()} on port {peer.port}", flush=True)
            wait = 1.0
            await tracker.task
            tracker.beats.cancel()
        except (OSError, Ended) as error:
            print(f"the tracker cannot be reached: {error}", file=sys.stderr)
        await asyncio.sleep(random.uniform(0, wait))  # [T-23]
        wait = min(2 * wait, LIMITS["RECONNECT_MAX_S"])


# ------------------------------------------------------------------------------------------------- fetching


class Fetch:
    def __init__(self, peer: Peer, record: dict):
        self.peer, self.record = peer, record
        self.held = peer.objects[record["object"]] = Held(record["object"])
        self.data: dict[int, bytes] = {}
        self.held.read = lambda piece, begin, length: self.data[piece][begin : begin + length]
        self.busy: set[int] = set()
        self.working: set[Session] = set()
        self.slow: set[Session] = set()

    def channels(self):
        for session in list(self.peer.sessions.values()):
            for channel in list(session.channels.values()):
                if channel.held is self.held and channel.theirs is not None:
                    yield session, channel

    async def run(self, patience: float) -> Manifest:
        """All pieces, or Failed when nothing has happened for `patience` seconds."""
        while True:
            self.peer.changed.clear()
            if self.held.manifest is None:
                await self._manifest()
            if self.held.manifest:
                if len(self.held.have) == len(self.held.manifest.hashes):
                    return self.held.manifest
                for session, channel in self.channels():
                    if session not in self.working | self.slow:
                        self.working.add(session)
                        asyncio.create_task(self._pieces(session, channel))
            try:
                async with asyncio.timeout(patience):
                    await self.peer.changed.wait()
            except TimeoutError:
                raise Failed(f"no progress in {patience} s, {len(self.held.have)} pieces") from None

    async def _blocks(self, session: Session, channel: Channel, piece: int, size: int) -> bytes:
        """All of one piece from one node, so that blame is certain. [P-49]"""
        asks = [session.request(channel, piece, begin, min(BLOCK, size - begin)) for begin in range(0, size, BLOCK)]
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return b"".join(await asyncio.gather(*asks))
        except TimeoutError:
            session.cancel(channel, piece)
            self.slow.add(session)
            raise Rejected("TIMEOUT") from None

    async def _manifest(self) -> None:
        for session, channel in self.channels():
            size = channel.manifest_len or self.record["manifest_len"]
            if not channel.can_serve_manifest or not size or session in self.slow:
                continue
            try:
                raw = await self._blocks(session, channel, MANIFEST_PIECE, size)  # [P-51]
            except Rejected:
                continue
            if hashlib.sha256(raw).digest() != self.held.object:
                await self._blame(session, "the manifest is not the object's")  # [P-51]
                continue
            try:
                self.held.manifest = mf.parse(raw)
            except Refused as refused:
                raise Failed(f"the object's manifest: {refused}") from None  # [P-52]
            for other, channel in self.channels():
                try:
                    await other.check_bitmap(channel)
                except Ended:
                    pass
            return

    async def _blame(self, session: Session, text: str) -> None:
        try:
            await session.connection.bye("BAD_DATA", text)
        except Ended:
            pass

    def _next_piece(self, channel: Channel) -> int | None:
        """The rarest piece that this side has and nobody is asked for."""
        count: dict[int, int] = {}
        for _, other in self.channels():
            for piece in other.theirs:
                count[piece] = count.get(piece, 0) + 1
        wanted = channel.theirs - self.held.have - self.busy
        return min(wanted, key=lambda p: (count.get(p, 0), random.random()), default=None)

    async def _pieces(self, session: Session, channel: Channel) -> None:
        try:
            while (piece := self._next_piece(channel)) is not None:
                self.busy.add(piece)
                try:
                    data = await self._blocks(session, channel, piece, self.held.length_of(piece))
                finally:
                    self.busy.discard(piece)
                if hashlib.sha256(data).digest() != self.held.manifest.hashes[piece]:
                    await self._blame(session, f"piece {piece} has a wrong hash")  # [P-48] [P-49]
                    return
                self.data[piece] = data
                self.held.have.add(piece)  # [P-20]
                for other in self.peer.sessions.values():
                    other.announce(self.held, piece)
        except Rejected:
            await asyncio.sleep(0.2)
        finally:
            self.working.discard(session)
            self.peer.changed.set()

    def store(self, root: Path) -> None:
        """Writes what was fetched; every path was checked when the manifest was parsed."""
        manifest = self.held.manifest
        contents = [b""] * len(manifest.entries)
        for piece, (index, _, _) in enumerate(manifest.pieces()):
            contents[index] += self.data[piece]
        for entry, content in zip(manifest.entries, contents, strict=True):
            path = root / entry.path if entry.path else root
            if entry.is_folder():
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as file:
                file.write(content)
            if entry.executable:
                path.chmod(0o755)


async def fetch(args) -> None:
    name = mf.check_name(args.name.encode())
    peer = Peer()
    await peer.listen(args.listen)
    tracker = TrackerClient(peer)
    await tracker.connect(*parse_address(args.tracker))
    _, swarm = await tracker.ask("FIND", want=50, kind=0, version=0, name=name)
    work = Fetch(peer, swarm["record"])
    dialing = [asyncio.create_task(peer.dial(address)) for address in swarm["peers"][:8]]
    if not dialing:
        raise Failed("nobody has it")
    manifest = await work.run(args.patience)
    work.store(Path(args.out) / name)
    await tracker.announce()
    print(f"fetched {name} {manifest.id().hex()}", flush=True)
    for session in list(peer.sessions.values()):
        try:
            await session.connection.bye("OK")
        except Ended:
            pass
    await tracker.leave()


def parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command, first in (("seed", "path"), ("fetch", "name")):
        sub = commands.add_parser(command)
        sub.add_argument(first)
        sub.add_argument("--tracker", required=True)
        sub.add_argument("--capture", help="record all connections to this pcap file")
        sub.add_argument("--listen", default="127.0.0.1:0", help="address to accept connections at")
    commands.choices["seed"].add_argument("--name", required=True)
    commands.choices["seed"].add_argument("--piece-log2", type=int)
    commands.choices["fetch"].add_argument("--out", required=True)
    commands.choices["fetch"].add_argument("--patience", type=float, default=30)
    args = parser.parse_args()
    capture_to(args.capture)
    try:
        asyncio.run(seed(args) if args.command == "seed" else fetch(args))
    except KeyboardInterrupt:
        pass
    except (Failed, Refused, OSError, Ended) as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
