"""Ours, the rivals that are no swarms, and the machine's own limits; and the list of all systems."""

import os
import shutil
import subprocess
import sys

from network import free_port
from ours import clean_environment
from ours import why_not as why_not_ours
from system import MIB, System, first_line
from torrents import Aria2Bt, Libtorrent, Rqbit


class Starling(System):
    """Ours: tracker and seeders as servers. Found by name through the tracker, SHA-256 of every piece."""

    verifies = "SHA-256, each piece"
    swarm = True
    own = True

    def __init__(self, bin_dir, sync):
        self.bin_dir = bin_dir
        self.durable = sync
        self.name = "starling" if sync else "starling-nosync"
        self.program = os.path.join(bin_dir, "peer")

    def version(self):
        return first_line([self.program, "version"])

    def why_not(self, scenario):
        return why_not_ours(self.bin_dir)

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
    slow_alone = True

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
        recursive = ["-r"] if run.scenario.files else []
        run.fetch(["rsync", *sync, *recursive, run.memo["url"], run.into(number) + "/"], number)


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


class Limit(System):
    """What the machine itself can do, measured like a system: see limits.py."""

    program = sys.executable

    def __init__(self, what, text):
        self.name = f"limit:{what}"
        self.what, _, self.sender = what.partition(":")
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
            how = f"send-{self.sender or 'sendfile'}"
            server = run.serve([sys.executable, "-S", run.memo["helper"], how, run.source, where])
            server.await_listening(port)
            run.memo["where"] = where

    def fetch(self, run, number):
        words = [self.what, run.memo.get("where") or run.source, os.path.join(run.into(number), "out")]
        words.append(str(os.path.getsize(run.source)))
        run.fetch([sys.executable, "-S", run.memo["helper"], *words], number, line_done=True)

    def result(self, run, number):
        return None


LIMITS = (
    ("socket", "loopback copy, dropped; sent with sendfile"),
    ("socket:mapped", "the same, sent from a mapping"),
    ("socket:pread", "the same, read into a buffer and sent"),
    ("socket-write", "loopback copy, gathered by the MiB, written to a new file"),
    ("sha256", "SHA-256 of each MiB, one stream on one core"),
    ("write", "new file written, 1 MiB calls"),
    ("write-fsync", "the same and waited for"),
)


def all_systems(bin_dir, pythons, rqbit):
    """Every system, in the order of the first round."""
    return [
        Starling(bin_dir, False),
        Starling(bin_dir, True),
        Libtorrent("v2", pythons),
        Libtorrent("v1", pythons),
        Aria2Bt(pythons),
        Rqbit(pythons, rqbit),
        Rsync(False),
        Rsync(True),
        Curl(),
        Curl("fsync"),
        Curl("sha256"),
        Aria2Http(),
        Socat(),
        *(Limit(what, text) for what, text in LIMITS),
    ]
