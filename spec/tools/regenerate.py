#!/usr/bin/env python3
"""Writes everything in spec/ that is generated: vectors, tables and dissector, captures and their frame lists.

The captures of the Rust programs need cargo; without it they stay as they are, and that is said.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def run(*command: str, **environment: str) -> None:
    print("+", *command, flush=True)
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}")


def main() -> int:
    for script in ("vectors", "gen", "tour"):
        run(sys.executable, f"spec/tools/{script}.py")
    if shutil.which("cargo"):
        run("cargo", "test", "--quiet", "-p", "tests", "--test", "captures", SWP_WRITE_CAPTURES="1")
    else:
        print("no cargo: the captures of the Rust programs are left as they are")
    run(sys.executable, "spec/tools/captures.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
