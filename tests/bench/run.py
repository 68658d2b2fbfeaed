#!/usr/bin/env python3
"""Benchmark of Starling beside other ways to move a file, on this machine, in one interleaved run.

    tests/bench/run.py --install            once: installs the rivals (Debian's packages, libtorrent from PyPI)
    tests/bench/run.py --quick              a few minutes: smaller files, two rounds, no slow rivals
    tests/bench/run.py --publish            everything, an hour; then renews results/latest.*, the plots and the README
    tests/bench/run.py --scenario one-to-one --only starling-nosync,rsync --rounds 9
    tests/bench/run.py --smoke              a few MiB, one round, under 20 s: does everything still work? No time is judged

How it measures: in each round every system runs once, in an order that shifts from round to round. Before each run the
servers are started, the disk is settled, the source is read into the page cache, and ballast is laid out (see ballast.py: on
virtual machines a transfer into cold pages measures the hypervisor). The clock runs from the start of the fetching program
until the data is whole, checked as far as the system checks at all, and in its file; of several fetchers, until the last one.
(BitTorrent's programs stay and serve the others until then; ours end by themselves, and their end is in their time.)
Afterwards every fetched file is compared with the source; a run with a wrong byte counts as failed. CPU seconds are those
of the fetchers and of the servers during the fetch, children included, and ours include the tracker. Times differ between
machines and hours: compare ratios of one run.

Links of a fixed rate need root, since they are network namespaces (shaped.py). What rivals have no counterpart of, such as
what a restart costs, is measured by the probes (probes.py), in the same rounds.

Results go to tests/bench/results/ as JSON (every run) and Markdown (medians, spread, ratios, limits, goals); a smoke run
only prints them. The exit code is 0 if every run of every system that is there succeeded, else 1; it says nothing on speed.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import install
import machine
import source
import table
from measure import BenchError
from probes import all_probes
from scenario import all_scenarios
from systems import all_systems
from transfer import measure

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

# What each kind of run takes unless a flag says otherwise.
FULL = {
    "size": GIB,
    "shaped_size": 64 * MIB,
    "shaped_fetchers": 8,
    "files": 20_000,
    "big": 10 * GIB,
    "many": 100_000,
    "rounds": 5,
}
QUICK = {
    "size": 256 * MIB,
    "shaped_size": 16 * MIB,
    "shaped_fetchers": 8,
    "files": 5_000,
    "big": GIB,
    "many": 20_000,
    "rounds": 2,
}
SMOKE = {
    "size": 8 * MIB,
    "shaped_size": MIB,
    "shaped_fetchers": 2,
    "files": 200,
    "big": 32 * MIB,
    "many": 300,
    "rounds": 1,
}
# These go all the ways that the others go.
SMOKE_SCENARIOS = "one-to-one,one-to-four,four-to-one,many-small-files,shaped,shaped-lossy"
SMOKE_RIVALS = ("one-to-one",)  # elsewhere a smoke run has our programs alone
QUICK_LEAVES_OUT = ("shaped-16", "shaped-one-slow", "shaped-lossy")


def size_of(text):
    """A number of bytes: 8M, 1G, 1048576."""
    units = {"K": KIB, "M": MIB, "G": GIB}
    digits, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1)
    size = int(digits) * unit
    if size < 1:
        raise argparse.ArgumentTypeError("expected at least one byte")
    return size


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, help="bytes of the file on loopback, such as 64M [1G]")
    parser.add_argument("--shaped-size", type=size_of, help="bytes of the file over links of 100 Mbit/s [64M]")
    parser.add_argument("--shaped-fetchers", type=int, help="fetchers over such links; twice as many in shaped-16 [8]")
    parser.add_argument("--files", type=int, help="files of the folder of small files [20000]")
    parser.add_argument("--big", type=size_of, help="bytes of the file for resuming and memory [10G]")
    parser.add_argument("--many", type=int, help="files that a restarted seeder has [100000]")
    parser.add_argument("--rounds", type=int, help="runs of each system [5]")
    parser.add_argument("--shaped-rounds", type=int, default=3, help="at most so many over links of 100 Mbit/s, which take long [3]")
    parser.add_argument("--scenario", default="", help="only these, separated by commas; a trailing * matches [all]")
    parser.add_argument("--only", default="", help="only these systems, separated by commas; a trailing * matches [all]")
    parser.add_argument("--smoke", action="store_true", help="tiny, one round, nothing written to results")
    parser.add_argument("--quick", action="store_true", help="a few minutes")
    parser.add_argument("--publish", action="store_true", help="renew results/latest.*, the plots and the README's table")
    parser.add_argument("--install", action="store_true", help="install the rivals first")
    parser.add_argument("--install-rqbit", action="store_true", help="also build rqbit from crates.io, which takes its time")
    parser.add_argument("--out", help="folder for results [tests/bench/results]")
    parser.add_argument("--bin-dir", help="folder with tracker, peer and relay [build them with cargo]")
    parser.add_argument("--work-dir", help="folder on the disk to measure, for data [/var/tmp]")
    parser.add_argument("--no-ballast", action="store_true", help="measure with cold pages, too")
    parser.add_argument("--list", action="store_true", help="show scenarios and systems, and what is missing")
    given = parser.parse_args()
    for name, value in (SMOKE if given.smoke else QUICK if given.quick else FULL).items():
        setattr(given, name, getattr(given, name) or value)
    given.out = given.out or (None if given.smoke else os.path.join(HERE, "results"))
    given.work_dir = given.work_dir or ("/var/tmp" if os.path.isdir("/var/tmp") else tempfile.gettempdir())
    return given


def target_dir():
    """Where cargo puts what it builds."""
    return os.path.join(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"))


def build(only_look):
    """Builds our programs unless they are not going to be run; the folder they are in."""
    if not only_look:
        words = ["cargo", "build", "--release", "--locked", "-p", "tracker", "-p", "peer"]
        # Its own output goes to stderr, so that stdout has the report alone.
        for more in ([], ["-p", "tests", "--bin", "relay"]):
            if subprocess.run([*words[: 4 if more else None], *more], cwd=ROOT, stdout=sys.stderr, check=False).returncode != 0:
                sys.exit("error: our programs don't build; mend that, or name their folder with --bin-dir")
    return os.path.join(target_dir(), "release")


def chosen(names, wanted, what):
    """Those of `names` that the user wants; all if nothing is said."""
    if not wanted:
        return list(names)
    found = []
    for want in wanted.split(","):
        hits = [name for name in names if name == want or (want.endswith("*") and name.startswith(want[:-1]))]
        if not hits:
            sys.exit(f"error: no {what} {want!r}; there are: {', '.join(names)}")
        found += [name for name in hits if name not in found]
    return found


def check_space(work, needs):
    """Ends with a message when the disk is too small for source, results and ballast."""
    need = max(needs, default=0) + GIB
    free = shutil.disk_usage(work).free
    if free < need:
        sys.exit(f"error: {work} has {free >> 20} MiB free, {need >> 20} MiB are needed; give smaller sizes or --work-dir")


class Bench:
    """A whole run: what is to be done, and the report as far as it has come."""

    def __init__(self, given):
        self.given = given
        scenarios = all_scenarios(given)
        probes = all_probes(given)
        wanted = given.scenario or (SMOKE_SCENARIOS + "," + ",".join(probes) if given.smoke else "")
        names = chosen([*scenarios, *probes], wanted, "scenario")
        if given.quick and not given.scenario:
            names = [name for name in names if name not in QUICK_LEAVES_OUT]
        self.scenarios = [scenarios[name] for name in names if name in scenarios]
        self.probes = [probes[name] for name in names if name in probes]
        self.bin_dir = os.path.abspath(given.bin_dir) if given.bin_dir else build(given.list)
        systems = all_systems(self.bin_dir, install.pythons(target_dir()), install.rqbit(target_dir()))
        systems = {system.name: system for system in systems}
        # What is published is never without what the machine could do in the same run.
        only = f"{given.only},limit:*" if given.only and given.publish else given.only
        self.systems = [systems[name] for name in chosen(systems, only, "system")]
        self.missing = []
        self.able = {scenario.name: self._able(scenario) for scenario in self.scenarios}
        self.probes = [probe for probe in self.probes if self._can(probe)]
        self.report = {}

    def _able(self, scenario):
        """The systems that can do it; notes those that can't."""
        network = scenario.network.why_not(self.bin_dir)
        able = []
        for system in self.systems:
            left_out = self.given.smoke and scenario.name not in SMOKE_RIVALS and not system.own
            left_out = left_out or (self.given.quick and self._slow(system, scenario))
            if left_out or not system.belongs(scenario):
                continue
            if reason := network or system.why_not(scenario):
                self._note(scenario.name, system.name, reason)
            else:
                able.append(system)
        return able

    def _can(self, probe):
        reason = probe.why_not(self.bin_dir)
        if reason:
            self._note(probe.name, "starling", reason)
        return reason is None

    def _note(self, scenario, system, reason):
        self.missing.append({"scenario": scenario, "system": system, "reason": reason})
        print(f"{scenario}: not run: {system}: {reason}", file=sys.stderr)

    @staticmethod
    def _slow(system, scenario):
        return system.slow_alone and scenario.bound is not None

    def run(self, work):
        """Everything, into the report."""
        used = [system for system in self.systems if any(system in fit for fit in self.able.values())]
        self.report = {
            "machine": machine.describe(work, ROOT),
            "scenarios": [
                {name: getattr(scenario, name) for name in ("name", "title", "size", "seeders", "fetchers", "late", "bound")}
                for scenario in self.scenarios
            ],
            "probes": [{"name": probe.name, "title": probe.title, "goals": probe.goals} for probe in self.probes],
            "systems": [{"name": s.name, "verifies": s.verifies, "durable": s.durable} for s in self.systems],
            "versions": {system.name: system.version() for system in used},
            "smoke": self.given.smoke,
            "rounds": self.given.rounds,
            "ballast": not self.given.no_ballast,
            "missing": self.missing,
            "runs": [],
        }
        try:
            for scenario in self.scenarios:
                self._scenario(scenario, self.able[scenario.name], work)
            for probe in self.probes:
                self._probe(probe, work)
        except KeyboardInterrupt:
            print("interrupted: the results are of what was done", file=sys.stderr)
            self.report["interrupted"] = True

    def _scenario(self, scenario, systems, work):
        path = os.path.join(work, f"source-{scenario.files}-{scenario.size}.bin")
        if systems and not os.path.exists(path):
            source.make(path, scenario.size, scenario.files)
        for system in systems:
            system.prepare(path, scenario.size, work)
        times = 1 if self.given.smoke else min(scenario.rounds_at_most, self.given.rounds * scenario.repeat)
        for number in range(times):
            shift = number % max(1, len(systems))
            for system in systems[shift:] + systems[:shift]:
                if number == 0 or not self._slow(system, scenario):
                    how = lambda: measure(system, scenario, path, work, self.given, self.bin_dir)  # noqa: E731, B023
                    self._one(scenario.name, system.name, number, times, how)

    def _probe(self, probe, work):
        with probe.prepared(work, self.bin_dir):
            times = 1 if self.given.smoke else min(probe.rounds_at_most, self.given.rounds)
            for number in range(times):
                for case in probe.cases:
                    self._one(probe.name, case, number, times, lambda: {"figures": probe.measure(case)})  # noqa: B023

    def _one(self, scenario, system, number, times, how):
        record = {"scenario": scenario, "system": system, "round": number}
        try:
            record.update(how())
            said = ", ".join(f"{name} {value:.4g}" for name, value in record.get("figures", {}).items())
            said = said or f"{record['wall']:.3f} s"
        except BenchError as error:
            record["error"] = str(error)
            said = f"FAILED: {error}"
        self.report["runs"].append(record)
        print(f"{scenario} {number + 1}/{times} {system}: {said}", file=sys.stderr, flush=True)


def main():
    """Runs everything that was asked for; the exit code."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if given.install or given.install_rqbit:
        install.install(target_dir(), given.install_rqbit)
    bench = Bench(given)
    if given.list:
        print("\n".join(f"{one.name}: {one.title}" for one in (*bench.scenarios, *bench.probes)))
        print("\n".join(system.name for system in bench.systems))
        return 0
    sources = sum({(scenario.files, scenario.size): scenario.size for scenario in bench.scenarios}.values())
    needs = [scenario.delivered + scenario.ballast for scenario in bench.scenarios] + [probe.space for probe in bench.probes]
    check_space(given.work_dir, [sources + need for need in needs])
    work = tempfile.mkdtemp(prefix="starling-bench-", dir=given.work_dir)
    try:
        bench.run(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    report = json.loads(json.dumps(bench.report).replace(work, "WORK").replace(bench.bin_dir, "BIN"))
    text = table.render(report)
    print(text)
    if given.out:
        save(report, text, given.out)
    if given.publish:
        publish(report, text)
    return 1 if report.get("interrupted") or any("error" in record for record in report["runs"]) else 0


def save(report, text, folder):
    """Writes the results under the time and commit of the run."""
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, f"{time.strftime('%Y-%m-%dT%H%M')}-{report['machine']['commit']}")
    write(f"{stem}.json", json.dumps(report, indent=1))
    write(f"{stem}.md", text)
    print(f"written: {stem}.json, {stem}.md", file=sys.stderr)


def write(path, text):
    """A text file with one newline at its end."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.rstrip("\n") + "\n")


def publish(report, text):
    """Renews what the repository shows: the latest results, the plots, and the README's part on speed."""
    write(os.path.join(HERE, "results", "latest.json"), json.dumps(report))
    write(os.path.join(HERE, "results", "latest.md"), text)
    words = [os.path.join(HERE, "publish.py"), os.path.join(HERE, "results", "latest.json"), ROOT]
    if subprocess.run([install.pythons(target_dir())[0], *words], check=False).returncode != 0:
        print("warning: plots and README are as they were (run.py --install brings matplotlib)", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
