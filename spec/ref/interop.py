#!/usr/bin/env python3
"""Runs transfers between implementations, and judges them by the files and by captures.

    interop.py [--peer PROGRAM --tracker PROGRAM] [--case NAME]... [--only COMBINATION] [--jobs N] [--repeat N] [--keep]

Without programs, the reference implementation is run against itself. With them, each case (cases.py) is run in every
combination of {ref, starling} as tracker, seeder and fetcher. Each connection is captured live on the loopback interface,
where dumpcap may; else what the reference programs record is judged. Every capture must keep the rules, and tshark with
swp.lua must find nothing malformed and count the same frames. Exit code 1 if anything fails, 127 if a combination that
was asked for cannot do a case.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True

import judge_captures  # noqa: E402
from cases import CASES, Case, Failure, Wrong  # noqa: E402

REF = Path(__file__).resolve().parent
PROBES = [REF.parent / "tools" / name for name in ("probe.py", "probe_states.py")]
NAME = "cases/thing"
PORTS = 6  # of one case: tracker, seeders, a bad one, fetcher


class Ports:
    """Ports that nobody uses, so that a capture can be started before the programs. Below those that the system gives to
    whoever asks for any: no other connection has them by chance."""

    def __init__(self):
        self.next, self.lock = 20_000 + os.getpid() % 10_000, threading.Lock()

    def take(self, count: int) -> list[int]:
        with self.lock:
            found = []
            while len(found) < count:
                self.next = 20_000 + (self.next + 1) % 12_000
                try:
                    socket.create_server(("127.0.0.1", self.next)).close()
                except OSError:
                    continue
                found.append(self.next)
            return found


FREE = Ports()


class Run:
    """One case in one combination, in a folder of its own."""

    def __init__(self, programs: dict[str, str], folder: Path, timeout: float, live: bool):
        self.programs, self.folder, self.timeout = programs, folder, timeout
        self.started: list[subprocess.Popen] = []
        self.count = 0
        self.ports = FREE.take(PORTS)
        self.tracker_address = ("127.0.0.1", self.ports[0])
        self.unused = self.ports[1:]
        self.live = judge_captures.Live(folder / "live.pcapng", self.ports) if live else None

    def start(self, command: list[str], wanted: str) -> tuple[subprocess.Popen, str]:
        """Runs a program until its output matches; the first group of `wanted`."""
        self.count += 1
        log = self.folder / f"{self.count}.log"
        with open(log, "wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self.started.append(process)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(wanted, log.read_text(errors="replace"))
            if found:
                return process, found[1]
            if process.poll() is not None:
                break
            time.sleep(0.02)
        raise Failure(f"{command[:3]}: no {wanted!r} in {log}: {log.read_text(errors='replace')[-300:]}")

    def script(self, name: str, *words: str) -> list[str]:
        capture = [] if self.live else ["--capture", str(self.folder / f"{self.count + 1}.pcap")]
        return [sys.executable, str(REF / name), *words, *capture]

    def port(self) -> str:
        return f"127.0.0.1:{self.unused.pop(0)}"

    def tracker(self, kind: str) -> str:
        listen = f"127.0.0.1:{self.tracker_address[1]}"
        if kind == "ref":
            command = self.script("tracker.py", "--listen", listen, "--names", str(self.folder / "names"))
        else:
            command = [self.programs["tracker"], "--listen", listen, "--data-dir", str(self.folder / "names")]
        self.tracker_process = self.start(command, r"(listening on [\d.]+:\d+)")[0]
        return listen

    def seed(self, kind: str, tracker: str, path: Path) -> tuple[str, bytes]:
        """Where the seeder accepts connections, and the object id."""
        listen = self.port()
        if kind == "ref":
            command = self.script("peer.py", "seed", str(path), "--name", NAME, "--tracker", tracker, "--listen", listen)
            self.seeder_process, _ = self.start(command, r"(seeding .* on port \d+)")
        else:
            # The state folder holds the key of the name.
            state = self.folder / f"state-seed-{self.count}"
            command = [self.programs["peer"], "seed", str(path), "--name", NAME, "-T", tracker, "--listen", listen,
                       "--state-dir", str(state)]
            # It says where it listens before it says what it has published.
            self.seeder_process, _ = self.start(command, r"(?s)(listening on [\d.]+:\d+).*published ")
        return listen

    def probe(self, kind: str, address: str, *source: str) -> None:
        for script, words in zip(PROBES, ([address], [kind, address, *source])):
            done = subprocess.run([sys.executable, str(script), *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise Failure(f"{script.name} {kind}: {done.stdout[-1500:]}{done.stderr[-500:]}")

    def misbehave(self, how: str, tracker: str, path: Path) -> None:
        command = self.script("bad_peer.py", how, str(path), "--tracker", tracker, "--listen", self.port())
        self.start(command, r"(misbehaving)")

    def fetch_command(self, kind: str, tracker: str, out: Path) -> list[str]:
        listen = self.port()
        if kind == "ref":
            return self.script("peer.py", "fetch", NAME, "--tracker", tracker, "--out", str(out), "--listen", listen)
        return [self.programs["peer"], "fetch", NAME, "-T", tracker, "--listen", listen, "-o", str(out),
                "--state-dir", str(self.folder / "state-fetch")]

    def start_fetch(self, kind: str, tracker: str, out: Path, *more: str) -> subprocess.Popen:
        """Begins a fetch and does not wait for it."""
        out.mkdir(exist_ok=True)
        with open(self.folder / "first-fetch.log", "wb") as log:
            process = subprocess.Popen([*self.fetch_command(kind, tracker, out), *more], stdout=log, stderr=log)
        self.started.append(process)
        return process

    def fetch(self, kind: str, tracker: str, out: Path) -> Path:
        out.mkdir(exist_ok=True)
        command = self.fetch_command(kind, tracker, out)
        done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout, check=False)
        (self.folder / "fetch.log").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise Failure(f"fetch ended with {done.returncode}: {(done.stdout + done.stderr)[-400:]}")
        for found in (out / NAME, out / NAME.rpartition("/")[2]):
            if found.exists():
                return found
        raise Failure(f"nothing of that name in {out}: {list(out.rglob('*'))[:5]}")

    @staticmethod
    def end(process: subprocess.Popen, kill: bool = False) -> None:
        (process.kill if kill else process.terminate)()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        for process in reversed(self.started):
            self.end(process)

    def captures(self) -> list[Path]:
        """All that was captured; Failure if the live capture has gaps."""
        if self.live is None:
            return sorted(self.folder.glob("*.pcap"))
        lost = self.live.stop()
        if lost:
            raise Lost(f"dumpcap lost {lost} packets")
        return [self.live.path]


class Lost(Exception):
    """Nothing can be said about this run: its capture is not whole."""


def tree(path: Path) -> dict[str, tuple]:
    """What is there: folders, files with their bytes and whether they may be executed."""
    if path.is_file():
        return {"": (path.read_bytes(), os.access(path, os.X_OK))}
    return {str(p.relative_to(path)): (p.is_dir() or p.read_bytes(), p.is_dir() or os.access(p, os.X_OK))
            for p in path.rglob("*")}


def play(case: Case, kinds: tuple[str, str, str], run: Run) -> None:
    path, out = run.folder / "source", run.folder / "out"
    case.make(path)
    tracker = run.tracker(kinds[0])
    seeder = run.seed(kinds[1], tracker, path)
    if case.probe:
        run.probe("tracker", tracker)
        run.probe("peer", seeder, str(path))
        return
    if case.talk:
        for address, role in ((tracker, 2), (seeder, 1)):
            object_id = judge_captures.object_id(path)
            host, _, port = address.rpartition(":")
            case.talk((host, int(port)), role, object_id)
        return
    for _ in range(case.seeders - 1):
        run.misbehave("none", tracker, path)
    if case.bad:
        run.misbehave(case.bad, tracker, path)
    if case.alone:
        run.end(run.seeder_process)
    if case.scene:
        got = case.scene(run, kinds, tracker, out)
    else:
        got = run.fetch(kinds[2], tracker, out)
    if got and tree(got) != tree(path):
        raise Failure("the files differ")


def run_case(case: Case, kinds: tuple[str, str, str], run: Run) -> Counter:
    """The frames that were seen, or Failure."""
    try:
        play(case, kinds, run)
    except Wrong as wrong:
        raise Failure(str(wrong)) from None
    finally:
        run.stop()
        captures = run.captures()
    if case.probe or not captures:
        return Counter()
    # What the bad seeder of that case sends is in the capture, too.
    counts = judge_captures.verify(captures, {"P-47"} if case.bad == "corrupt" else set())
    for index, path in enumerate(captures):
        path.rename(run.folder.with_name(f"{run.folder.name}-{index}{path.suffix}"))
    return counts


class Suite:
    """All cases in all combinations that were asked for."""

    def __init__(self, args, live: bool, folder: Path):
        self.args, self.live, self.folder = args, live, folder
        self.programs = {"peer": args.peer, "tracker": args.tracker}
        self.counts, self.failures, self.passed = Counter(), 0, 0

    def chosen(self) -> list[tuple[str, tuple[str, str, str]]]:
        kinds = ("ref", "starling") if self.args.peer and self.args.tracker else ("ref",)
        combinations = [c for c in itertools.product(kinds, repeat=3) if not self.args.only or "-".join(c) in self.args.only]
        out = [(name, c) for name, c, _ in itertools.product(self.args.case or CASES, combinations, range(self.args.repeat))
               if CASES[name].fetcher in (None, c[2])]
        # The long ones first, so that they are not alone at the end.
        return sorted(out, key=lambda it: it[0] not in ("lease-expiry", "restart-tracker", "resume"))

    def one(self, index: int, name: str, kinds: tuple[str, str, str]) -> None:
        label = f"{name}: tracker {kinds[0]}, seeder {kinds[1]}, fetcher {kinds[2]}"
        begin = time.monotonic()
        for attempt in range(3):
            folder = self.folder / f"{index:04}-{attempt}"
            folder.mkdir()
            try:
                counts = run_case(CASES[name], kinds, Run(self.programs, folder, self.args.timeout, self.live))
            except Lost as lost:
                print(f"again {label}: {lost}", flush=True)
                continue
            except (Failure, subprocess.TimeoutExpired, OSError) as failure:
                self.failures += 1
                print(f"FAIL  {label}: {failure}" + (f" [{folder}]" if self.args.keep else ""), flush=True)
                return
            self.counts.update(counts)
            self.passed += 1
            print(f"ok    {label} ({time.monotonic() - begin:.1f} s)", flush=True)
            shutil.rmtree(folder)
            return
        self.failures += 1
        print(f"FAIL  {label}: no capture was whole", flush=True)

    def run(self) -> int:
        chosen = self.chosen()
        if not chosen:
            print("none of these combinations can do that", file=sys.stderr)
            return 127
        begin = time.monotonic()
        with ThreadPoolExecutor(self.args.jobs) as pool:
            list(pool.map(lambda it: self.one(it[0], *it[1]), enumerate(chosen)))
        captures = sorted(self.folder.glob("*.pcap*"))
        if captures and shutil.which("tshark"):
            problem = judge_captures.check_dissector(captures, self.counts)
            self.failures += problem is not None
            print(f"FAIL  tshark: {problem}" if problem else
                  f"ok    tshark: {sum(self.counts.values())} frames in {len(captures)} captures, none malformed", flush=True)
        elif captures:
            print("tshark is not installed: the dissector was not compared", flush=True)
        print(f"{self.passed} of {len(chosen)} passed in {time.monotonic() - begin:.0f} s")
        return 1 if self.failures else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--peer")
    parser.add_argument("--tracker")
    parser.add_argument("--case", action="append", choices=sorted(CASES))
    parser.add_argument("--only", action="append", help="a combination, as starling-ref-starling: tracker, seeder, fetcher")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=4, help="cases at the same time")
    parser.add_argument("--timeout", type=float, default=90, help="seconds for one fetch")
    parser.add_argument("--no-live", action="store_true", help="no dumpcap: judge what the reference programs record")
    parser.add_argument("--keep", action="store_true", help="keep the folders of what failed, and all captures")
    args = parser.parse_args()
    why = "not wanted" if args.no_live else judge_captures.can_capture()
    print(f"no live captures: {why}" if why else "live captures on lo", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="swp-interop-"))
    try:
        return Suite(args, why is None, folder).run()
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
