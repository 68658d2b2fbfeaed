#!/usr/bin/env python3
"""Benchmark of Starling beside other ways to move a file, on this machine, in one interleaved run.

    tests/bench/run.py --install            once: installs the rivals (Debian's packages, libtorrent from PyPI)
    tests/bench/run.py                      1 GiB, five rounds, every scenario
    tests/bench/run.py --scenario one-to-one --only starling-nosync,rsync --rounds 9
    tests/bench/run.py --smoke              8 MiB, one round, under 20 s: does everything still work? No time is judged

How it measures: in each round every system runs once, in an order that shifts from round to round. Before each run the
servers are started, the disk is settled, the source is read into the page cache, and ballast is laid out (see ballast.py: on
virtual machines a transfer into cold pages measures the hypervisor). The clock runs from the start of the fetching program
until the data is whole, checked as far as the system checks at all, and in its file; of several fetchers, until the last one.
(libtorrent's programs stay and serve the others until then; ours end by themselves, and their end is in their time.)
Afterwards every fetched file is compared with the source; a run with a wrong byte counts as failed. CPU seconds are those
of the fetchers and of the servers during the fetch, children included, and ours include the tracker. Times differ between
machines and hours: compare ratios of one run.

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
import table
from ballast import Ballast
from measure import BenchError, Sampler, await_all, tree_cpu
from scenario import all_scenarios
from systems import Run, all_systems

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
MIB = 1 << 20
HEADROOM = 384 * MIB  # ballast for what the programs take besides the file
SHORT = 0.1  # seconds that a fetch must take for samples of its memory to mean something
SETTLE = 0.1  # seconds for servers to close connections and to be charged for it


def size_of(text):
    """A number of bytes: 8M, 1G, 1048576."""
    units = {"K": 1 << 10, "M": MIB, "G": 1 << 30}
    digits, unit = (text[:-1], units[text[-1].upper()]) if text[-1:].upper() in units else (text, 1)
    size = int(digits) * unit
    if size < 1:
        raise argparse.ArgumentTypeError("expected at least one byte")
    return size


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size_of, default=None, help="bytes of the file, such as 64M [1G]")
    parser.add_argument("--rounds", type=int, default=None, help="runs of each system [5]")
    parser.add_argument("--scenario", default="", help="only these, separated by commas [all]")
    parser.add_argument("--only", default="", help="only these systems, separated by commas; a trailing * matches [all]")
    parser.add_argument("--smoke", action="store_true", help="8 MiB, one round, nothing written to results")
    parser.add_argument("--install", action="store_true", help="install the rivals first")
    parser.add_argument("--out", default=None, help="folder for results [tests/bench/results]")
    parser.add_argument("--bin-dir", default=None, help="folder with tracker and peer [build them with cargo]")
    parser.add_argument("--work-dir", default=None, help="folder on the disk to measure, for data [/var/tmp]")
    parser.add_argument("--no-ballast", action="store_true", help="measure with cold pages, too")
    parser.add_argument("--list", action="store_true", help="show scenarios and systems, and what is missing")
    given = parser.parse_args()
    given.size = given.size or (8 * MIB if given.smoke else 1 << 30)
    # A file of 1 MiB goes the same ways as one of 8 MiB, so a smoke run does without.
    given.scenario = given.scenario or ("one-to-one,one-to-four,four-to-one" if given.smoke else "")
    given.rounds = given.rounds or (1 if given.smoke else 5)
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
        if subprocess.run(words, cwd=ROOT, stdout=sys.stderr, check=False).returncode != 0:
            sys.exit("error: our programs don't build; mend that, or name their folder with --bin-dir")
    return os.path.join(target_dir(), "release")


def make_source(path, size):
    """A file of `size` random bytes."""
    with open(path, "wb", buffering=0) as file:
        for at in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - at)))
        os.fsync(file.fileno())


def blocks(path):
    """The file's bytes, by the MiB."""
    with open(path, "rb", buffering=0) as file:
        while block := file.read(MIB):
            yield block


def warm(path):
    """Reads a file, so that it is in the page cache."""
    for _ in blocks(path):
        pass


def same(one, other):
    """Whether two files have the same bytes."""
    if os.path.getsize(one) != os.path.getsize(other):
        return False
    return all(left == right for left, right in zip(blocks(one), blocks(other), strict=True))


def measure(system, scenario, source, work, given):
    """One run: what it took, as a record for the results. Raises BenchError when it fails."""
    sampler = Sampler()
    ballast = None
    with scenario.network() as network:
        run = Run(scenario, network, source, tempfile.mkdtemp(prefix="run-", dir=work), sampler)
        try:
            system.start(run)
            if not given.smoke:
                os.sync()
            warm(source)
            size = scenario.delivered + min(HEADROOM, 4 * scenario.delivered) if not given.no_ballast else 0
            ballast = Ballast(os.path.join(run.folder, "ballast"), size)
            before = [tree_cpu(server.pid) for server in run.servers]
            machine_before, own_before = machine.busy_seconds(), time.process_time()
            with ballast:
                for number in range(scenario.fetchers):
                    system.fetch(run, number)
                await_all(run.fetchers, scenario.seconds())
            machine_busy, own = machine.busy_seconds() - machine_before, time.process_time() - own_before
            time.sleep(SETTLE / 5 if given.smoke else SETTLE)
            after = [tree_cpu(server.pid) for server in run.servers]
            sampler.look()
            for number in range(scenario.fetchers):
                result = system.result(run, number)
                if result is not None and not (os.path.isfile(result) and same(source, result)):
                    raise BenchError(f"fetcher {number} ended well, but its file differs from the source")
        finally:
            peaks = sampler.finish()
            for process in (*run.fetchers, *run.servers):
                process.end()
            if ballast:
                ballast.discard()
            shutil.rmtree(run.folder, ignore_errors=True)
    start = run.fetchers[0].started_at
    record = {
        "wall": max(fetcher.done_at for fetcher in run.fetchers) - start,
        "walls": [fetcher.done_at - fetcher.started_at for fetcher in run.fetchers],
        "seed_cpu": spent(before, after),
        "fetch_cpu": [sum(fetcher.cpu()[part] for fetcher in run.fetchers) for part in (0, 1)],
        "seed_anon": peaks.get("seed", (None, None))[0],
        "seed_hwm": peaks.get("seed", (None, None))[1],
        "fetch_anon": peaks.get("fetch", (None, None))[0],
        "fetch_hwm": peaks.get("fetch", (None, None))[1],
        "bench_cpu": own,
        "ballast": size,
        "ballast_short": ballast.short,
    }
    if record["wall"] < SHORT:
        record["fetch_anon"] = record["fetch_hwm"] = None
    used = sum(record["seed_cpu"]) + sum(record["fetch_cpu"])
    record["other_busy"] = max(0.0, machine_busy - used - own) / record["wall"] / os.cpu_count()
    system.amend(run, record)
    return record


def spent(before, after):
    """[user, system] CPU seconds between two looks at all servers."""
    user, system = (sum(pair[part] for pair in after) - sum(pair[part] for pair in before) for part in (0, 1))
    # The sum is exact, its parts are estimates.
    return [max(0.0, user + min(0.0, system)), max(0.0, system + min(0.0, user))]


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


def check_space(work, scenarios):
    """Ends with a message when the disk is too small for source, results and ballast."""
    need = max(scenario.size + 2 * scenario.delivered for scenario in scenarios) + (1 << 30)
    free = shutil.disk_usage(work).free
    if free < need:
        sys.exit(f"error: {work} has {free >> 20} MiB free, {need >> 20} MiB are needed; give a smaller --size or --work-dir")


def rounds(scenario, systems, given, work, runs):
    """All rounds of one scenario; appends a record of each run to `runs`."""
    source = os.path.join(work, f"source-{scenario.size}.bin")
    if not os.path.exists(source):
        make_source(source, scenario.size)
    for system in systems:
        system.prepare(source, work)
    times = given.rounds * (1 if given.smoke else scenario.repeat)
    for number in range(times):
        shift = number % max(1, len(systems))
        for system in systems[shift:] + systems[:shift]:
            record = {"scenario": scenario.name, "system": system.name, "round": number}
            try:
                record.update(measure(system, scenario, source, work, given))
                said = f"{record['wall']:.3f} s"
            except BenchError as error:
                record["error"] = str(error)
                said = f"FAILED: {error}"
            runs.append(record)
            print(f"{scenario.name} {number + 1}/{times} {system.name}: {said}", file=sys.stderr)


def main():
    """Runs everything that was asked for; the exit code."""
    given = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if given.install:
        install.install(target_dir())
    scenarios = all_scenarios(given.size)
    wanted = [scenarios[name] for name in chosen(scenarios, given.scenario, "scenario")]
    bin_dir = os.path.abspath(given.bin_dir) if given.bin_dir else build(given.list)
    systems = {system.name: system for system in all_systems(bin_dir, install.pythons(target_dir()))}
    picked = [systems[name] for name in chosen(systems, given.only, "system")]
    check_space(given.work_dir, wanted)
    missing = []
    able = {scenario.name: [] for scenario in wanted}
    for scenario in wanted:
        for system in picked:
            if not system.belongs(scenario):
                continue
            if reason := system.why_not(scenario):
                missing.append({"scenario": scenario.name, "system": system.name, "reason": reason})
                print(f"{scenario.name}: not run: {system.name}: {reason}", file=sys.stderr)
            else:
                able[scenario.name].append(system)
    if given.list:
        print("\n".join(f"{scenario.name}: {scenario.title}" for scenario in wanted))
        print("\n".join(system.name for system in picked))
        return 0
    work = tempfile.mkdtemp(prefix="starling-bench-", dir=given.work_dir)
    report = {
        "machine": machine.describe(work, ROOT),
        "scenarios": [
            {"name": s.name, "title": s.title, "size": s.size, "seeders": s.seeders, "fetchers": s.fetchers} for s in wanted
        ],
        "systems": [{"name": s.name, "verifies": s.verifies, "durable": s.durable} for s in picked],
        "versions": {s.name: s.version() for s in picked if any(s in fit for fit in able.values())},
        "smoke": given.smoke,
        "rounds": given.rounds,
        "ballast": not given.no_ballast,
        "missing": missing,
        "runs": [],
    }
    try:
        for scenario in wanted:
            rounds(scenario, able[scenario.name], given, work, report["runs"])
    except KeyboardInterrupt:
        print("interrupted: the results are of what was done", file=sys.stderr)
        report["interrupted"] = True
    finally:
        shutil.rmtree(work, ignore_errors=True)
    text = table.render(report)
    print(text)
    if given.out:
        save(report, text, given.out)
    return 1 if report.get("interrupted") or any("error" in record for record in report["runs"]) else 0


def save(report, text, folder):
    """Writes the results under the time and commit of the run."""
    os.makedirs(folder, exist_ok=True)
    stem = os.path.join(folder, f"{time.strftime('%Y-%m-%dT%H%M')}-{report['machine']['commit']}")
    with open(f"{stem}.json", "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    with open(f"{stem}.md", "w", encoding="utf-8") as file:
        file.write(text + "\n")
    print(f"written: {stem}.json, {stem}.md", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
