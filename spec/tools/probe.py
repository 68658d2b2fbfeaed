#!/usr/bin/env python3
"""Sends every frame vector to a running peer or tracker, one connection each, and judges what comes back.

    probe.py HOST:PORT [--only PREFIX]

What is not SWP must be closed without a byte; what breaks a rule of bytes must be answered by HELLO and BYE with the
right code, also when only the header has been sent; everything else must not be called malformed. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import socket
import sys

import common
import codec
import frames
from codec import CODES, LIMITS

PATIENCE = 30.0  # for a machine that has a lot to do; who keeps the rules answers at once


class Target:
    def __init__(self, host: str, port: int):
        self.address, self.count = (host, port), 0

    def hello(self) -> bytes:
        """Each connection is another node."""
        self.count += 1
        return codec.encode("HELLO", **frames.HELLO | {"node": self.count.to_bytes(16, "big"), "listen": 0})

    def talk(self, raw: bytes, then: bytes, then_end: bool) -> tuple[bytes, str]:
        """What the target sends, and how it ends: "closed" or "open" after PATIENCE.

        `then` is sent when the first bytes have come: who gets a BYE need not send what it still has to say.
        """
        got = b""
        with socket.create_connection(self.address, PATIENCE) as connection:
            try:
                connection.sendall(raw)
                if then_end:
                    connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(1 << 16):
                    connection.sendall(then if not got else b"")
                    got += part
                return got, "closed"
            except TimeoutError:
                return got, "open"
            except ConnectionError:
                return got, "closed"


def parse(raw: bytes) -> list[tuple[str, dict]]:
    reader = codec.FrameReader()
    out = list(reader.feed(raw))
    return out if reader.at_boundary() else [*out, ("CUT", {})]


def bye_code(answers: list[tuple[str, dict]]) -> str | None:
    for name, m in answers:
        if name == "BYE":
            return next((c for c, v in CODES.items() if v == m["code"]), str(m["code"]))
    return None


def expect(vector: dict, answers: list[tuple[str, dict]], end: str) -> str | None:
    """What is wrong, None if nothing."""
    names, error = [name for name, _ in answers], vector.get("error")
    if end != "closed":
        return f"still open after {PATIENCE} s"
    if error == "CLOSE":
        return f"answered {names}" if answers else None  # [H-2] [H-3]
    if vector.get("incomplete"):
        early = vector["first"] and len(bytes.fromhex(vector["hex"])) < 8
        return f"{names} before the magic" if early and answers else None  # [H-5]
    if not names or names[0] != "HELLO":
        return f"HELLO expected first, got {names}"  # [H-1] [H-6]
    if "BYE" in names[:-1]:
        return "frames after BYE"  # [F-21]
    code = bye_code(answers)
    if error:
        return None if code == error else f"BYE({error}) expected, got {code} after {names}"
    if code in ("MALFORMED", "UNKNOWN_TYPE"):
        return f"a good frame is answered with BYE({code})"
    return None


def bytes_of(vector: dict) -> bytes:
    parts = vector.get("parts", [[vector.get("hex", ""), 1]])
    return b"".join(bytes.fromhex(piece) * times for piece, times in parts)


def probe(target: Target, vector: dict) -> str | None:
    raw = bytes_of(vector)
    if not vector["first"]:
        raw = target.hello() + raw
    good, half = not vector.get("error"), bool(vector.get("incomplete"))
    bye = codec.encode("BYE", code=CODES["OK"], text="") if good and not half else b""
    if vector.get("type") == "BYE":
        return None  # closed at once, perhaps without a byte: nothing to judge
    got, end = target.talk(raw, bye, then_end=half)
    try:
        return expect(vector, parse(got), end)
    except codec.Violation as violation:
        return f"the answer is not SWP: {violation}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("--only", default="", help="vectors whose id begins so")
    args = parser.parse_args()
    host, _, port = args.target.rpartition(":")
    target = Target(host.strip("[]"), int(port))
    vectors = [v for v in frames.frames() if v["id"].startswith(args.only)]
    # A header that promises more than it sends, without an error, would only wait.
    vectors = [v for v in vectors if not (v.get("incomplete") and v["id"].startswith("header-"))]
    failures = 0
    for vector in vectors:
        problem = probe(target, vector)
        if problem:
            failures += 1
            print(f"{vector['id']}: {problem}")
    print(f"{len(vectors)} vectors, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    assert LIMITS["VERSION"] == 1
    sys.exit(main())
