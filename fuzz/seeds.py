#!/usr/bin/env python3
"""Writes seeds for the fuzz targets from spec/vectors into fuzz/corpus. Only what is new is added:

    fuzz/seeds.py && fuzz/shrink      # then keep only what reaches something
"""

import hashlib
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "spec" / "vectors"
MAX_SEED = 2048


def rows(name: str, key: str = "vectors") -> list[dict]:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))[key]


def bytes_of(row: dict) -> bytes:
    if "parts" in row:
        return b"".join(bytes.fromhex(digits) * times for digits, times in row["parts"])
    return bytes.fromhex(row["hex"])


def add(target: str, seed: bytes) -> None:
    if len(seed) > MAX_SEED:
        return
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


def main() -> None:
    for row in rows("frames"):
        frame = bytes_of(row)
        add("frames", bytes([0 if row["first"] else 1]) + frame)
        if len(frame) > 4:
            add("messages", frame[:1] + frame[4:])
    for number, row in enumerate(rows("streams")):
        add("frames", bytes([2 * number & 0xFF]) + bytes_of(row))
    for row in rows("handshake"):
        for side in ("mine", "theirs"):
            add("frames", b"\x02" + bytes.fromhex(row[side]))
    for name, target in [("manifests", "manifest"), ("metafiles", "metafile"), ("names", "paths")]:
        for row in rows(name):
            add(target, bytes_of(row))
    words = ["500M", "1.5G", "64KiB", "10MB/s", "1h30m", "90s", "0", "off", "yes", "100", "10.0.0.5", "[fd00::5]:9000",
             "tracker.example:9000,10.0.0.1", ":7000", "203.0.113.7:7000", "llama@3", "a/b@sha256:" + "9f2c" * 16, "l*-?b\0llama-8b",
             "--json\0-q\0name\0--wait=5m\0--up\0" "1M\0--\0x", "späße\x1b[2J\u202e it's"]
    for kind in range(13):
        for word in words:
            add("words", bytes([kind]) + word.encode())
            add("words", bytes([kind + 26]) + word.encode())
    add("journal", bytes([5]) + bytes(8) + bytes([4, 1, 0, 1, 1, 2, 0, 3, 1]))
    add("journal", bytes([5]) + bytes(8) + bytes([2, 1, 0, 2, 3]) + bytes([0, 70, 1]))
    add("cache_row", bytes([1, 12]) + bytes(16) + bytes([0, 0x10, 0]) + bytes(16) + bytes([1]) + bytes(32) + bytes(4) + bytes(32))
    add("cache_row", bytes(64))
    add("resume", bytes([1, 2, 0, 64, 1, 5]))
    add("resume", bytes([1, 0, 0, 90]))
    # Sequences of events: a greeting on each side, then steps of every kind.
    hello = bytes([0, 0, 0, 0, 1, 1, 0, 0])
    for step in range(24):
        body = bytes((17 * step + 7 * i) % 251 for i in range(90))
        add("tracker", bytes([step]) + hello + hello + bytes([step, 0, 0, 0, 0, 0, 0, 0]) + body)
        add("peer", bytes([8 + step % 8, step]) + bytes([0, 0, 0, 15, 3, 0, 4, 0, 0, 15, 11, 0, 2, 0, 20, 0]) + body)
        add("peer", bytes([step, 3 * step]) + body)


if __name__ == "__main__":
    main()
