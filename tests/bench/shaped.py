"""A network of its own: hosts as network namespaces on a switch, with links of a fixed rate. Needs root.

Without delay the switch is a bridge, with a veth pair to each host, and token buckets limit both directions. Delay and loss
come from a program (relay.rs), since not every kernel has netem: the hosts then have TAP devices, whose uplink is limited as
before, and the program does the rest. Nothing of it is visible outside the namespaces, which are removed afterwards, also
those that a killed benchmark left behind.
"""

import array
import contextlib
import fcntl
import os
import re
import shutil
import socket
import struct
import subprocess
from functools import partial

from measure import BenchError

MBIT = 1_000_000
BURST = "32kb"  # of a token bucket; tc's kb are KiB. relay.rs has the same
QUEUE = "50ms"
TUN_SET_IFF = 0x400454CA
TAP_WITHOUT_HEADER = 0x0002 | 0x1000  # IFF_TAP, IFF_NO_PI


def command(*argv, text=None):
    """Runs a command that must succeed."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv)}: {done.stderr.strip()[-300:]}")


def remove_left_behind():
    """Removes namespaces of benchmarks that no longer run, and devices with them."""
    for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
        owner = re.fullmatch(r"bench-(\d+)-\w+", name)
        if owner and not os.path.exists(f"/proc/{owner[1]}"):
            subprocess.run(["ip", "netns", "delete", name], check=False)


class Shaped:
    """`hosts` hosts with `mbit` up and down; the last of them with `slow_mbit` if that is given."""

    def __init__(self, hosts, bin_dir, mbit=100, slow_mbit=None, delay_ms=0.0, loss_percent=0.0):
        self.rates = [mbit * MBIT] * hosts
        if slow_mbit:
            self.rates[-1] = slow_mbit * MBIT
        self.delay_ms = delay_ms
        self.loss_percent = loss_percent
        self.relayed = delay_ms > 0 or loss_percent > 0
        self.bin_dir = bin_dir
        self.relay = None
        self.socket = None

    @staticmethod
    def why_not(_bin_dir):
        """Why such a network can't be had, or None."""
        if os.getuid() != 0:
            return "needs root, for network namespaces"
        if missing := [name for name in ("ip", "tc") if not shutil.which(name)]:
            return f"{missing[0]} is not installed (run.py --install)"
        if not try_namespace():
            return "the system does not let us make network namespaces with token buckets"
        return None

    @staticmethod
    def why_not_relayed(bin_dir):
        """The same for one with delay or loss."""
        if not os.path.exists("/dev/net/tun"):
            return "the system has no TAP devices"
        if not os.access(os.path.join(bin_dir, "relay"), os.X_OK):
            return "the program relay is not built (cargo build --release -p tests --bin relay)"
        return Shaped.why_not(bin_dir)

    def __enter__(self):
        remove_left_behind()
        try:
            for host in range(len(self.rates)):
                command("ip", "netns", "add", self._space(host))
            if self.relayed:
                self._connect_by_relay()
            else:
                self._connect_by_bridge()
            for host, rate in enumerate(self.rates):
                space = self._space(host)
                command("ip", "-n", space, "-batch", "-", text=(
                    f"address add {self.address(host)}/16 dev eth0\nlink set eth0 up\nlink set lo up\n"
                ))
                limit(space, ["eth0"], [rate])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.socket:
            self.socket.close()
        if self.relay:
            self.relay.wait(10)
        for name in (*map(self._space, range(len(self.rates))), self._switch()):
            if os.path.exists(f"/run/netns/{name}"):
                subprocess.run(["ip", "netns", "delete", name], check=False)

    def address(self, host):
        """IP address of a host."""
        return f"10.77.{host // 250}.{host % 250 + 1}"

    def wrap(self, argv, host):
        """The command that runs `argv` on that host."""
        return ["ip", "netns", "exec", self._space(host), *argv]

    def sent(self, host):
        """Bytes that a host has sent, headers included."""
        shown = subprocess.run(
            self.wrap(["cat", "/sys/class/net/eth0/statistics/tx_bytes"], host), capture_output=True, text=True, check=False
        )
        return int(shown.stdout) if shown.returncode == 0 else None

    def _space(self, host):
        return f"bench-{os.getpid()}-{host}"

    def _switch(self):
        return f"bench-{os.getpid()}-switch"

    def _connect_by_bridge(self):
        command("ip", "netns", "add", self._switch())
        lines = ["link add bridge type bridge", "link set bridge up"]
        for host in range(len(self.rates)):
            lines.append(f"link add port{host} type veth peer name eth0 netns {self._space(host)}")
            lines.append(f"link set port{host} master bridge up")
        command("ip", "-n", self._switch(), "-batch", "-", text="\n".join(lines) + "\n")
        limit(self._switch(), [f"port{host}" for host in range(len(self.rates))], self.rates)

    def _connect_by_relay(self):
        ours, theirs = socket.socketpair()
        self.socket = ours
        devices = []
        try:
            for host in range(len(self.rates)):
                name = f"bench{os.getpid()}-{host}"
                devices.append(tap(name))
                command("ip", "link", "set", name, "netns", self._space(host), "name", "eth0")
            words = [round(self.delay_ms * 1000), round(self.loss_percent * 10_000), *self.rates]
            program = os.path.join(self.bin_dir, "relay")
            self.relay = subprocess.Popen([program, *map(str, words)], stdin=theirs, start_new_session=True)
            # It stands for hardware, which does not wait for a processor. Without the right to say so, it is as it is.
            with contextlib.suppress(OSError):
                os.sched_setscheduler(self.relay.pid, os.SCHED_RR, os.sched_param(1))
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", devices))
            ours.sendmsg([b"!"], [rights])
        finally:
            theirs.close()
            for device in devices:
                os.close(device)


def tap(name):
    """Makes a TAP device; a descriptor of its packets. It lives as long as that, or a copy, is open."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, TUN_SET_IFF, struct.pack("16sH22x", name.encode(), TAP_WITHOUT_HEADER))
    except OSError as error:
        os.close(device)
        raise BenchError(f"no TAP device: {error}") from error
    return device


def limit(space, devices, rates):
    """Token buckets for what goes out through `devices`."""
    lines = [
        f"qdisc add dev {device} root tbf rate {rate}bit burst {BURST} latency {QUEUE}"
        for device, rate in zip(devices, rates, strict=True)
    ]
    command("tc", "-n", space, "-batch", "-", text="\n".join(lines) + "\n")


def try_namespace():
    """Whether a namespace with a shaped device can be made here."""
    name = f"bench-{os.getpid()}-try"
    try:
        command("ip", "netns", "add", name)
        command("ip", "-n", name, "link", "add", "one", "type", "veth", "peer", "name", "two")
        limit(name, ["one"], [MBIT])
    except (BenchError, OSError):
        return False
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
    return True


def shaped(**links):
    """A maker of such networks, for a scenario."""
    maker = partial(Shaped, **links)
    maker.why_not = Shaped.why_not_relayed if "delay_ms" in links or "loss_percent" in links else Shaped.why_not
    return maker
