"""What machine a run was on, as far as it matters for its figures."""

import os
import platform
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")


def read(path):
    """The text of a small file, or "" if it is not there."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def busy_seconds():
    """CPU seconds that all of the machine's cores together were busy since its start."""
    fields = [int(field) for field in read("/proc/stat").splitlines()[0].split()[1:]]
    # user, nice, system, idle, iowait, irq, softirq, steal
    return (sum(fields[:8]) - fields[3] - fields[4]) / TICK


def file_system(path):
    """Type of the file system that `path` is on."""
    best = ("", "unknown")
    for line in read("/proc/self/mounts").splitlines():
        _, place, kind = line.split()[:3]
        inside = place == "/" or path == place or path.startswith(place + "/")
        if inside and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1]


def describe(work, root):
    """A record of the machine and of the source that was built."""
    cpu = next((line.partition(":")[2].strip() for line in read("/proc/cpuinfo").splitlines() if "model name" in line), "")
    release = next((line.partition("=")[2].strip('"') for line in read("/etc/os-release").splitlines() if "PRETTY" in line), "")
    memory = next((line.split()[1] for line in read("/proc/meminfo").splitlines() if line.startswith("MemTotal")), "0")
    flags = read("/proc/cpuinfo")
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False)
    return {
        "cpu": cpu or platform.machine(),
        "cores": os.cpu_count(),
        "sha_ni": " sha_ni" in flags,
        "virtual": " hypervisor" in flags,
        "memory": int(memory) * 1024,
        "kernel": platform.release(),
        "system": release,
        "file_system": file_system(os.path.realpath(work)),
        "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "load_before": read("/proc/loadavg").split()[0] if read("/proc/loadavg") else "",
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "commit": git.stdout.strip() or "unknown",
    }
