#!/usr/bin/env python3
"""Lists rules of PROTOCOL.md that no test and no vector names, and each MUST outside of a rule; exit code 1 if there are any.

With --all: every rule with the files that name it.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import common
from common import SPEC_DIR

ROOT = SPEC_DIR.parent
ID = re.compile(r"(?<![\w-])([FHPMTX]-\d+)(?![\w-])")
RULE = re.compile(r"^- \[([FHPMTX]-\d+)\] (.*)", re.M)
PLACES = [("spec/vectors", ".json"), ("spec/tools", ".py"), ("spec/ref", "cases.py"), ("tests/tests", ".rs"), ("tests/src", ".rs"),
          ("protocol/tests", ".rs"), ("reactor/tests", ".rs"), ("tracker/tests", ".rs"), ("peer/tests", ".rs")]


def tests_in(path: Path) -> str:
    """The text of a file of tests, or the test module at the end of a source file."""
    text = path.read_text(encoding="utf-8")
    room, where, *_ = path.relative_to(ROOT).parts
    whole = where != "src" or room == "tests" or path.stem.endswith("tests")
    return text if whole else text.partition("#[cfg(test)]")[2]


def named() -> dict[str, set[str]]:
    """Rule -> files that name it in a test."""
    files = [p for folder, end in PLACES for p in (ROOT / folder).rglob(f"*{end}")]
    files += [p for crate in ("protocol", "reactor", "tracker", "peer") for p in (ROOT / crate / "src").rglob("*.rs")]
    found: dict[str, set[str]] = {}
    for path in files:
        if path == Path(__file__).resolve():
            continue
        for rule in ID.findall(tests_in(path)):
            found.setdefault(rule, set()).add(str(path.relative_to(ROOT)))
    return found


def main() -> int:
    text = (SPEC_DIR / "PROTOCOL.md").read_text(encoding="utf-8")
    rules = RULE.findall(text)
    again = [rule for rule, count in Counter(rule for rule, _ in rules).items() if count > 1]
    for rule in again:
        print(f"{rule} stands for two rules")
    places = named()
    if "--all" in sys.argv[1:]:
        for rule, _ in rules:
            print(rule, *sorted(places.get(rule, ["-"])))
        return 0
    # A duty without an id could have no test; only section 1, which says what MUST means, and rules say it.
    stray = [line for line in text.splitlines() if "MUST" in line and not line.startswith(("- [", "  ")) and "RFC 2119" not in line]
    for line in stray:
        print(f"a MUST without an id: {line}")
    missing = [(rule, text) for rule, text in rules if rule not in places]
    for rule, text in missing:
        print(f"{rule}: {text}")
    print(f"{len(rules)} rules, {len(missing)} not named by a test or vector", file=sys.stderr)
    return int(bool(missing or stray or again))


if __name__ == "__main__":
    sys.exit(main())
