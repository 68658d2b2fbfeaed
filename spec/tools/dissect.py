#!/usr/bin/env python3
"""What tshark with swp.lua makes of captures, frame by frame.

    dissect.py FILE...        a line of JSON for each frame; exit code 1 if any is malformed

Needs tshark 4 with Lua (Debian: apt-get install tshark). As a module: `frames` and `compare`.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import common
from codec import BY_NAME, INTEGERS, SPEC, TYPES
from common import SPEC_DIR

INSTALL = "tshark is not installed: apt-get install tshark"


@dataclass
class Frame:
    """One frame as the dissector shows it."""

    stream: int
    sender: int  # 0: who sent SYN, or was seen first
    values: dict[str, list[str]]  # without "swp."
    malformed: str | None

    @property
    def name(self) -> str:
        kind = int(self.values["type"][0], 16)
        return TYPES[kind]["name"] if kind in TYPES else "SKIPPED"


def tshark(path: Path, *words: str) -> str:
    """The output of one run; SystemExit if it cannot run or the dissector fails."""
    if shutil.which("tshark") is None:
        raise SystemExit(INSTALL)
    command = ["tshark", "-n", "-X", f"lua_script:{SPEC_DIR / 'swp.lua'}", "-o", "tcp.reassemble_out_of_order:TRUE",
               # Ports that tshark knows as another protocol's are used by SWP, too.
               "-o", "tcp.try_heuristic_first:TRUE", "-r", str(path), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or "Lua Error" in done.stdout + done.stderr:
        raise SystemExit(f"{' '.join(command)}: {done.returncode}\n{done.stdout[:1000]}\n{done.stderr[-1000:]}")
    return done.stdout


def frames(path: Path) -> list[Frame]:
    """All frames of a capture, in the order in which they were complete."""
    packets = {}
    first = {}
    for line in tshark(path, "-T", "fields", "-e", "frame.number", "-e", "tcp.stream", "-e", "ip.src", "-e", "ipv6.src",
                       "-e", "tcp.srcport").splitlines():
        number, stream, *source = line.split("\t")
        first.setdefault(stream, source)
        packets[number] = (stream, int(source != first[stream]))
    out = []
    shown = tshark(path, "-Y", "swp", "-T", "json", "-J", "frame swp", "--no-duplicate-keys")
    for packet in json.loads(shown or "[]"):
        layers = packet["_source"]["layers"]
        stream, sender = packets[layers["frame"]["frame.number"]]
        trees = layers.get("swp", [])
        for tree in trees if isinstance(trees, list) else [trees]:
            if isinstance(tree, dict):
                out.append(_frame(int(stream), sender, tree))
    return out


def _frame(stream: int, sender: int, tree: dict) -> Frame:
    values, malformed = {}, None
    for key, value in tree.items():
        if key == "_ws.expert":
            malformed = value["_ws.expert.message"]
        elif key.startswith("swp."):
            values[key[4:]] = value if isinstance(value, list) else [value]
    return Frame(stream, sender, values, malformed)


# ---------------------------------------------------------------------------------------------- comparing


def expected(name: str, fields: dict) -> dict[str, list]:
    """What the dissector should show of a message: field -> values, in order. Nothing for what has no bytes."""
    out: dict[str, list] = {}
    _expect(out, name.lower(), BY_NAME[name]["fields"], fields)
    return {key: values for key, values in out.items() if values}


def _expect(out: dict, prefix: str, specs: list[dict], fields: dict) -> None:
    for spec in specs:
        if spec["name"] in fields:
            _expect_field(out, f"{prefix}.{spec['name']}", spec["type"], fields[spec["name"]])


def _expect_field(out: dict, name: str, kind: str, value) -> None:
    put = out.setdefault(name, [])
    if kind in INTEGERS:
        put.append(value)
    elif kind == "ip":
        out.setdefault(f"{name}{4 if len(value) == 4 else 6}", []).append(ipaddress.ip_address(value))
    elif kind == "str16":
        out.setdefault(f"{name}.len", []).append(len(value.encode()))
        put.extend([value] if value else [])
    elif kind.startswith("["):
        for item in value:
            if kind[1:-1] in INTEGERS:
                put.append(item)
            else:
                _expect(out, kind[1:-1].lower(), SPEC["struct"][kind[1:-1]], item)
    elif kind in SPEC["struct"]:
        _expect(out, kind.lower(), SPEC["struct"][kind], value)
    elif value:
        put.append(value)


def _same(text: str, value) -> bool:
    """Whether tshark's text stands for the value."""
    if isinstance(value, int):
        return int(text, 16 if text.startswith("0x") else 10) == value
    if isinstance(value, bytes):
        return text.replace(":", "") == value.hex()
    if isinstance(value, str):
        return text == value.replace("\0", "\u2400")
    return ipaddress.ip_address(text) == value


def difference(frame: Frame, name: str, fields: dict) -> str | None:
    """In what the dissector's frame differs from the codec's message; None if in nothing."""
    if frame.name != name:
        return f"{frame.name} instead of {name}"
    if frame.malformed:
        return f"{name} is called malformed: {frame.malformed}"
    if name == "SKIPPED":
        return None
    wanted = expected(name, fields)
    shown = {key: values for key, values in frame.values.items() if key not in ("type", "length")}
    if set(shown) != set(wanted):
        return f"{name} shows {sorted(shown)} instead of {sorted(wanted)}"
    for key, values in wanted.items():
        if len(shown[key]) != len(values) or not all(map(_same, shown[key], values)):
            return f"{name}: {key} is {str(shown[key])[:200]} instead of {str(values)[:200]}"
    return None


def counts(found: list[Frame]) -> Counter:
    return Counter(frame.name for frame in found)


def main() -> int:
    bad = 0
    for path in sys.argv[1:]:
        for frame in frames(Path(path)):
            bad += frame.malformed is not None
            print(json.dumps({"stream": frame.stream, "end": frame.sender, "type": frame.name, "malformed": frame.malformed,
                              "fields": frame.values}))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
