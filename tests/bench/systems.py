"""The systems under test: ours and the rivals, one class each.

A system says what it can do (`why_not`), prepares the source once, starts servers for a run, and names the command that
fetches. `run.py` does the rest alike for all of them: timing, ballast, comparing, stopping.
"""

import os
import shutil
import subprocess
import sys

from measure import BenchError, Process
from network import free_port

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
    program = ""  # the program that must be there

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
        return True

    def amend(self, run, record):
        """Puts in a finished run's record what only the system knows."""

    def prepare(self, source, folder):
        """Makes what can be made once for a source, such as metafiles, in `folder`."""

    def start(self, run):
        """Starts the servers and returns when they are ready."""
        raise NotImplementedError

    def fetch(self, run, number):
        """Starts fetcher `number`; `run.fetch` takes its command."""
        raise NotImplementedError

    def result(self, run, number):
        """Where the data of fetcher `number` is."""
        return os.path.join(run.into(number), os.path.basename(run.source))


class Starling(System):
    """Ours: tracker and seeders as servers. Found by name through the tracker, SHA-256 of every piece."""

    verifies = "SHA-256, each piece"
    swarm = True

    def __init__(self, bin_dir, sync):
        self.bin_dir = bin_dir
        self.durable = sync
        self.name = "starling" if sync else "starling-nosync"
        self.program = os.path.join(bin_dir, "peer")

    def version(self):
        return first_line([self.program, "version"])

    def why_not(self, scenario):
        for name in ("peer", "tracker"):
            if not os.access(os.path.join(self.bin_dir, name), os.X_OK):
                return f"no program {name} in {self.bin_dir}"
        return None

    def start(self, run):
        clean = clean_environment()
        address = f"{run.network.address(0)}:{free_port()}"
        tracker = run.serve(
            [os.path.join(self.bin_dir, "tracker"), "--listen", address, "--data-dir", run.path("tracker", "data")], env=clean
        )
        tracker.await_listening(int(address.rpartition(":")[2]))
        run.memo["tracker"] = address
        for host in range(run.scenario.seeders):
            listen = f"{run.network.address(host)}:0"
            words = ["seed", run.source, "--name", "bench", "--json", *self._flags(run, listen, f"seeder{host}")]
            seeder = run.serve([self.program, *words], host, env=clean)
            seeder.await_that(lambda seeder=seeder: seeder.said('"event":"published"'), "publishing")

    def fetch(self, run, number):
        listen = f"{run.network.address(run.scenario.seeders + number)}:0"
        words = ["fetch", "bench", "-q", "-o", run.into(number), *self._flags(run, listen, f"fetcher{number}")]
        run.fetch([self.program, *words, *([] if self.durable else ["--no-sync"])], number, env=clean_environment())

    def result(self, run, number):
        return os.path.join(run.into(number), "bench")

    def _flags(self, run, listen, state):
        return ["-T", run.memo["tracker"], "--listen", listen, "--state-dir", run.path("state", state)]


def clean_environment():
    """The environment without variables that set flags of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PEER_", "TRACKER_"))}


class NginxServer(System):
    """nginx with sendfile; who fetches from it is for the classes below."""

    def why_not(self, scenario):
        if not shutil.which("nginx"):
            return "nginx is not installed (run.py --install)"
        return super().why_not(scenario)

    def start(self, run):
        port = free_port()
        user = "user root;" if os.getuid() == 0 else ""
        temps = "".join(f"{kind}_temp_path {run.path('nginx', kind)};\n" for kind in TEMP_KINDS)
        with open(run.path("nginx", "conf"), "w", encoding="utf-8") as conf:
            conf.write(
                f"{user}\nworker_processes 1;\ndaemon off;\npid {run.path('nginx', 'pid')};\n"
                "events { worker_connections 512; }\n"
                f"http {{ access_log off; sendfile on; tcp_nopush on; {temps}"
                f"server {{ listen {run.network.address(0)}:{port}; root {os.path.dirname(run.source)}; }} }}\n"
            )
        server = run.serve(
            ["nginx", "-e", run.path("nginx", "errors"), "-p", run.path("nginx", ""), "-c", run.path("nginx", "conf")]
        )
        server.await_listening(port)
        run.memo["url"] = f"http://{run.network.address(0)}:{port}/{os.path.basename(run.source)}"


TEMP_KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Curl(NginxServer):
    """curl from nginx, in three forms: as it is, with the disk waited for, and with the SHA-256 checked afterwards."""

    program = "curl"

    def __init__(self, extra=""):
        self.extra = extra
        self.name = f"curl+{extra}" if extra else "curl"
        self.durable = extra == "fsync"
        self.verifies = "SHA-256 afterwards" if extra == "sha256" else "nothing"

    def why_not(self, scenario):
        if self.extra == "sha256" and not shutil.which("openssl"):
            return "openssl is not installed (run.py --install)"
        return super().why_not(scenario)

    def fetch(self, run, number):
        path, url = self.result(run, number), run.memo["url"]
        after = {"fsync": 'sync "$1"', "sha256": 'openssl dgst -sha256 "$1"'}.get(self.extra)
        if after is None:
            run.fetch(["curl", "-sSf", "-o", path, url], number)
        else:
            run.fetch(["sh", "-c", f'curl -sSf -o "$1" "$2" && {after}', "sh", path, url], number)


class Aria2Http(NginxServer):
    """aria2 over eight HTTP connections from nginx."""

    name = "aria2-http-8"
    program = "aria2c"

    def fetch(self, run, number):
        flags = ["-q", "-x8", "-s8", "-k1M", "--file-allocation=none", "--no-conf", "--allow-overwrite=true"]
        run.fetch(["aria2c", *flags, "-d", run.into(number), run.memo["url"]], number)


class Rsync(System):
    """rsync from its daemon; with and without waiting for the disk."""

    program = "rsync"
    verifies = "xxh128, whole file"

    def __init__(self, sync):
        self.durable = sync
        self.name = "rsync+fsync" if sync else "rsync"

    def start(self, run):
        port = free_port()
        with open(run.path("rsyncd.conf"), "w", encoding="utf-8") as conf:
            uid = f"uid = {os.getuid()}\ngid = {os.getgid()}\n" if os.getuid() == 0 else ""
            conf.write(
                f"port = {port}\naddress = {run.network.address(0)}\nuse chroot = no\n{uid}reverse lookup = no\n"
                f"log file = {run.path('rsyncd.log')}\n[data]\npath = {os.path.dirname(run.source)}\nread only = yes\n"
            )
        server = run.serve(["rsync", "--daemon", "--no-detach", f"--config={run.path('rsyncd.conf')}"])
        server.await_listening(port)
        run.memo["url"] = f"rsync://{run.network.address(0)}:{port}/data/{os.path.basename(run.source)}"

    def fetch(self, run, number):
        sync = ["--fsync"] if self.durable else []
        run.fetch(["rsync", *sync, run.memo["url"], run.into(number) + "/"], number)


class Socat(System):
    """socat, a raw pipe through TCP: the mark that no system with a protocol has to reach."""

    name = "socat"
    program = "socat"

    def version(self):
        return next((word for word in subprocess.run(["socat", "-V"], capture_output=True, text=True, check=False)
                     .stdout.splitlines() if "version" in word), "socat")

    def start(self, run):
        # Each fetcher has a server of its own that ends after one transfer: a forking server's children would not be
        # counted.
        run.memo["ports"] = []
        for _ in range(run.scenario.fetchers):
            port = free_port()
            to = f"TCP4-LISTEN:{port},bind={run.network.address(0)}"
            server = run.serve(["socat", "-u", "-b", str(MIB), f"FILE:{run.source}", to])
            server.await_listening(port)
            run.memo["ports"].append(port)

    def fetch(self, run, number):
        come_from = f"TCP4:{run.network.address(0)}:{run.memo['ports'][number]}"
        run.fetch(["socat", "-u", "-b", str(MIB), come_from, f"CREATE:{self.result(run, number)}"], number)


class Libtorrent(System):
    """libtorrent-rasterbar through its Python bindings, set up for speed; v1 checks SHA-1, v2 SHA-256."""

    swarm = True

    def __init__(self, version, pythons):
        self.protocol = version
        self.name = f"libtorrent-{version}"
        self.verifies = "SHA-256, Merkle tree" if version == "v2" else "SHA-1, each piece"
        self.pythons = pythons
        self.helper = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lt_helper.py")
        self.found = None
        self.torrents = {}

    def _python(self):
        """An interpreter that has libtorrent 2, and its version."""
        if self.found is None:
            self.found = ("", "")
            for python in self.pythons:
                said = first_line([python, "-c", "import libtorrent; print(libtorrent.__version__)"])
                if said[:2] == "2.":
                    self.found = (python, said)
                    break
        return self.found

    def version(self):
        return f"libtorrent {self._python()[1]}"

    def why_not(self, scenario):
        if not self._python()[0]:
            return "no Python with libtorrent 2 found (run.py --install)"
        return None

    def prepare(self, source, folder):
        torrent = os.path.join(folder, f"{os.path.basename(source)}.{self.protocol}.torrent")
        # 1 MiB is its best for a GiB; fewer than some 256 pieces leave little to share.
        piece = min(MIB, max(16384, os.path.getsize(source) // 256))
        piece = 1 << (piece.bit_length() - 1)
        words = [self._python()[0], self.helper, "make", source, torrent, self.protocol, str(piece)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"can't make a torrent: {done.stderr.strip()[-500:]}")
        self.torrents[source] = torrent

    def start(self, run):
        run.memo["hosts"] = []
        for host in range(run.scenario.seeders + run.scenario.fetchers):
            run.memo["hosts"].append(f"{run.network.address(host)}:{free_port()}")
        for host in range(run.scenario.seeders):
            words = ["seed", self.torrents[run.source], os.path.dirname(run.source), run.memo["hosts"][host]]
            server = run.serve([self._python()[0], self.helper, *words], host)
            server.await_listening(int(run.memo["hosts"][host].rpartition(":")[2]))

    def fetch(self, run, number):
        own = run.scenario.seeders + number
        others = [host for place, host in enumerate(run.memo["hosts"]) if place != own]
        words = ["fetch", self.torrents[run.source], run.into(number), run.memo["hosts"][own], *others]
        run.fetch([self._python()[0], self.helper, *words], number, line_done=True)


class Limit(System):
    """What the machine itself can do, measured like a system: see limits.py."""

    program = sys.executable

    def __init__(self, what, text):
        self.what = what
        self.name = f"limit:{what}"
        self.verifies = text

    def version(self):
        return f"Python {sys.version.split()[0]}"

    def belongs(self, scenario):
        return scenario.name == "one-to-one"

    def why_not(self, scenario):
        return None

    def amend(self, run, record):
        # Python's own start, some 20 ms, is no limit of the machine.
        record["wall"], *record["fetch_cpu"] = (float(figure) for figure in run.fetchers[0].figures)

    def start(self, run):
        run.memo["helper"] = os.path.join(os.path.dirname(os.path.abspath(__file__)), "limits.py")
        if self.what.startswith("socket"):
            port = free_port()
            where = f"{run.network.address(0)}:{port}"
            server = run.serve([sys.executable, "-S", run.memo["helper"], "send", run.source, where])
            server.await_listening(port)
            run.memo["where"] = where

    def fetch(self, run, number):
        words = [self.what, run.memo.get("where") or run.source, os.path.join(run.into(number), "out")]
        words.append(str(os.path.getsize(run.source)))
        run.fetch([sys.executable, "-S", run.memo["helper"], *words], number, line_done=True)

    def result(self, run, number):
        return None


LIMITS = (
    ("socket", "loopback copy, dropped"),
    ("socket-write", "loopback copy, gathered by the MiB, written to a new file"),
    ("sha256", "SHA-256 of each MiB, one stream on one core"),
    ("write", "new file written, 1 MiB calls"),
    ("write-fsync", "the same and waited for"),
)


def all_systems(bin_dir, pythons):
    """Every system, in the order of the first round."""
    return [
        Starling(bin_dir, False),
        Starling(bin_dir, True),
        Libtorrent("v2", pythons),
        Libtorrent("v1", pythons),
        Rsync(False),
        Rsync(True),
        Curl(),
        Curl("fsync"),
        Curl("sha256"),
        Aria2Http(),
        Socat(),
        *(Limit(what, text) for what, text in LIMITS),
    ]
