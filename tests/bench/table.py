"""Turns the records of a benchmark into Markdown: medians with their spread, ratios, limits and goals.

Can be run by itself on saved results: tests/bench/table.py results/FILE.json
"""

import json
import sys
from statistics import median

import goals
from results import GIB, MIB, OURS, OURS_SYNCED, Results, copies, cpu, figure, lines_of, probe_values, wall

BUSY = 0.15  # share of the machine that others may take before a run is called disturbed


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


def systems_table(report, results):
    """The table of all systems of a scenario, the fastest first."""
    header = [
        "system", "checks", "on disk", "runs", "wall s (min–max)", f"÷ {OURS}", f"÷ {OURS_SYNCED}", "MiB/s",
        "seed CPU s u+s", "fetch CPU s u+s", "CPU s/GiB", "seed RssAnon / VmHWM MiB", "fetch RssAnon / VmHWM MiB",
    ]
    if results.scenario.get("bound"):
        header[5:7] = ["÷ bound", f"÷ {OURS}", "seeder sent, copies"]
    about = {system["name"]: system for system in report["systems"]}
    named = [name for name in results.runs if not name.startswith("limit:")]
    rows = []
    for name in sorted(named, key=lambda name: results.median(name, wall)):
        walls = results.values(name, wall)
        failed = sum(record["system"] == name for record in results.failed)
        ratios = [figure(results.ratio(name, OURS)), figure(results.ratio(name, OURS_SYNCED))]
        if results.scenario.get("bound"):
            ratios = [figure(results.over_bound(name)), ratios[0], figure(results.median(name, copies))]
        rows.append([
            f"**{name}**" if name in (OURS, OURS_SYNCED) else name,
            about[name]["verifies"],
            "synced" if about[name]["durable"] else "cached",
            f"{len(walls)}/{len(walls) + failed}",
            f"{median(walls):.3f} ({min(walls):.3f}–{max(walls):.3f})",
            *ratios,
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
            f"Copy through loopback + SHA-256 + write: {total / results.gib:.2f} CPU s/GiB. With hashing on a core of its own, "
            f"one stream, no verified transfer takes less than {floor:.3f} s"
            + (f"; {OURS} took {ours / floor:.2f} times that." if ours else ".")
            + " Hashing two pieces at once lowers both.",
        ]
    return text


def bound_text(scenario):
    """What the bound is."""
    if not scenario.get("bound"):
        return []
    late = "" if not scenario["late"] else f" The clock does not wait for the last {scenario['late']}, whose links are slow."
    return [
        "",
        f"Bound: no system can have the last fetcher done before {scenario['bound']:.2f} s, which is max(F/u, F/d, N·F/(u+Σu)), "
        f"headers not counted.{late}",
    ]


def probe_text(report, probe):
    """The figures of a probe."""
    cases = {}
    failed = []
    for run in report["runs"]:
        if run["scenario"] != probe["name"]:
            continue
        if "error" in run:
            failed.append(f"* failed: {run['system']}, round {run['round'] + 1}: {run['error']}")
        else:
            cases.setdefault(run["system"], list(run["figures"]))
    rows = []
    for case, names in cases.items():
        for name in names:
            values = probe_values(report, probe["name"], case, name)
            rows.append([case, name, str(len(values)), f"{median(values):.4g} ({min(values):.4g}–{max(values):.4g})"])
    missing = [f"* not run: {one['reason']}" for one in report["missing"] if one["scenario"] == probe["name"]]
    text = lines_of(["case", "figure", "runs", "median (min–max)"], rows) if rows else []
    judged = goals.table(report, goals.of_probe(report, probe)) if rows else []
    return text + judged + (["", *failed, *missing] if failed or missing else [])


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
            text += systems_table(report, results) + bound_text(scenario) + limits_text(report, results)
            text += goals.table(report, goals.of_scenario(results))
        text += remarks(report, results)
    for probe in report["probes"]:
        text += ["", f"## {probe['title']} ({probe['name']})", "", *probe_text(report, probe)]
    versions = [f"{name}: {version}" for name, version in report["versions"].items() if "limit:" not in name]
    text += [
        "",
        "Wall: from the start of the fetching program until the data is whole, checked as said and in its file, of the last "
        "fetcher; each file was then compared with the source. ÷: times as long as ours. CPU: servers (ours: with tracker) and "
        "fetchers, children included. RssAnon: sampled peak of one process tree; VmHWM counts mapped "
        "file pages, too.",
        "",
        f"Versions: {'; '.join(versions)}.",
    ]
    return "\n".join(text)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as saved:
        print(render(json.load(saved)))
