"""The smallest BitTorrent tracker, for programs that take their peers from nowhere else. Run by torrents.py:

    bt_tracker.py IP:PORT SEEDER...

It knows one torrent. The seeders, each IP:PORT, are there from the start; who announces himself is told of all others.
"""

import ipaddress
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

INTERVAL = 10  # seconds until a peer asks again


def split(where):
    """An address as a pair."""
    ip, _, port = where.rpartition(":")
    return ip, int(port)


class Announce(BaseHTTPRequestHandler):
    """Answers /announce."""

    peers = {}  # in order of arrival; a dictionary for its order
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Notes the peer and tells it of the others."""
        asked = parse_qs(urlsplit(self.path).query, encoding="latin-1")
        own = (self.client_address[0], int(asked["port"][0]))
        if asked.get("event") == ["stopped"]:
            self.peers.pop(own, None)
        else:
            self.peers[own] = True
        others = b"".join(compact(peer) for peer in list(self.peers) if peer != own)
        body = b"d8:intervali%de5:peers%d:%se" % (INTERVAL, len(others), others)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


def compact(peer):
    """A peer as BEP 23 has it."""
    return ipaddress.IPv4Address(peer[0]).packed + peer[1].to_bytes(2, "big")


def main(words):
    """Serves until ended."""
    for seeder in words[1:]:
        Announce.peers[split(seeder)] = True
    ThreadingHTTPServer(split(words[0]), Announce).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
