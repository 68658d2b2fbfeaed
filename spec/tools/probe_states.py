#!/usr/bin/env python3
"""Plays short scenes with a running peer or tracker, and judges what it answers: the rules that need more than one frame.

    probe_states.py tracker HOST:PORT
    probe_states.py peer HOST:PORT FILE         FILE is what the peer seeds, as a file object with default pieces

Each scene names the rules it is about. The tracker should be an empty one. Exit code 1 if a scene fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import common  # noqa: F401  (finds the codec)
import codec
import scenes_both  # noqa: F401  (they add themselves)
import scenes_peer  # noqa: F401
import scenes_tracker  # noqa: F401
import talk


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=talk.SCENES)
    parser.add_argument("target", help="HOST:PORT")
    parser.add_argument("file", nargs="?", type=Path)
    args = parser.parse_args()
    if (args.kind == "peer") != bool(args.file):
        parser.error("a FILE goes with a peer, and only with a peer")
    host, _, port = args.target.rpartition(":")
    stage = talk.Stage((host.strip("[]"), int(port)), args.file)
    failures = 0
    for play, rules in talk.SCENES[args.kind]:
        try:
            play(stage)
        except (talk.Wrong, codec.Violation, OSError) as problem:
            failures += 1
            print(f"{play.__name__} [{', '.join(rules)}]: {problem}")
    print(f"{len(talk.SCENES[args.kind])} scenes, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
