#!/usr/bin/env python3
"""Writes the frame lists of spec/captures/*.pcap, and checks that each capture keeps the rules and shows what it is for.

The captures themselves are made by `cargo test -p tests --test captures` (and tour.pcap by tour.py). With --check: only
says which lists would change, exit code 1 if any.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import common
import verify_capture
from codec import CODES, LIMITS
from common import SPEC_DIR

FOLDER = SPEC_DIR / "captures"
BITS, RESET = 2, 1


def code(name: str, of: str) -> tuple[str, dict]:
    return of, {"code": CODES[name]}


# Capture -> rules that it shows broken, and frames that must be in it: type, and some of its fields.
SHOWS: dict[str, tuple[set[str], list[tuple[str, dict]]]] = {
    "cancel": (set(), [("CANCEL", {}), code("CANCELLED", "REJECT"), ("DATA", {})]),
    "corrupt-piece": ({"P-47"}, [code("BAD_DATA", "BYE")]),
    "endgame": (set(), [("CANCEL", {}), ("BITMAP", {"kind": 0, "piece_count": 8})]),
    "folder": (set(), [("PUBLISH", {}), ("FIND", {}), ("SWARM", {"complete": 1}),
                       ("REQUEST", {"piece": LIMITS["MANIFEST_PIECE"]}), ("DATA", {"piece": 0}), code("OK", "BYE")]),
    "reject": (set(), [code("NO_PIECE", "REJECT"), code("BAD_RANGE", "REJECT"), code("GONE", "REJECT"), code("GONE", "CLOSE"),
                       ("BITMAP", {"kind": BITS})]),
    "resume": (set(), [("SWARM", {"partial": 1}), ("ANNOUNCE", {})]),
    "tracker-restart": (set(), [("HELLO", {"role": 2, "node": "af" * 16}), ("ANNOUNCE", {"flags": RESET}),
                                ("SWARM", {"complete": 1})]),
    "version-refusal": (set(), [("HELLO", {"vmin": 2, "vmax": 3}), ("HELLO", {"vmax": 200}), code("VERSION", "BYE")]),
}


def report(path: Path, allowed: set[str]) -> tuple[int, list[dict], str]:
    """The outcome of verify_capture, its frames, and what it complains about."""
    checker, out, err = verify_capture.Report(True, allowed), io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        checker.file(path)
        status = checker.finish(all_types=False)
    return status, [json.loads(line) for line in out.getvalue().splitlines() if line.startswith("{")], err.getvalue()


def problem(path: Path, allowed: set[str], wanted: list[tuple[str, dict]]) -> tuple[str | None, str]:
    """What is wrong with a capture, and its frame list."""
    if not path.exists():
        return "does not exist", ""
    status, frames, complaints = report(path, allowed)
    lines = "".join(json.dumps(frame) + "\n" for frame in frames)
    if status:
        return f"breaks rules: {complaints.strip()}", lines
    for rule in allowed:
        if f"[{rule}]" not in complaints:
            return f"was made to show {rule} broken, and does not", lines
    for name, fields in wanted:
        if not any(f["type"] == name and fields.items() <= f["fields"].items() for f in frames):
            return f"has no {name} with {fields}", lines
    return None, lines


def main() -> int:
    files, failures = {}, 0
    made = {path.stem for path in FOLDER.glob("*.pcap")} - {"tour"}
    for name in sorted(made | set(SHOWS)):
        wrong, lines = problem(FOLDER / f"{name}.pcap", *SHOWS[name]) if name in SHOWS else ("is not in captures.py", "")
        files[FOLDER / f"{name}.jsonl"] = lines
        if wrong:
            failures += 1
            print(f"spec/captures/{name}.pcap {wrong}", file=sys.stderr)
    return common.deliver(files, "--check" in sys.argv[1:], "spec/tools/captures.py") or int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
