"""Networks that a scenario runs on: where each host is, and how a program is started there.

Hosts are numbered: 0 has the tracker and the first seeder; other seeders and then the fetchers follow.
"""

import socket


class Loopback:
    """All hosts are 127.0.0.1."""

    @staticmethod
    def why_not(_bin_dir):
        """Why such a network can't be had, or None."""
        return None

    def __init__(self, _hosts, _bin_dir):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def address(self, _host):
        """IP address of a host."""
        return "127.0.0.1"

    def wrap(self, argv, _host):
        """The command that runs `argv` on that host."""
        return argv

    def sent(self, _host):
        """Bytes that a host has sent, headers included, or None where that is not counted."""
        return None


def free_port():
    """A TCP port of 127.0.0.1 that nobody has at the moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
