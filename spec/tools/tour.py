#!/usr/bin/env python3
"""Makes spec/captures/tour.pcap: one session with a tracker and one transfer, with every type of message once at least.

Scripted, so that it is the same bytes every time; and beside it tour.jsonl, what verify_capture.py --frames makes of it.
With --check: only says whether the files would change, exit code 1 if so.
"""

import io
import json
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import common
import codec
import frames
import manifest as mf
import pcap
import verify_capture
from codec import CODES, LIMITS
from common import SPEC_DIR

TRACKER, SEEDER, FETCHER = ("192.0.2.1", 7400), ("192.0.2.2", 9001), ("192.0.2.3", 9002)
NODES = {TRACKER: frames.seq(0x10, 16), SEEDER: frames.seq(0x20, 16), FETCHER: frames.seq(0x30, 16)}
DATA = b"".join(bytes([i]) * 4096 for i in b"abc") + b"the end\n"
RAW = mf.build({b"": DATA}, 12)
MANIFEST = mf.parse(RAW)
OBJECT = MANIFEST.id()
RECORD = {
    "object": OBJECT, "content": MANIFEST.entries[0].digest, "length": len(DATA), "published_at": 0, "version": 0,
    "manifest_len": len(RAW), "piece_count": len(MANIFEST.hashes), "file_count": 1, "piece_log2": 12, "name": "tour/letters",
}
STORED = RECORD | {"published_at": 1_700_000_000, "version": 1}
MP = LIMITS["MANIFEST_PIECE"]


class Connection:
    """Frames of two ends, one millisecond apart."""

    clock = 1_700_000_000.0

    def __init__(self, writer: pcap.Writer, client: tuple[str, int], server: tuple[str, int], port: int):
        self.writer, self.sides = writer, (client, server)
        self.ends = writer.connect(Connection.clock, (client[0], port), server)

    def say(self, sender: tuple[str, int], name: str, /, **fields) -> None:
        self.raw(sender, codec.encode(name, **fields))

    def raw(self, sender: tuple[str, int], data: bytes) -> None:
        Connection.clock += 0.001
        self.writer.send(Connection.clock, self.ends, self.sides.index(sender), data)

    def hello(self, sender: tuple[str, int], role: int = 1, window: int = 512) -> None:
        tlvs = [{"tag": 0x8001, "value": b"tour/1"}, {"tag": 0xEE07, "value": b"grease"}]
        self.say(sender, "HELLO", vmin=1, vmax=1, role=role, node=NODES[sender], listen=sender[1], window=window, tlvs=tlvs)

    def close(self) -> None:
        Connection.clock += 0.001
        self.writer.close(Connection.clock, self.ends)


def greet(c: Connection) -> None:
    c.hello(c.sides[0])
    c.hello(c.sides[1], role=2 if c.sides[1] == TRACKER else 1, window=0 if c.sides[1] == TRACKER else 512)
    c.raw(c.sides[0], codec.frame(0xE3, b"means nothing"))


def beat(c: Connection, rid: int, peer: tuple[str, int], holdings: list, sync: int) -> None:
    you = {"family": 4, "state": 0, "port": peer[1], "ip": bytes(int(part) for part in peer[0].split("."))}
    c.say(peer, "BEAT", rid=rid, objects=len(holdings), digest=codec.holdings_digest(holdings), free=1 << 30, sent=0,
          received=0)
    c.say(TRACKER, "LEASE", rid=rid, interval_s=15, lease_s=55, flags=sync, you=you)


def ok(c: Connection, rid: int, text: str = "", code: str = "OK") -> None:
    c.say(TRACKER, "STATUS", rid=rid, code=CODES[code], retry_ms=0, text=text)


def publish(writer: pcap.Writer) -> Connection:
    c = Connection(writer, SEEDER, TRACKER, 40_001)
    greet(c)
    beat(c, 1, SEEDER, [(OBJECT, 2)], sync=1)
    c.say(SEEDER, "ANNOUNCE", rid=2, flags=1, entries=[{"object": OBJECT, "state": 2}])
    ok(c, 2)
    c.say(SEEDER, "PUBLISH", rid=3, key=frames.KEY, copies=0, record=RECORD)
    ok(c, 3, "1")
    return c


def find(writer: pcap.Writer) -> Connection:
    c = Connection(writer, FETCHER, TRACKER, 40_002)
    greet(c)
    beat(c, 1, FETCHER, [], sync=0)
    c.say(FETCHER, "LIST", rid=2, limit=10, prefix="tour/", after="")
    c.say(TRACKER, "PAGE", rid=2, more=0, entries=[{"complete": 1, "partial": 0, "record": STORED}])
    c.say(FETCHER, "FIND", rid=3, want=10, kind=0, version=0, name="tour/other")
    ok(c, 3, "no such name", "NOT_FOUND")
    c.say(FETCHER, "FIND", rid=4, want=10, kind=0, version=0, name="tour/letters")
    seeder = {"family": 4, "state": 2, "port": SEEDER[1], "ip": bytes([192, 0, 2, 2])}
    c.say(TRACKER, "SWARM", rid=4, complete=1, partial=0, record=STORED, peers=[seeder])
    return c


def transfer(writer: pcap.Writer, announce) -> None:
    c = Connection(writer, FETCHER, SEEDER, 40_003)
    greet(c)
    count = len(MANIFEST.hashes)
    c.say(FETCHER, "OPEN", ch=0, object=frames.OTHER)
    c.say(FETCHER, "BITMAP", ch=0, manifest_len=0, piece_count=0, kind=0)
    c.say(SEEDER, "CLOSE", ch=0, code=CODES["NOT_FOUND"])
    c.say(FETCHER, "OPEN", ch=2, object=OBJECT)
    c.say(FETCHER, "BITMAP", ch=2, manifest_len=0, piece_count=0, kind=0)
    c.say(SEEDER, "BITMAP", ch=2, manifest_len=len(RAW), piece_count=count, kind=1)
    c.say(FETCHER, "REQUEST", ch=2, piece=MP, begin=0, len=len(RAW))
    c.say(SEEDER, "DATA", ch=2, piece=MP, begin=0, bytes=RAW)
    announce(1)
    c.say(FETCHER, "REQUEST", ch=2, piece=count, begin=0, len=1)
    c.say(SEEDER, "REJECT", ch=2, piece=count, begin=0, code=CODES["BAD_RANGE"])
    c.say(SEEDER, "WINDOW", requests=4)
    c.say(FETCHER, "REQUEST", ch=2, piece=0, begin=0, len=4096)
    c.say(FETCHER, "REQUEST", ch=2, piece=1, begin=0, len=4096)
    c.say(FETCHER, "CANCEL", ch=2, piece=1, begin=0)
    c.say(SEEDER, "DATA", ch=2, piece=0, begin=0, bytes=DATA[:4096])
    c.say(SEEDER, "REJECT", ch=2, piece=1, begin=0, code=CODES["CANCELLED"])
    c.say(FETCHER, "HAVE", ch=2, pieces=[0])
    for piece, begin, size in ((3, 0, 8), (1, 0, 2048), (1, 2048, 2048), (2, 0, 4096)):
        c.say(FETCHER, "REQUEST", ch=2, piece=piece, begin=begin, len=size)
    for piece, begin, size in ((1, 0, 2048), (3, 0, 8), (2, 0, 4096), (1, 2048, 2048)):
        at = piece * 4096 + begin
        c.say(SEEDER, "DATA", ch=2, piece=piece, begin=begin, bytes=DATA[at : at + size])
    c.say(FETCHER, "HAVE", ch=2, pieces=[1, 2, 3])
    announce(2)
    c.say(SEEDER, "NOOP")
    c.say(FETCHER, "CLOSE", ch=2, code=CODES["OK"])
    c.say(FETCHER, "BYE", code=CODES["OK"], text="")
    c.close()


def leave(c: Connection, peer: tuple[str, int]) -> None:
    c.say(peer, "BYE", code=CODES["OK"], text="")
    c.close()


def play(path: Path) -> None:
    writer = pcap.Writer(path)
    Connection.clock = 1_700_000_000.0
    publisher, finder = publish(writer), find(writer)

    def announce(state: int) -> None:
        finder.say(FETCHER, "ANNOUNCE", rid=4 + state, flags=0, entries=[{"object": OBJECT, "state": state}])
        ok(finder, 4 + state)

    transfer(writer, announce)
    finder.say(FETCHER, "SUMMARY_REQUEST", rid=7)
    finder.say(TRACKER, "SUMMARY", rid=7, uptime_s=60, connections=2, peers=2, names=1, versions=1, objects=1, holdings=2,
               bytes=len(DATA))
    leave(finder, FETCHER)
    publisher.say(SEEDER, "UNPUBLISH", rid=4, key=frames.KEY, name="tour/letters")
    ok(publisher, 4)
    leave(publisher, SEEDER)
    writer.file.close()


def lines(path: Path) -> tuple[int, str]:
    """The outcome of verify_capture, and a line for each frame."""
    report, out = verify_capture.Report(True, set()), io.StringIO()
    with redirect_stdout(out):
        report.file(path)
        code = report.finish(all_types=True)
    shown = [line for line in out.getvalue().splitlines() if line.startswith("{")]
    assert all(json.loads(line) for line in shown)
    return code, "\n".join(shown) + "\n"


def main() -> int:
    folder = SPEC_DIR / "captures"
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "tour.pcap"
        play(path)
        code, expected = lines(path)
        raw = path.read_bytes()
    if code:
        return code
    check, target = "--check" in sys.argv[1:], folder / "tour.pcap"
    stale = not target.exists() or target.read_bytes() != raw
    if stale and check:
        print("spec/captures/tour.pcap is not what spec/tools/tour.py makes", file=sys.stderr)
    elif stale:
        folder.mkdir(exist_ok=True)
        target.write_bytes(raw)
        print("wrote spec/captures/tour.pcap")
    return common.deliver({folder / "tour.jsonl": expected}, check, "spec/tools/tour.py") or int(stale and check)


if __name__ == "__main__":
    sys.exit(main())
