"""The machine's own limits, as small programs that a run measures between the systems. Run by systems.py:

    limits.py send-sendfile FILE IP:PORT   sends the file to who connects first, with sendfile
    limits.py send-mapped FILE IP:PORT     the same from a mapping, as our seeders do
    limits.py send-pread FILE IP:PORT      the same, read into a buffer first
    limits.py socket IP:PORT OUT SIZE      receives and drops, whoever sends
    limits.py socket-write IP:PORT OUT SIZE    receives, gathers 1 MiB, writes
    limits.py sha256 FILE OUT SIZE         hashes a file in the page cache, pieces of 1 MiB
    limits.py write FILE OUT SIZE          writes a new file
    limits.py write-fsync FILE OUT SIZE    and waits for the disk

Each works in units of 1 MiB, so that Python's own share is small. At the end it prints "done" and the seconds of its
work: wall, user, system, without the start of Python.
"""

import hashlib
import mmap
import os
import resource
import socket
import sys
import time

MIB = 1 << 20


def split(where):
    """An address in the form that sockets take."""
    ip, _, port = where.rpartition(":")
    return ip, int(port)


def send(path, where, how):
    """Serves one connection."""
    with socket.create_server(split(where)) as listener, open(path, "rb") as file:
        peer, _ = listener.accept()
        with peer:
            size = os.fstat(file.fileno()).st_size
            if how == "sendfile":
                at = 0
                while at < size:
                    at += os.sendfile(peer.fileno(), file.fileno(), at, min(MIB, size - at))
            elif how == "mapped":
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
                    for at in range(0, size, MIB):
                        with view[at : at + MIB] as unit:
                            peer.sendall(unit)
            else:
                buffer = memoryview(bytearray(MIB))
                for at in range(0, size, MIB):
                    peer.sendall(buffer[: os.preadv(file.fileno(), [buffer], at)])


def receive(where, out, size):
    """Receives `size` bytes; writes them to `out` by the MiB unless that is None."""
    buffer = memoryview(bytearray(MIB))
    at = 0
    with socket.create_connection(split(where)) as peer:
        file = open(out, "xb", buffering=0) if out else None
        while at < size:
            unit = min(MIB, size - at)
            filled = 0
            while filled < unit:
                got = peer.recv_into(buffer[filled:unit])
                if got == 0:
                    sys.exit(f"error: the connection ended at byte {at + filled} of {size}")
                filled += got
            if file:
                file.write(buffer[:unit])
            at += unit
        if file:
            file.close()


def sha256(path):
    """Hashes every MiB of a file by itself."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
        for at in range(0, len(view), MIB):
            with view[at : at + MIB] as piece:
                hashlib.sha256(piece).digest()


def write(out, size, sync):
    """Writes `size` bytes to a new file."""
    block = memoryview(os.urandom(MIB))
    with open(out, "xb", buffering=0) as file:
        for at in range(0, size, MIB):
            file.write(block[: min(MIB, size - at)])
        if sync:
            os.fsync(file.fileno())


def main(words):
    """Does what the command line says."""
    if words[0].startswith("send-"):
        send(words[1], words[2], words[0].removeprefix("send-"))
        return
    what, source, out, size = words[0], words[1], words[2], int(words[3])
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    if what == "sha256":
        sha256(source)
    elif what.startswith("write"):
        write(out, size, what == "write-fsync")
    else:
        receive(source, out if what == "socket-write" else None, size)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    user, system = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    print("done", f"{wall:.6f}", f"{user:.6f}", f"{system:.6f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
