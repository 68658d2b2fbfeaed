"""What is transferred from how many to how many, over which network."""

from collections.abc import Callable
from dataclasses import dataclass

from network import Loopback
from shaped import MBIT, shaped

MIB = 1 << 20
SWARMS = ("starling-nosync", "libtorrent-v1", "libtorrent-v2", "aria2-bt", "rqbit")


@dataclass(frozen=True)
class Scenario:
    """One setting that all systems are run in. Another one is another line in `all_scenarios`."""

    name: str
    title: str
    size: int  # bytes of the one file, or of all files of the folder
    files: int = 0  # a folder of so many files instead of one file
    seeders: int = 1
    fetchers: int = 1  # started at once, each into a folder of its own
    late: int = 0  # how many of the fetchers, the last ones, have slow links; the clock does not wait for them
    repeat: int = 1  # runs of a system in each round
    rounds_at_most: int = 1000
    network: Callable = Loopback
    only: tuple[str, ...] = ()  # the systems that it is for; empty: all
    bound: float | None = None  # seconds that no system can beat on this network

    @property
    def delivered(self):
        """Bytes that all fetchers together end up with."""
        return self.size * self.fetchers

    @property
    def ballast(self):
        """Bytes that the run takes from the page cache quickly. What comes slowly can't be kept warm."""
        return self.delivered if self.network is Loopback else 0

    def seconds(self):
        """Time after which a run counts as failed."""
        return 60.0 + 120.0 * self.delivered / (1 << 30) + 20.0 * (self.bound or 0) + self.files / 20


def describe(size):
    """A size in binary units, as short as it goes."""
    for unit, name in ((1 << 30, "GiB"), (MIB, "MiB"), (1 << 10, "KiB")):
        if size % unit == 0 and size:
            return f"{size // unit} {name}"
    return f"{size} B"


def fluid_bound(size, fetchers, mbit):
    """Seconds in which `fetchers` can at best have `size` bytes from one seeder, all links alike. Headers don't count."""
    rate = mbit * MBIT / 8
    return max(size / rate, fetchers * size / (rate * (1 + fetchers)))


def on_shaped_links(given, name, about, fetchers, late=0, only=SWARMS, **links):
    """Links of 100 Mbit/s in both directions."""
    size = given.shaped_size
    return Scenario(
        name,
        f"100 Mbit/s links{about}: 1 seeder, {fetchers} fetchers, {describe(size)} each",
        size,
        fetchers=fetchers,
        late=late,
        rounds_at_most=given.shaped_rounds,
        network=shaped(**links),
        only=only,
        bound=fluid_bound(size, fetchers - late, 100),
    )


def all_scenarios(given):
    """Every scenario, by name, in the sizes that the command line gives."""
    size, files, many = given.size, given.files, given.shaped_fetchers
    small = min(size, MIB)
    text = describe(size)
    over_links = [
        on_shaped_links(given, "shaped", "", many, only=(*SWARMS, "curl")),
        on_shaped_links(given, "shaped-5ms", ", 5 ms each way", many, delay_ms=5),
        on_shaped_links(given, "shaped-lossy", ", 25 ms each way, 1 % lost", many, delay_ms=25, loss_percent=1),
        on_shaped_links(given, "shaped-one-slow", ", one fetcher with 10 Mbit/s", many, late=1, slow_mbit=10),
        on_shaped_links(given, "shaped-16", "", 2 * many),
    ]
    found = (
        Scenario("one-to-one", f"1 seeder, 1 fetcher, {text}", size),
        Scenario("latency", f"1 seeder, 1 fetcher, {describe(small)}: what starting up costs", small, repeat=3),
        Scenario("one-to-four", f"1 seeder, 4 fetchers at once, {text} each", size, fetchers=4),
        Scenario("four-to-one", f"4 seeders, 1 fetcher, {text}", size, seeders=4),
        Scenario(
            "many-small-files", f"1 seeder, 1 fetcher, a folder of {files} files of 4 KiB", files * 4096, files=files,
            only=("starling", "starling-nosync", "rsync", "rsync+fsync", "libtorrent-v1", "libtorrent-v2"),
        ),
        *over_links,
    )
    return {scenario.name: scenario for scenario in found}
