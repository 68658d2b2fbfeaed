#!/usr/bin/env python3
"""Fills the tables and examples of PROTOCOL.md from messages.toml and the vectors, and makes swp.lua.

In PROTOCOL.md, what stands between `<!-- gen:WHAT -->` and `<!-- /gen -->` is replaced. With --check: only says
which files would change, exit code 1 if any.
"""

import re
import sys

import common
import codec
import frames
import lua
import vectors
from codec import BY_NAME, INTEGERS, RAW, SPEC
from common import SPEC_DIR

DIRECTIONS = {
    "both": "both", "peer-peer": "peer → peer", "peer-tracker": "peer → tracker", "tracker-peer": "tracker → peer",
}


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def number(value: int) -> str:
    return f"0x{value:08X}" if value > 1 << 31 and value < 1 << 32 else f"{value:,}"


def limits() -> str:
    rows = [[f"`{name}`", number(row["value"]), row["unit"], row["doc"]] for name, row in SPEC["limits"].items()]
    return table(["name", "value", "unit", "meaning"], rows)


def codes() -> str:
    rows = [[str(row["value"]), f"`{name}`", row["group"], row["doc"]] for name, row in SPEC["codes"].items()]
    return table(["code", "name", "about", "meaning"], rows)


def tlvs() -> str:
    rows = [[f"0x{row['tag']:04X}", f"`{name}`", row["value"], row["doc"]] for name, row in SPEC["tlvs"].items()]
    return table(["tag", "name", "value", "meaning"], rows)


def ranges(space: str) -> str:
    width = {"types": 2, "tags": 4, "codes": 0}[space]
    show = (lambda v: f"0x{v:0{width}X}") if width else str
    return table(["from", "to", "use"], [[show(r["from"]), show(r["to"]), r["doc"]] for r in SPEC["ranges"][space]])


def messages() -> str:
    rows = [[f"0x{t['id']:02X}", f"`{t['name']}`", DIRECTIONS[t["dir"]], f"{t['min']:,}", f"{t['max']:,}", t["doc"]]
            for t in SPEC["type"]]
    return table(["type", "name", "direction", "min", "max", "meaning"], rows)


def legal(field: dict) -> str:
    """The legal values of a field, in words."""
    parts = []
    if "const" in field:
        parts.append(number(field["const"]) if field["const"] < 10 else f"0x{field['const']:08X}")
    if "enum" in field:
        parts.append(", ".join(f"{v} {k}" for k, v in SPEC["enum"][field["enum"]].items()))
    if "flags" in field:
        parts.append(", ".join(f"bit {i} {name}" for i, name in enumerate(field["flags"])) + ", rest 0")
    if "const" not in field and ("min" in field or "max" in field):
        sized = field["type"] in ("str16", "utf8", "bytes") or field["type"].startswith("[")
        unit = (" items" if field["type"].startswith("[") else " bytes") if sized else ""
        low, high = field.get("min", 0), field.get("max")
        parts.append(f"{low:,} to {high:,}{unit}" if high else f"{low:,} or more{unit}")
    if "item_max" in field:
        parts.append(f"each at most {field['item_max']:,}")
    return "; ".join(parts) or "any"


def rule(field: dict) -> str:
    """The rules that illegal values of a field break."""
    rules = []
    constrained = {"const", "enum", "min", "max", "item_max"} & field.keys() or "rule" in field
    if constrained:
        rules.append(field.get("rule", "F-10"))
    if "flags" in field:
        rules.append("F-11")
    if field["type"] in ("str16", "utf8"):
        rules.append("F-9")
    if field["type"] == "[Tlv]":
        rules.append("H-20")
    if field["type"] == "bits":
        rules.append("P-17")
    return ", ".join(dict.fromkeys(rules)) or "–"


def size(field: dict) -> int | None:
    """Bytes of a field, None if they vary."""
    kind = field["type"]
    if kind in SPEC["struct"]:
        sizes = [size(f) for f in SPEC["struct"][kind]]
        return None if None in sizes else sum(sizes)
    return (INTEGERS | RAW).get(kind)


def layout(specs: list[dict]) -> str:
    rows, at = [], 0
    for field in specs:
        offset = "" if at is None else str(at)
        when = "".join(f" (if `{k}` = {v})" for k, v in field.get("when", {}).items())
        rows.append([offset, f"`{field['name']}`", f"`{field['type']}`", legal(field), rule(field),
                     (field.get("doc", "") + when).strip()])
        width = size(field)
        # Alternatives start at the same offset.
        at = None if at is None or width is None else at + width if "when" not in field else None
    return table(["offset", "field", "type", "legal values", "else", "meaning"], rows)


def message(name: str) -> str:
    t = BY_NAME[name]
    bytes_ = f"{t['min']:,}" if t["min"] == t["max"] else f"{t['min']:,} to {t['max']:,}"
    head = f"**0x{t['id']:02X} {name}** ({DIRECTIONS[t['dir']]}): {t['doc']}. Payload: {bytes_} bytes."
    return head + ("\n\n" + layout(t["fields"]) if t["fields"] else "")


def struct(name: str) -> str:
    return f"**{name}**\n\n" + layout(SPEC["struct"][name])


# ------------------------------------------------------------------------------------------------ examples

HEX = {v["id"]: v["hex"] for v in frames.frames() if "hex" in v}
MANIFESTS = {v["id"]: v["hex"] for v in vectors.manifests()}


def example(args: list[str]) -> str:
    if args[0] == "manifest":
        return "```hex manifest\n" + "\n".join(fold(MANIFESTS[vid]) for vid in args[1:]) + "\n```"
    return "```hex\n" + "\n".join(fold(HEX[vid], 8) for vid in args) + "\n```"


def fold(digits: str, first: int = 0) -> str:
    """Hex digits in groups of four bytes, the frame header apart, 32 bytes a line."""
    head, rest = digits[:first], digits[first:]
    lines = [" ".join(rest[i : i + 64][j : j + 8] for j in range(0, len(rest[i : i + 64]), 8))
             for i in range(0, len(rest), 64)] or [""]
    pad = " " * (first + 2) if first else ""
    return "\n".join(((head + "  " if first and n == 0 else pad) + line).rstrip() for n, line in enumerate(lines))


# ---------------------------------------------------------------------------------------------- the whole

PLAIN = {"limits": limits, "codes": codes, "tlvs": tlvs, "messages": messages}
NAMED = {"ranges": ranges, "msg": message, "struct": struct}


def generated(what: str) -> str:
    if what in PLAIN:
        return PLAIN[what]()
    if what.startswith("hex "):
        return example(what.split()[1:])
    kind, _, name = what.partition(":")
    return NAMED[kind](name)


def check_sizes() -> None:
    """min and max of each type are what its fields give."""
    for t in SPEC["type"]:
        low = high = 0
        for field in [f for f in t["fields"] if "when" not in f]:
            least, most = bounds(field, t["max"])
            low, high = low + least, high + most
        choices = [f for f in t["fields"] if "when" in f]
        if choices and t["name"] == "FIND":
            # Alternatives: NAME is both the shortest and the longest.
            low, high = low + 4, high + 4 + codec.LIMITS["MAX_PATH"]
        elif choices:
            high += (codec.LIMITS["MAX_PIECES"] + 7) // 8
        if t["name"] == "HAVE":
            low += 4
        top = {"HELLO": "MAX_HELLO", "BYE": "MAX_BYE"}.get(t["name"], "MAX_CONTROL")
        high = high if t["name"] == "DATA" else min(high, codec.LIMITS[top])
        assert (low, high) == (t["min"], t["max"]), (t["name"], low, high)


def bounds(field: dict, most: int) -> tuple[int, int]:
    kind, fixed = field["type"], size(field)
    if fixed is not None:
        return fixed, fixed
    if kind == "ip":
        return 4, 16
    if kind == "str16":
        return 2 + field.get("min", 0), 2 + field["max"]
    if kind in SPEC["struct"]:
        pairs = [bounds(f, most) for f in SPEC["struct"][kind]]
        return sum(p[0] for p in pairs), sum(p[1] for p in pairs)
    if kind == "[Entry]":
        return 0, 33 * field["max"]
    return (field.get("min", 0), field.get("max", most)) if not kind.startswith("[") else (0, most)


def protocol(text: str) -> str:
    opened, closed = text.count("<!-- gen:"), text.count("<!-- /gen -->")
    assert opened - 1 == closed, "each generated block is opened and closed"  # one is named in the prose

    def fill(match: re.Match) -> str:
        return f"<!-- gen:{match[1]} -->\n{generated(match[1])}\n<!-- /gen -->"

    return re.sub(r"^<!-- gen:([^\n]*?) -->\n.*?^<!-- /gen -->", fill, text, flags=re.S | re.M)


def main() -> int:
    check_sizes()
    path = SPEC_DIR / "PROTOCOL.md"
    files = {path: protocol(path.read_text(encoding="utf-8")), SPEC_DIR / "swp.lua": lua.dissector()}
    return common.deliver(files, "--check" in sys.argv[1:], "spec/tools/gen.py")


if __name__ == "__main__":
    sys.exit(main())
