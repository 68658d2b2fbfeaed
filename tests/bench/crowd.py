"""Many connections to one seeder, few of them active; run by probes.py:

    crowd.py IP:PORT OBJECT PIECES PIECE-SIZE IDLE ACTIVE SECONDS

The idle ones open the object and stay silent. The active ones ask for piece after piece, a few at a time, and drop what
comes; no data is checked, so that the seeder is the one who works. Prints one line: bytes received by the active ones,
seconds, and how many connections lived to the end. Why one did not, or was refused a piece, goes to the standard error
output.
"""

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


def main(words):
    """Connects all, counts for so many seconds."""
    ip, _, port = words[0].rpartition(":")
    book = Book(words[1:4])
    idle, active, seconds = int(words[4]), int(words[5]), float(words[6])
    links = [Link((ip, int(port)), book, number >= idle) for number in range(idle + active)]
    poll = selectors.DefaultSelector()
    for link in links:
        link.socket.setblocking(True)
        poll.register(link.socket, selectors.EVENT_READ, link)
    buffer = memoryview(bytearray(BLOCK))
    alive = len(links)
    warm, start, end, before = False, 0.0, time.perf_counter() + 1.0, 0
    while True:
        now = time.perf_counter()
        if now >= end:
            if warm:
                break
            # The first second is for greetings.
            warm, start, end, before = True, now, now + seconds, sum(link.received for link in links)
        for key, _ in poll.select(0.05):
            try:
                got = key.fileobj.recv_into(buffer)
            except OSError:
                got = 0
            if got == 0:
                poll.unregister(key.fileobj)
                alive -= 1
            else:
                key.data.take(buffer[:got])
    print(sum(link.received for link in links) - before, time.perf_counter() - start, alive, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
