"""Manifests, safe paths, names and metafiles of SWP, written from section 6 of PROTOCOL.md.

Python 3.11, standard library only.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from codec import LIMITS

MANIFEST_MAGIC = 0x5357504D
METAFILE_MAGIC = 0x53575046


class Refused(Exception):
    """Bytes or text that break a rule; `rule` is its id in PROTOCOL.md."""

    def __init__(self, rule: str, problem: str):
        super().__init__(f"{problem} [{rule}]")
        self.rule = rule


def require(holds: bool, rule: str, problem: str) -> None:
    if not holds:
        raise Refused(rule, problem)


def check_path(raw: bytes) -> str:
    """A safe path from bytes, or Refused."""
    require(1 <= len(raw) <= LIMITS["MAX_PATH"], "M-16", f"a path of {len(raw)} bytes")
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Refused("M-16", "not UTF-8") from None
    segments = raw.split(b"/")
    require(all(segments), "M-17", "an empty segment")
    require(len(segments) <= LIMITS["MAX_DEPTH"], "M-17", f"{len(segments)} segments")
    require(all(len(s) <= LIMITS["MAX_SEGMENT"] for s in segments), "M-18", "a segment is too long")
    require(not {b".", b".."} & set(segments), "M-19", "a segment is . or ..")
    bad = any(b < 0x20 or b == 0x7F or b == 0x5C for b in raw)
    require(not bad, "M-20", "a control byte or a backslash")
    return text


def check_name(raw: bytes) -> str:
    """A name from bytes, or Refused."""
    text = check_path(raw)
    versioned = re.search(r"@([0-9]+|sha256:[0-9A-Fa-f]+)\Z", text)
    require(versioned is None, "M-22", "ends like a version")
    return text


@dataclass(frozen=True)
class Entry:
    path: str  # "" = the file of a file object; ends in "/" = an empty folder
    executable: bool
    length: int
    digest: bytes

    def is_folder(self) -> bool:
        return self.path.endswith("/")


@dataclass(frozen=True)
class Manifest:
    piece_log2: int
    entries: tuple[Entry, ...]
    hashes: tuple[bytes, ...]
    raw: bytes

    def id(self) -> bytes:
        return hashlib.sha256(self.raw).digest()  # [M-1]

    def pieces(self):
        """(index of the file, offset in it, length) of each piece."""
        size = 1 << self.piece_log2
        for index, entry in enumerate(self.entries):
            for offset in range(0, entry.length, size):
                yield index, offset, min(size, entry.length - offset)


class _Reader:
    def __init__(self, raw: bytes, rule: str):
        self.raw, self.at, self.rule = raw, 0, rule

    def take(self, size: int) -> bytes:
        require(size <= len(self.raw) - self.at, self.rule, "ends before its last field")
        self.at += size
        return self.raw[self.at - size : self.at]

    def integer(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")


def parse(raw: bytes) -> Manifest:
    """A checked manifest from bytes, or Refused."""
    require(len(raw) <= LIMITS["MAX_MANIFEST"], "M-5", "too long")
    reader = _Reader(raw, "M-6")
    require(reader.integer(4) == MANIFEST_MAGIC, "M-2", "magic is not SWPM")
    require(reader.integer(1) == 1, "M-2", "unknown version")
    log2 = reader.integer(1)
    require(LIMITS["MIN_PIECE_LOG2"] <= log2 <= LIMITS["MAX_PIECE_LOG2"], "M-3", f"piece_log2 {log2}")
    require(reader.integer(2) == 0, "M-2", "zero is not 0")
    count = reader.integer(4)
    require(1 <= count <= LIMITS["MAX_FILES"], "M-4", f"{count} entries")
    entries, pieces, before = [], 0, None
    for _ in range(count):
        path = reader.take(reader.integer(2))
        require(before is None or before < path, "M-7", "entries are not in order")
        before = path
        flags, length, digest = reader.integer(1), reader.integer(8), reader.take(32)
        require(flags <= 1, "M-8", f"flags {flags:#x}")
        entries.append(_entry(path, flags, length, digest, count))
        pieces += -(-length >> log2)
        require(pieces <= LIMITS["MAX_PIECES"], "M-13", "too many pieces")
    _check_conflicts(entries)
    hashes = tuple(reader.take(32) for _ in range(pieces))
    require(reader.at == len(raw), "M-6", "bytes after the last hash")
    return Manifest(log2, tuple(entries), hashes, raw)


def _entry(path: bytes, flags: int, length: int, digest: bytes, count: int) -> Entry:
    if path == b"":
        require(count == 1, "M-10", "an empty path among several")
        return Entry("", bool(flags), length, digest)
    if path.endswith(b"/"):
        empty = flags == 0 and length == 0 and digest == bytes(32)
        require(empty, "M-9", "an empty folder with content")
    try:
        check_path(path.removesuffix(b"/"))
    except Refused as refused:
        raise Refused("M-11", f"path: {refused}") from refused
    return Entry(path.decode("utf-8"), bool(flags), length, digest)


def _check_conflicts(entries: list[Entry]) -> None:
    """M-12: what is a file or an empty folder is not also a folder with something in it."""
    leaves = set()
    for entry in entries:
        path = entry.path.removesuffix("/")
        require(path not in leaves, "M-12", f"{path!r} twice")
        leaves.add(path)
    for path in leaves:
        at = path.find("/")
        while at >= 0:
            require(path[:at] not in leaves, "M-12", f"{path!r} is inside a file or an empty folder")
            at = path.find("/", at + 1)


def default_piece_log2(lengths: list[int]) -> int:
    """The piece size of M-15."""
    total = sum(lengths)
    log2 = 18 if total <= 1 << 30 else 19 if total <= 1 << 32 else 20
    while sum(-(-n >> log2) for n in lengths) > LIMITS["MAX_PIECES"] and log2 < LIMITS["MAX_PIECE_LOG2"]:
        log2 += 1
    return log2


def entry_bytes(path: bytes, flags: int, length: int, digest: bytes) -> bytes:
    return len(path).to_bytes(2, "big") + path + bytes([flags]) + length.to_bytes(8, "big") + digest


def build(files: dict[bytes, bytes | None], piece_log2: int | None = None, executable=()) -> bytes:
    """The manifest of files, path -> content; None as content is an empty folder (its path ends in /)."""
    contents = {path: data or b"" for path, data in files.items()}
    log2 = piece_log2 or default_piece_log2([len(data) for data in contents.values()])
    entries, hashes = b"", b""
    for path, data in sorted(contents.items()):
        folder = path.endswith(b"/")
        digest = bytes(32) if folder else hashlib.sha256(data).digest()
        entries += entry_bytes(path, int(path in executable), len(data), digest)
        for offset in range(0, len(data), 1 << log2):
            hashes += hashlib.sha256(data[offset : offset + (1 << log2)]).digest()
    return header(log2, len(contents)) + entries + hashes


def header(piece_log2: int, count: int, magic: int = MANIFEST_MAGIC, version: int = 1, zero: int = 0) -> bytes:
    head = magic.to_bytes(4, "big") + bytes([version, piece_log2]) + zero.to_bytes(2, "big")
    return head + count.to_bytes(4, "big")


@dataclass(frozen=True)
class Metafile:
    name: str
    trackers: tuple[str, ...]
    manifest: Manifest


def parse_metafile(raw: bytes) -> Metafile:
    """A checked metafile from bytes, or Refused."""
    reader = _Reader(raw, "M-28")
    require(reader.integer(4) == METAFILE_MAGIC, "M-23", "magic is not SWPF")
    require(reader.integer(1) == 1, "M-23", "unknown version")
    require(reader.integer(1) == 0, "M-23", "zero is not 0")
    count = reader.integer(2)
    require(count <= LIMITS["MAX_TRACKERS"], "M-24", f"{count} trackers")
    try:
        name = check_name(reader.take(reader.integer(2)))
    except Refused as refused:
        if refused.rule == "M-28":
            raise
        raise Refused("M-25", f"name: {refused}") from refused
    trackers = tuple(_check_tracker(reader.take(reader.integer(2))) for _ in range(count))
    try:
        manifest = parse(raw[reader.at :])
    except Refused as refused:
        raise Refused("M-27", f"manifest: {refused}") from refused
    return Metafile(name, trackers, manifest)


def _check_tracker(raw: bytes) -> str:
    good = 1 <= len(raw) <= LIMITS["MAX_TRACKER"] and not any(b <= 0x20 or b == 0x7F for b in raw)
    require(good, "M-26", "a tracker of no, too many, or control bytes")
    try:
        return raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Refused("M-26", "not UTF-8") from None


def build_metafile(name: bytes, trackers: list[bytes], manifest: bytes) -> bytes:
    out = METAFILE_MAGIC.to_bytes(4, "big") + bytes([1, 0]) + len(trackers).to_bytes(2, "big")
    for text in [name, *trackers]:
        out += len(text).to_bytes(2, "big") + text
    return out + manifest
