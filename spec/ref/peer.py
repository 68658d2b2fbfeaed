#!/usr/bin/env python3
"""A small peer, from PROTOCOL.md.

    peer.py seed PATH --name NAME --tracker HOST:PORT [--piece-log2 N]    prints "seeding ..." and serves
    peer.py fetch NAME --tracker HOST:PORT --out DIR                      prints "fetched ..." and leaves
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import os
import sys
from pathlib import Path

import manifest as mf
from codec import LIMITS
from connection import PEER, Connection, Ended, capture_to, make_hello
from fetching import Failed, Fetch
from session import Channel, Held, Session
from tracker_client import Refused, TrackerClient

PARTIAL, COMPLETE = 1, 2


class Peer:
    def __init__(self, make_session=Session):
        self.make_session = make_session
        self.node, self.port = os.urandom(16), 0  # [H-15]
        self.objects: dict[bytes, Held] = {}
        self.sessions: dict[bytes, Session] = {}
        self.fetches: dict[bytes, Fetch] = {}
        self.avoided: dict[object, float] = {}  # node, or (ip, port) -> until when
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
            if self._avoids(connection.theirs["node"]):
                await connection.bye("DENIED", "you sent wrong data before")  # [P-55]
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
        if self._avoids((str(ip), address["port"])):
            return  # [P-55]
        try:
            async with asyncio.timeout(LIMITS["HELLO_TIMEOUT"]):
                reader, writer = await asyncio.open_connection(str(ip), address["port"])
        except (OSError, TimeoutError) as error:
            print(f"{ip}:{address['port']}: {error}", file=sys.stderr)
            return
        await self._run(reader, writer, True)

    def avoid(self, session: Session) -> None:
        """Because of wrong data. [P-49] [P-51]"""
        ip, port = session.connection.remote()
        if not session.connection.dialer:
            port = session.connection.theirs["listen"]
        until = asyncio.get_running_loop().time() + LIMITS["BAD_DATA_BAN"]
        self.avoided[session.node] = self.avoided[ip, port] = until

    def _avoids(self, who) -> bool:
        return self.avoided.get(who, 0) > asyncio.get_running_loop().time()

    # what TrackerClient and Session ask for

    def more_peers(self, swarm: dict) -> None:
        """From a tracker that was not asked. [T-47]"""
        fetch = self.fetches.get(swarm["record"]["object"])
        if fetch:
            fetch.more_peers(swarm["peers"])

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


def _stamp(path: Path) -> tuple[int, int]:
    """Another one says that the file was changed."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def seed_object(path: Path, piece_log2: int | None) -> Held:
    files = scan(path)
    contents = {inside: file.read_bytes() if file else None for inside, file in files.items()}
    executable = {inside for inside, file in files.items() if file and os.access(file, os.X_OK)}
    parsed = mf.parse(mf.build(contents, piece_log2, executable))
    spans, paths = list(parsed.pieces()), [files[e.path.encode()] for e in parsed.entries]

    made = {file: _stamp(file) for file in paths if file}

    def read(piece: int, begin: int, length: int) -> bytes:
        index, offset, _ = spans[piece]
        if _stamp(paths[index]) != made[paths[index]]:
            return b""  # [P-37] [P-47]
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
    key = os.urandom(16)

    async def publish() -> None:
        status = await tracker.ask("PUBLISH", key=key, copies=0, record=record)
        print(f"seeding {args.name}@{status['text']} {held.object.hex()} on port {peer.port}", flush=True)

    tracker = TrackerClient(peer, parse_address(args.tracker), publish)
    await tracker.start()
    await tracker.staying


# ------------------------------------------------------------------------------------------------- fetching


async def fetch(args) -> None:
    name = mf.check_name(args.name.encode())
    peer = Peer()
    await peer.listen(args.listen)
    tracker = TrackerClient(peer, parse_address(args.tracker))
    await tracker.start()
    swarm = await tracker.ask("FIND", want=50, kind=0, version=0, name=name)
    record = swarm["record"]

    async def news() -> None:
        try:
            await tracker.announce()
        except Ended:
            pass  # LEASE will have SYNC

    async def look() -> None:
        try:
            work.more_peers((await tracker.ask("FIND", want=50, kind=1, object=record["object"]))["peers"])
        except (Ended, Refused) as error:
            print(f"no more peers: {error}", file=sys.stderr)

    work = peer.fetches[record["object"]] = Fetch(peer, record, news)
    work.more_peers(swarm["peers"])
    manifest = await work.run(args.patience, look)
    work.store(Path(args.out) / name)
    await news()
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
    except (Failed, Refused, mf.Refused, OSError, Ended) as error:
        print(f"{args.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
