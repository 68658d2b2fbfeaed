"""What the figures should be, and whether they are."""

from results import MIB, OURS, OURS_SYNCED, copies, figure, lines_of, most_anonymous, probe_median, wall


def goals(scenario):
    """(what, how to get it from results, must, aim) of a scenario; figures are upper bounds."""
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
    if scenario == "many-small-files":
        return [over("rsync", 1.0), over("rsync+fsync", 1.0, ours=OURS_SYNCED)]
    if scenario.startswith("shaped"):
        return shaped_goals(scenario)
    if scenario in ("one-to-four", "four-to-one"):
        return [over("libtorrent-v1", 0.55), per_gib, anonymous]
    if scenario == "latency":
        return [
            (f"ms from start to end, {name}", lambda results, name=name: in_ms(results.median(name, wall)), 30, 15)
            for name in (OURS_SYNCED, OURS)
        ]
    return []


def shaped_goals(scenario):
    """Those of the networks with links of a fixed rate."""
    bound = ("last one done ÷ bound", lambda results: results.over_bound(OURS))
    sent = ("copies that the seeder sent, headers included", lambda results: results.median(OURS, copies), 1.2, None)
    if scenario == "shaped-lossy":
        return [("wall ÷ libtorrent-v1", lambda results: results.ratio(OURS, "libtorrent-v1"), 1.0, None), sent]
    if scenario == "shaped-5ms":
        return [(*bound, 1.35, None), sent]
    if scenario == "shaped-one-slow":
        # What is sent after the others are done, to the slow one alone, counts as well, so copies say nothing.
        return [(*bound, 1.25, 1.12)]
    return [(*bound, 1.25, 1.12), sent]


def in_ms(seconds):
    """Milliseconds, or None."""
    return None if seconds is None else seconds * 1000


def verdict(got, comparison, must, aim):
    """How a figure stands beside its goals."""

    def holds(edge):
        return got <= edge if comparison == "at most" else got >= edge

    if got is None:
        return "not measured"
    if must is None and aim is None:
        return "for information"
    text = "met" if must is None or holds(must) else "**missed**"
    return text if aim is None else text + (", aim met" if holds(aim) else ", aim not yet")


def table(report, rows):
    """Rows of (what, measured, comparison, must, aim) with their verdicts."""
    if not rows:
        return []
    if report["smoke"]:
        return ["", "No goal is judged in a smoke run."]
    cells = []
    for what, got, comparison, must, aim in rows:
        wanted = "–" if must is None else f"{comparison} {figure(must)}"
        cells.append([what, figure(got), wanted, figure(aim), verdict(got, comparison, must, aim)])
    return ["", *lines_of(["goal", "measured", "must be", "aim", "stands"], cells)]


def of_scenario(results):
    """How each goal of a scenario stands."""
    return [(what, get(results), "at most", must, aim) for what, get, must, aim in goals(results.scenario["name"])]


def of_probe(report, probe):
    """How each goal of a probe stands."""
    rows = []
    for what, (name, case, base), comparison, must, aim in probe["goals"]:
        got = probe_median(report, probe["name"], case, name)
        if base and got is not None:
            under = probe_median(report, probe["name"], base, name)
            got = got / under if under else None
        rows.append((what, got, comparison, must, aim))
    return rows
