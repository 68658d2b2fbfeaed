#!/usr/bin/env python3
"""Plays short scenes with a running peer or tracker, and judges what it answers: the rules that need more than one frame.

    probe_states.py tracker HOST:PORT
    probe_states.py peer HOST:PORT FILE         FILE is what the peer seeds, as a file object with default pieces

Each scene names the rules it is about. The tracker should be an empty one. Exit code 1 if a scene fails.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import socket
import sys
from pathlib import Path

import common  # noqa: F401  (finds the codec)
import codec
import frames
import manifest as mf
from codec import CODES, LIMITS

PATIENCE = 5.0
MANIFEST_PIECE = LIMITS["MANIFEST_PIECE"]
SCENES: dict[str, list] = {"peer": [], "tracker": []}


class Wrong(Exception):
    pass


def scene(kind: str, *rules: str):
    def keep(function):
        SCENES[kind].append((function, rules))
        return function

    return keep


class Talk:
    """A connection to the target, HELLOs exchanged."""

    def __init__(self, target: tuple[str, int], **hello):
        self.socket = socket.create_connection(target, PATIENCE)
        self.reader, self.pending = codec.FrameReader(), []
        self.send("HELLO", **frames.HELLO | {"node": os.urandom(16), "listen": 0} | hello)
        self.theirs = self.expect("HELLO")

    def send(self, name: str, /, **fields) -> None:
        try:
            self.socket.sendall(codec.encode(name, **fields))
        except ConnectionError:
            pass  # what it sent before it closed says why

    def send_all(self, *messages: tuple[str, dict]) -> None:
        self.socket.sendall(b"".join(codec.encode(name, **fields) for name, fields in messages))

    def next(self) -> tuple[str, dict]:
        """The next frame that means something; ("END", {}) at the end."""
        while not self.pending:
            try:
                data = self.socket.recv(1 << 16)
            except TimeoutError:
                raise Wrong(f"nothing came for {PATIENCE} s") from None
            except ConnectionError:
                data = b""
            if not data:
                return "END", {}
            self.pending += [(n, m) for n, m in self.reader.feed(data) if n not in ("NOOP", "SKIPPED")]
        return self.pending.pop(0)

    def expect(self, name: str, /, **wanted) -> dict:
        got, m = self.next()
        if got != name or any(m.get(key) != value for key, value in wanted.items()):
            raise Wrong(f"{name} {wanted} expected, got {got} {m}")
        return m

    def expect_bye(self, code: str) -> None:
        self.expect("BYE", code=CODES[code])
        self.expect("END")

    def close(self) -> None:
        self.socket.close()


class Stage:
    """The target, and what is needed to talk to it."""

    def __init__(self, target: tuple[str, int], path: Path | None):
        self.target = target
        self.rids = itertools.count(1)
        if path:
            self.data = path.read_bytes()
            self.manifest = mf.parse(mf.build({b"": self.data}))
            self.object = self.manifest.id()

    def talk(self, **hello) -> Talk:
        return Talk(self.target, **hello)

    # peers

    def mine(self, ch: int) -> dict:
        return {"ch": ch, "manifest_len": 0, "piece_count": 0, "kind": 0}

    def live(self, ch: int = 0) -> Talk:
        """A connection with a live channel."""
        talk = self.talk()
        talk.send("OPEN", ch=ch, object=self.object)
        talk.send("BITMAP", **self.mine(ch))
        talk.expect("BITMAP", ch=ch, kind=1, piece_count=len(self.manifest.hashes))
        return talk

    # trackers

    def ask(self, talk: Talk, name: str, answer: str, /, expected: dict | None = None, **fields) -> dict:
        rid = next(self.rids)
        talk.send(name, rid=rid, **fields)
        return talk.expect(answer, rid=rid, **expected or {})

    def status(self, talk: Talk, code: str, name: str, /, **fields) -> dict:
        return self.ask(talk, name, "STATUS", {"code": CODES[code]}, **fields)

    def beat(self, talk: Talk, holdings=()) -> dict:
        return self.ask(talk, "BEAT", "LEASE", objects=len(holdings), digest=codec.holdings_digest(holdings),
                        free=0, sent=0, received=0)

    def holder(self, holdings, **hello) -> Talk:
        """A session that has announced these holdings."""
        talk = self.talk(**hello)
        self.beat(talk, holdings)
        entries = [{"object": obj, "state": state} for obj, state in holdings]
        self.status(talk, "OK", "ANNOUNCE", flags=1, entries=entries)
        return talk

    def publish(self, talk: Talk, name: str, obj: bytes, key: bytes = bytes(16), code: str = "OK", **changes) -> str:
        record = frames.RECORD | {"name": name, "object": obj, "content": hashlib.sha256(obj).digest()} | changes
        return self.status(talk, code, "PUBLISH", key=key, copies=0, record=record)["text"]

    def find(self, talk: Talk, name: str, version: int = 0, want: int = 50) -> dict:
        return self.ask(talk, "FIND", "SWARM", want=want, kind=0, version=version, name=name)

    def missing(self, talk: Talk, name: str, version: int = 0) -> None:
        self.status(talk, "NOT_FOUND", "FIND", want=1, kind=0, version=version, name=name)


# ----------------------------------------------------------------------------------------- both kinds


def both(*rules: str):
    def keep(function):
        for kind in SCENES:
            SCENES[kind].append((function, rules))
        return function

    return keep


@both("H-10")
def second_hello(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("HELLO", **frames.HELLO)
    talk.expect_bye("BAD_STATE")


@both("H-6", "H-13")
def no_common_version(stage: Stage) -> None:
    stage.talk(vmin=2, vmax=255).expect_bye("VERSION")


@both("H-12")
def more_versions(stage: Stage) -> None:
    talk = stage.talk(vmax=255)
    talk.send("HELLO", **frames.HELLO)
    talk.expect_bye("BAD_STATE")


@both("H-14")
def tracker_dials(stage: Stage) -> None:
    stage.talk(role=2).expect_bye("WRONG_ROLE")


@both("H-16")
def itself(stage: Stage) -> None:
    node = stage.talk().theirs["node"]
    stage.talk(node=node).expect_bye("DUPLICATE")


@both("H-26")
def token_unexpected(stage: Stage) -> None:
    talk = stage.talk(tlvs=[{"tag": codec.TLVS["CLUSTER_TOKEN"], "value": b"?"}])
    tags = [tlv["tag"] for tlv in talk.theirs["tlvs"]]
    if codec.TLVS["CLUSTER_TOKEN"] in tags:
        raise Wrong("it shows a token [H-27]")
    talk.expect_bye("DENIED")


@both("F-22", "F-23")
def polite_leave(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("BYE", code=0, text="")
    talk.expect("END")


@both("F-14")
def wrong_direction(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("LEASE", **frames.LEASE)
    talk.expect_bye("BAD_STATE")


# ----------------------------------------------------------------------------------------------- peers


@scene("peer", "F-14")
def beat_at_a_peer(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("BEAT", **frames.BEAT)
    talk.expect_bye("BAD_STATE")


@scene("peer", "P-1")
def wrong_parity(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("OPEN", ch=1, object=stage.object)
    talk.expect_bye("BAD_STATE")


@scene("peer", "P-2")
def channel_numbers_fall(stage: Stage) -> None:
    talk = stage.live(ch=4)
    talk.send("OPEN", ch=2, object=bytes(32))
    talk.expect_bye("BAD_STATE")


@scene("peer", "P-4", "P-5", "P-9")
def unknown_object(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("OPEN", ch=0, object=bytes(32))
    talk.send("BITMAP", **stage.mine(0))
    talk.expect("CLOSE", ch=0, code=CODES["NOT_FOUND"])
    talk.send("CLOSE", ch=0, code=0)
    talk.send("OPEN", ch=2, object=stage.object)
    talk.expect("BITMAP", ch=2)


@scene("peer", "P-7")
def same_object_twice(stage: Stage) -> None:
    talk = stage.live()
    talk.send("OPEN", ch=2, object=stage.object)
    talk.expect("CLOSE", ch=2, code=CODES["DUPLICATE"])


@scene("peer", "P-10", "P-12", "X-1")
def frames_after_close(stage: Stage) -> None:
    talk = stage.live()
    block = {"ch": 0, "piece": 0, "begin": 0}
    talk.send_all(("CLOSE", {"ch": 0, "code": 999}), ("REQUEST", block | {"len": 5}), ("HAVE", {"ch": 0, "pieces": [0]}),
                  ("CANCEL", block), ("DATA", block | {"bytes": b"x"}), ("CLOSE", {"ch": 0, "code": 0}),
                  ("OPEN", {"ch": 2, "object": stage.object}))
    talk.expect("BITMAP", ch=2)


@scene("peer", "P-13")
def never_open(stage: Stage) -> None:
    for name, fields in (("CLOSE", {"code": 0}), ("HAVE", {"pieces": [0]}), ("CANCEL", {"piece": 0, "begin": 0})):
        for ch in (6, 7):
            talk = stage.live()
            talk.send(name, ch=ch, **fields)
            talk.expect_bye("BAD_STATE")


@scene("peer", "P-14")
def second_bitmap(stage: Stage) -> None:
    talk = stage.live()
    talk.send("BITMAP", **stage.mine(0))
    talk.expect_bye("BAD_STATE")


@scene("peer", "P-15")
def before_bitmap(stage: Stage) -> None:
    block = {"ch": 0, "piece": 0, "begin": 0}
    for name, fields in (("REQUEST", block | {"len": 1}), ("HAVE", {"ch": 0, "pieces": [0]}), ("CANCEL", block)):
        talk = stage.talk()
        talk.send("OPEN", ch=0, object=stage.object)
        talk.send(name, **fields)
        talk.expect("BITMAP")
        talk.expect_bye("BAD_STATE")


@scene("peer", "P-19")
def bitmap_against_manifest(stage: Stage) -> None:
    for change in ({"piece_count": len(stage.manifest.hashes) + 1}, {"manifest_len": len(stage.manifest.raw) + 1}):
        talk = stage.talk()
        talk.send("OPEN", ch=0, object=stage.object)
        good = {"manifest_len": len(stage.manifest.raw), "piece_count": len(stage.manifest.hashes)}
        talk.send("BITMAP", **{"ch": 0, "kind": 1} | good | change)
        talk.expect("BITMAP")
        talk.expect_bye("BAD_DATA")


@scene("peer", "P-23", "P-24")
def have_of_no_piece(stage: Stage) -> None:
    talk = stage.live()
    talk.send("HAVE", ch=0, pieces=[0])
    talk.send("HAVE", ch=0, pieces=[0, 0])
    talk.send("HAVE", ch=0, pieces=[len(stage.manifest.hashes)])
    talk.expect_bye("BAD_STATE")


@scene("peer", "M-1", "P-27", "P-35")
def manifest_and_blocks(stage: Stage) -> None:
    talk = stage.live()
    size = len(stage.manifest.raw)
    talk.send("REQUEST", ch=0, piece=MANIFEST_PIECE, begin=0, len=size)
    raw = talk.expect("DATA", piece=MANIFEST_PIECE, begin=0)["bytes"]
    if hashlib.sha256(raw).digest() != stage.object:
        raise Wrong("the manifest is not the object's")
    pieces = list(stage.manifest.pieces())
    for piece, (_, offset, length) in enumerate(pieces):
        for begin, size in ((0, 1), (length - 1, 1), (7, 1000), (0, length)):
            if begin + size <= length:
                talk.send("REQUEST", ch=0, piece=piece, begin=begin, len=size)
                wanted = stage.data[offset + begin : offset + begin + size]
                talk.expect("DATA", ch=0, piece=piece, begin=begin, bytes=wanted)


@scene("peer", "P-30", "P-31")
def out_of_range(stage: Stage) -> None:
    talk = stage.live()
    last = list(stage.manifest.pieces())[-1][2]
    count, size = len(stage.manifest.hashes), len(stage.manifest.raw)
    cases = [(count - 1, last, 1), (count - 1, 0, last + 1), (count, 0, 1), (MANIFEST_PIECE - 1, 0, 1), (0, 2**32 - 1, 1),
             (0, 2**32 - 1, 1 << 20), (MANIFEST_PIECE, size, 1), (MANIFEST_PIECE, 1, size)]
    for piece, begin, length in (cases * 2)[: LIMITS["MAX_BAD_RANGES"]]:
        talk.send("REQUEST", ch=0, piece=piece, begin=begin, len=length)
        talk.expect("REJECT", ch=0, piece=piece, begin=begin, code=CODES["BAD_RANGE"])
    talk.send("REQUEST", ch=0, piece=count, begin=0, len=1)
    talk.expect_bye("LIMIT")


@scene("peer", "P-36")
def unrequested(stage: Stage) -> None:
    for name, fields in (("DATA", {"bytes": b"x"}), ("REJECT", {"code": 34})):
        talk = stage.live()
        talk.send(name, ch=0, piece=0, begin=0, **fields)
        talk.expect_bye("BAD_STATE")


@scene("peer", "P-39", "P-40")
def cancels(stage: Stage) -> None:
    talk = stage.live()
    block = {"ch": 0, "piece": 0, "begin": 0}
    talk.send_all(("CANCEL", block), ("REQUEST", block | {"len": 5}), ("CANCEL", block), ("CANCEL", block),
                  ("REQUEST", {"ch": 0, "piece": 0, "begin": 9, "len": 1}))
    answers = [talk.next() for _ in range(2)]
    begins = sorted(m.get("begin", -1) for _, m in answers)
    if begins != [0, 9] or any(name not in ("DATA", "REJECT") for name, _ in answers):
        raise Wrong(f"one answer each expected, got {answers}")
    talk.send("REQUEST", **block, len=3)
    talk.expect("DATA", begin=0, bytes=stage.data[:3])


@scene("peer", "P-46")
def too_many_requests(stage: Stage) -> None:
    talk = stage.live()
    requests = [("REQUEST", {"ch": 0, "piece": 0, "begin": begin, "len": 60_000}) for begin in range(20_000)]
    try:
        talk.send_all(*requests)
    except ConnectionError:
        pass
    seen = set()
    while "BYE" not in seen:
        name, m = talk.next()
        seen.add(name)
        if name == "BYE" and m["code"] != CODES["LIMIT"]:
            raise Wrong(f"BYE({m['code']})")
        if name == "END":
            return  # unread requests can turn the close into a reset, which eats the BYE
        if name not in ("DATA", "REJECT", "BYE"):
            raise Wrong(name)


# --------------------------------------------------------------------------------------------- trackers


@scene("tracker", "T-1")
def rid_zero(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("SUMMARY_REQUEST", rid=0)
    talk.expect_bye("BAD_STATE")


@scene("tracker", "F-14")
def open_at_a_tracker(stage: Stage) -> None:
    for name, fields in (("OPEN", {"ch": 0, "object": bytes(32)}), ("WINDOW", {"requests": 1}), ("STATUS", frames.STATUS),
                         ("DATA", {"ch": 0, "piece": 0, "begin": 0, "bytes": b"x"})):
        talk = stage.talk()
        talk.send(name, **fields)
        talk.expect_bye("BAD_STATE")


@scene("tracker", "T-27")
def announce_without_lease(stage: Stage) -> None:
    talk = stage.talk()
    stage.status(talk, "BAD_STATE", "ANNOUNCE", flags=0, entries=[])
    stage.beat(talk)
    stage.status(talk, "OK", "ANNOUNCE", flags=0, entries=[])


@scene("tracker", "T-14", "T-17", "T-25", "T-26")
def leases_and_digests(stage: Stage) -> None:
    talk, a, b = stage.talk(), os.urandom(32), os.urandom(32)
    lease = stage.beat(talk, [(a, 1)])
    if not LIMITS["MIN_BEAT_S"] <= lease["interval_s"] <= LIMITS["MAX_BEAT_S"]:
        raise Wrong(f"an interval of {lease['interval_s']} s")
    if lease["lease_s"] < 3 * lease["interval_s"] + 10:
        raise Wrong(f"a lease of {lease['lease_s']} s")
    if not lease["flags"] & 1:
        raise Wrong("no SYNC for holdings that it cannot know")
    for flags, entries, held in (
        (1, [(a, 1), (b, 2), (a, 2)], [(a, 2), (b, 2)]), (0, [(b, 0)], [(a, 2)]), (0, [(a, 1), (b, 1)], [(a, 1), (b, 1)]),
        (1, [(b, 2)], [(b, 2)]), (1, [], []),
    ):
        stage.status(talk, "OK", "ANNOUNCE", flags=flags, entries=[{"object": o, "state": s} for o, s in entries])
        if stage.beat(talk, held)["flags"]:
            raise Wrong(f"SYNC after {entries} with RESET {flags}")


@scene("tracker", "T-29", "T-30", "T-31", "T-32", "T-33", "T-34", "T-35", "T-40", "T-43")
def names_and_versions(stage: Stage) -> None:
    talk, a, b = stage.talk(), os.urandom(32), os.urandom(32)
    for name in ("", "..", "a//b", "x@3", "a\nb", "/a"):
        stage.publish(talk, name, a, code="BAD_NAME")
    for change in ({"manifest_len": 0}, {"file_count": 0}, {"piece_log2": 11}, {"piece_log2": 0}):
        stage.publish(talk, "scene/impossible", a, code="MALFORMED", **change)
    stage.missing(talk, "scene/impossible")
    texts = [stage.publish(talk, "scene/name", obj) for obj in (a, a, b, b)]
    if texts != ["1", "1", "2", "2"]:
        raise Wrong(f"versions {texts}")
    stage.publish(talk, "scene/name", os.urandom(32), key=b"k" * 16, code="NAME_TAKEN")
    newest = stage.find(talk, "scene/name")["record"]
    if (newest["version"], newest["object"]) != (2, b) or newest["published_at"] == frames.RECORD["published_at"]:
        raise Wrong(f"the newest is {newest}")
    if stage.find(talk, "scene/name", version=1)["record"]["object"] != a:
        raise Wrong("version 1 is another object")
    stage.missing(talk, "scene/name", version=3)
    content = hashlib.sha256(b).digest()
    found = stage.ask(talk, "FIND", "SWARM", want=0, kind=2, content=content)["record"]
    if found["object"] != b:
        raise Wrong(f"by content: {found}")


@scene("tracker", "T-34", "T-53")
def numbers_and_owners_outlive_unpublish(stage: Stage) -> None:
    talk = stage.talk()
    stage.publish(talk, "scene/again", os.urandom(32))
    stage.status(talk, "OK", "UNPUBLISH", key=bytes(16), name="scene/again")
    stage.publish(talk, "scene/again", os.urandom(32), key=b"k" * 16, code="NAME_TAKEN")
    stage.status(talk, "NOT_FOUND", "UNPUBLISH", key=bytes(16), name="scene/again")
    version = stage.publish(talk, "scene/again", os.urandom(32))
    if version != "2":
        raise Wrong(f"version {version} after UNPUBLISH of version 1")


@scene("tracker", "T-55")
def folders_have_no_content(stage: Stage) -> None:
    talk = stage.talk()
    stage.publish(talk, "scene/folder", os.urandom(32), content=bytes(32))
    stage.status(talk, "NOT_FOUND", "FIND", want=1, kind=2, content=bytes(32))


@scene("tracker", "T-37", "T-38")
def unpublish(stage: Stage) -> None:
    talk = stage.talk()
    stage.publish(talk, "scene/gone", os.urandom(32))
    stage.status(talk, "NOT_FOUND", "UNPUBLISH", key=bytes(16), name="scene/never")
    stage.status(talk, "NOT_OWNER", "UNPUBLISH", key=b"k" * 16, name="scene/gone")
    stage.status(talk, "OK", "UNPUBLISH", key=bytes(16), name="scene/gone")
    stage.missing(talk, "scene/gone")
    stage.missing(talk, "scene/gone", version=1)
    page = stage.ask(talk, "LIST", "PAGE", limit=500, prefix="scene/gone", after="")
    if page["entries"]:
        raise Wrong("LIST shows it")


@scene("tracker", "T-48", "T-49", "T-50")
def pages(stage: Stage) -> None:
    talk = stage.talk()
    names = sorted(f"list/{i}/{text}".encode() for i in range(3) for text in ("a", "B", "ä", "a-b"))
    for name in reversed(names):
        stage.publish(talk, name.decode(), os.urandom(32))
    stage.publish(talk, "lisa", os.urandom(32))
    got, after, more = [], "", 1
    while more:
        page = stage.ask(talk, "LIST", "PAGE", limit=5, prefix="list/", after=after)
        found = [entry["record"]["name"] for entry in page["entries"]]
        more = page["more"] & 1
        if len(found) > 5 or (more and not found):
            raise Wrong(f"a page of {len(found)} with more {more}")
        got += found
        after = found[-1] if found else after
    if [name.encode() for name in got] != names:
        raise Wrong(f"{got}")


@scene("tracker", "T-2", "T-3")
def answers_in_order(stage: Stage) -> None:
    talk = stage.talk()
    record = frames.RECORD | {"name": "scene/order"}
    talk.send_all(("SUMMARY_REQUEST", {"rid": 9}), ("PUBLISH", {"rid": 3, "key": bytes(16), "copies": 0, "record": record}),
                  ("LIST", {"rid": 9, "limit": 1, "prefix": "", "after": ""}),
                  ("FIND", {"rid": 2, "want": 0, "kind": 0, "version": 0, "name": "scene/order"}),
                  ("SUMMARY_REQUEST", {"rid": 1}))
    for name, rid in (("SUMMARY", 9), ("STATUS", 3), ("PAGE", 9), ("SWARM", 2), ("SUMMARY", 1)):
        talk.expect(name, rid=rid)


@scene("tracker", "T-20", "T-21", "T-42", "T-44")
def peers_of_an_object(stage: Stage) -> None:
    obj = os.urandom(32)
    shown = stage.holder([(obj, 2)], listen=4001)
    partial = stage.holder([(obj, 1)], listen=4002)
    hidden = stage.holder([(obj, 2)], listen=0)
    for talk, ports in ((stage.talk(), [4001, 4002]), (shown, [4002]), (partial, [4001]), (hidden, [4001, 4002])):
        swarm = stage.ask(talk, "FIND", "SWARM", want=9, kind=1, object=obj)
        if sorted(peer["port"] for peer in swarm["peers"]) != ports:
            raise Wrong(f"{swarm['peers']} instead of ports {ports}")
        if (swarm["complete"], swarm["partial"]) != (2, 1) or swarm["record"]["name"] or swarm["record"]["version"]:
            raise Wrong(f"{swarm}")
    if len(stage.ask(stage.talk(), "FIND", "SWARM", want=1, kind=1, object=obj)["peers"]) != 1:
        raise Wrong("not the number of peers that was wanted")


@scene("tracker", "T-16", "T-19")
def leaving_and_coming_back(stage: Stage) -> None:
    obj, node = os.urandom(32), os.urandom(16)

    def complete() -> int:
        talk = stage.talk()
        talk.send("FIND", rid=1, want=0, kind=1, object=obj)
        name, m = talk.next()
        return m["complete"] if name == "SWARM" else 0

    stage.holder([(obj, 2)], node=node).close()
    if complete() != 1:
        raise Wrong("holdings are gone with the connection")
    old = stage.talk(node=node)
    if stage.beat(old, [(obj, 2)])["flags"]:
        raise Wrong("SYNC for a node that came back with the same holdings")
    new = stage.talk(node=node)
    if stage.beat(new, [(obj, 2)])["flags"]:
        raise Wrong("SYNC for a session that took over")
    old.expect_bye("DUPLICATE")
    new.send("BYE", code=CODES["OK"], text="")
    new.expect("END")
    if complete() != 0:
        raise Wrong("holdings stay after BYE(OK)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=SCENES)
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("file", nargs="?", type=Path)
    args = parser.parse_args()
    if (args.kind == "peer") != bool(args.file):
        parser.error("a FILE goes with a peer, and only with a peer")
    host, _, port = args.target.rpartition(":")
    stage = Stage((host.strip("[]"), int(port)), args.file)
    failures = 0
    for play, rules in SCENES[args.kind]:
        try:
            play(stage)
        except (Wrong, codec.Violation, OSError) as problem:
            failures += 1
            print(f"{play.__name__} [{', '.join(rules)}]: {problem}")
    print(f"{len(SCENES[args.kind])} scenes, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
