"""Scenes with a tracker."""

from __future__ import annotations

import hashlib
import ipaddress
import os

import common  # noqa: F401  (finds the codec)
import codec
import frames
from codec import CODES, LIMITS, TLVS
from talk import Stage, Wrong, scene


@scene("tracker", "T-1")
def rid_zero(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("SUMMARY_REQUEST", rid=0)
    talk.expect_bye("BAD_STATE")


@scene("tracker", "F-14")
def open_at_a_tracker(stage: Stage) -> None:
    for name, fields in (("OPEN", {"ch": 0, "object": bytes(32)}), ("WINDOW", {"requests": 1}), ("STATUS", frames.STATUS),
                         ("DATA", {"ch": 0, "piece": 0, "begin": 0, "bytes": b"x"})):
        talk = stage.talk()
        talk.send(name, **fields)
        talk.expect_bye("BAD_STATE")


@scene("tracker", "T-27")
def announce_without_lease(stage: Stage) -> None:
    talk = stage.talk()
    stage.status(talk, "BAD_STATE", "ANNOUNCE", flags=0, entries=[])
    stage.beat(talk)
    stage.status(talk, "OK", "ANNOUNCE", flags=0, entries=[])


@scene("tracker", "T-14", "T-17", "T-25", "T-26")
def leases_and_digests(stage: Stage) -> None:
    talk, a, b = stage.talk(), os.urandom(32), os.urandom(32)
    lease = stage.beat(talk, [(a, 1)])
    if not LIMITS["MIN_BEAT_S"] <= lease["interval_s"] <= LIMITS["MAX_BEAT_S"]:
        raise Wrong(f"an interval of {lease['interval_s']} s")
    if lease["lease_s"] < 3 * lease["interval_s"] + 10:
        raise Wrong(f"a lease of {lease['lease_s']} s")
    if not lease["flags"] & 1:
        raise Wrong("no SYNC for holdings that it cannot know")
    for flags, entries, held in (
        (1, [(a, 1), (b, 2), (a, 2)], [(a, 2), (b, 2)]), (0, [(b, 0)], [(a, 2)]), (0, [(a, 1), (b, 1)], [(a, 1), (b, 1)]),
        (1, [(b, 2)], [(b, 2)]), (1, [], []),
    ):
        stage.status(talk, "OK", "ANNOUNCE", flags=flags, entries=[{"object": o, "state": s} for o, s in entries])
        if stage.beat(talk, held)["flags"]:
            raise Wrong(f"SYNC after {entries} with RESET {flags}")


@scene("tracker", "T-29", "T-30", "T-31", "T-32", "T-33", "T-34", "T-35", "T-40", "T-43")
def names_and_versions(stage: Stage) -> None:
    talk, a, b = stage.talk(), os.urandom(32), os.urandom(32)
    for name in ("", "..", "a//b", "x@3", "a\nb", "/a"):
        stage.publish(talk, name, a, code="BAD_NAME")
    for change in ({"manifest_len": 0}, {"file_count": 0}, {"piece_log2": 11}, {"piece_log2": 0}):
        stage.publish(talk, "scene/impossible", a, code="MALFORMED", **change)
    stage.missing(talk, "scene/impossible")
    texts = [stage.publish(talk, "scene/name", obj) for obj in (a, a, b, b)]
    if texts != ["1", "1", "2", "2"]:
        raise Wrong(f"versions {texts}")
    stage.publish(talk, "scene/name", os.urandom(32), key=b"k" * 16, code="NAME_TAKEN")
    newest = stage.find(talk, "scene/name")["record"]
    if (newest["version"], newest["object"]) != (2, b) or newest["published_at"] == frames.RECORD["published_at"]:
        raise Wrong(f"the newest is {newest}")
    if stage.find(talk, "scene/name", version=1)["record"]["object"] != a:
        raise Wrong("version 1 is another object")
    stage.missing(talk, "scene/name", version=3)
    content = hashlib.sha256(b).digest()
    found = stage.ask(talk, "FIND", "SWARM", want=0, kind=2, content=content)["record"]
    if found["object"] != b:
        raise Wrong(f"by content: {found}")


@scene("tracker", "T-34", "T-53")
def numbers_and_owners_outlive_unpublish(stage: Stage) -> None:
    talk = stage.talk()
    stage.publish(talk, "scene/again", os.urandom(32))
    stage.status(talk, "OK", "UNPUBLISH", key=bytes(16), name="scene/again")
    stage.publish(talk, "scene/again", os.urandom(32), key=b"k" * 16, code="NAME_TAKEN")
    stage.status(talk, "NOT_FOUND", "UNPUBLISH", key=bytes(16), name="scene/again")
    version = stage.publish(talk, "scene/again", os.urandom(32))
    if version != "2":
        raise Wrong(f"version {version} after UNPUBLISH of version 1")


@scene("tracker", "T-55")
def folders_have_no_content(stage: Stage) -> None:
    talk = stage.talk()
    stage.publish(talk, "scene/folder", os.urandom(32), content=bytes(32))
    stage.status(talk, "NOT_FOUND", "FIND", want=1, kind=2, content=bytes(32))


@scene("tracker", "T-37", "T-38")
def unpublish(stage: Stage) -> None:
    talk = stage.talk()
    stage.publish(talk, "scene/gone", os.urandom(32))
    stage.status(talk, "NOT_FOUND", "UNPUBLISH", key=bytes(16), name="scene/never")
    stage.status(talk, "NOT_OWNER", "UNPUBLISH", key=b"k" * 16, name="scene/gone")
    stage.status(talk, "OK", "UNPUBLISH", key=bytes(16), name="scene/gone")
    stage.missing(talk, "scene/gone")
    stage.missing(talk, "scene/gone", version=1)
    page = stage.ask(talk, "LIST", "PAGE", limit=500, prefix="scene/gone", after="")
    if page["entries"]:
        raise Wrong("LIST shows it")


@scene("tracker", "T-48", "T-49", "T-50")
def pages(stage: Stage) -> None:
    talk = stage.talk()
    names = sorted(f"list/{i}/{text}".encode() for i in range(3) for text in ("a", "B", "ä", "a-b"))
    for name in reversed(names):
        stage.publish(talk, name.decode(), os.urandom(32))
    stage.publish(talk, "lisa", os.urandom(32))
    got, after, more = [], "", 1
    while more:
        page = stage.ask(talk, "LIST", "PAGE", limit=5, prefix="list/", after=after)
        found = [entry["record"]["name"] for entry in page["entries"]]
        more = page["more"] & 1
        if len(found) > 5 or (more and not found):
            raise Wrong(f"a page of {len(found)} with more {more}")
        got += found
        after = found[-1] if found else after
    if [name.encode() for name in got] != names:
        raise Wrong(f"{got}")


@scene("tracker", "T-2", "T-3")
def answers_in_order(stage: Stage) -> None:
    talk = stage.talk()
    record = frames.RECORD | {"name": "scene/order"}
    talk.send_all(("SUMMARY_REQUEST", {"rid": 9}), ("PUBLISH", {"rid": 3, "key": bytes(16), "copies": 0, "record": record}),
                  ("LIST", {"rid": 9, "limit": 1, "prefix": "", "after": ""}),
                  ("FIND", {"rid": 2, "want": 0, "kind": 0, "version": 0, "name": "scene/order"}),
                  ("SUMMARY_REQUEST", {"rid": 1}))
    for name, rid in (("SUMMARY", 9), ("STATUS", 3), ("PAGE", 9), ("SWARM", 2), ("SUMMARY", 1)):
        talk.expect(name, rid=rid)


@scene("tracker", "T-20", "T-21", "T-42", "T-44")
def peers_of_an_object(stage: Stage) -> None:
    obj = os.urandom(32)
    shown = stage.holder([(obj, 2)], listen=4001)
    partial = stage.holder([(obj, 1)], listen=4002)
    hidden = stage.holder([(obj, 2)], listen=0)
    for talk, ports in ((stage.talk(), [4001, 4002]), (shown, [4002]), (partial, [4001]), (hidden, [4001, 4002])):
        swarm = stage.ask(talk, "FIND", "SWARM", want=9, kind=1, object=obj)
        if sorted(peer["port"] for peer in swarm["peers"]) != ports:
            raise Wrong(f"{swarm['peers']} instead of ports {ports}")
        if (swarm["complete"], swarm["partial"]) != (2, 1) or swarm["record"]["name"] or swarm["record"]["version"]:
            raise Wrong(f"{swarm}")
    if len(stage.ask(stage.talk(), "FIND", "SWARM", want=1, kind=1, object=obj)["peers"]) != 1:
        raise Wrong("not the number of peers that was wanted")


@scene("tracker", "T-20", "T-56", "T-57", "H-24")
def advertised_addresses(stage: Stage) -> None:
    """This talk comes from a loopback address."""
    ip = {text: ipaddress.ip_address(text) for text in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "198.51.100.7", "2001:db8::7",
                                                        "::", "ff02::1", "::ffff:198.51.100.7", "127.0.0.9")}
    observed = stage.beat(stage.talk(listen=4001))["you"]
    for text, port, given in (("0.0.0.0", 9, None), ("224.0.0.1", 9, None), ("255.255.255.255", 9, None), ("::", 9, None),
                              ("ff02::1", 9, None), ("198.51.100.7", 0, None), ("198.51.100.7", 9, "198.51.100.7"),
                              ("2001:db8::7", 9, "2001:db8::7"), ("::ffff:198.51.100.7", 9, "198.51.100.7"), ("127.0.0.9", 9, "127.0.0.9")):
        peer = {"family": ip[text].version, "state": 0, "port": port, "ip": ip[text].packed}
        for extra in (b"", b"x"):
            tlvs = [{"tag": TLVS["ADVERTISED"], "value": codec.put_struct("Peer", peer) + extra}]
            wanted = observed
            if given and not extra:
                wanted = {"family": ip[given].version, "state": 0, "port": port, "ip": ip[given].packed}
            you = stage.beat(stage.talk(listen=4001, tlvs=tlvs))["you"]
            if you != wanted:
                raise Wrong(f"{text} port {port}{' and a byte' * bool(extra)}: {you} instead of {wanted}")


@scene("tracker", "T-16", "T-19")
def leaving_and_coming_back(stage: Stage) -> None:
    obj, node = os.urandom(32), os.urandom(16)

    def complete() -> int:
        talk = stage.talk()
        talk.send("FIND", rid=1, want=0, kind=1, object=obj)
        name, m = talk.next()
        return m["complete"] if name == "SWARM" else 0

    stage.holder([(obj, 2)], node=node).close()
    if complete() != 1:
        raise Wrong("holdings are gone with the connection")
    old = stage.talk(node=node)
    if stage.beat(old, [(obj, 2)])["flags"]:
        raise Wrong("SYNC for a node that came back with the same holdings")
    new = stage.talk(node=node)
    if stage.beat(new, [(obj, 2)])["flags"]:
        raise Wrong("SYNC for a session that took over")
    old.expect_bye("DUPLICATE")
    new.send("BYE", code=CODES["OK"], text="")
    new.expect("END")
    if complete() != 0:
        raise Wrong("holdings stay after BYE(OK)")
