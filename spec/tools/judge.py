#!/usr/bin/env python3
"""Judges streams from standard input with the reference codec, so that another codec can be compared with it.

Each line: hex of all bytes of one direction of a connection, HELLO first. Each answer: the names of the messages
(SKIPPED 0xNN for skipped frames), then "|", then the code of the BYE, CLOSE for closing without one, "-" if the stream
ends between frames, or "cut" if it ends inside one; then the messages that were understood, encoded again, as hex.
"""

import sys

import common  # noqa: F401  (finds the codec)
import codec
from codec import Violation


def judge(raw: bytes) -> str:
    reader, names, again, end = codec.FrameReader(), [], b"", None
    try:
        for name, fields in reader.feed(raw):
            names.append(f"SKIPPED {fields['type']:#04x}" if name == "SKIPPED" else name)
            again += b"" if name == "SKIPPED" else codec.encode(name, **fields)
    except Violation as violation:
        end = violation.code or "CLOSE"
    end = end or ("-" if reader.at_boundary() else "cut")
    return f"{' '.join(names)} | {end} {again.hex()}".strip()


def main() -> int:
    for line in sys.stdin:
        print(judge(bytes.fromhex(line.strip())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
