"""What the interop runner plays: content to move, how seeders misbehave, and scenes that are more than one transfer."""

from __future__ import annotations

import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import codec  # noqa: E402
from codec import CODES, LIMITS  # noqa: E402
from talk import Talk, Wrong  # noqa: E402

STARLING = "starling"


class Failure(Exception):
    pass


# ------------------------------------------------------------------------------------------------- content


def noise(seed: str, size: int) -> bytes:
    """The same bytes in every run."""
    out = b"".join(hashlib.sha256(f"{seed}{i}".encode()).digest() for i in range(size // 32 + 1))
    return out[:size]


def one_file(size: int):
    def make(path: Path) -> None:
        path.write_bytes(noise("file", size))

    return make


def folder(path: Path) -> None:
    for name, size in (("a.bin", 300_000), ("sub/b.txt", 1), ("sub/zero", 0), ("sub/deep/c", 4097), ("größe", 9)):
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(noise(name, size))
    (path / "empty").mkdir()
    (path / "run.sh").write_bytes(b"#!/bin/sh\n")
    (path / "run.sh").chmod(0o755)


def many_small(path: Path) -> None:
    path.mkdir()
    for i in range(1000):
        (path / f"{i:03}").write_bytes(noise(str(i), i))


# --------------------------------------------------------------------------------------------------- talks


def ask(target: tuple[str, int], name: str = "cases/thing") -> dict | None:
    """What a tracker says of a name: the SWARM, None if it does not know it."""
    talk = Talk(target)
    talk.send("FIND", rid=1, want=50, kind=0, version=0, name=name)
    got, m = talk.next()
    talk.send("BYE", code=CODES["OK"], text="")
    talk.socket.close()
    return m if got == "SWARM" else None


def until(what: str, seconds: float, done) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if done():
                return
        except (OSError, Wrong):
            pass
        time.sleep(0.1)
    raise Failure(f"not within {seconds} s: {what}")


def greeted(target: tuple[str, int], role: int, **hello) -> Talk:
    talk = Talk(target, **hello)
    if talk.theirs["role"] != role:
        raise Failure(f"role {talk.theirs['role']} at {target}")
    return talk


def still_serves(talk: Talk, role: int, object_id: bytes) -> None:
    """A tracker answers a request; a peer accepts a channel."""
    if role == 2:
        talk.send("SUMMARY_REQUEST", rid=7)
        talk.expect("SUMMARY", rid=7)
    else:
        talk.send_all(("OPEN", {"ch": 0, "object": object_id}),
                      ("BITMAP", {"ch": 0, "manifest_len": 0, "piece_count": 0, "kind": 0}))
        talk.expect("BITMAP", ch=0, kind=1)


def handshake(target, role, object_id) -> None:
    still_serves(greeted(target, role), role, object_id)


def version_high(target, role, object_id) -> None:
    """Who speaks more than version 1 is served in version 1. [H-12]"""
    still_serves(greeted(target, role, vmax=254), role, object_id)


def version_none(target, role, object_id) -> None:
    """HELLO, so that the range is seen, and BYE(VERSION). [H-6] [H-13]"""
    greeted(target, role, vmin=2, vmax=9).expect("BYE", code=CODES["VERSION"])


def grease(target, role, object_id) -> None:
    """Tags and frames without a meaning have no effect. [X-2]"""
    tlvs = [{"tag": tag, "value": bytes(tag & 15)} for tag in (0x8001, 0xEE00, 0xEE01, 0xEEFF, 0xF000, 0xFFFF)]
    talk = greeted(target, role, tlvs=tlvs)
    for kind, size in ((0xE0, 0), (0x80, 1), (0xFF, LIMITS["MAX_CONTROL"]), (0xEF, 300)):
        talk.socket.sendall(codec.frame(kind, bytes(size)))
    still_serves(talk, role, object_id)


def half_close(target, role, object_id) -> None:
    """The end of one's direction ends the connection, answered or not. [F-28]"""
    talk = greeted(target, role)
    if role == 2:
        talk.send("SUMMARY_REQUEST", rid=7)
    else:
        talk.send_all(("OPEN", {"ch": 0, "object": object_id}),
                      ("BITMAP", {"ch": 0, "manifest_len": 0, "piece_count": 0, "kind": 0}))
    talk.socket.shutdown(1)
    heard = []
    while (got := talk.next()[0]) != "END":
        heard.append(got)
    if heard not in ([], ["SUMMARY"] if role == 2 else ["BITMAP"], ["BITMAP", "BYE"], ["BYE"]):
        raise Failure(f"{heard} after the end of stream")


# -------------------------------------------------------------------------------------------------- scenes


def resume(run, kinds, tracker: str, out: Path) -> Path:
    """The fetcher is killed half way; the same command goes on."""
    fetching = run.start_fetch(kinds[2], tracker, out, "--down", "1M")
    until("a part of it is there", 10, lambda: any(p.is_file() and p.stat().st_blocks > 4_000 for p in out.rglob("*")))
    fetching.kill()
    fetching.wait()
    return run.fetch(kinds[2], tracker, out)


def restart_tracker(run, kinds, tracker: str, out: Path) -> Path:
    """The tracker comes back at its address: the seeder tells it again what it holds."""
    run.end(run.tracker_process, kill=True)
    run.tracker(kinds[0])
    until("the seeder is back", 40, lambda: (ask(run.tracker_address) or {}).get("complete"))
    return run.fetch(kinds[2], tracker, out)


def lease_expiry(run, kinds, tracker: str, out: Path) -> None:
    """A seeder that is killed is believed as long as its lease, and not longer. [T-15] [T-16]"""
    run.end(run.seeder_process, kill=True)
    time.sleep(1)
    if ask(run.tracker_address)["complete"] != 1:
        raise Failure("forgotten because its connection broke")
    until("the tracker forgets it", 75, lambda: ask(run.tracker_address)["complete"] == 0)


@dataclass
class Case:
    make: object
    seeders: int = 1
    bad: str | None = None  # how one more seeder misbehaves, see bad_peer.py
    alone: bool = False  # the good seeder leaves before the fetch
    probe: bool = False  # run tools/probe.py and tools/probe_states.py on tracker and seeder
    talk: object = None  # a talk with the tracker and with the seeder, instead of a fetch
    scene: object = None  # what happens instead of a plain fetch
    fetcher: str | None = None  # only this fetcher can do it; or: it makes no difference who fetches


TALK = {"fetcher": "ref"}
CASES = {
    "handshake": Case(one_file(9), talk=handshake, **TALK),
    "version-high": Case(one_file(9), talk=version_high, **TALK),
    "version-none": Case(one_file(9), talk=version_none, **TALK),
    "grease": Case(one_file(9), talk=grease, **TALK),
    "half-close": Case(one_file(9), talk=half_close, **TALK),
    "probe": Case(one_file(600_000), probe=True, **TALK),
    "empty-file": Case(one_file(0)),
    "one-byte": Case(one_file(1)),
    "exact-piece": Case(one_file(1 << 18)),
    "three-pieces": Case(one_file(600_000)),
    "folder": Case(folder),
    "many-small": Case(many_small),
    "two-seeders": Case(one_file(3_000_000), seeders=2),
    "corrupt-piece": Case(one_file(2_000_000), bad="corrupt"),
    "lying-manifest": Case(one_file(2_000_000), bad="manifest"),
    "silent-seeder": Case(one_file(2_000_000), bad="silent"),
    "rejecting-seeder": Case(one_file(2_000_000), bad="reject"),
    "window-zero": Case(one_file(2_000_000), bad="window"),
    "slow-loris": Case(one_file(2_000_000), bad="loris"),
    "half-closing-seeder": Case(one_file(2_000_000), bad="half-close"),
    "hangs-up": Case(one_file(2_000_000), bad="hangup"),
    "reverse-answers": Case(one_file(2_000_000), bad="reverse", alone=True),
    "late-holdings": Case(one_file(2_000_000), bad="late", alone=True),
    "resume": Case(one_file(6_000_000), scene=resume, fetcher=STARLING),
    "restart-tracker": Case(one_file(600_000), scene=restart_tracker),
    "lease-expiry": Case(one_file(9), scene=lease_expiry, **TALK),
}
