"""Scenes with a peer that seeds a file."""

from __future__ import annotations

import hashlib

import common  # noqa: F401  (finds the codec)
import frames
from codec import CODES, LIMITS
from talk import MANIFEST_PIECE, Stage, Wrong, scene


@scene("peer", "F-14")
def beat_at_a_peer(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("BEAT", **frames.BEAT)
    talk.expect_bye("BAD_STATE")


@scene("peer", "P-1")
def wrong_parity(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("OPEN", ch=1, object=stage.object)
    talk.expect_bye("BAD_STATE")


@scene("peer", "P-2")
def channel_numbers_fall(stage: Stage) -> None:
    talk = stage.live(ch=4)
    talk.send("OPEN", ch=2, object=bytes(32))
    talk.expect_bye("BAD_STATE")


@scene("peer", "P-4", "P-5", "P-9")
def unknown_object(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("OPEN", ch=0, object=bytes(32))
    talk.send("BITMAP", **stage.mine(0))
    talk.expect("CLOSE", ch=0, code=CODES["NOT_FOUND"])
    talk.send("CLOSE", ch=0, code=0)
    talk.send("OPEN", ch=2, object=stage.object)
    talk.expect("BITMAP", ch=2)


@scene("peer", "P-7")
def same_object_twice(stage: Stage) -> None:
    talk = stage.live()
    talk.send("OPEN", ch=2, object=stage.object)
    talk.expect("CLOSE", ch=2, code=CODES["DUPLICATE"])


@scene("peer", "P-10", "P-12", "X-1")
def frames_after_close(stage: Stage) -> None:
    talk = stage.live()
    block = {"ch": 0, "piece": 0, "begin": 0}
    talk.send_all(("CLOSE", {"ch": 0, "code": 999}), ("REQUEST", block | {"len": 5}), ("HAVE", {"ch": 0, "pieces": [0]}),
                  ("CANCEL", block), ("DATA", block | {"bytes": b"x"}), ("CLOSE", {"ch": 0, "code": 0}),
                  ("OPEN", {"ch": 2, "object": stage.object}))
    talk.expect("BITMAP", ch=2)


@scene("peer", "P-13")
def never_open(stage: Stage) -> None:
    for name, fields in (("CLOSE", {"code": 0}), ("HAVE", {"pieces": [0]}), ("CANCEL", {"piece": 0, "begin": 0})):
        for ch in (6, 7):
            talk = stage.live()
            talk.send(name, ch=ch, **fields)
            talk.expect_bye("BAD_STATE")


@scene("peer", "P-14")
def second_bitmap(stage: Stage) -> None:
    talk = stage.live()
    talk.send("BITMAP", **stage.mine(0))
    talk.expect_bye("BAD_STATE")


@scene("peer", "P-15")
def before_bitmap(stage: Stage) -> None:
    block = {"ch": 0, "piece": 0, "begin": 0}
    for name, fields in (("REQUEST", block | {"len": 1}), ("HAVE", {"ch": 0, "pieces": [0]}), ("CANCEL", block)):
        talk = stage.talk()
        talk.send("OPEN", ch=0, object=stage.object)
        talk.send(name, **fields)
        talk.expect("BITMAP")
        talk.expect_bye("BAD_STATE")


@scene("peer", "P-19")
def bitmap_against_manifest(stage: Stage) -> None:
    for change in ({"piece_count": len(stage.manifest.hashes) + 1}, {"manifest_len": len(stage.manifest.raw) + 1}):
        talk = stage.talk()
        talk.send("OPEN", ch=0, object=stage.object)
        good = {"manifest_len": len(stage.manifest.raw), "piece_count": len(stage.manifest.hashes)}
        talk.send("BITMAP", **{"ch": 0, "kind": 1} | good | change)
        talk.expect("BITMAP")
        talk.expect_bye("BAD_DATA")


@scene("peer", "P-23", "P-24")
def have_of_no_piece(stage: Stage) -> None:
    talk = stage.live()
    talk.send("HAVE", ch=0, pieces=[0])
    talk.send("HAVE", ch=0, pieces=[0, 0])
    talk.send("HAVE", ch=0, pieces=[len(stage.manifest.hashes)])
    talk.expect_bye("BAD_STATE")


@scene("peer", "M-1", "P-27", "P-35")
def manifest_and_blocks(stage: Stage) -> None:
    talk = stage.live()
    size = len(stage.manifest.raw)
    talk.send("REQUEST", ch=0, piece=MANIFEST_PIECE, begin=0, len=size)
    raw = talk.expect("DATA", piece=MANIFEST_PIECE, begin=0)["bytes"]
    if hashlib.sha256(raw).digest() != stage.object:
        raise Wrong("the manifest is not the object's")
    pieces = list(stage.manifest.pieces())
    for piece, (_, offset, length) in enumerate(pieces):
        for begin, size in ((0, 1), (length - 1, 1), (7, 1000), (0, length)):
            if begin + size <= length:
                talk.send("REQUEST", ch=0, piece=piece, begin=begin, len=size)
                wanted = stage.data[offset + begin : offset + begin + size]
                talk.expect("DATA", ch=0, piece=piece, begin=begin, bytes=wanted)


@scene("peer", "P-30", "P-31")
def out_of_range(stage: Stage) -> None:
    talk = stage.live()
    last = list(stage.manifest.pieces())[-1][2]
    count, size = len(stage.manifest.hashes), len(stage.manifest.raw)
    cases = [(count - 1, last, 1), (count - 1, 0, last + 1), (count, 0, 1), (MANIFEST_PIECE - 1, 0, 1), (0, 2**32 - 1, 1),
             (0, 2**32 - 1, 1 << 20), (MANIFEST_PIECE, size, 1), (MANIFEST_PIECE, 1, size)]
    for piece, begin, length in (cases * 2)[: LIMITS["MAX_BAD_RANGES"]]:
        talk.send("REQUEST", ch=0, piece=piece, begin=begin, len=length)
        talk.expect("REJECT", ch=0, piece=piece, begin=begin, code=CODES["BAD_RANGE"])
    talk.send("REQUEST", ch=0, piece=count, begin=0, len=1)
    talk.expect_bye("LIMIT")


@scene("peer", "P-36")
def unrequested(stage: Stage) -> None:
    for name, fields in (("DATA", {"bytes": b"x"}), ("REJECT", {"code": 34})):
        talk = stage.live()
        talk.send(name, ch=0, piece=0, begin=0, **fields)
        talk.expect_bye("BAD_STATE")


@scene("peer", "P-39", "P-40")
def cancels(stage: Stage) -> None:
    talk = stage.live()
    block = {"ch": 0, "piece": 0, "begin": 0}
    talk.send_all(("CANCEL", block), ("REQUEST", block | {"len": 5}), ("CANCEL", block), ("CANCEL", block),
                  ("REQUEST", {"ch": 0, "piece": 0, "begin": 9, "len": 1}))
    answers = [talk.next() for _ in range(2)]
    begins = sorted(m.get("begin", -1) for _, m in answers)
    if begins != [0, 9] or any(name not in ("DATA", "REJECT") for name, _ in answers):
        raise Wrong(f"one answer each expected, got {answers}")
    talk.send("REQUEST", **block, len=3)
    talk.expect("DATA", begin=0, bytes=stage.data[:3])


@scene("peer", "P-46")
def too_many_requests(stage: Stage) -> None:
    talk = stage.live()
    requests = [("REQUEST", {"ch": 0, "piece": 0, "begin": begin, "len": 60_000}) for begin in range(20_000)]
    try:
        talk.send_all(*requests)
    except ConnectionError:
        pass
    seen = set()
    while "BYE" not in seen:
        name, m = talk.next()
        seen.add(name)
        if name == "BYE" and m["code"] != CODES["LIMIT"]:
            raise Wrong(f"BYE({m['code']})")
        if name == "END":
            return  # unread requests can turn the close into a reset, which eats the BYE
        if name not in ("DATA", "REJECT", "BYE"):
            raise Wrong(name)
