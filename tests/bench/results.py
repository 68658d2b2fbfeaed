"""The figures of a benchmark, as they are asked for by table, goals and plots."""

from statistics import median

MIB = 1 << 20
GIB = 1 << 30
OURS = "starling-nosync"  # comparable with programs that do not wait for the disk
OURS_SYNCED = "starling"


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

    def over_bound(self, system):
        """Median wall time over what the network allows at best, or None."""
        one = self.median(system, wall)
        return one / self.scenario["bound"] if one is not None and self.scenario.get("bound") else None

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


def copies(record):
    """How many times its file the first seeder sent, headers included, or None."""
    return record.get("copies")


def figure(value, digits=2):
    """A number for a cell; an en dash if there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def lines_of(header, rows):
    """A Markdown table."""
    return ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)] + ["| " + " | ".join(row) + " |" for row in rows]


def probe_values(report, probe, case, name):
    """One figure of every good run of a probe's case."""
    runs = (run for run in report["runs"] if run["scenario"] == probe and run["system"] == case)
    return [run["figures"][name] for run in runs if name in run.get("figures", {})]


def probe_median(report, probe, case, name):
    """Its median, or None."""
    values = probe_values(report, probe, case, name)
    return median(values) if values else None
