"""What rivals have no counterpart of: crowds of connections, hashing, restarts, resuming, rate limits, memory.

A probe has cases, which take turns in each round, and gives figures by name for each run of a case.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from statistics import median

import ours
import source
from measure import BenchError, Sampler, tree_cpu
from ours import Swarm, finished

HERE = os.path.dirname(os.path.abspath(__file__))
MIB, GIB = 1 << 20, 1 << 30


class Probe:
    """What all have in common."""

    name = ""
    title = ""
    cases = ("starling",)
    rounds_at_most = 3
    space = 0  # bytes of disk
    goals = ()  # (what, (figure, case, divided by the case or None), comparison "at most" or "at least", must, aim)

    def __init__(self, given):
        self.given = given
        self.folder = self.bin_dir = self.source = ""

    def why_not(self, bin_dir):
        """Why it can't run, or None."""
        return ours.why_not(bin_dir)

    @contextlib.contextmanager
    def prepared(self, work, bin_dir):
        """Makes what all its runs need, for as long as they last."""
        self.bin_dir = bin_dir
        self.folder = tempfile.mkdtemp(prefix=f"{self.name}-", dir=work)
        self.source = os.path.join(self.folder, "source")
        try:
            self.make()
            yield
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def make(self):
        """Makes the source."""

    @contextlib.contextmanager
    def swarm(self):
        """A tracker in a fresh folder, which is removed with it."""
        folder = tempfile.mkdtemp(prefix="run-", dir=self.folder)
        try:
            with Swarm(self.bin_dir, folder) as swarm:
                yield swarm
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def measure(self, case):
        """One run: {figure: number}. Raises BenchError."""
        raise NotImplementedError


class ManyConnections(Probe):
    """A seeder of whose many peers few are active, against the same active ones alone."""

    name = "many-connections"
    goals = (
        ("throughput of the active peers, against no idle ones", ("beside ÷ alone", "starling", None), "at least", 0.95, None),
        ("p99 of the loop's turns, ms", ("lag p99 ms", "undisturbed", None), "at most", 5, None),
    )
    # The second one tells what of the lag is the loop's own: there no other program takes the processor from the seeder.
    cases = ("starling", *(("undisturbed",) if os.getuid() == 0 else ()))
    rounds_at_most = 5

    def __init__(self, given):
        super().__init__(given)
        self.idle, self.active, self.seconds, self.turns = (190, 10, 0.2, 1) if given.smoke else (1950, 50, 1, 4)
        self.size = min(given.size, 256 * MIB)
        self.space = self.size
        self.title = f"1 seeder, {self.active} active peers, by turns alone and beside {self.idle} idle ones"

    def make(self):
        source.make(self.source, self.size, 0)

    def measure(self, case):
        with self.swarm() as swarm:
            seeder = swarm.seed(self.source, "-v", "--max-peers", str(self.idle + self.active))
            if case == "undisturbed":
                make_real_time(seeder.pid)
            speeds = self.crowd(seeder.address, swarm.info())
            seeder.end()
            lag = re.search(r"lag_p50_us=(\d+) lag_p99_us=(\d+) lag_max_us=(\d+)", seeder.output())
            if not lag:
                raise BenchError(f"the seeder said nothing of its loop: {seeder.output()}")
        alone, beside = speeds["alone"], speeds["beside"]
        return {
            "MiB/s alone": median(alone) / MIB,
            "MiB/s beside": median(beside) / MIB,
            "beside ÷ alone": median(with_idle / without for with_idle, without in zip(beside, alone)),
            "lag p50 ms": int(lag[1]) / 1000,
            "lag p99 ms": int(lag[2]) / 1000,
            "lag max ms": int(lag[3]) / 1000,
        }

    def crowd(self, address, info):
        """What crowd.py counts."""
        words = [info["digest"].partition(":")[2], info["pieces"], info["piece_size"]]
        words += [self.idle, self.active, self.seconds, self.turns]
        command = [sys.executable, os.path.join(HERE, "crowd.py"), address, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"crowd.py: {done.stderr.strip()[-300:]}")
        speeds = json.loads(done.stdout)
        if speeds["lost"] or done.stderr:
            raise BenchError(f"{speeds['lost']} connections were lost: {done.stderr.strip()[-300:]}")
        return speeds


def make_real_time(pid):
    """Lets a process run before all others."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(1))
        except OSError as error:
            raise BenchError(f"no real-time priority: {error}") from error


class Hashing(Probe):
    """What a seeder reads and hashes at its start: two digests of every byte, of its file and of its piece."""

    name = "hashing"
    cases = ("starling", "openssl")
    goals = (("bytes per CPU second, against openssl", ("GB per CPU s", "starling", "openssl"), "at least", None, None),)

    def __init__(self, given):
        super().__init__(given)
        self.space = given.size
        self.title = f"Hashing a file of {given.size >> 20} MiB in the page cache before serving it: two digests of every byte"

    def why_not(self, bin_dir):
        return super().why_not(bin_dir) or (None if shutil.which("openssl") else "openssl is not installed (run.py --install)")

    def make(self):
        source.make(self.source, self.given.size, 0)

    def measure(self, case):
        if case == "openssl":
            seconds = "1" if self.given.smoke else "3"
            words = ["openssl", "speed", "-mr", "-seconds", seconds, "-bytes", "1048576", "-evp", "sha256"]
            shown = subprocess.run(words, capture_output=True, text=True, check=False).stdout
            found = re.search(r"^\+F:\d+:[^:]*:([\d.]+)$", shown, re.MULTILINE)
            if not found:
                raise BenchError(f"openssl speed said: {shown[-300:]}")
            return {"GB per CPU s": float(found[1]) / 1e9}
        source.warm(self.source)
        with self.swarm() as swarm:
            start = time.perf_counter()
            seeder = swarm.seed(self.source, "--no-cache-hash")
            wall = time.perf_counter() - start
            used = sum(tree_cpu(seeder.pid))
        size = self.given.size / 1e9
        return {"GB per CPU s": size / used, "GB/s, all cores": size / wall}


class Restart(Probe):
    """A seeder of very many files, started again when nothing has changed."""

    name = "restart"
    goals = (("seconds until a restarted seeder serves", ("restart s", "starling", None), "at most", 2, None),)

    def __init__(self, given):
        super().__init__(given)
        self.space = given.many * 4096
        self.title = f"A seeder of a folder of {given.many} files, started for the first time and again"

    def make(self):
        source.make(self.source, self.given.many * 1024, self.given.many)

    def measure(self, case):
        with self.swarm() as swarm:
            times = []
            for name in ("first", "restart"):
                start = time.perf_counter()
                seeder = swarm.seed(self.source, name=name)
                times.append(time.perf_counter() - start)
                used = tree_cpu(seeder.pid)
                seeder.end()
        return {"first s": times[0], "restart s": times[1], "restart CPU s": sum(used)}


class BigFile(Probe):
    """A fetch of a big file, killed half-way and resumed: time until bytes flow again, and memory to the end."""

    name = "big-file"
    rounds_at_most = 1
    goals = (
        ("seconds until a resumed fetch receives", ("resumed after s", "starling", None), "at most", 1, None),
        ("anonymous memory of the fetcher, MiB", ("fetcher RssAnon MiB", "starling", None), "at most", 32, 16),
        ("anonymous memory of the seeder, MiB", ("seeder RssAnon MiB", "starling", None), "at most", 32, 16),
    )

    def __init__(self, given):
        super().__init__(given)
        self.space = 2 * given.big
        self.title = f"A file of {given.big / GIB:.3g} GiB: killed half-way with SIGKILL, resumed, fetched to the end"

    def make(self):
        source.make(self.source, self.given.big, 0)

    def measure(self, case):
        with self.swarm() as swarm:
            # A small file would be over before it can be killed half-way.
            limit = ["--up", str(self.given.big // 4)] if self.given.big < GIB else []
            seeder = swarm.seed(self.source, *limit)
            into = os.path.join(swarm.folder, "into")
            # What is on disk when a process is killed is what it had synced, and a record of that, every few seconds.
            first = swarm.fetch(into, "--interval", "100ms", name="first")
            half = self.given.big // 2
            swarm.await_event(first, "first", lambda event: event.get("bytes_done", 0) >= half, "the half")
            os.kill(first.pid, signal.SIGKILL)
            first.popen.wait()
            sampler = Sampler()
            sampler.add("seed", seeder)
            second = swarm.fetch(into, "--interval", "100ms", name="second")
            sampler.add("fetch", second)
            try:
                kept, _ = swarm.await_event(second, "second", lambda event: event["event"] == "resume", "resuming")
                took, _ = swarm.await_event(
                    second, "second", lambda event: event.get("bytes_received", 0) > 0 or event["event"] == "complete", "a byte"
                )
                wall = finished(second)
            finally:
                peaks = sampler.finish()
            found = next(event for event in swarm.events("second") if event["event"] == "resume")
            if not source.same(self.source, os.path.join(into, "bench")):
                raise BenchError("the resumed fetch ended well, but its file differs from the source")
        return {
            "kept GiB": found["bytes_kept"] / GIB,
            "pieces hashed again": found["pieces_rechecked"],
            "journal checked after s": kept,
            "resumed after s": took,
            "rest took s": wall,
            "fetcher RssAnon MiB": peaks["fetch"][0] / MIB,
            "seeder RssAnon MiB": peaks["seed"][0] / MIB,
        }


class RateLimits(Probe):
    """--up and --down, over at least ten seconds."""

    name = "rate-limits"
    cases = ("up", "down")
    rounds_at_most = 2
    goals = tuple(
        (f"rate over the limit, --{case}: {word} {edge}", ("rate ÷ limit", case, None), word, edge, None)
        for case in cases
        for word, edge in (("at most", 1.05), ("at least", 0.95))
    )

    def __init__(self, given):
        super().__init__(given)
        self.rate, self.size = (16 * MIB, 16 * MIB) if given.smoke else (20 * MIB, 240 * MIB)
        self.space = 2 * self.size
        self.title = f"{self.size >> 20} MiB with a limit of {self.rate >> 20} MiB/s at the seeder (up) or the fetcher (down)"

    def make(self):
        source.make(self.source, self.size, 0)

    def measure(self, case):
        limit = [f"--{case}", str(self.rate)]
        with self.swarm() as swarm:
            swarm.seed(self.source, *(limit if case == "up" else []))
            fetcher = swarm.fetch(os.path.join(swarm.folder, "into"), "--no-sync", *(limit if case == "down" else []))
            wall = finished(fetcher)
        return {"rate ÷ limit": self.size / wall / self.rate, "s": wall}


def all_probes(given):
    """Every probe, by name."""
    return {kind.name: kind(given) for kind in (ManyConnections, Hashing, Restart, BigFile, RateLimits)}
