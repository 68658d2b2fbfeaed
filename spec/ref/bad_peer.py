#!/usr/bin/env python3
"""A seeder that breaks the rules on purpose, to see that fetchers survive it. It does not publish the name.

    bad_peer.py HOW PATH --tracker HOST:PORT        prints "misbehaving" and serves

HOW: none      serves as it should
     corrupt   sends pieces with a wrong byte
     manifest  sends a manifest that is not the object's
     silent    takes requests and never answers
     reject    answers every request with REJECT(BUSY)
     window    closes its window and keeps it closed
     hangup    closes the connection after the first request for a piece
     loris     sends each DATA one byte at a time, and never ends
     half-close  ends its direction after the first request for a piece, and goes on reading

and what is right, but rare:

     reverse   answers the last of several requests first
     late      says at first that it holds nothing and cannot serve the manifest, and then HAVE for piece after piece
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import sys
from pathlib import Path

import codec
from connection import Ended, capture_to
from peer import Peer, parse_address, seed_object
from session import MANIFEST_PIECE, Session
from tracker_client import TrackerClient

WAYS = ("none", "corrupt", "manifest", "silent", "reject", "window", "hangup", "loris", "half-close", "reverse",
        "late")


class BadSession(Session):
    how = "none"
    dripping = None

    async def _drip(self, m: dict) -> None:
        raw = codec.encode("DATA", ch=m["ch"], piece=m["piece"], begin=m["begin"], bytes=bytes(m["len"]))
        for byte in raw:
            self.connection.send_raw(bytes([byte]))
            await asyncio.sleep(0.2)

    async def run(self) -> None:
        if self.how == "window":
            self.connection.send("WINDOW", requests=0)
        await super().run()

    def _send_bitmap(self, channel) -> None:
        if self.how != "late":
            super()._send_bitmap(channel)
            return
        channel.sent_bitmap = True
        self.connection.send("BITMAP", ch=channel.number, manifest_len=0, piece_count=0, kind=0)
        asyncio.create_task(self._tell(channel))

    async def _tell(self, channel) -> None:
        for piece in reversed(range(len(channel.held.manifest.hashes))):
            await asyncio.sleep(0.05)
            self.connection.send("HAVE", ch=channel.number, pieces=[piece])  # [P-26]

    async def _serve(self) -> None:
        if self.how == "reverse":
            while True:
                await asyncio.sleep(0.03)
                queue, self.queue = self.queue, {}
                for (number, piece, begin), length in reversed(queue.items()):  # [P-28]
                    held = self.channels[number].held
                    raw = held.manifest.raw[begin : begin + length]
                    data = raw if piece == MANIFEST_PIECE else held.read(piece, begin, length)
                    self.connection.send("DATA", ch=number, piece=piece, begin=begin, bytes=data)
        await super()._serve()

    async def _on_request(self, m: dict) -> None:
        if self.how == "reject":
            self._reject((m["ch"], m["piece"], m["begin"]), "BUSY")
        elif self.how == "hangup" and m["piece"] != MANIFEST_PIECE:
            await self.connection.close()
            raise Ended(None, "hung up")
        elif self.how == "half-close" and m["piece"] != MANIFEST_PIECE:
            if self.connection.writer.can_write_eof() and not self.connection.said_bye:
                self.connection.said_bye = True
                self.connection.writer.write_eof()
        elif self.how == "loris" and m["piece"] != MANIFEST_PIECE:
            if not self.dripping:
                self.dripping = asyncio.create_task(self._drip(m))
        elif self.how != "silent":
            await super()._on_request(m)


async def misbehave(args) -> None:
    BadSession.how = args.how
    peer = Peer(BadSession)
    await peer.listen(args.listen)
    held = seed_object(Path(args.path), None)
    if args.how == "corrupt":
        good = held.read
        held.read = lambda piece, begin, length: bytes([good(piece, begin, length)[0] ^ 1]) + good(piece, begin, length)[1:]
    if args.how == "manifest":
        raw = held.manifest.raw
        held.manifest = dataclasses.replace(held.manifest, raw=raw[:-1] + bytes([raw[-1] ^ 1]))
    peer.objects[held.object] = held
    tracker = TrackerClient(peer, parse_address(args.tracker))
    await tracker.start()
    await tracker.announce()
    print(f"misbehaving: {args.how}", flush=True)
    await peer.server.serve_forever()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("how", choices=WAYS)
    parser.add_argument("path")
    parser.add_argument("--tracker", required=True)
    parser.add_argument("--listen", default="127.0.0.1:0", help="address to accept connections at")
    parser.add_argument("--capture", help="record all connections to this pcap file")
    args = parser.parse_args()
    capture_to(args.capture)
    try:
        asyncio.run(misbehave(args))
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
