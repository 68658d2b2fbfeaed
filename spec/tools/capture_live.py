#!/usr/bin/env python3
"""Captures SWP on the loopback interface, and checks what was captured.

    capture_live.py FILE PORT... [--seconds N]

FILE becomes a pcapng file with all TCP of these ports. Ends after N seconds or by Ctrl-C; then the capture must be whole,
keep the rules (verify_capture.py), and tshark must count the same frames and find none malformed. Exit code 1 if not.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import common  # noqa: F401  (finds the reference programs)
import judge_captures
from cases import Failure


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("port", type=int, nargs="+")
    parser.add_argument("--seconds", type=float, default=3600)
    args = parser.parse_args()
    try:
        live = judge_captures.Live(args.file, args.port)
        print(f"capturing into {args.file}", flush=True)
        try:
            time.sleep(args.seconds)
        except KeyboardInterrupt:
            pass
        lost = live.stop()
        live.log.unlink()
        if lost:
            raise Failure(f"{lost} packets were lost: nothing can be said")
        counted = judge_captures.verify([args.file], set())
        problem = judge_captures.check_dissector([args.file], counted)
        if problem:
            raise Failure(problem)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"{sum(counted.values())} frames keep the rules: {dict(sorted(counted.items()))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
