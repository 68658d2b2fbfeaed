"""Codec of SWP, written from PROTOCOL.md and driven by messages.toml. Python 3.11, standard library only.

A message is (name, fields): fields is a dict with the names of messages.toml; raw bytes are `bytes`, lists are
lists, structures are dicts. Nothing here knows a socket or a clock.
"""

from __future__ import annotations

import struct
import tomllib
from pathlib import Path

SPEC = tomllib.loads((Path(__file__).resolve().parent.parent / "messages.toml").read_text(encoding="utf-8"))
TYPES = {t["id"]: t for t in SPEC["type"]}
BY_NAME = {t["name"]: t for t in SPEC["type"]}
CODES = {name: row["value"] for name, row in SPEC["codes"].items()}
LIMITS = {name: row["value"] for name, row in SPEC["limits"].items()}
TLVS = {name: row["tag"] for name, row in SPEC["tlvs"].items()}
HEADER = LIMITS["FRAME_HEADER"]
INTEGERS = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
RAW = {"b16": 16, "b32": 32}
DATA = BY_NAME["DATA"]["id"]
HELLO = BY_NAME["HELLO"]["id"]


class Violation(Exception):
    """Bytes that are not a message. `code` is the name of the code of the BYE, None = close without a byte."""

    def __init__(self, code: str | None, rule: str, problem: str, field: str = "", offset: int = 0):
        super().__init__(f"{field or 'frame'} at {offset}: {problem} [{rule}]")
        self.code, self.rule, self.problem, self.field, self.offset = code, rule, problem, field, offset


def malformed(rule: str, problem: str, field: str, offset: int) -> Violation:
    return Violation("MALFORMED", rule, problem, field, offset)


# ------------------------------------------------------------------------------------------------ decoding


class _Cursor:
    def __init__(self, body: bytes):
        self.body, self.at = body, 0

    def left(self) -> int:
        return len(self.body) - self.at

    def take(self, size: int, field: str) -> bytes:
        if size > self.left():
            raise malformed("F-7", f"{size} bytes expected, {self.left()} left", field, self.at)
        self.at += size
        return self.body[self.at - size : self.at]

    def integer(self, kind: str, field: str) -> int:
        return int.from_bytes(self.take(INTEGERS[kind], field), "big")


def _utf8(raw: bytes, field: str, offset: int) -> str:
    try:
        return raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise malformed("F-9", "not UTF-8", field, offset) from None


def _check_number(spec: dict, value: int, offset: int) -> None:
    name, rule = spec["name"], spec.get("rule", "F-10")
    if "const" in spec and value != spec["const"]:
        raise malformed(rule, f"expected {spec['const']:#x}, got {value:#x}", name, offset)
    if "enum" in spec and value not in SPEC["enum"][spec["enum"]].values():
        raise malformed(rule, f"{value} is not one of {spec['enum']}", name, offset)
    if not spec.get("min", 0) <= value <= spec.get("max", value):
        raise malformed(rule, f"{value} is out of bounds", name, offset)
    if "flags" in spec and value >> len(spec["flags"]):
        raise malformed("F-11", f"undefined bits in {value:#x}", name, offset)


def _check_size(spec: dict, size: int, offset: int) -> None:
    if not spec.get("min", 0) <= size <= spec.get("max", size):
        raise malformed("F-10", f"{size} is out of bounds", spec["name"], offset)


def _bits(cursor: _Cursor, spec: dict, seen: dict) -> bytes:
    offset, count = cursor.at, seen["piece_count"]
    raw = cursor.take(cursor.left(), spec["name"])
    if len(raw) != (count + 7) // 8:
        raise malformed("P-16", f"{len(raw)} bytes for {count} pieces", spec["name"], offset)
    if count % 8 and raw[-1] & (0xFF >> count % 8):
        raise malformed("P-17", "bits of no piece are set", spec["name"], offset)
    return raw


def _list(cursor: _Cursor, spec: dict) -> list:
    kind, offset, items = spec["type"][1:-1], cursor.at, []
    if kind in INTEGERS and (cursor.left() % INTEGERS[kind] or not cursor.left()):
        raise malformed("P-21", f"{cursor.left()} bytes for numbers", spec["name"], offset)
    while cursor.left():
        if kind in INTEGERS:
            at = cursor.at
            value = cursor.integer(kind, spec["name"])
            if value > spec.get("item_max", value):
                raise malformed(spec.get("rule", "F-10"), f"{value} is out of bounds", spec["name"], at)
            items.append(value)
        else:
            items.append(_tlv(cursor) if kind == "Tlv" else _struct(cursor, kind))
    _check_size(spec, len(items), offset)
    return items


def _tlv(cursor: _Cursor) -> dict:
    offset = cursor.at
    try:
        return _struct(cursor, "Tlv")
    except Violation:
        raise malformed("H-20", "ends inside a TLV", "tlvs", offset) from None


def _struct(cursor: _Cursor, name: str) -> dict:
    return _fields(cursor, SPEC["struct"][name])


def one_struct(name: str, raw: bytes) -> dict:
    """A structure that takes all of `raw`, or Violation."""
    cursor = _Cursor(raw)
    fields = _struct(cursor, name)
    if cursor.left():
        raise malformed("F-7", "trailing bytes", name, cursor.at)
    return fields


def _field(cursor: _Cursor, spec: dict, seen: dict):
    kind, name, offset = spec["type"], spec["name"], cursor.at
    if kind in INTEGERS:
        value = cursor.integer(kind, name)
        _check_number(spec, value, offset)
        return value
    if kind in RAW:
        return cursor.take(RAW[kind], name)
    if kind == "ip":
        return cursor.take({4: 4, 6: 16}[seen["family"]], name)
    if kind == "str16":
        size = cursor.integer("u16", name)
        _check_size(spec, size, offset)
        return _utf8(cursor.take(size, name), name, offset)
    if kind in ("utf8", "bytes"):
        size = seen["len"] if "tag" in seen else cursor.left()
        raw = cursor.take(size, name)
        _check_size(spec, size, offset)
        return _utf8(raw, name, offset) if kind == "utf8" else raw
    if kind == "bits":
        return _bits(cursor, spec, seen)
    if kind.startswith("["):
        return _list(cursor, spec)
    return _struct(cursor, kind)


def _fields(cursor: _Cursor, specs: list[dict]) -> dict:
    seen: dict = {}
    for spec in specs:
        if all(seen[key] == value for key, value in spec.get("when", {}).items()):
            seen[spec["name"]] = _field(cursor, spec, seen)
    return seen


def _check_message(name: str, seen: dict) -> None:
    """Rules that join several fields."""
    if name == "HELLO":
        if seen["vmax"] < seen["vmin"]:
            raise malformed("H-8", "vmin is above vmax", "vmax", 5)
        tags = [tlv["tag"] for tlv in seen["tlvs"]]
        if any(b <= a for a, b in zip(tags, tags[1:])):
            raise malformed("H-19", "tags do not ascend", "tlvs", 28)
        for tag in tags:
            if tag < 0x8000 and tag not in TLVS.values():
                raise Violation("UNKNOWN_TYPE", "H-22", f"unknown tag {tag:#06x}", "tlvs", 28)
    elif name == "BITMAP" and seen["manifest_len"] == 0 and (seen["piece_count"] or seen["kind"]):
        raise malformed("P-18", "pieces without a manifest", "piece_count", 8)


def decode(kind: int, body: bytes) -> tuple[str, dict]:
    """The message of type `kind` with this payload. Does not judge the header: see check_header."""
    message = TYPES[kind]
    cursor = _Cursor(body)
    seen = _fields(cursor, message["fields"])
    if cursor.left():
        raise malformed("P-16" if message["name"] == "BITMAP" else "F-7", "trailing bytes", "end", cursor.at)
    _check_message(message["name"], seen)
    return message["name"], seen


def check_header(kind: int, length: int) -> bool:
    """Whether the type is known; raises what a header alone can break."""
    if kind in TYPES:
        if not TYPES[kind]["min"] <= length <= TYPES[kind]["max"]:
            raise Violation("LIMIT", "F-3", f"{length} bytes for {TYPES[kind]['name']}")
        return True
    if kind < 0x80:
        raise Violation("UNKNOWN_TYPE", "F-4", f"unknown type {kind:#04x}")
    if length > LIMITS["MAX_CONTROL"]:
        raise Violation("LIMIT", "F-6", f"{length} bytes for the unknown type {kind:#04x}")
    return False


class FrameReader:
    """Frames of one direction of a connection, from bytes cut anywhere."""

    def __init__(self, greeted: bool = False):
        self.buffer = bytearray()
        self.greeted = greeted
        # Judges (ch, piece, begin, length) of a DATA before its bytes are there, or raises Violation. [F-16]
        self.judge_data = None

    def at_boundary(self) -> bool:
        return not self.buffer

    def feed(self, data: bytes):
        """Yields (name, fields), or ("SKIPPED", {"type": n}), for each frame that is complete."""
        self.buffer += data
        while True:
            if not self.greeted:
                self._check_greeting()
            if len(self.buffer) < HEADER:
                return
            kind, length = self.buffer[0], int.from_bytes(self.buffer[1:HEADER], "big")
            known = check_header(kind, length)
            if len(self.buffer) < HEADER + length:
                if kind == DATA and self.judge_data and len(self.buffer) >= HEADER + 12:
                    self.judge_data(*struct.unpack(">III", self.buffer[HEADER : HEADER + 12]), length - 12)
                return
            body = bytes(self.buffer[HEADER : HEADER + length])
            del self.buffer[: HEADER + length]
            self.greeted = True
            yield decode(kind, body) if known else ("SKIPPED", {"type": kind})

    def _check_greeting(self) -> None:
        """H-2 and H-3, as soon as the bytes are there."""
        head = self.buffer
        wrong = len(head) >= 1 and head[0] != HELLO
        if len(head) >= HEADER:
            hello = TYPES[HELLO]
            wrong |= not hello["min"] <= int.from_bytes(head[1:HEADER], "big") <= hello["max"]
        if wrong:
            raise Violation(None, "H-2", "the first frame is not HELLO")
        magic = LIMITS["MAGIC"].to_bytes(4, "big")
        if bytes(head[HEADER : HEADER + 4]) != magic[: max(0, len(head) - HEADER)]:
            raise Violation(None, "H-3", "the magic is wrong")


# ------------------------------------------------------------------------------------------------ encoding


def _put(spec: dict, value, fields: dict) -> bytes:
    kind = spec["type"]
    if kind in INTEGERS:
        return value.to_bytes(INTEGERS[kind], "big")
    if kind == "str16":
        raw = value.encode("utf-8")
        return struct.pack(">H", len(raw)) + raw
    if kind == "utf8":
        return value.encode("utf-8")
    if kind.startswith("["):
        item = kind[1:-1]
        if item in INTEGERS:
            return b"".join(v.to_bytes(INTEGERS[item], "big") for v in value)
        return b"".join(put_struct(item, v) for v in value)
    if kind in SPEC["struct"]:
        return put_struct(kind, value)
    return bytes(value)


def _put_fields(specs: list[dict], fields: dict) -> bytes:
    out = b""
    for spec in specs:
        if all(fields[key] == value for key, value in spec.get("when", {}).items()):
            value = fields.get(spec["name"], spec.get("const"))
            out += _put(spec, value, fields)
    return out


def put_struct(name: str, fields: dict) -> bytes:
    """The bytes of a structure; a Tlv's `len` is computed."""
    if name == "Tlv":
        fields = fields | {"len": len(fields["value"])}
    return _put_fields(SPEC["struct"][name], fields)


def payload(name: str, fields: dict) -> bytes:
    """The payload of a message. Fields with a `const` may be left out. Values are not judged."""
    return _put_fields(BY_NAME[name]["fields"], fields)


def frame(kind: int, body: bytes) -> bytes:
    """A frame of any type with any payload."""
    return bytes([kind]) + len(body).to_bytes(3, "big") + body


def encode(name: str, /, **fields) -> bytes:
    """The whole frame of a message."""
    return frame(BY_NAME[name]["id"], payload(name, fields))


def holdings_digest(holdings) -> int:
    """The digest in BEAT of (object id, state) pairs."""
    digest = 0
    for object_id, state in holdings:
        head = int.from_bytes(object_id[:8], "big")
        digest ^= (head << state | head >> (64 - state)) & (2**64 - 1)
    return digest


def negotiate(mine: dict, theirs: dict) -> int | None:
    """The version of a connection between two HELLOs (H-12), None if there is none (H-13)."""
    version = min(mine["vmax"], theirs["vmax"])
    return version if version >= max(mine["vmin"], theirs["vmin"]) else None
