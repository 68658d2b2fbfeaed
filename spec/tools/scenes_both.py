"""Scenes with peers and with trackers."""

from __future__ import annotations

import common  # noqa: F401  (finds the codec)
import codec
import frames
from talk import Stage, Wrong, both


@both("H-10")
def second_hello(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("HELLO", **frames.HELLO)
    talk.expect_bye("BAD_STATE")


@both("H-6", "H-13")
def no_common_version(stage: Stage) -> None:
    stage.talk(vmin=2, vmax=255).expect_bye("VERSION")


@both("H-12")
def more_versions(stage: Stage) -> None:
    talk = stage.talk(vmax=255)
    talk.send("HELLO", **frames.HELLO)
    talk.expect_bye("BAD_STATE")


@both("H-14")
def tracker_dials(stage: Stage) -> None:
    stage.talk(role=2).expect_bye("WRONG_ROLE")


@both("H-16")
def itself(stage: Stage) -> None:
    node = stage.talk().theirs["node"]
    stage.talk(node=node).expect_bye("DUPLICATE")


@both("H-26")
def token_unexpected(stage: Stage) -> None:
    talk = stage.talk(tlvs=[{"tag": codec.TLVS["CLUSTER_TOKEN"], "value": b"?"}])
    tags = [tlv["tag"] for tlv in talk.theirs["tlvs"]]
    if codec.TLVS["CLUSTER_TOKEN"] in tags:
        raise Wrong("it shows a token [H-27]")
    talk.expect_bye("DENIED")


@both("F-22", "F-23")
def polite_leave(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("BYE", code=0, text="")
    talk.expect("END")


@both("F-14")
def wrong_direction(stage: Stage) -> None:
    talk = stage.talk()
    talk.send("LEASE", **frames.LEASE)
    talk.expect_bye("BAD_STATE")
