"""Our own programs as the probes need them: a tracker, seeders and fetches on loopback, watched through their events."""

import json
import os
import subprocess
import time

from measure import BenchError, Process
from network import free_port


def clean_environment():
    """The environment without variables that set flags of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PEER_", "TRACKER_"))}


def why_not(bin_dir):
    """Why our programs can't run, or None."""
    for name in ("peer", "tracker"):
        if not os.access(os.path.join(bin_dir, name), os.X_OK):
            return f"no program {name} in {bin_dir}"
    return None


class Swarm:
    """A tracker, and what is started beside it. `with` it, all ends."""

    def __init__(self, bin_dir, folder):
        self.bin_dir = bin_dir
        self.folder = folder
        self.processes = []

    def __enter__(self):
        address = f"127.0.0.1:{free_port()}"
        tracker = self.start("tracker", "tracker", ["--listen", address, "--data-dir", ":memory:"])
        self.tracker = address
        try:
            tracker.await_listening(int(address.rpartition(":")[2]))
        except BenchError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.end()

    def start(self, name, program, words):
        """Starts a program of ours, with its output in files called `name`."""
        log = os.path.join(self.folder, name)
        process = Process([os.path.join(self.bin_dir, program), *words], log, env=clean_environment())
        self.processes.append(process)
        return process

    def seed(self, path, *flags, name="seeder", state="seeder"):
        """A seeder of `path` as "bench"; returns when it serves."""
        shared = ["-T", self.tracker, "--listen", f"127.0.0.1:{free_port()}", "--state-dir", os.path.join(self.folder, state)]
        seeder = self.start(name, "peer", ["seed", path, "--name", "bench", "--json", *shared, *flags])
        seeder.await_that(lambda: seeder.said('"event":"published"'), "publishing", 600)
        seeder.address = shared[3]
        return seeder

    def fetch(self, into, *flags, name="fetcher"):
        """A fetch of "bench" into `into`, started."""
        os.makedirs(into, exist_ok=True)
        words = ["fetch", "bench", "-o", into, "-T", self.tracker, "--listen", "127.0.0.1:0", "--json", *flags]
        return self.start(name, "peer", words)

    def info(self):
        """What the tracker says of "bench"."""
        words = [os.path.join(self.bin_dir, "peer"), "info", "bench", "-T", self.tracker, "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=clean_environment())
        if done.returncode != 0:
            raise BenchError(f"peer info: {done.stderr.strip()[-300:]}")
        return json.loads(done.stdout.splitlines()[-1])

    def events(self, name):
        """The events that the program called `name` has told up to now."""
        with open(os.path.join(self.folder, f"{name}.out"), encoding="utf-8") as lines:
            return [json.loads(line) for line in lines if line.endswith("\n")]

    def await_event(self, process, name, wanted, what, seconds=600.0):
        """Waits for an event of the program called `name`; seconds since its start, and the event."""
        end = time.perf_counter() + seconds
        while True:
            for event in self.events(name):
                if wanted(event):
                    return time.perf_counter() - process.started_at, event
            if process.popen.poll() is not None:
                raise BenchError(f"{name} ended with {process.popen.returncode} before {what}: {process.output()}")
            if time.perf_counter() > end:
                raise BenchError(f"{name}: no {what} within {seconds:.0f} s")
            time.sleep(0.005)


def finished(process, seconds=3600.0):
    """Waits for a program's good end; its seconds."""
    try:
        process.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{process.argv[0]}: not done within {seconds:.0f} s") from None
    if process.popen.returncode != 0:
        raise BenchError(f"{process.argv[0]} ended with {process.popen.returncode}: {process.output()}")
    return time.perf_counter() - process.started_at
