"""Networks that a scenario runs on: where each host is, and how a program is started there.

Loopback is the only one so far. A shaped network is a class with the same two methods, which makes a namespace a host in
`__enter__`, removes it in `__exit__`, and lets `wrap` prefix the command with `ip netns exec`.
"""

import socket


class Loopback:
    """All hosts are 127.0.0.1."""

    name = "loopback"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def address(self, _host):
        """IP address of host number `_host`: 0 has the tracker and the first seeder."""
        return "127.0.0.1"

    def wrap(self, argv, _host):
        """The command that runs `argv` on that host."""
        return argv


def free_port():
    """A TCP port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
