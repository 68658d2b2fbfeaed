"""Turns the records of a benchmark into Markdown: medians with their spread, ratios, limits and goals.

Can be run by itself on saved results: tests/bench/table.py results/FILE.json
"""

import json
import sys
from statistics import median

MIB = 1 << 20
GIB = 1 << 30
OURS = "starling-nosync"  # comparable with programs that do not wait for the disk
OURS_SYNCED = "starling"
BUSY = 0.15  # share of the machine that others may take before a run is called disturbed


class Results:
    """The good runs of one scenario."""

    def __init__(self, report, scenario):
        self.report = report
        self.scenario = scenario
        self.runs = {}
        self.failed = []
        for record in report["runs"]:
            if record["scenario"] != scenario["name"]:
                continue
            if "error" in record:
                self.failed.append(record)
            else:
                self.runs.setdefault(record["system"], []).append(record)
        self.gib = scenario["size"] * scenario["fetchers"] / GIB

    def values(self, system, of):
        """One figure of every run of a system, without those that were not seen."""
        found = (of(record) for record in self.runs.get(system, []))
        return [value for value in found if value is not None]

    def median(self, system, of):
        """The median of a figure, or None."""
        values = self.values(system, of)
        return median(values) if values else None

    def ratio(self, system, other):
        """Median wall time of one system over that of another, or None."""
        one, base = self.median(system, wall), self.median(other, wall)
        return one / base if one is not None and base else None

    def cpu_per_gib(self, system):
        """CPU seconds of all processes for each GiB delivered, or None."""
        used = self.median(system, cpu)
        return used / self.gib if used is not None else None


def wall(record):
    """Seconds until the last fetcher was done."""
    return record["wall"]


def cpu(record):
    """CPU seconds of all processes."""
    return sum(record["seed_cpu"]) + sum(record["fetch_cpu"])


def most_anonymous(record):
    """Anonymous memory of the process that had the most, in bytes, or None."""
    seen = [value for value in (record["seed_anon"], record["fetch_anon"]) if value is not None]
    return max(seen) if seen else None


def figure(value, digits=2):
    """A number for a cell; an en dash if there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def memory(results, system, end):
    """Anonymous and resident memory of one end, in MiB."""
    cells = []
    for kind in ("anon", "hwm"):
        values = results.values(system, lambda record, kind=kind: record[f"{end}_{kind}"])
        cells.append(f"{max(values) / MIB:.0f}" if values else "–")
    return " / ".join(cells)


def split_cpu(results, system, end):
    """User and system CPU seconds of one end."""
    parts = [results.median(system, lambda record, part=part: record[f"{end}_cpu"][part]) for part in (0, 1)]
    return "–" if parts[0] is None else f"{parts[0]:.2f}+{parts[1]:.2f}"


def lines_of(header, rows):
    """A Markdown table."""
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)] + ["| " + " | ".join(row) + " |" for row in rows]


def systems_table(report, results):
    """The table of all systems of a scenario, the fastest first."""
    header = [
        "system", "checks", "on disk", "runs", "wall s (min–max)", f"÷ {OURS}", f"÷ {OURS_SYNCED}", "MiB/s",
        "seed CPU s u+s", "fetch CPU s u+s", "CPU s/GiB", "seed RssAnon / VmHWM MiB", "fetch RssAnon / VmHWM MiB",
    ]
    about = {system["name"]: system for system in report["systems"]}
    named = [name for name in results.runs if not name.startswith("limit:")]
    rows = []
    for name in sorted(named, key=lambda name: results.median(name, wall)):
        walls = results.values(name, wall)
        failed = sum(record["system"] == name for record in results.failed)
        rows.append([
            f"**{name}**" if name in (OURS, OURS_SYNCED) else name,
            about[name]["verifies"],
            "synced" if about[name]["durable"] else "cached",
            f"{len(walls)}/{len(walls) + failed}",
            f"{median(walls):.3f} ({min(walls):.3f}–{max(walls):.3f})",
            figure(results.ratio(name, OURS)),
            figure(results.ratio(name, OURS_SYNCED)),
            figure(results.gib * 1024 / median(walls), 0),
            split_cpu(results, name, "seed"),
            split_cpu(results, name, "fetch"),
            figure(results.cpu_per_gib(name)),
            memory(results, name, "seed"),
            memory(results, name, "fetch"),
        ])
    return lines_of(header, rows)


def limits_text(report, results):
    """What the machine itself did in the same run, and what follows from it."""
    named = [name for name in results.runs if name.startswith("limit:")]
    if not named:
        return []
    about = {system["name"]: system["verifies"] for system in report["systems"]}
    rows = []
    for name in named:
        walls = results.values(name, wall)
        rows.append([
            f"{name[6:]}: {about[name]}",
            f"{median(walls):.3f} ({min(walls):.3f}–{max(walls):.3f})",
            figure(results.cpu_per_gib(name)),
            figure(results.ratio(OURS, name)),
        ])
    text = ["", "Limits measured in the same run, with the smallest possible programs:", ""]
    text += lines_of(["limit", "wall s (min–max)", "CPU s/GiB", f"{OURS} ÷ limit"], rows)
    parts = [results.median(f"limit:{name}", cpu) for name in ("socket", "sha256", "write")]
    hashing = results.median("limit:sha256", wall)
    if None not in parts and hashing:
        total = sum(parts)
        floor = max(hashing, total / report["machine"]["cores"])
        ours = results.median(OURS, wall)
        text += [
            "",
            f"Copy through loopback + SHA-256 + write: {total / results.gib:.2f} CPU s/GiB. With hashing on a core of its own, one "
            f"stream, no verified transfer takes less than {floor:.3f} s"
            + (f"; {OURS} took {ours / floor:.2f} times that." if ours else ".")
            + " Hashing two pieces at once lowers both.",
        ]
    return text


def goals(scenario):
    """(what, how to get it from results, must, should) of a scenario; figures are upper bounds."""
    per_gib = ("CPU s/GiB, all processes", lambda results: results.cpu_per_gib(OURS), 1.4, 1.0)
    anonymous = (
        "anonymous memory of a process, MiB",
        lambda results: None if (most := results.median(OURS, most_anonymous)) is None else most / MIB,
        32, 16,
    )

    def over(rival, must, should=None, ours=OURS):
        return (f"wall of {ours} ÷ {rival}", lambda results: results.ratio(ours, rival), must, should)

    if scenario == "one-to-one":
        return [
            over("libtorrent-v2", 0.35), over("rsync", 1.0), over("curl", 1.0), over("socat", None, 1.15),
            over("rsync+fsync", 1.0, ours=OURS_SYNCED), over("curl+fsync", 1.0, ours=OURS_SYNCED), per_gib, anonymous,
        ]
    if scenario in ("one-to-four", "four-to-one"):
        return [over("libtorrent-v1", 0.55), per_gib, anonymous]
    if scenario == "latency":
        return [
            (f"ms from start to end, {name}", lambda results, name=name: in_ms(results.median(name, wall)), 30, 15)
            for name in (OURS_SYNCED, OURS)
        ]
    return []


def in_ms(seconds):
    """Milliseconds, or None."""
    return None if seconds is None else seconds * 1000


def goals_table(results):
    """How each goal of the scenario stands."""
    rows = []
    for what, get, must, should in goals(results.scenario["name"]):
        got = get(results)
        verdict = "not measured"
        if got is not None:
            met = must is None or got <= must
            verdict = "met" if met else "**missed**"
            if should is not None:
                verdict += ", aim met" if got <= should else ", aim not yet"
        rows.append([what, figure(got), figure(must), figure(should), verdict])
    if results.report["smoke"]:
        return ["", "No goal is judged in a smoke run."]
    return ["", *lines_of(["goal (at most)", "measured", "must", "aim", "stands"], rows)] if rows else []


def remarks(report, results):
    """What a reader has to know before trusting the figures: failures, disturbed runs, too little ballast."""
    text = []
    reasons = {}
    for entry in report["missing"]:
        if entry["scenario"] == results.scenario["name"]:
            reasons.setdefault(entry["reason"], []).append(entry["system"])
    text += [f"* not run: {', '.join(names)}: {reason}" for reason, names in reasons.items()]
    for record in results.failed:
        text.append(f"* failed: {record['system']}, round {record['round'] + 1}: {record['error']}")
    every = [record for records in results.runs.values() for record in records]
    disturbed = sum(record["other_busy"] > BUSY and record["wall"] > 0.25 for record in every)
    if disturbed:
        text.append(
            f"* disturbed: during {disturbed} of {len(every)} runs other programs took over {BUSY:.0%} of the machine"
            + (", so no verdict above counts: run it again on a quiet machine" if 4 * disturbed > len(every) else "")
        )
    own = [record["bench_cpu"] / record["wall"] for record in every if record["wall"] > 0.25]
    if own:
        text.append(f"* the benchmark itself, looking at memory and deleting ballast, took {median(own):.0%} of a core")
    short = sum(record["ballast"] > 0 and record["ballast_short"] > 0 for record in every)
    if short:
        text.append(f"* in {short} of {len(every)} runs the ballast was used up: the last pages may have been cold")
    return ["", *text] if text else []


def render(report):
    """The whole report as Markdown."""
    machine = report["machine"]
    text = [
        "# Benchmark",
        "",
        f"{machine['date']}, commit {machine['commit']}: {machine['cores']} cores of {machine['cpu']}"
        f"{' (SHA-NI)' if machine['sha_ni'] else ''}{', virtual' if machine['virtual'] else ''}, "
        f"{machine['memory'] / GIB:.0f} GiB, Linux {machine['kernel']}, {machine['system']}, {machine['file_system']}, "
        f"TCP {machine['congestion_control']}; load before {machine['load_before']}. "
        f"{report['rounds']} interleaved rounds, medians; {'warm pages (ballast)' if report['ballast'] else 'cold pages'}.",
    ]
    if report.get("interrupted"):
        text += ["", "**Interrupted: not all rounds were done.**"]
    for scenario in report["scenarios"]:
        results = Results(report, scenario)
        text += ["", f"## {scenario['title']} ({scenario['name']})", ""]
        if results.runs:
            text += systems_table(report, results) + limits_text(report, results) + goals_table(results)
        text += remarks(report, results)
    text += [
        "",
        "Wall: from the start of the fetching program until the data is whole, checked as said and in its file, of the last "
        "fetcher; each file was then compared with the source. ÷: times as long as ours. CPU: servers (ours: with tracker) and "
        "fetchers, children included. RssAnon: sampled peak of one process tree; VmHWM counts mapped "
        "file pages, too.",
        "",
        "Versions: " + "; ".join(f"{name}: {version}" for name, version in report["versions"].items() if "limit:" not in name) + ".",
    ]
    return "\n".join(text)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as saved:
        print(render(json.load(saved)))
