#!/usr/bin/env python3
"""Checks the checker: spoils the tour (see tour.py) in ways that break a rule, and sees that verify_capture.py says so."""

import io
import sys
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import common  # noqa: F401  (finds the codec)
import codec
import tour
import verify_capture

# What is spoiled (type, which one of them, how) -> a rule that must be named.
SPOILT = [
    ("HELLO", 1, "drop", "H-7"), ("HELLO", 1, "double", "H-10"), ("BYE", 0, "double", "F-21"),
    ("BEAT", 0, "drop", "T-2"), ("LEASE", 0, "double", "T-2"), ("LEASE", 0, "drop", "T-3"), ("STATUS", 0, "drop", "T-3"),
    ("OPEN", 1, "drop", "P-13"), ("OPEN", 1, "double", "P-2"), ("BITMAP", 2, "double", "P-14"), ("BITMAP", 1, "drop", "P-15"),
    ("BITMAP", 2, "drop", "P-34"), ("REQUEST", 2, "drop", "P-36"), ("REQUEST", 7, "double", "P-32"),
    ("DATA", 1, "double", "P-36"), ("DATA", 2, "flip", "P-47"), ("DATA", 3, "cut", "P-35"), ("REJECT", 1, "double", "P-36"),
    ("CLOSE", 1, "move", "P-11"), ("WINDOW", 0, "close", "P-42"), ("FIND", 0, "rid", "T-1"), ("NOOP", 0, "foreign", "F-14"),
    ("HAVE", 0, "garbage", "F-4"),
]


class Spoiler(tour.Connection):
    """Sends what the tour says, but for one frame."""

    plan: tuple = ()
    seen: dict = {}

    def raw(self, sender, data: bytes) -> None:
        name = codec.TYPES.get(data[0], {}).get("name")
        index = Spoiler.seen[name] = Spoiler.seen.get(name, -1) + 1
        wanted, which, how, _ = Spoiler.plan
        if (wanted, which) == (name, index):
            data = self.spoil(how, data)
        super().raw(sender, data)

    @staticmethod
    def spoil(how: str, data: bytes) -> bytes:
        def part(name: str, /, **fields) -> bytes:
            return codec.encode(name, **fields)

        _, fields = codec.decode(data[0], data[4:])
        return {
            "drop": lambda: b"",
            "double": lambda: data * 2,
            "flip": lambda: data[:-1] + bytes([data[-1] ^ 1]),
            "cut": lambda: codec.frame(data[0], data[4:-1]),
            "move": lambda: data + part("HAVE", ch=2, pieces=[0]),
            "close": lambda: part("WINDOW", requests=0) * 2,
            "rid": lambda: part("FIND", **fields | {"rid": 0}),
            "foreign": lambda: part("SUMMARY_REQUEST", rid=1),
            "garbage": lambda: data + bytes([0x7F, 0, 0, 0]),
        }[how]()


def complaints(path: Path) -> str:
    report, err = verify_capture.Report(False, set()), io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        report.file(path)
        code = report.finish(all_types=False)
    return err.getvalue() if code else ""


def main() -> int:
    tour.Connection = Spoiler
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoilt.pcap"
        for plan in [("NOTHING", 0, "", ""), *SPOILT]:
            Spoiler.plan, Spoiler.seen = plan, {}
            tour.play(path)
            said = complaints(path)
            if (plan[3] and f"[{plan[3]}]" not in said) or (not plan[3] and said):
                failures += 1
                print(f"{plan}: said {said.strip() or 'nothing'!r}")
    print(f"{len(SPOILT)} spoilt captures, {failures} not noticed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
