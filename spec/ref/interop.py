#!/usr/bin/env python3
"""Runs transfers between implementations, and checks the files and, where a reference program takes part, the capture.

    interop.py [--peer PROGRAM --tracker PROGRAM] [--case NAME]... [--only COMBINATION] [--repeat N] [--keep]

Without programs, the reference implementation is run against itself. With them, each case is run in every combination
of {ref, starling} as tracker, seeder and fetcher that has at least one starling. Exit code 1 if anything fails.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True
REF = Path(__file__).resolve().parent
VERIFY = REF.parent / "tools" / "verify_capture.py"
PROBES = [REF.parent / "tools" / name for name in ("probe.py", "probe_states.py")]
NAME = "cases/thing"


def noise(seed: str, size: int) -> bytes:
    """The same bytes in every run."""
    out = b"".join(hashlib.sha256(f"{seed}{i}".encode()).digest() for i in range(size // 32 + 1))
    return out[:size]


def one_file(size: int):
    def make(path: Path) -> None:
        path.write_bytes(noise("file", size))

    return make


def folder(path: Path) -> None:
    for name, size in (("a.bin", 300_000), ("sub/b.txt", 1), ("sub/zero", 0), ("sub/deep/c", 4097), ("größe", 9)):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(noise(name, size))
    (path / "empty").mkdir()
    (path / "run.sh").write_bytes(b"#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)


def many_small(path: Path) -> None:
    path.mkdir()
    for i in range(500):
        (path / f"{i:03}").write_bytes(noise(str(i), i))


@dataclass
class Case:
    make: object
    seeders: int = 1
    bad: str | None = None  # how one more seeder misbehaves, see bad_peer.py
    alone: bool = False  # the good seeder leaves before the fetch
    probe: bool = False  # run tools/probe.py and tools/probe_states.py on tracker and seeder


CASES = {
    "empty-file": Case(one_file(0)),
    "one-byte": Case(one_file(1)),
    "exact-piece": Case(one_file(1 << 18)),
    "three-pieces": Case(one_file(600_000)),
    "folder": Case(folder),
    "many-small": Case(many_small),
    "two-seeders": Case(one_file(3_000_000), seeders=2),
    "corrupt-piece": Case(one_file(2_000_000), bad="corrupt"),
    "lying-manifest": Case(one_file(2_000_000), bad="manifest"),
    "silent-seeder": Case(one_file(2_000_000), bad="silent"),
    "rejecting-seeder": Case(one_file(2_000_000), bad="reject"),
    "window-zero": Case(one_file(2_000_000), bad="window"),
    "hangs-up": Case(one_file(2_000_000), bad="hangup"),
    "reverse-answers": Case(one_file(2_000_000), bad="reverse", alone=True),
    "late-holdings": Case(one_file(2_000_000), bad="late", alone=True),
    "probe": Case(one_file(600_000), probe=True),
}


class Failure(Exception):
    pass


class Run:
    """One case in one combination, in a folder of its own."""

    def __init__(self, programs: dict[str, str], folder: Path, timeout: float):
        self.programs, self.folder, self.timeout = programs, folder, timeout
        self.started: list[subprocess.Popen] = []
        self.count = 0

    def start(self, command: list[str], wanted: str) -> tuple[subprocess.Popen, str]:
        """Runs a program until its output matches; the first group of `wanted`."""
        self.count += 1
        log = self.folder / f"{self.count}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self.started.append(process)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            found = re.search(wanted, log.read_text(errors="replace"))
            if found:
                return process, found[1]
            if process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failure(f"{command[:3]}: no {wanted!r} in {log}: {log.read_text(errors='replace')[-300:]}")

    def capture(self) -> list[str]:
        return ["--capture", str(self.folder / f"{self.count + 1}.pcap")]

    def tracker(self, kind: str) -> str:
        if kind == "ref":
            command = [sys.executable, str(REF / "tracker.py"), "--listen", "127.0.0.1:0", *self.capture()]
        else:
            command = [self.programs["tracker"], "--listen", "127.0.0.1:0", "--data-dir", ":memory:"]
        return self.start(command, r"listening on ([\d.]+:\d+)")[1]

    def seed(self, kind: str, tracker: str, path: Path) -> str:
        """Where the seeder accepts connections."""
        if kind == "ref":
            command = [sys.executable, str(REF / "peer.py"), "seed", str(path), "--name", NAME, "--tracker", tracker,
                       *self.capture()]
            return "127.0.0.1:" + self.start(command, r"seeding .* on port (\d+)")[1]
        else:
            # The state folder holds the key of the name: all seeders are the same publisher.
            state = self.folder / f"state-seed-{self.count}"
            command = [self.programs["peer"], "seed", str(path), "--name", NAME, "-T", tracker, "--listen", "127.0.0.1:0",
                       "--state-dir", str(state)]
            # It says where it listens before it says what it has published.
            return self.start(command, r"(?s)listening on ([\d.]+:\d+).*published ")[1]

    def probe(self, kind: str, address: str, *source: str) -> None:
        for script, words in zip(PROBES, ([address], [kind, address, *source])):
            done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failure(f"{script.name} {kind}: {done.stdout[-1500:]}{done.stderr[-500:]}")

    def misbehave(self, how: str, tracker: str, path: Path) -> None:
        command = [sys.executable, str(REF / "bad_peer.py"), how, str(path), "--tracker", tracker, *self.capture()]
        self.start(command, r"(misbehaving)")

    def fetch(self, kind: str, tracker: str, out: Path) -> Path:
        out.mkdir()
        if kind == "ref":
            command = [sys.executable, str(REF / "peer.py"), "fetch", NAME, "--tracker", tracker, "--out", str(out),
                       *self.capture()]
        else:
            command = [self.programs["peer"], "fetch", NAME, "-T", tracker, "--listen", "127.0.0.1:0", "-o", str(out),
                       "--state-dir", str(self.folder / "state-fetch")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout, check=False)
        (self.folder / "fetch.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise Failure(f"fetch ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}")
        for found in (out / NAME, out / NAME.rpartition("/")[2]):
            if found.exists():
                return found
        raise Failure(f"nothing of that name in {out}: {list(out.rglob('*'))[:5]}")

    @staticmethod
    def end(process: subprocess.Popen) -> None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        for process in reversed(self.started):
            self.end(process)


def tree(path: Path) -> dict[str, tuple]:
    """What is there: folders, files with their bytes and whether they may be executed."""
    if path.is_file():
        return {"": (path.read_bytes(), os.access(path, os.X_OK))}
    return {str(p.relative_to(path)): (p.is_dir() or p.read_bytes(), p.is_dir() or os.access(p, os.X_OK))
            for p in path.rglob("*")}


def run_case(case: Case, kinds: tuple[str, str, str], run: Run) -> None:
    tracker_kind, seeder, fetcher = kinds
    folder = run.folder
    path = folder / "source"
    case.make(path)
    try:
        tracker = run.tracker(tracker_kind)
        address = run.seed(seeder, tracker, path)
        if case.probe:
            run.probe("tracker", tracker)
            run.probe("peer", address, str(path))
        for _ in range(case.seeders - 1):
            run.misbehave("none", tracker, path)
        if case.bad:
            run.misbehave(case.bad, tracker, path)
        if case.alone:
            run.end(run.started[1])
        got = run.fetch(fetcher, tracker, folder / "out")
        if tree(got) != tree(path):
            raise Failure("the files differ")
    finally:
        run.stop()
    captures = [] if case.probe else [str(p) for p in folder.glob("*.pcap")]
    if captures:
        # What the bad seeder of that case sends is in the capture, too.
        allow = ["--allow", "P-47"] if case.bad == "corrupt" else []
        done = subprocess.run([sys.executable, str(VERIFY), *allow, *captures], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failure(f"capture: {done.stderr[-500:]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer")
    parser.add_argument("--tracker")
    parser.add_argument("--case", action="append", choices=sorted(CASES))
    parser.add_argument("--only", action="append", help="a combination, as starling-ref-starling: tracker, seeder, fetcher")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=60, help="seconds for one fetch")
    parser.add_argument("--keep", action="store_true", help="keep the folders of what failed")
    args = parser.parse_args()
    programs = {"peer": args.peer, "tracker": args.tracker}
    combinations = [("ref", "ref", "ref")]
    if args.peer and args.tracker:
        combinations = [c for c in itertools.product(("ref", "starling"), repeat=3) if "starling" in c]
    if args.only:
        combinations = [c for c in combinations if "-".join(c) in args.only]
    failures = 0
    for name, kinds, _ in itertools.product(args.case or CASES, combinations, range(args.repeat)):
        folder = Path(tempfile.mkdtemp(prefix="swp-interop-"))
        label = f"{name}: tracker {kinds[0]}, seeder {kinds[1]}, fetcher {kinds[2]}"
        begin = time.monotonic()
        try:
            run_case(CASES[name], kinds, Run(programs, folder, args.timeout))
            print(f"ok    {label} ({time.monotonic() - begin:.1f} s)", flush=True)
        except (Failure, subprocess.TimeoutExpired) as failure:
            failures += 1
            print(f"FAIL  {label}: {failure}" + (f" [{folder}]" if args.keep else ""), flush=True)
            if args.keep:
                continue
        shutil.rmtree(folder)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
