#!/usr/bin/env python3
"""Checks that a capture of SWP keeps the rules that can be seen from outside.

    verify_capture.py [--frames] [--all-types] [--allow RULE]... FILE...

Reads pcap and pcapng. Connections that do not begin with a HELLO are not SWP and are counted only. Prints a summary,
with --frames also one line of JSON for each frame. Exit code 1 if a rule is broken, bytes are missing, or (with
--all-types) a type was never seen in all files together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

import common  # noqa: F401  (finds the codec)
import codec
import manifest as mf
import pcap
from codec import BY_NAME, LIMITS, Violation

MANIFEST_PIECE = LIMITS["MANIFEST_PIECE"]
ANSWERS = {
    "BEAT": "LEASE", "ANNOUNCE": "STATUS", "PUBLISH": "STATUS", "UNPUBLISH": "STATUS", "FIND": "SWARM",
    "LIST": "PAGE", "SUMMARY_REQUEST": "SUMMARY",
}


class Broken(Exception):
    def __init__(self, rule: str, text: str):
        super().__init__(f"{text} [{rule}]")
        self.rule = rule


def require(holds: bool, rule: str, text: str) -> None:
    if not holds:
        raise Broken(rule, text)


class Library:
    """What captures show of objects, over all connections and files: manifests, and pieces to check with them."""

    def __init__(self):
        self.manifests: dict[bytes, mf.Manifest] = {}
        self.blocks: dict[tuple[int, bytes, int], dict[int, bytes]] = {}  # by connection, object, piece
        self.checked = 0

    def add(self, connection: int, obj: bytes, piece: int, begin: int, data: bytes) -> None:
        blocks = self.blocks.setdefault((connection, obj, piece), {})
        blocks[begin] = data
        if piece == MANIFEST_PIECE and obj not in self.manifests:
            whole = self._joined(blocks)
            if whole is not None and hashlib.sha256(whole).digest() == obj:
                self.manifests[obj] = mf.parse(whole)

    @staticmethod
    def _joined(blocks: dict[int, bytes]) -> bytes | None:
        whole = b""
        for begin in sorted(blocks):
            if begin != len(whole):
                return None
            whole += blocks[begin]
        return whole

    def finish(self):
        """Every piece that was sent as a whole on one connection, against the manifest. Yields what is Broken."""
        lengths = {obj: [length for _, _, length in m.pieces()] for obj, m in self.manifests.items()}
        for (_, obj, piece), blocks in self.blocks.items():
            manifest = self.manifests.get(obj)
            if manifest is None or piece == MANIFEST_PIECE:
                continue
            if piece >= len(manifest.hashes):
                yield Broken("P-30", f"DATA of piece {piece}, which does not exist")
                continue
            whole = self._joined(blocks)
            if whole is None or len(whole) != lengths[obj][piece]:
                continue
            if hashlib.sha256(whole).digest() != manifest.hashes[piece]:
                yield Broken("P-47", f"piece {piece} of {obj.hex()[:8]} has a wrong hash")
            self.checked += 1


class PeerRules:
    """What two peers may send each other. Ends are 0 (dialer) and 1 (acceptor)."""

    def __init__(self, hellos: list[dict], library: Library):
        self.library = library
        self.windows = [[min(h["window"], LIMITS["MAX_WINDOW"])] for h in hellos]
        self.channels: dict[int, dict] = {}
        self.highest = [-2, -1]  # by opener
        self.open: dict[tuple, int] = {}  # (asker, ch, piece, begin) -> len
        self.requests = self.answers = self.void = 0

    def frame(self, end: int, name: str, m: dict) -> None:
        require(BY_NAME[name]["dir"] == "peer-peer", "F-14", f"{name} between peers")
        if name == "WINDOW":
            self.windows[end].append(min(m["requests"], LIMITS["MAX_WINDOW"]))
        elif name == "OPEN":
            require(m["ch"] % 2 == end, "P-1", f"channel {m['ch']} by end {end}")
            require(m["ch"] > self.highest[end], "P-2", f"channel {m['ch']} after {self.highest[end]}")
            self.highest[end] = m["ch"]
            self.channels[m["ch"]] = {"object": m["object"], "bitmaps": set(), "closed": set()}
        else:
            require(m["ch"] <= self.highest[m["ch"] % 2], "P-13", f"{name} on channel {m['ch']}, never open")
            self._on_channel(end, name, m, self.channels[m["ch"]])

    def _on_channel(self, end: int, name: str, m: dict, channel: dict) -> None:
        if name == "CLOSE":
            channel["closed"].add(end)
            for key in [key for key in self.open if key[1] == m["ch"]]:
                del self.open[key]
                self.void += 1
            return
        # DATA may end after a CLOSE if its header was out before: P-11.
        require(end not in channel["closed"] or name == "DATA", "P-11", f"{name} after one's CLOSE")
        if channel["closed"]:
            return  # it crossed the CLOSE: P-12
        if name == "BITMAP":
            require(end not in channel["bitmaps"], "P-14", "a second BITMAP")
            channel["bitmaps"].add(end)
            return
        require(end in channel["bitmaps"], "P-15", f"{name} before BITMAP")
        key = (m["ch"], m.get("piece"), m.get("begin"))
        if name == "REQUEST":
            self._request(end, m, key, channel)
        elif name in ("DATA", "REJECT"):
            self._answer(end, name, m, key, channel)

    def _request(self, end: int, m: dict, key: tuple, channel: dict) -> None:
        require(1 - end in channel["bitmaps"], "P-34", "REQUEST before the other's BITMAP")
        require((end, *key) not in self.open, "P-32", f"the same REQUEST twice: {key}")
        self.open[(end, *key)] = m["len"]
        self.requests += 1
        count = sum(1 for asker, *_ in self.open if asker == end)
        # The last WINDOW may not have arrived yet when this was sent.
        allowed = max(self.windows[1 - end][-2:])
        require(count <= allowed, "P-42", f"{count} requests open, {allowed} allowed")

    def _answer(self, end: int, name: str, m: dict, key: tuple, channel: dict) -> None:
        length = self.open.pop((1 - end, *key), None)
        require(length is not None, "P-36", f"{name} without a request: {key}")
        self.answers += 1
        if name == "DATA":
            require(length == len(m["bytes"]), "P-35", f"{len(m['bytes'])} bytes for {length}")
            self.library.add(id(self), channel["object"], m["piece"], m["begin"], m["bytes"])

    def finish(self) -> dict:
        return {"requests": self.requests, "answers": self.answers, "void": self.void, "open": len(self.open)}


class TrackerRules:
    """What a peer (end 0) and a tracker (end 1) may send each other."""

    def __init__(self, hellos: list[dict], library: Library):
        self.waiting: list[tuple[int, str]] = []
        self.requests = self.answers = self.pushes = 0

    def frame(self, end: int, name: str, m: dict) -> None:
        expected = ("peer-tracker", "tracker-peer")[end]
        require(BY_NAME[name]["dir"] == expected, "F-14", f"{name} by end {end} of a tracker connection")
        if end == 0:
            require(m["rid"] != 0, "T-1", f"{name} with rid 0")
            self.waiting.append((m["rid"], name))
            self.requests += 1
        elif name == "SWARM" and m["rid"] == 0:
            require(len(m["peers"]) <= LIMITS["MAX_PUSH"], "T-46", f"{len(m['peers'])} peers pushed")
            self.pushes += 1
        else:
            require(bool(self.waiting), "T-2", f"{name} without a request")
            rid, request = self.waiting.pop(0)
            require(rid == m["rid"], "T-3", f"{name} for {m['rid']}, but {rid} is first")
            require(name in (ANSWERS[request], "STATUS"), "T-2", f"{name} for {request}")
            self.answers += 1

    def finish(self) -> dict:
        return {"requests": self.requests, "answers": self.answers, "pushes": self.pushes,
                "open": len(self.waiting)}


class Checker:
    """One connection, frames in the order of the capture."""

    def __init__(self, library: Library, on_frame):
        self.readers = [codec.FrameReader(), codec.FrameReader()]
        self.hellos: list = [None, None]
        self.byes = [False, False]
        self.rules = None
        self.library, self.on_frame = library, on_frame

    def feed(self, end: int, data: bytes) -> None:
        for name, m in self.readers[end].feed(data):
            self.on_frame(end, name, m)
            self._frame(end, name, m)

    def _frame(self, end: int, name: str, m: dict) -> None:
        require(not self.byes[end], "F-21", f"{name} after BYE")
        if name == "HELLO":
            require(self.hellos[end] is None, "H-10", "a second HELLO")
            self.hellos[end] = m
            if all(self.hellos):
                self._meet()
            return
        self.byes[end] |= name == "BYE"
        require(name == "BYE" or all(self.hellos), "H-7", f"{name} before the other's HELLO")
        if name not in ("BYE", "NOOP", "SKIPPED"):
            require(self.rules is not None, "H-13", f"{name} without a common version")
            self.rules.frame(end, name, m)

    def _meet(self) -> None:
        if codec.negotiate(*self.hellos) == LIMITS["VERSION"]:
            roles = [hello["role"] for hello in self.hellos]
            self.rules = (PeerRules if roles == [1, 1] else TrackerRules)(self.hellos, self.library)

    def finish(self) -> dict:
        cut = [not reader.at_boundary() for reader in self.readers]
        return {"cut": sum(cut)} | (self.rules.finish() if self.rules else {})


class Report:
    def __init__(self, show_frames: bool, allowed: set[str]):
        self.library, self.types, self.failures = Library(), Counter(), 0
        self.show_frames, self.allowed = show_frames, allowed
        self.rules: list = []  # keeps them alive: their ids name connections

    def fail(self, where: str, text: str, rule: str = "") -> None:
        self.failures += rule not in self.allowed
        print(f"{where}: {text}", file=sys.stderr)

    def file(self, path: Path) -> None:
        strangers = 0
        for index, conversation in enumerate(pcap.conversations(path)):
            where = f"{path.name} connection {index}"
            if not self._is_swp(conversation):
                strangers += bool(conversation.parts)
                continue
            if conversation.gaps():
                self.fail(where, "bytes are missing")
            self._connection(where, conversation)
        if strangers:
            print(f"{path.name}: {strangers} connections are not SWP")

    @staticmethod
    def _is_swp(conversation: pcap.Conversation) -> bool:
        first = b"".join(data for _, sender, data in conversation.parts if sender == 0)[:8]
        return first[:1] == b"\x01" and first[4:] == LIMITS["MAGIC"].to_bytes(4, "big")

    def _connection(self, where: str, conversation: pcap.Conversation) -> None:
        def on_frame(end: int, name: str, m: dict) -> None:
            self.types[name] += 1
            if self.show_frames:
                print(json.dumps({"connection": where, "end": end, "type": name} | summary(m)))

        checker = Checker(self.library, on_frame)
        try:
            for _, sender, data in conversation.parts:
                checker.feed(sender, data)
        except (Broken, Violation) as error:
            self.fail(where, str(error), error.rule)
        self.rules.append(checker.rules)
        print(f"{where}: {json.dumps(checker.finish())}")

    def finish(self, all_types: bool) -> int:
        for broken in self.library.finish():
            self.fail("all files", str(broken), broken.rule)
        missing = [name for name in BY_NAME if not self.types[name]]
        print(f"types: {json.dumps(dict(sorted(self.types.items())))}")
        print(f"{self.library.checked} pieces have the hash of their manifest, {self.failures} failures")
        if all_types and missing:
            self.fail("all files", f"types never seen: {', '.join(missing)}")
        return 1 if self.failures else 0


def summary(m: dict) -> dict:
    """The fields of a frame, long ones as their length."""
    def short(value):
        if isinstance(value, bytes):
            return value.hex() if len(value) <= 32 else f"{len(value)} bytes"
        if isinstance(value, dict):
            return {k: short(v) for k, v in value.items()}
        return [short(v) for v in value] if isinstance(value, list) else value

    return {"fields": short(m)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", action="store_true", help="print each frame")
    parser.add_argument("--all-types", action="store_true", help="fail if a type was never seen")
    parser.add_argument("--allow", action="append", default=[], help="a rule that may be broken, as P-47")
    parser.add_argument("file", nargs="+", type=Path)
    args = parser.parse_args()
    report = Report(args.frames, set(args.allow))
    for path in args.file:
        report.file(path)
    return report.finish(args.all_types)


if __name__ == "__main__":
    sys.exit(main())
