#!/usr/bin/env python3
"""Runs tshark with swp.lua over all vectors of frames and streams and all captures, and compares with the codec.

Vectors come in three ways: whole, one byte in a segment, and (streams) cut where the vector says. What the dissector
shows must be the same: which frames, every field's value, and which frame is malformed. Exit code 1 if not.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import common
import codec
import dissect
import frames
import pcap
from codec import Violation
from common import SPEC_DIR

MARKED = {"MALFORMED", "LIMIT", "UNKNOWN_TYPE"}
SHORT = 600  # longer ones are not cut into single bytes: packets without end
HELLO = codec.encode("HELLO", **frames.HELLO)


def bytes_of(vector: dict) -> bytes:
    return b"".join(bytes.fromhex(part) * times for part, times in vector.get("parts", [[vector.get("hex", ""), 1]]))


def talks() -> list[tuple[str, list[bytes]]]:
    """(label, what one side sends, segment by segment) for each vector and each way to cut it."""
    out = []
    for vector in frames.frames():
        raw, first = bytes_of(vector), [] if vector["first"] else [HELLO]
        out.append((vector["id"], [*first, raw]))
        if len(raw) <= SHORT:
            out.append((f"{vector['id']}, byte by byte", [raw[i : i + 1] for i in range(len(raw))] if vector["first"]
                        else [HELLO, *(raw[i : i + 1] for i in range(len(raw)))]))
    for vector in frames.streams():
        raw, at = bytes_of(vector), [0, *(s for s in vector["splits"] if 0 < s < len(bytes_of(vector)))]
        out.append((vector["id"], [raw]))
        if vector["error"] == "CLOSE":
            continue  # cut at its HELLO it is what a capture that begins late shows
        out.append((f"{vector['id']}, byte by byte", [raw[i : i + 1] for i in range(len(raw))]))
        out.append((f"{vector['id']}, at its splits", [raw[a:b] for a, b in zip(at, [*at[1:], len(raw)]) if a < b]))
    return out


def capture(path: Path, sent: list[list[bytes]]) -> None:
    """One connection for each."""
    writer = pcap.Writer(path)
    for index, segments in enumerate(sent):
        # Another address instead of another port: tshark takes some ports for other protocols.
        ends = writer.connect(index, (f"10.0.{index >> 8}.{index & 255}", 40_000), ("198.51.100.1", 7400))
        for segment in segments:
            writer.send(index, ends, 0, segment)
        writer.close(index, ends)


def judge(raw: bytes) -> tuple[list[tuple[str, dict]], str | None]:
    """The codec's messages, and the code of its error."""
    reader, events = codec.FrameReader(), []
    try:
        for event in reader.feed(raw):
            events.append(event)
    except Violation as violation:
        return events, violation.code or "CLOSE"
    return events, None


def compare(shown: list[dissect.Frame], raw: bytes) -> str | None:
    """In what the dissector differs from the codec; None if in nothing."""
    events, error = judge(raw)
    if error == "CLOSE":
        return f"{len(shown)} frames in what is not SWP" if shown else None
    for frame, (name, fields) in zip(shown, events):
        problem = dissect.difference(frame, name, fields)
        if problem:
            return problem
    if len(shown) < len(events):
        return f"{len(shown)} frames instead of {len(events)}"
    bad = [frame for frame in shown[len(events) :] if frame.malformed]
    if error in MARKED:
        marked = len(shown) > len(events) and shown[len(events)].malformed or ""
        return None if marked.startswith(f"{error}: ") else f"{error} is marked as {marked or 'nothing'}"
    return f"marked without an error: {bad[0].malformed}" if bad else None


def check_streams(folder: Path, sent: list[tuple[str, list[bytes]]]) -> tuple[int, int]:
    path = folder / "streams.pcap"
    capture(path, [segments for _, segments in sent])
    shown = defaultdict(list)
    for frame in dissect.frames(path):
        shown[frame.stream].append(frame)
    differences = 0
    for index, (label, segments) in enumerate(sent):
        problem = compare(shown[index], b"".join(segments))
        if problem:
            differences += 1
            print(f"{label}: {problem}")
    return len(sent), differences


def check_capture(path: Path) -> tuple[int, int]:
    """Frame by frame, connection by connection; a capture that we keep has nothing malformed in it."""
    shown = defaultdict(list)
    for frame in dissect.frames(path):
        shown[frame.stream, frame.sender].append(frame)
    count = differences = 0
    for index, conversation in enumerate(pcap.conversations(path)):
        for end in (0, 1):
            raw = b"".join(data for _, sender, data in conversation.parts if sender == end)
            count += len(shown[index, end])
            problem = compare(shown[index, end], raw) or next((f.malformed for f in shown[index, end] if f.malformed), None)
            if problem:
                differences += 1
                print(f"{path.name} connection {index} end {end}: {problem}")
    return count, differences


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        talked, differences = check_streams(Path(folder), talks())
    seen = 0
    captures = sorted((SPEC_DIR / "captures").glob("*.pcap"))
    for path in captures:
        count, more = check_capture(path)
        seen, differences = seen + count, differences + more
    print(f"{talked} streams from vectors, {seen} frames in {len(captures)} captures, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
