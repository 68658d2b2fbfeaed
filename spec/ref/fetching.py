"""Fetching one object from many peers: the manifest, then pieces, rarest first. Sections 7 and 11.4 of PROTOCOL.md."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path

import manifest as mf
from connection import Ended
from manifest import Manifest
from session import MANIFEST_PIECE, Channel, Held, Rejected, Session

BLOCK = 1 << 16
ANSWER_TIMEOUT = 4.0  # for a whole piece; then somebody else is asked
LOOK_EVERY = 5.0  # for new peers


class Failed(Exception):
    """It cannot be done; says why."""


class Fetch:
    """`peer` has `sessions`, `changed`, `dial(address)` and `avoid(session)`; `news()` is awaited when the tracker is to know."""

    def __init__(self, peer, record: dict, news):
        self.peer, self.news = peer, news
        self.length_hint = record["manifest_len"]  # [T-8]
        self.held = peer.objects[record["object"]] = Held(record["object"])
        self.data: dict[int, bytes] = {}
        self.held.read = lambda piece, begin, length: self.data[piece][begin : begin + length]
        self.busy: set[int] = set()
        self.working: set[Session] = set()
        self.slow: set[Session] = set()
        self.dialed: set[tuple[bytes, int]] = set()

    def more_peers(self, addresses: list[dict]) -> None:
        """Peers that hold it: those that are new are dialed."""
        for address in addresses:
            where = address["ip"], address["port"]
            if where not in self.dialed and len(self.dialed) < 50:
                self.dialed.add(where)
                asyncio.create_task(self.peer.dial(address))

    def channels(self):
        for session in list(self.peer.sessions.values()):
            for channel in list(session.channels.values()):
                if channel.held is self.held and channel.theirs is not None:
                    yield session, channel

    async def run(self, patience: float, look) -> Manifest:
        """All pieces, or Failed after `patience` seconds without progress. `look` asks the tracker for peers."""
        clock = asyncio.get_running_loop().time
        before, since, looked = None, clock(), clock()
        while True:
            self.peer.changed.clear()
            if self.held.manifest is None:
                await self._manifest()
            if self.held.manifest:
                if len(self.held.have) == len(self.held.manifest.hashes):
                    return self.held.manifest
                for session, channel in self.channels():
                    if session not in self.working | self.slow:
                        self.working.add(session)
                        asyncio.create_task(self._pieces(session, channel))
            progress = self.held.manifest is not None, len(self.held.have)
            if progress != before:
                before, since = progress, clock()
            if clock() - since > patience:
                raise Failed(f"no progress in {patience} s, {len(self.held.have)} pieces")
            if clock() - looked > LOOK_EVERY:
                looked = clock()
                await look()
            try:
                async with asyncio.timeout(1):
                    await self.peer.changed.wait()
            except TimeoutError:
                pass

    async def _blocks(self, session: Session, channel: Channel, piece: int, size: int) -> bytes:
        """All of one piece from one node, so that blame is certain. [P-49]"""
        asks = [session.request(channel, piece, begin, min(BLOCK, size - begin)) for begin in range(0, size, BLOCK)]
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                # All answers, also after a REJECT: none of these may be asked for again before its answer. [P-32]
                blocks = await asyncio.gather(*asks, return_exceptions=True)
        except TimeoutError:
            session.cancel(channel, piece)
            self.slow.add(session)
            raise Rejected("TIMEOUT") from None
        for block in blocks:
            if isinstance(block, BaseException):
                raise block
        return b"".join(blocks)

    # ------------------------------------------------------------------------------------------ manifest

    async def _manifest(self) -> None:
        for session, channel in self.channels():
            if not channel.can_serve_manifest or session in self.slow:
                continue
            size = channel.manifest_len or self.length_hint
            if not size:
                # [P-26] It has the manifest by now, and tells its length on a new channel.
                session.close_channel(channel.number, "OK")
                session.open(self.held)
                continue
            try:
                raw = await self._blocks(session, channel, MANIFEST_PIECE, size)  # [P-51]
            except Rejected as rejected:
                if rejected.code == "BAD_RANGE" and not channel.manifest_len:
                    self.length_hint = 0
                continue
            if hashlib.sha256(raw).digest() == self.held.object:
                await self._learned(raw)
                return
            if channel.manifest_len:
                await self._blame(session, "the manifest is not the object's")  # [P-51]
            else:
                self.length_hint = 0  # [T-8]

    async def _learned(self, raw: bytes) -> None:
        try:
            self.held.manifest = mf.parse(raw)
        except mf.Refused as refused:
            for session, channel in self.channels():
                session.close_channel(channel.number, "BAD_DATA")  # [P-52]
            raise Failed(f"the object's manifest: {refused}") from None
        for session, channel in self.channels():
            try:
                await session.check_bitmap(channel)
            except Ended:
                pass
        await self.news()  # [T-24]

    async def _blame(self, session: Session, text: str) -> None:
        self.peer.avoid(session)
        try:
            await session.connection.bye("BAD_DATA", text)
        except Ended:
            pass

    # -------------------------------------------------------------------------------------------- pieces

    def _next_piece(self, channel: Channel) -> int | None:
        """The rarest piece that this side has and nobody is asked for."""
        count: dict[int, int] = {}
        for _, other in self.channels():
            for piece in other.theirs:
                count[piece] = count.get(piece, 0) + 1
        wanted = channel.theirs - self.held.have - self.busy
        return min(wanted, key=lambda p: (count.get(p, 0), random.random()), default=None)

    async def _pieces(self, session: Session, channel: Channel) -> None:
        piece = None
        try:
            while (piece := self._next_piece(channel)) is not None:
                self.busy.add(piece)
                try:
                    data = await self._blocks(session, channel, piece, self.held.length_of(piece))
                finally:
                    self.busy.discard(piece)
                if hashlib.sha256(data).digest() != self.held.manifest.hashes[piece]:
                    await self._blame(session, f"piece {piece} has a wrong hash")  # [P-48] [P-49]
                    return
                self.data[piece] = data
                self.held.have.add(piece)  # [P-20]
                for other in self.peer.sessions.values():
                    other.announce(self.held, piece)
        except Rejected as rejected:
            if rejected.code == "NO_PIECE":
                channel.theirs.discard(piece)  # [P-41]
            await asyncio.sleep(0.2)
        finally:
            self.working.discard(session)
            self.peer.changed.set()

    # ------------------------------------------------------------------------------------------- storing

    def store(self, root: Path) -> None:
        """Writes what was fetched; every path was checked when the manifest was parsed."""
        manifest = self.held.manifest
        contents = [b""] * len(manifest.entries)
        for piece, (index, _, _) in enumerate(manifest.pieces()):
            contents[index] += self.data[piece]
        for entry, content in zip(manifest.entries, contents, strict=True):
            path = root / entry.path if entry.path else root
            if entry.is_folder():
                path.mkdir(parents=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "xb") as file:
                file.write(content)
            if entry.executable:
                path.chmod(0o755)
