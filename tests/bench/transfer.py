"""One run of one system in one scenario: servers, clock, cost, and whether every byte came over."""

import os
import shutil
import tempfile
import time

import machine
import source
from ballast import Ballast
from measure import BenchError, Sampler, await_all, tree_cpu
from system import Run

MIB = 1 << 20
HEADROOM = 384 * MIB  # ballast for what the programs take besides the file
SHORT = 0.1  # seconds that a fetch must take for samples of its memory to mean something
SETTLE = 0.1  # seconds for servers to close connections and to be charged for it


def measure(system, scenario, path, work, given, bin_dir):
    """One run with the source at `path`: what it took, as a record for the results. Raises BenchError when it fails."""
    sampler = Sampler()
    ballast = None
    with scenario.network(scenario.seeders + scenario.fetchers, bin_dir) as network:
        run = Run(scenario, network, path, tempfile.mkdtemp(prefix="run-", dir=work), sampler)
        try:
            system.start(run)
            if not given.smoke:
                os.sync()
            source.warm(path)
            size = 0 if given.no_ballast else scenario.ballast + min(HEADROOM, 4 * scenario.ballast)
            ballast = Ballast(os.path.join(run.folder, "ballast"), size)
            before = [tree_cpu(server.pid) for server in run.servers]
            sent_before = network.sent(0)
            machine_before, own_before = machine.busy_seconds(), time.process_time()
            with ballast:
                for number in range(scenario.fetchers):
                    system.fetch(run, number)
                await_all(run.fetchers, scenario.seconds())
            machine_busy, own = machine.busy_seconds() - machine_before, time.process_time() - own_before
            sent_after = network.sent(0)
            time.sleep(SETTLE / 5 if given.smoke else SETTLE)
            after = [tree_cpu(server.pid) for server in run.servers]
            sampler.look()
            compare(system, run)
        finally:
            peaks = sampler.finish()
            for process in (*run.fetchers, *run.servers):
                process.end()
            if ballast:
                ballast.discard()
            shutil.rmtree(run.folder, ignore_errors=True)
    record = figures(run, spent(before, after), peaks)
    record |= {"bench_cpu": own, "ballast": size, "ballast_short": ballast.short}
    if sent_before is not None and sent_after is not None:
        record["copies"] = (sent_after - sent_before) / scenario.size
    used = sum(record["seed_cpu"]) + sum(record["fetch_cpu"])
    record["other_busy"] = max(0.0, machine_busy - used - own) / max(record["walls"]) / os.cpu_count()
    system.amend(run, record)
    return record


def compare(system, run):
    """Raises BenchError unless every fetcher has the source's bytes."""
    for number in range(run.scenario.fetchers):
        result = system.result(run, number)
        if result is not None and not source.same(run.source, result):
            raise BenchError(f"fetcher {number} ended well, but what it has differs from the source")


def figures(run, seed_cpu, peaks):
    """What a finished run took."""
    start = run.fetchers[0].started_at
    walls = [fetcher.done_at - start for fetcher in run.fetchers]
    record = {
        "wall": max(walls[: len(walls) - run.scenario.late]),
        "walls": walls,
        "seed_cpu": seed_cpu,
        "fetch_cpu": [sum(fetcher.cpu()[part] for fetcher in run.fetchers) for part in (0, 1)],
        "seed_anon": peaks.get("seed", (None, None))[0],
        "seed_hwm": peaks.get("seed", (None, None))[1],
        "fetch_anon": peaks.get("fetch", (None, None))[0],
        "fetch_hwm": peaks.get("fetch", (None, None))[1],
    }
    if record["wall"] < SHORT:
        record["fetch_anon"] = record["fetch_hwm"] = None
    return record


def spent(before, after):
    """[user, system] CPU seconds between two looks at all servers."""
    user, system = (sum(pair[part] for pair in after) - sum(pair[part] for pair in before) for part in (0, 1))
    # The sum is exact, its parts are estimates.
    return [max(0.0, user + min(0.0, system)), max(0.0, system + min(0.0, user))]
