#!/usr/bin/env python3
"""Runs tshark with swp.lua over all frame vectors and compares what it finds malformed.

Needs tshark 4 with Lua. Exit code 0 agreed, 1 differences, 127 no tshark.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import common
import codec
import frames
import pcap
from common import SPEC_DIR

BAD = {"MALFORMED", "LIMIT", "UNKNOWN_TYPE"}


def capture(path: Path, vectors: list[dict]) -> None:
    """One connection for each vector."""
    writer = pcap.Writer(path)
    hello = codec.encode("HELLO", **frames.HELLO)
    for index, vector in enumerate(vectors):
        ends = writer.connect(index, ("192.0.2.1", 50_000 + index), ("192.0.2.2", 7400))
        raw = b"".join(bytes.fromhex(p) * n for p, n in vector.get("parts", [[vector.get("hex", ""), 1]]))
        if not vector["first"]:
            writer.send(index, ends, 0, hello)
        writer.send(index, ends, 0, raw)
        writer.close(index, ends)


def tshark(path: Path, display: str, field: str) -> list[str]:
    command = ["tshark", "-n", "-X", f"lua_script:{SPEC_DIR / 'swp.lua'}", "-r", str(path), "-Y", display,
               "-T", "fields", "-e", "tcp.stream", "-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or "Lua Error" in done.stdout + done.stderr:
        print(done.stdout[:2000], done.stderr, file=sys.stderr)
        raise SystemExit(1)
    return done.stdout.splitlines()


def main() -> int:
    if shutil.which("tshark") is None:
        print("tshark is not installed: nothing was checked", file=sys.stderr)
        return 127
    vectors = frames.frames()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.pcap"
        capture(path, vectors)
        bad = {int(line.split("\t")[0]): line for line in tshark(path, "swp.malformed", "_ws.expert.message")}
        kinds = {}
        for line in tshark(path, "swp", "swp.type"):
            stream, _, types = line.partition("\t")
            kinds.setdefault(int(stream), []).extend(types.split(","))
    differences = 0
    for index, vector in enumerate(vectors):
        expected = vector.get("error") in BAD
        if expected != (index in bad):
            differences += 1
            print(f"{vector['id']}: spec {vector.get('error')}, dissector {bad.get(index)}")
        name = vector.get("type")
        if name and f"0x{codec.BY_NAME[name]['id']:02x}" not in kinds.get(index, []):
            differences += 1
            print(f"{vector['id']}: {name} was not found, but {kinds.get(index)}")
    print(f"{len(vectors)} frames, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
