"""What the tools share: where things are, and how generated files are written or checked."""

import sys
from pathlib import Path

sys.dont_write_bytecode = True
SPEC_DIR = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SPEC_DIR / "ref"))


def deliver(files: dict[Path, str], check: bool, command: str) -> int:
    """Writes files that differ, or with `check` only names them. The exit code: 1 if any is stale."""
    stale = [p for p, text in files.items() if not p.exists() or p.read_text(encoding="utf-8") != text]
    for path in stale:
        name = path.relative_to(SPEC_DIR.parent)
        if check:
            print(f"{name} is not what {command} makes: run it and commit the result", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
            print(f"wrote {name}")
    return 1 if check and stale else 0
