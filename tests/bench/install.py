"""Installs the rivals: Debian's packages, libtorrent's wheel from PyPI in an environment of its own, rqbit if asked for."""

import os
import subprocess
import sys
import venv

PACKAGES = ("nginx-light", "curl", "rsync", "socat", "aria2", "openssl", "iproute2", "python3-venv")


def environment(target):
    """Where the benchmark's own Python environment is, below cargo's target folder."""
    return os.path.join(target, "bench-python")


def pythons(target):
    """Interpreters that may have libtorrent, the most wanted first."""
    own = os.path.join(environment(target), "bin", "python")
    return [python for python in (own, sys.executable, "/usr/bin/python3") if os.path.exists(python)]


def rqbit(target):
    """Where rqbit's program is, if it is installed at all."""
    own = os.path.join(target, "bench-rqbit", "bin", "rqbit")
    return own if os.path.exists(own) else "rqbit"


def install(target, with_rqbit):
    """Installs everything. What fails is said and left out; the runs then report it as missing."""
    root = [] if os.getuid() == 0 else ["sudo"]
    # Run level 1 keeps packages from starting their services.
    env = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"]
    step([*root, "apt-get", "update", "-qq"])
    step([*root, *env, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "--no-upgrade", *PACKAGES])
    try:
        venv.create(environment(target), with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"warning: no Python environment in {environment(target)}: {error}", file=sys.stderr)
        return
    if with_rqbit:
        words = ["cargo", "install", "rqbit", "--locked", "--no-default-features", "--features", "default-tls"]
        step([*words, "--root", os.path.join(target, "bench-rqbit")])
    pip = [os.path.join(environment(target), "bin", "python"), "-m", "pip", "install", "-q"]
    step([*pip, "matplotlib"])
    if not step([*pip, "libtorrent"]):
        step([*root, *env, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-libtorrent"])


def step(argv):
    """Runs one command of the installation with its output on stderr; whether it went well."""
    print("+ " + " ".join(argv), file=sys.stderr)
    try:
        status = subprocess.run(argv, stdout=sys.stderr, check=False).returncode
    except OSError as error:
        status = error
    if status != 0:
        print(f"warning: {argv[0]} failed: {status}", file=sys.stderr)
    return status == 0
