#!/usr/bin/env python3
"""Renews what the repository shows of a saved benchmark: plots, and the README's part on speed. Needs matplotlib.

    tests/bench/publish.py RESULTS.json ROOT

run.py --publish calls it. Plots go to ROOT/docs, the text between the marks "<!-- bench -->" of ROOT/README.md.
"""

import collections
import json
import os
import sys
from statistics import median

import goals
import matplotlib
from results import GIB, MIB, OURS, OURS_SYNCED, Results, copies, figure, lines_of, most_anonymous, wall

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "starling"  # the same figures give the same file
import matplotlib.pyplot as plt  # noqa: E402

BEGIN, END = "<!-- bench -->", "<!-- /bench -->"
OUR_COLOUR, OTHER_COLOUR = "#2a6f97", "#b8c4cc"


def bars(axes, results, of, title, unit):
    """One bar for each system, the least first, with the spread of its runs."""
    named = [name for name in results.runs if not name.startswith("limit:")]
    named.sort(key=lambda name: results.median(name, of), reverse=True)
    for place, name in enumerate(named):
        values = results.values(name, of)
        middle = median(values)
        spread = [[middle - min(values)], [max(values) - middle]]
        colour = OUR_COLOUR if name in (OURS, OURS_SYNCED) else OTHER_COLOUR
        axes.barh(place, middle, xerr=spread, color=colour, ecolor="#555555", capsize=2)
        axes.annotate(f" {middle:.2f}", (max(values), place), va="center", fontsize=8)
    axes.set_yticks(range(len(named)), named, fontsize=8)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(unit, fontsize=8)
    axes.margins(x=0.12)
    if of is not wall:
        axes.axvline(1, color="#c1121f", linestyle="--", linewidth=1)  # what nobody can beat
    axes.spines[["top", "right"]].set_visible(False)


def plot(path, parts):
    """A picture with one part below another."""
    heights = [0.7 + 0.26 * len(results.runs) for results, *_ in parts]
    picture, all_axes = plt.subplots(len(parts), 1, figsize=(7.5, sum(heights)), height_ratios=heights, squeeze=False)
    for axes, (results, of, title, unit) in zip(all_axes[:, 0], parts, strict=True):
        bars(axes, results, of, title, unit)
    picture.tight_layout()
    picture.savefig(path, metadata={"Date": None})
    plt.close(picture)


def over_bound(results):
    """Wall time over the network's bound."""
    return lambda record: wall(record) / results.scenario["bound"]


def plots(report, folder):
    """All plots; their names, and what they show."""
    os.makedirs(folder, exist_ok=True)
    made = []
    all_results = {scenario["name"]: Results(report, scenario) for scenario in report["scenarios"]}
    loopback = [
        (all_results[name], wall, all_results[name].scenario["title"], "seconds")
        for name in ("one-to-one", "one-to-four", "four-to-one", "many-small-files")
        if name in all_results and all_results[name].runs
    ]
    if loopback:
        plot(os.path.join(folder, "speed-loopback.svg"), loopback)
        made.append(("speed-loopback.svg", "Seconds on loopback, every system in turn"))
    shaped = [
        (results, over_bound(results), results.scenario["title"], "last fetcher done ÷ what the network allows at best")
        for results in all_results.values()
        if results.scenario["bound"] and results.runs
    ]
    if shaped:
        plot(os.path.join(folder, "speed-shaped.svg"), shaped)
        made.append(("speed-shaped.svg", "Over links of 100 Mbit/s, times the bound"))
    return made


def best_rival(results, of):
    """The rival with the least of a figure, and the figure."""
    rivals = [name for name in results.runs if name not in (OURS, OURS_SYNCED) and not name.startswith("limit:")]
    return min(((results.median(name, of), name) for name in rivals), default=(None, "–"))


def overview(report):
    """One line for each scenario: ours beside the best rivals that verify and that do not."""
    verifying = {system["name"] for system in report["systems"] if system["verifies"] != "nothing"}
    rows = []
    for scenario in report["scenarios"]:
        results = Results(report, scenario)
        if results.median(OURS, wall) is None:
            continue
        checked = [name for name in results.runs if name in verifying and name not in (OURS, OURS_SYNCED) and ":" not in name]
        checked.sort(key=lambda name: results.median(name, wall))
        fastest, name = best_rival(results, wall)
        memory = results.median(OURS, most_anonymous)
        rows.append([
            scenario["title"],
            f"**{results.median(OURS, wall):.3f} s**" + over_text(results, OURS),
            f"{results.median(checked[0], wall):.3f} s ({checked[0]}{over_text(results, checked[0])})" if checked else "–",
            f"{fastest:.3f} s ({name})" if fastest is not None else "–",
            figure(results.cpu_per_gib(OURS)),
            figure(None if memory is None else memory / MIB, 0),
            figure(results.median(OURS, copies)),
        ])
    header = [
        "scenario", "Starling", "best rival that verifies", "fastest rival", "Starling: CPU s/GiB", "RssAnon MiB", "copies sent",
    ]
    return lines_of(header, rows)


def over_text(results, name):
    """A wall time in bounds, where there is one."""
    over = results.over_bound(name)
    return "" if over is None else f", {over:.2f} × bound"


def stand(report):
    """All goals of the probes, in one table."""
    rows = [[probe["title"], *row] for probe in report["probes"] for row in goals.of_probe(report, probe)]
    cells = []
    for title, what, got, comparison, must, aim in rows:
        wanted = "–" if must is None else f"{comparison} {figure(must)}"
        cells.append([title, what, figure(got), wanted, goals.verdict(got, comparison, must, aim)])
    return lines_of(["what was done", "figure", "measured", "must be", "stands"], cells) if cells else []


def text(report, made):
    """The README's part."""
    machine = report["machine"]
    links = {scenario["name"] for scenario in report["scenarios"] if scenario["bound"]}
    counts = collections.Counter((run["scenario"], run["system"]) for run in report["runs"] if run["scenario"] in links)
    over_links = f" ({max(counts.values())} over links)" if counts else ""
    cut_short = ", cut short before the last scenarios" if report.get("interrupted") else ""
    lines = [
        f"One run of `tests/bench/run.py --publish` ({machine['date']}, commit {machine['commit']}): {machine['cores']} cores of "
        f"{machine['cpu']}, {machine['memory'] / GIB:.0f} GiB, Linux {machine['kernel']}, load before {machine['load_before']}; "
        f"{report['rounds']} interleaved rounds{over_links}, medians{cut_short}. Everything of ours is verified with SHA-256 and found "
        "by name through the tracker; `starling-nosync` does, as rivals do, not wait for the disk. "
        "[All figures](tests/bench/results/latest.md), with spreads, versions, limits and goals.",
        "",
        *overview(report),
        "",
        *stand(report),
    ]
    for name, about in made:
        lines += ["", f"![{about}](docs/{name})"]
    return "\n".join(lines)


def renew(path, new):
    """Replaces what stands between the marks."""
    with open(path, encoding="utf-8") as file:
        before, begin, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"error: {path} lacks {BEGIN} or {END}")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{new}\n{END}{after}")


def main(words):
    """Renews everything."""
    with open(words[0], encoding="utf-8") as file:
        report = json.load(file)
    made = plots(report, os.path.join(words[1], "docs"))
    renew(os.path.join(words[1], "README.md"), text(report, made))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
