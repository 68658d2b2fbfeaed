"""What every system under test has, and what it is given for a run.

A system says what it can do (`why_not`), prepares the source once, starts servers for a run, and names the command that
fetches. `transfer.py` does the rest alike for all of them: timing, ballast, comparing, stopping.
"""

import os
import shutil
import subprocess

from measure import Process

MIB = 1 << 20


def first_line(argv):
    """The first line that a program prints about itself, or "" if there is no such program."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    return lines[0].strip() if lines else ""


class Run:
    """One run of one system: its folders, its hosts and its servers.

    Hosts are numbered: seeders from 0, fetchers after them.
    """

    def __init__(self, scenario, network, source, folder, sampler):
        self.scenario = scenario
        self.network = network
        self.source = source
        self.folder = folder
        self.sampler = sampler
        self.servers = []
        self.fetchers = []
        self.memo = {}

    def path(self, *parts):
        """A path in the run's own folder; its parents exist."""
        path = os.path.join(self.folder, *parts)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def into(self, number):
        """The folder that fetcher `number` writes to; it exists."""
        folder = os.path.join(self.folder, f"into{number}")
        os.makedirs(folder, exist_ok=True)
        return folder

    def serve(self, argv, host=0, env=None):
        """Starts a server of this run on a host."""
        server = Process(argv, self.path(f"server{len(self.servers)}"), self.network, host, env=env)
        self.servers.append(server)
        self.sampler.add("seed", server)
        return server

    def fetch(self, argv, number, line_done=False, env=None):
        """Starts fetcher `number`."""
        host = self.scenario.seeders + number
        fetcher = Process(argv, self.path(f"fetcher{number}"), self.network, host, line_done, env)
        self.fetchers.append(fetcher)
        self.sampler.add("fetch", fetcher)
        return fetcher


class System:
    """What all have in common. Names are unique; they are what --only takes."""

    name = ""
    verifies = "nothing"  # what is checked of the data by the time the fetch is done
    durable = False  # whether the fetch waits for the disk
    swarm = False  # whether fetchers help each other, and many seeders serve one fetcher
    own = False  # whether it is ours
    program = ""  # the program that must be there
    slow_alone = False  # whether it takes so long where links are slow that one run is enough there

    def version(self):
        """Its name and version, for the record."""
        return first_line([self.program, "--version"])

    def why_not(self, scenario):
        """Why it can't run, or None."""
        if not shutil.which(self.program):
            return f"{self.program} is not installed (run.py --install)"
        if scenario.seeders > 1 and not self.swarm:
            return "takes one source only"
        return None

    def belongs(self, scenario):
        """Whether the scenario is one for it at all."""
        return not scenario.only or self.name in scenario.only

    def amend(self, run, record):
        """Puts in a finished run's record what only the system knows."""

    def prepare(self, source, size, folder):
        """Makes what can be made once for a source of `size` bytes, such as metafiles, in `folder`."""

    def start(self, run):
        """Starts the servers and returns when they are ready."""
        raise NotImplementedError

    def fetch(self, run, number):
        """Starts fetcher `number`; `run.fetch` takes its command."""
        raise NotImplementedError

    def result(self, run, number):
        """Where the data of fetcher `number` is."""
        return os.path.join(run.into(number), os.path.basename(run.source))
