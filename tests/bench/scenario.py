"""What is transferred from how many to how many, over which network."""

from dataclasses import dataclass

from network import Loopback

MIB = 1 << 20


@dataclass(frozen=True)
class Scenario:
    """One setting that all systems are run in. Another one is another line in `all_scenarios`."""

    name: str
    title: str
    size: int  # bytes of the one file
    seeders: int = 1
    fetchers: int = 1  # started at once, each into a folder of its own
    repeat: int = 1  # runs of a system in each round
    network: type = Loopback

    @property
    def delivered(self):
        """Bytes that all fetchers together end up with."""
        return self.size * self.fetchers

    def seconds(self):
        """Time after which a run counts as failed."""
        return 60.0 + 120.0 * self.delivered / (1 << 30)


def describe(size):
    """A size in binary units, as short as it goes."""
    for unit, name in ((1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")):
        if size % unit == 0 and size:
            return f"{size // unit} {name}"
    return f"{size} B"


def all_scenarios(size):
    """Every scenario, by name, with files of `size` bytes where it does not fix its own."""
    small = min(size, MIB)
    text = describe(size)
    found = (
        Scenario("one-to-one", f"1 seeder, 1 fetcher, {text}", size),
        Scenario("latency", f"1 seeder, 1 fetcher, {describe(small)}: what starting up costs", small, repeat=3),
        Scenario("one-to-four", f"1 seeder, 4 fetchers at once, {text} each", size, fetchers=4),
        Scenario("four-to-one", f"4 seeders, 1 fetcher, {text}", size, seeders=4),
    )
    return {scenario.name: scenario for scenario in found}
