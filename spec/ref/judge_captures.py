"""Judges the captures of an interop run: the rules with verify_capture.py, and tshark against the Python codec."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import dissect  # noqa: E402
import manifest as mf  # noqa: E402
import verify_capture  # noqa: E402
from cases import Failure  # noqa: E402


class Live:
    """dumpcap on the loopback interface, for some ports."""

    def __init__(self, path: Path, ports: list[int]):
        self.path, self.log = path, path.with_suffix(".log")
        words = ["dumpcap", "-q", "-i", "lo", "-B", "32", "-f", " or ".join(f"tcp port {port}" for port in ports), "-w", str(path)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while "File: " not in self.log.read_text(errors="replace"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                raise Failure(f"dumpcap: {self.log.read_text(errors='replace')[-300:]}")
            time.sleep(0.02)

    def stop(self) -> int:
        """Ends it; how many packets it lost."""
        time.sleep(0.1)  # what is in its buffer
        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        lost = re.search(r"received/dropped on interface .*?: \d+/(\d+)", self.log.read_text(errors="replace"))
        return int(lost[1]) if lost else 0


def can_capture() -> str | None:
    """None if dumpcap may capture here, else why not."""
    if shutil.which("dumpcap") is None:
        return dissect.INSTALL
    with tempfile.TemporaryDirectory() as folder:
        try:
            Live(Path(folder) / "try.pcapng", [1]).stop()
        except Failure as failure:
            return str(failure)
    return None


def verify(paths: list[Path], allow: set[str]) -> Counter:
    """The number of frames of each type, or Failure."""
    script = Path(verify_capture.__file__)
    words = [word for rule in allow for word in ("--allow", rule)]
    done = subprocess.run([sys.executable, str(script), *words, *map(str, paths)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"capture: {done.stderr[-500:]}")
    types = re.search(r"^types: (.*)$", done.stdout, re.M)
    return Counter(json.loads(types[1])) if types else Counter()


def dissected(path: Path) -> tuple[Counter, list[str]]:
    """The same as tshark counts it, and what it finds malformed."""
    counts, malformed = Counter(), []
    names = {f"0x{t['id']:02x}": name for name, t in dissect.BY_NAME.items()}
    for line in dissect.tshark(path, "-Y", "swp", "-T", "fields", "-e", "frame.number", "-e", "swp.type", "-e", "swp.malformed",
                               "-e", "_ws.expert.message").splitlines():
        number, types, bad, why = (line.split("\t") + ["", "", ""])[:4]
        counts.update(names.get(kind, "SKIPPED") for kind in types.split(",") if kind)
        if bad:
            malformed.append(f"packet {number}: {why}")
    return counts, malformed


def check_dissector(paths: list[Path], counted: Counter) -> str | None:
    """Whether tshark sees the frames of all captures as the Python codec does; None if so."""
    with tempfile.TemporaryDirectory() as folder:
        merged = Path(folder) / "all.pcapng"
        if len(paths) == 1:
            merged = paths[0]
        else:
            subprocess.run(["mergecap", "-a", "-w", str(merged), *map(str, paths)], check=True)
        counts, malformed = dissected(merged)
    if malformed:
        return f"malformed: {malformed[:3]}"
    if counts != counted:
        return f"tshark counts {dict(counts - counted)} more and {dict(counted - counts)} fewer than the codec"
    return None




def object_id(path: Path) -> bytes:
    """Of a file, with the default piece size."""
    return mf.parse(mf.build({b"": path.read_bytes()})).id()
