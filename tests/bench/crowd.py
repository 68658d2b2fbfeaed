"""Many connections to one seeder, few of them active; run by probes.py:

    crowd.py IP:PORT OBJECT PIECES PIECE-SIZE IDLE ACTIVE SECONDS TURNS

The active ones ask for piece after piece, a few at a time, and drop what comes; no data is checked, so that the seeder is
the one who works. The idle ones open the object and stay silent. They come and go: a turn is SECONDS without them and
SECONDS with them, so that both are measured on the same processes, which lie in memory as they do. Prints one line of
JSON: bytes per second that the active ones received, `alone` and `beside`, for each turn; how many connections were
`lost`. Why one was, or was refused a piece, goes to the standard error output.
"""

import json
import os
import random
import selectors
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "spec", "ref"))
import codec  # noqa: E402

BLOCK = 1 << 20
OPEN_REQUESTS = 4
DATA = codec.BY_NAME["DATA"]["id"]
DATA_HEAD = 12  # bytes of a DATA payload before the data
BITMAP = codec.BY_NAME["BITMAP"]["id"]
UNWANTED = [codec.BY_NAME[name]["id"] for name in ("REJECT", "BYE")]
KEPT = 512  # first bytes of a payload that are kept: all of those that are looked at
PEER = 1
SETTLE = 0.5  # seconds for greetings, and for forgetting who went
CHANNEL = 0


class Link:
    """One connection: what of the current frame is still to come, and what is asked for."""

    def __init__(self, where, book, active):
        self.book = book
        self.active = active
        self.head = bytearray()
        self.left = 0  # bytes of the current frame's payload
        self.kind = 0
        self.start = bytearray()  # of the current frame's payload
        self.received = 0
        self.piece = random.randrange(book.pieces)  # the last one asked for
        self.open = set()  # pieces that are asked for
        self.socket = socket.create_connection(where, 10)
        self.send("HELLO", vmin=1, vmax=1, role=PEER, zero=0, node=os.urandom(16), listen=0, window=0, tlvs=[])
        self.send("OPEN", ch=CHANNEL, object=book.object)
        self.send("BITMAP", ch=CHANNEL, manifest_len=0, piece_count=0, kind=0)

    def send(self, name, **fields):
        """Sends one message."""
        self.socket.sendall(codec.encode(name, **fields))

    def ask(self):
        """Asks for the next piece that is not asked for: the seeder answers in the order that it likes."""
        for _ in range(self.book.pieces):
            self.piece = (self.piece + 1) % (self.book.pieces - 1)  # not the last one, which may be short
            if self.piece not in self.open:
                break
        self.open.add(self.piece)
        self.send("REQUEST", ch=CHANNEL, piece=self.piece, begin=0, len=self.book.piece_size)

    def take(self, data):
        """What came, of any length."""
        while data:
            if self.left > 0:
                got = min(self.left, len(data))
                self.start += data[: max(0, KEPT - len(self.start))]
                data = data[got:]
                self.left -= got
                if self.left == 0:
                    self.ended_frame()
                continue
            need = codec.HEADER - len(self.head)
            self.head += data[:need]
            data = data[need:]
            if len(self.head) == codec.HEADER:
                self.kind = self.head[0]
                self.left = self.size = int.from_bytes(self.head[1:], "big")
                self.head.clear()
                self.start.clear()
                if self.left == 0:
                    self.ended_frame()

    def ended_frame(self):
        """Acts on a complete frame."""
        if self.active and self.kind == DATA:
            self.received += self.size - DATA_HEAD
            self.open.discard(int.from_bytes(self.start[4:8], "big"))
            self.ask()
        elif self.active and self.kind == BITMAP:
            for _ in range(OPEN_REQUESTS):
                self.ask()
        elif self.kind in UNWANTED:
            print(*codec.decode(self.kind, bytes(self.start)), file=sys.stderr, flush=True)


class Book:
    """What is asked for."""

    def __init__(self, words):
        self.object = bytes.fromhex(words[0])
        self.pieces, self.piece_size = int(words[1]), min(int(words[2]), BLOCK)


class Crowd:
    """The connections that there are."""

    def __init__(self, where, book):
        self.where, self.book = where, book
        self.poll = selectors.DefaultSelector()
        self.buffer = memoryview(bytearray(BLOCK))
        self.links = set()
        self.lost = 0

    def join(self, count, active):
        """So many more."""
        for _ in range(count):
            link = Link(self.where, self.book, active)
            self.poll.register(link.socket, selectors.EVENT_READ, link)
            self.links.add(link)

    def leave(self):
        """The idle ones go."""
        for link in [link for link in self.links if not link.active]:
            self._drop(link)

    def _drop(self, link):
        self.poll.unregister(link.socket)
        link.socket.close()
        self.links.remove(link)

    def run(self, seconds):
        """Bytes per second that come meanwhile."""
        start, before = time.perf_counter(), self._received()
        while (elapsed := time.perf_counter() - start) < seconds:
            for key, _ in self.poll.select(0.05):
                self._read(key.data)
        return (self._received() - before) / elapsed

    def _received(self):
        return sum(link.received for link in self.links if link.active)

    def _read(self, link):
        try:
            got = link.socket.recv_into(self.buffer)
        except OSError:
            got = 0
        if got == 0:
            self._drop(link)
            self.lost += 1
        else:
            link.take(self.buffer[:got])


def main(words):
    """Connects, counts, and says what was counted."""
    ip, _, port = words[0].rpartition(":")
    idle, active, seconds, turns = int(words[4]), int(words[5]), float(words[6]), int(words[7])
    crowd = Crowd((ip, int(port)), Book(words[1:4]))
    crowd.join(active, True)
    speeds = {"alone": [], "beside": []}
    for _ in range(turns):
        for name, count in (("alone", 0), ("beside", idle)):
            crowd.join(count, False)
            crowd.run(SETTLE)
            speeds[name].append(crowd.run(seconds))
        crowd.leave()
    print(json.dumps({**speeds, "lost": crowd.lost}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
