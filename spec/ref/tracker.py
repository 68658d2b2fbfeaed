#!/usr/bin/env python3
"""A small tracker, from section 8 of PROTOCOL.md. It keeps everything in memory, and names in a file if it is given one.

    tracker.py --listen HOST:PORT [--names FILE]        prints "listening on HOST:PORT"
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import json
import os
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import codec
from codec import CODES, LIMITS, TLVS
from connection import PEER, TRACKER, Connection, Ended, capture_to, make_hello
from manifest import Refused, check_name

DROP, PARTIAL, COMPLETE = 0, 1, 2
BROADCAST = ipaddress.ip_address("255.255.255.255")
INTERVAL = LIMITS["MIN_BEAT_S"]
LEASE = 3 * INTERVAL + 10  # [T-14]
REQUESTS = {t["name"] for t in codec.SPEC["type"] if t["dir"] == "peer-tracker"}


@dataclass
class Lessee:
    """A peer with a lease."""

    connection: Connection
    address: dict
    until: float
    holdings: dict[bytes, int] = field(default_factory=dict)


@dataclass
class Name:
    """Without versions it was removed; its key and its numbers stay. [T-34] [T-53]"""

    key: bytes
    versions: list[dict] = field(default_factory=list)
    top: int = 0


class Refusal(Exception):
    def __init__(self, code: str, text: str = ""):
        super().__init__(text)
        self.code, self.text = code, text


class Tracker:
    def __init__(self, store: Path | None = None):
        self.node, self.started = os.urandom(16), time.monotonic()
        self.store = store
        self.names: dict[str, Name] = self._load()
        self.lessees: dict[bytes, Lessee] = {}
        self.connections = 0

    async def accept(self, reader, writer) -> None:
        connection = Connection(reader, writer, make_hello(TRACKER, self.node, 0), dialer=False)
        self.connections += 1
        try:
            await connection.greet(PEER)
            await self._serve(connection)
        except Ended as ended:
            lessee = self.lessees.get(connection.theirs.get("node"))
            if ended.code in ("OK", "SHUTDOWN") and lessee and lessee.connection is connection:
                del self.lessees[connection.theirs["node"]]  # [T-16]
        finally:
            self.connections -= 1

    async def _serve(self, connection: Connection) -> None:
        async for name, fields in connection.messages():
            if name not in REQUESTS or fields["rid"] == 0:  # [F-14] [T-1]
                await connection.bye("BAD_STATE", f"{name} is not for a tracker, or has rid 0")
            self._expire()
            try:
                answer, content = getattr(self, f"_{name.lower()}")(connection, fields)
            except Refusal as refusal:
                answer = "STATUS"
                content = {"code": CODES[refusal.code], "retry_ms": 0, "text": refusal.text}
            connection.send(answer, rid=fields["rid"], **content)  # [T-2] [T-3]
            await connection.writer.drain()  # [T-6]

    def _load(self) -> dict[str, Name]:
        if self.store is None or not self.store.exists():
            return {}
        rows = json.loads(self.store.read_text(encoding="utf-8"))
        def unhex(record: dict) -> dict:
            return record | {key: bytes.fromhex(record[key]) for key in ("object", "content")}

        return {name: Name(bytes.fromhex(key), [unhex(r) for r in versions], top) for name, (key, versions, top) in rows.items()}

    def _save(self) -> None:
        """Before the answer: what was answered survives a restart. [T-36]"""
        if self.store is None:
            return
        rows = {name: (it.key.hex(), it.versions, it.top) for name, it in self.names.items()}
        with open(self.store.with_suffix(".new"), "w", encoding="utf-8") as file:
            json.dump(rows, file, default=bytes.hex)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self.store)

    def _expire(self) -> None:
        now = time.monotonic()
        self.lessees = {node: it for node, it in self.lessees.items() if it.until > now}  # [T-15]

    @staticmethod
    def _ok(text: str = "") -> tuple[str, dict]:
        return "STATUS", {"code": 0, "retry_ms": 0, "text": text}

    # -------------------------------------------------------------------------------------- presence

    def _beat(self, connection: Connection, m: dict):
        node = connection.theirs["node"]
        old = self.lessees.get(node)
        if old and old.connection is not connection:
            asyncio.create_task(self._replace(old.connection))  # [T-19]
        holdings = old.holdings if old else {}
        lessee = Lessee(connection, self._address(connection), time.monotonic() + LEASE, holdings)
        self.lessees[node] = lessee
        same = (m["objects"], m["digest"]) == (len(holdings), codec.holdings_digest(holdings.items()))
        return "LEASE", {"interval_s": INTERVAL, "lease_s": LEASE, "flags": int(not same), "you": lessee.address}

    async def _replace(self, connection: Connection) -> None:
        try:
            await connection.bye("DUPLICATE", "a newer session of the same node")
        except Ended:
            pass

    @staticmethod
    def _address(connection: Connection) -> dict:
        """What others are told. [T-20]"""
        observed, port = remote_ip(connection), connection.theirs["listen"]
        advertised = Connection._tlv(connection.theirs, TLVS["ADVERTISED"])
        if advertised is not None:
            try:
                address = codec.one_struct("Peer", advertised)
                ip = canonical(address["ip"])
                nobody = ip.is_unspecified or ip.is_multicast or ip == BROADCAST or not address["port"]
                if not nobody and (observed.is_loopback or not ip.is_loopback):  # [T-57]
                    observed, port = ip, address["port"]
            except codec.Violation:
                pass  # [H-24]
        return {"family": observed.version, "state": DROP, "port": port, "ip": observed.packed}

    def _announce(self, connection: Connection, m: dict):
        lessee = self.lessees.get(connection.theirs["node"])
        if lessee is None:
            raise Refusal("BAD_STATE", "no lease: send BEAT first")  # [T-27]
        if m["flags"] & 1:
            lessee.holdings.clear()  # [T-25]
        for entry in m["entries"]:
            lessee.holdings[entry["object"]] = entry["state"]  # [T-26]
            if entry["state"] == DROP:
                del lessee.holdings[entry["object"]]
        return self._ok()

    # ----------------------------------------------------------------------------------------- names

    def _publish(self, connection: Connection, m: dict):
        record = m["record"]
        try:
            name = check_name(record["name"].encode())
        except Refused as refused:
            raise Refusal("BAD_NAME", str(refused)) from None  # [T-29]
        impossible = not record["manifest_len"] or not record["file_count"]
        if impossible or record["piece_log2"] < LIMITS["MIN_PIECE_LOG2"]:
            raise Refusal("MALFORMED", "no manifest is like that")  # [T-31]
        known = self.names.setdefault(name, Name(m["key"]))
        newest = known.versions[-1]["object"] if known.versions else None
        if known.key != m["key"] and newest != record["object"]:
            raise Refusal("NAME_TAKEN", "the name has another key")  # [T-30]
        if not known.versions or known.versions[-1]["object"] != record["object"]:  # [T-33]
            known.top += 1
            stamp = {"version": known.top, "published_at": int(time.time())}  # [T-32] [T-34]
            known.versions.append(record | stamp)
            self._save()
        return self._ok(str(known.versions[-1]["version"]))  # [T-35]

    def _live(self) -> dict[str, Name]:
        return {name: it for name, it in self.names.items() if it.versions}

    def _unpublish(self, connection: Connection, m: dict):
        known = self._live().get(m["name"])
        if known is None:
            raise Refusal("NOT_FOUND", "no such name")  # [T-37]
        if known.key != m["key"]:
            raise Refusal("NOT_OWNER", "the name has another key")  # [T-37]
        known.versions = []  # [T-38]
        self._save()
        return self._ok()

    def _record(self, m: dict) -> dict:
        if m["kind"] == 0:
            versions = self.names[m["name"]].versions if m["name"] in self.names else []
            wanted = m["version"] or (versions[-1]["version"] if versions else 0)
            found = [r for r in versions if r["version"] == wanted]  # [T-40]
        else:
            key = "object" if m["kind"] == 1 else "content"
            found = [r for name in self.names.values() for r in name.versions if r[key] == m[key]]  # [T-43]
            if m.get("content") == bytes(32):
                found = []  # [T-55]
            if not found and m["kind"] == 1 and any(m["object"] in it.holdings for it in self.lessees.values()):
                found = [{"object": m["object"], "content": bytes(32), "length": 0, "published_at": 0, "version": 0,
                          "manifest_len": 0, "piece_count": 0, "file_count": 0, "piece_log2": 0, "name": ""}]
        if not found:
            raise Refusal("NOT_FOUND", "no such name or object")
        return found[-1]

    def _holders(self, obj: bytes) -> list[tuple[bytes, Lessee]]:
        return [(node, it) for node, it in self.lessees.items() if obj in it.holdings]

    def _find(self, connection: Connection, m: dict):
        record = self._record(m)
        holders = self._holders(record["object"])
        states = [it.holdings[record["object"]] for _, it in holders]
        asker = connection.theirs["node"]
        local = remote_ip(connection).is_loopback
        peers = [it.address | {"state": it.holdings[record["object"]]} for node, it in holders
                 if node != asker and it.address["port"]  # [T-21] [T-44]
                 and (local or not ipaddress.ip_address(it.address["ip"]).is_loopback)]  # [T-22]
        peers = random.sample(peers, min(len(peers), m["want"]))  # [T-45]
        return "SWARM", {"complete": states.count(COMPLETE), "partial": states.count(PARTIAL), "record": record,
                         "peers": peers}

    def _list(self, connection: Connection, m: dict):
        prefix, after = m["prefix"].encode(), m["after"].encode()
        names = sorted(name.encode() for name in self._live())
        names = [name for name in names if name.startswith(prefix) and name > after]  # [T-48]
        entries, room = [], LIMITS["MAX_CONTROL"] - 5
        for name in names[: m["limit"]]:
            record = self.names[name.decode()].versions[-1]
            states = [it.holdings[record["object"]] for _, it in self._holders(record["object"])]
            entry = {"complete": states.count(COMPLETE), "partial": states.count(PARTIAL), "record": record}
            room -= len(codec.put_struct("PageEntry", entry))
            if room < 0:
                break  # [T-49]
            entries.append(entry)
        return "PAGE", {"more": int(len(entries) < len(names)), "entries": entries}  # [T-50]

    def _summary_request(self, connection: Connection, m: dict):
        names = self._live()
        newest = [name.versions[-1] for name in names.values()]
        held = [obj for it in self.lessees.values() for obj in it.holdings]
        return "SUMMARY", {
            "uptime_s": int(time.monotonic() - self.started), "connections": self.connections,
            "peers": len(self.lessees), "names": len(names),
            "versions": sum(len(name.versions) for name in names.values()), "objects": len(set(held)),
            "holdings": len(held), "bytes": sum(record["length"] for record in newest),
        }


def canonical(address):
    """[T-56]"""
    ip = ipaddress.ip_address(address)
    return getattr(ip, "ipv4_mapped", None) or ip


def remote_ip(connection: Connection):
    """The address that a connection comes from."""
    return canonical(connection.remote()[0])


def parse_address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def run(listen: str, names: Path | None) -> None:
    host, port = parse_address(listen)
    server = await asyncio.start_server(Tracker(names).accept, host, port)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"listening on {host}:{port}", flush=True)
    await server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--names", type=Path, help="file to keep names in")
    parser.add_argument("--capture", help="record all connections to this pcap file")
    args = parser.parse_args()
    capture_to(args.capture)
    try:
        asyncio.run(run(args.listen, args.names))
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
