"""Talks with a running program, and the scenes that are made of them. See probe_states.py."""

from __future__ import annotations

import hashlib
import itertools
import os
import socket
from pathlib import Path

import common  # noqa: F401  (finds the codec)
import codec
import frames
import manifest as mf
from codec import CODES, LIMITS

PATIENCE = 30.0  # for a machine that has a lot to do; who keeps the rules answers at once
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


def both(*rules: str):
    def keep(function):
        for kind in SCENES:
            SCENES[kind].append((function, rules))
        return function

    return keep
