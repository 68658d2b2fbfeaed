"""Ballast: page-cache files that are deleted while a system under test takes memory.

A virtual machine that reports free pages to its host must fault each page in again once it has been free for about a
second. That costs one to two seconds a GiB, in system time and wall time of whoever takes the page, and it differs from
run to run: a transfer timed without a remedy is a measurement of the hypervisor. The remedy: hold warm pages in files, and
delete the files just ahead of the system's use, so that it is given pages which the machine still has.

Two things were tried and do not help: anonymous memory, and files on tmpfs (both fall apart into single pages). The files
have to be on the file system that is written to. On a machine without free page reporting, ballast changes nothing.
"""

import os
import threading

MIB = 1 << 20
PIECE = 16 * MIB  # one ballast file
SLACK = 128 * MIB  # pages freed ahead of their use: some 50 ms of the fastest transfer, under 1 s of a slow one
POLL = 0.005  # seconds


def free_bytes():
    """Memory that nobody uses, in bytes."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        for line in meminfo:
            if line.startswith("MemFree:"):
                return int(line.split()[1]) * 1024
    return 0


def background_threshold():
    """Bytes of dirty pages from which on the kernel writes back by itself."""
    with open("/proc/vmstat", encoding="ascii") as vmstat:
        for line in vmstat:
            if line.startswith("nr_dirty_background_threshold "):
                return int(line.split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class Ballast:
    """Files of `size` bytes in all in `folder`; `with` it, they shrink as memory is taken.

    Creating it writes the files, so create it last, right before the run. `short` afterwards tells how many bytes more than
    all of the ballast were taken: above 0, the end of the run may have met cold pages.
    """

    def __init__(self, folder, size):
        self.files = []
        self.deleted = 0
        self.short = 0
        self.stop = threading.Event()
        self.thread = None
        block = bytes(MIB)
        os.makedirs(folder, exist_ok=True)
        # Dirty files cost no disk at all, not even when they are deleted, as long as no write-back begins. Where there
        # are too many of them for that, write-back is done now rather than during the run. What the run writes takes the
        # place of what is deleted, so it does not count.
        settle = size + SLACK > background_threshold()
        for number in range(-(-size // PIECE)):
            path = os.path.join(folder, f"{number}")
            with open(path, "wb", buffering=0) as file:
                for _ in range(PIECE // MIB):
                    file.write(block)
                if settle:
                    os.fsync(file.fileno())
            self.files.append(path)

    def __enter__(self):
        self.start = free_bytes()
        self._release()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        if not self.files:
            self.short = max(0, self.start - free_bytes())

    def discard(self):
        """Deletes what is left."""
        while self.files:
            os.unlink(self.files.pop())

    def _watch(self):
        while self.files and not self.stop.wait(POLL):
            self._release()

    def _release(self):
        taken = self.start + self.deleted - free_bytes()
        while self.files and self.deleted - taken < SLACK:
            os.unlink(self.files.pop())
            self.deleted += PIECE
