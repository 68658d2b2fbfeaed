#!/usr/bin/env python3
"""Lists rules of PROTOCOL.md that no test and no vector names; exit code 1 if there are more than those of ALLOWED.

With --all: every rule with the files that name it.
"""

import re
import sys
from pathlib import Path

import common
from common import SPEC_DIR

ROOT = SPEC_DIR.parent
ID = re.compile(r"(?<![\w-])([FHPMTX]-\d+)(?![\w-])")
RULE = re.compile(r"^- \[([FHPMTX]-\d+)\] (.*)", re.M)
PLACES = [("spec/vectors", ".json"), ("spec/tools", ".py"), ("spec/ref", "cases.py"), ("tests/tests", ".rs"), ("tests/src", ".rs"), ("protocol/tests", ".rs"),
          ("reactor/tests", ".rs"), ("tracker/tests", ".rs"), ("peer/tests", ".rs")]

# Rules whose tests are still to come; this list only becomes shorter.
ALLOWED = frozenset("""
F-1 F-8 F-15 F-16 F-18 F-27 F-24 F-25 H-15 H-17 P-3 P-54 P-20 P-25 P-26 P-28 P-33 P-38 P-41 P-48
P-49 P-50 P-51 P-52 P-53 T-4 T-6 T-52 T-7 T-8 T-9 T-10 T-12 T-15 T-51 T-22 T-23 T-28 T-36 T-39
T-45 T-47 X-3 X-4 X-6 X-7 T-54
""".split())


def tests_in(path: Path) -> str:
    """The text of a test file, or the test module at the end of a source file."""
    text = path.read_text(encoding="utf-8")
    return text.partition("#[cfg(test)]")[2] if "src" in path.parts else text


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
    rules = RULE.findall((SPEC_DIR / "PROTOCOL.md").read_text(encoding="utf-8"))
    places = named()
    if "--all" in sys.argv[1:]:
        for rule, _ in rules:
            print(rule, *sorted(places.get(rule, ["-"])))
        return 0
    missing = [(rule, text) for rule, text in rules if rule not in places]
    for rule, text in missing:
        print(f"{rule}: {text}")
    print(f"{len(rules)} rules, {len(missing)} not named by a test or vector", file=sys.stderr)
    return int(any(rule not in ALLOWED for rule, _ in missing))


if __name__ == "__main__":
    sys.exit(main())
