"""Rivals that speak BitTorrent: libtorrent, aria2 and rqbit."""

import os
import shutil
import subprocess
import sys

from measure import BenchError
from network import free_port
from system import MIB, System, first_line

HERE = os.path.dirname(os.path.abspath(__file__))


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

    def prepare(self, source, size, folder):
        torrent = os.path.join(folder, f"{os.path.basename(source)}.{self.protocol}.torrent")
        # 1 MiB is its best for a GiB; fewer than some 256 pieces leave little to share.
        piece = min(MIB, max(16384, size // 256))
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


class Aria2Bt(Libtorrent):
    """aria2 as a BitTorrent client. The seeder is libtorrent's; peers come from a tracker, since it takes no others."""

    program = "aria2c"

    def __init__(self, pythons):
        super().__init__("v1", pythons)
        self.name = "aria2-bt"

    def version(self):
        return f"{first_line(['aria2c', '--version'])}, seeder: {super().version()}"

    def why_not(self, scenario):
        if not shutil.which("aria2c"):
            return "aria2c is not installed (run.py --install)"
        return super().why_not(scenario)

    def start(self, run):
        super().start(run)
        where = f"{run.network.address(0)}:{free_port()}"
        seeders = run.memo["hosts"][: run.scenario.seeders]
        tracker = run.serve([sys.executable, "-S", os.path.join(HERE, "bt_tracker.py"), where, *seeders])
        tracker.await_listening(int(where.rpartition(":")[2]))
        run.memo["tracker"] = f"http://{where}/announce"
        # What aria2 runs at the end of a download prints the line that ends the clock.
        run.memo["hook"] = run.path("done.sh")
        with open(run.memo["hook"], "w", encoding="ascii") as hook:
            hook.write("#!/bin/sh\necho done\n")
        os.chmod(run.memo["hook"], 0o755)

    def fetch(self, run, number):
        port = run.memo["hosts"][run.scenario.seeders + number].rpartition(":")[2]
        words = [
            "aria2c", "-q", "--no-conf", "--file-allocation=none", "--allow-overwrite=true", "--enable-dht=false",
            "--enable-dht6=false", "--bt-enable-lpd=false", "--seed-ratio=0", f"--listen-port={port}",
            f"--bt-tracker={run.memo['tracker']}", f"--on-bt-download-complete={run.memo['hook']}", "-d", run.into(number),
            self.torrents[run.source],
        ]
        # It serves on until the benchmark closes standard input, and then ends at once.
        script = '"$@" </dev/null & read line; kill -9 $!; wait; exit 0'
        run.fetch(["sh", "-c", script, "sh", *words], number, line_done=True)


class Rqbit(Libtorrent):
    """rqbit, at both ends."""

    def __init__(self, pythons, program):
        super().__init__("v1", pythons)
        self.name = "rqbit"
        self.program = program

    def version(self):
        return first_line([self.program, "--version"])

    def why_not(self, scenario):
        if not shutil.which(self.program):
            return "rqbit is not installed (run.py --install-rqbit)"
        return super().why_not(scenario)

    def start(self, run):
        run.memo["hosts"] = [
            f"{run.network.address(host)}:{free_port()}" for host in range(run.scenario.seeders + run.scenario.fetchers)
        ]
        for host in range(run.scenario.seeders):
            server = run.serve(self._words(run, host, os.path.dirname(run.source), []), host)
            # It hashes what it is to seed first.
            server.await_that(lambda server=server: server.said("Initial check results"), "checking the source")
            server.await_listening(int(run.memo["hosts"][host].rpartition(":")[2]))

    def fetch(self, run, number):
        own = run.scenario.seeders + number
        others = [host for place, host in enumerate(run.memo["hosts"]) if place != own]
        words = self._words(run, own, run.into(number), ["--initial-peers", ",".join(others)])
        # Its log, through a pipe, says when it is done; it serves on until the benchmark closes standard input.
        script = """log=$1; shift; mkfifo "$log"
            "$@" </dev/null >"$log" 2>&1 & program=$!
            sed -un 's/.*finished downloading.*/done/p' <"$log" &
            read line; kill -9 $program; wait; exit 0"""
        run.fetch(["sh", "-c", script, "sh", run.path(f"log{number}"), *words], number, line_done=True)

    def _words(self, run, host, folder, flags):
        ip, _, port = run.memo["hosts"][host].rpartition(":")
        quiet = ["--disable-dht", "--disable-lsd", "--disable-trackers", "--disable-upnp-port-forward"]
        listen = ["-v", "info", *quiet, "--listen-ip", ip, "--listen-port", port]
        flags = ["--disable-http-api", "--overwrite", *flags]
        return [self.program, *listen, "download", *flags, "-o", folder, self.torrents[run.source]]
