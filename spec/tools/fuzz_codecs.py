#!/usr/bin/env python3
"""Compares the dissector with the codec on streams that nobody thought of.

    fuzz_codecs.py [--count N] [--seed N]        mutated frame vectors
    fuzz_codecs.py --streams                     streams from standard input, a line of hex each

Both must see the same frames with the same fields, and call the same frame malformed, with the same code. The Rust codec is
compared with the Python codec by the test wire_vectors, which gives its streams to this, too. Needs tshark.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import common  # noqa: F401  (finds the codec)
import check_dissector
import frames
from check_dissector import HELLO, bytes_of

BATCH = 4_000  # streams for one run of tshark


def mutate(rng: random.Random, frame: bytearray) -> None:
    """One to three changes: a bit, a byte, a byte more or less, the length in the header."""
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(frame))
        how = rng.randrange(6)
        if how == 0:
            frame[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            frame[at] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF))
        elif how == 2:
            frame.insert(at, rng.randrange(256))
        elif how == 3 and len(frame) > 1:
            del frame[at]
        elif how == 4:
            del frame[max(at, 1) :]
        else:
            frame[1:4] = max(0, len(frame) - 4).to_bytes(3, "big")  # lets more get past it


def mutated(rng: random.Random, count: int):
    good = [bytes_of(v) for v in frames.frames() if "type" in v and len(bytes_of(v)) < 2_000]
    for index in range(count):
        frame = bytearray(rng.choice(good))
        mutate(rng, frame)
        yield bytes(frame) if index % 3 == 0 and frame[0] == 1 else HELLO + bytes(frame) + rng.choice((b"", rng.choice(good)))


def check(streams: list[bytes]) -> tuple[int, int]:
    with tempfile.TemporaryDirectory() as folder:
        return check_dissector.check_streams(Path(folder), [(raw.hex(), [raw]) for raw in streams if raw])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=BATCH)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--streams", action="store_true")
    args = parser.parse_args()
    rng, left, seen, differences = random.Random(args.seed), args.count, 0, 0
    if args.streams:
        seen, differences = check([bytes.fromhex(line.strip()) for line in sys.stdin])
    else:
        while left:
            size = min(left, BATCH)
            more = check(list(mutated(rng, size)))
            seen, differences, left = seen + more[0], differences + more[1], left - size
    print(f"{seen} streams, {differences} differences")
    return 1 if differences or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
