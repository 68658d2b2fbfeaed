"""Processes, and what they cost: wall time, CPU seconds of whole process trees, anonymous memory.

Nothing here knows what is measured. Processes are ended by their own ids only.
"""

import os
import signal
import subprocess
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")
SAMPLE = 0.02  # seconds between two looks at memory
MEMBERS_FOR = 4  # looks in a row at the same processes, before new children are looked for


class BenchError(Exception):
    """A run that could not be done or gave a wrong result; the text says what happened."""


def tree(root):
    """Ids of process `root` and all its living descendants."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as children:
                    todo += map(int, children.read().split())
        except OSError:
            pass  # ended meanwhile
    return found


def cpu_clock(pid):
    """CPU seconds that process `pid` has used by itself, to the nanosecond, or None once it is gone."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # clock_getcpuclockid(3), as the kernel numbers these clocks
    except OSError:
        return None


def tree_cpu(root):
    """(user, system) CPU seconds that `root`, its living descendants and those they waited for have used.

    Their sum is exact but for the 10 ms that the kernel keeps of children which were waited for; the split is not.
    """
    user = system = 0.0
    for pid in tree(root):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        own_user, own_system, ended_user, ended_system = (int(field) / TICK for field in fields[11:15])
        exact = cpu_clock(pid)
        if exact is not None and own_user + own_system > 0:
            scale = exact / (own_user + own_system)
            own_user, own_system = own_user * scale, own_system * scale
        elif exact is not None:
            own_system = exact
        user += own_user + ended_user
        system += own_system + ended_system
    return user, system


def memory_of(pids):
    """(anonymous, peak resident) bytes of some processes: RssAnon and VmHWM, added up."""
    anonymous = peak = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as status:
                for line in status:
                    if line.startswith("VmHWM:"):
                        peak += int(line.split()[1]) * 1024
                    elif line.startswith("RssAnon:"):
                        anonymous += int(line.split()[1]) * 1024
                        break
        except OSError:
            pass
    return anonymous, peak


def listens(port, pid):
    """Whether a TCP socket of the host that process `pid` is on listens on `port`, found out without connecting to it."""
    wanted = f":{port:04X}"
    for table in (f"/proc/{pid}/net/tcp", f"/proc/{pid}/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                for line in lines:
                    fields = line.split()
                    if fields[3] == "0A" and fields[1].endswith(wanted):
                        return True
        except OSError:
            pass
    return False


class Process:
    """One program started by the benchmark, with its output in files beside its work."""

    def __init__(self, argv, log, network=None, host=0, line_done=False, env=None):
        self.argv = [str(word) for word in argv]
        if network is not None:
            self.argv = network.wrap(self.argv, host)
        self.log = log
        self.line_done = line_done
        self.usage = None
        self.status = None
        self.done_at = None
        self.figures = []
        out = subprocess.PIPE if line_done else open(f"{log}.out", "wb")
        with open(f"{log}.err", "wb") as err:
            self.started_at = time.perf_counter()
            # Descriptors are close-on-exec anyway; leaving the rest to exec lets Python use vfork.
            self.popen = subprocess.Popen(
                self.argv,
                stdin=subprocess.PIPE if line_done else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                close_fds=False,
                start_new_session=True,
                env=env,
            )
        if not line_done:
            out.close()
        self.pid = self.popen.pid

    def said(self, what):
        """Whether text `what` stands in the program's output up to now."""
        return any(what in text for text in (self._text("out"), self._text("err")))

    def output(self):
        """The last lines that the program wrote, for messages."""
        return " | ".join((self._text("out") + self._text("err")).strip().splitlines()[-5:])

    def _text(self, end):
        try:
            with open(f"{self.log}.{end}", encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError:
            return ""

    def await_that(self, condition, what, seconds=120.0):
        """Waits until `condition()`; the program must live on meanwhile."""
        end = time.perf_counter() + seconds
        while not condition():
            if self.popen.poll() is not None:
                raise BenchError(f"{self.argv[0]} ended with {self.popen.returncode} before {what}: {self.output()}")
            if time.perf_counter() > end:
                raise BenchError(f"{self.argv[0]}: no {what} within {seconds:.0f} s: {self.output()}")
            time.sleep(0.002)

    def await_listening(self, port):
        """Waits until the program listens on `port`."""
        self.await_that(lambda: listens(port, self.pid), f"listening on port {port}")

    def watch(self):
        """Blocks until the work is done, and notes when: at the program's end, or when it prints a line "done".

        What stands behind that word is kept as `figures`.
        """
        if self.line_done:
            line = self.popen.stdout.readline()
            self.done_at = time.perf_counter()
            self.figures = line.split()[1:]
            if line.split()[:1] != [b"done"]:
                self.reap()
                raise BenchError(f"{self.argv[0]} did not finish, status {self.status}: {self.output()}")
        else:
            self.reap()
            self.done_at = time.perf_counter()
            if self.status != 0:
                raise BenchError(f"{self.argv[0]} ended with {self.status}: {self.output()}")

    def reap(self):
        """Waits for the end of the program and keeps what it used, its children included."""
        if self.usage is None and self.popen.returncode is None:
            if self.popen.stdin:
                self.popen.stdin.close()
            _, status, self.usage = os.wait4(self.pid, 0)
            self.status = self.popen.returncode = os.waitstatus_to_exitcode(status)
            if self.popen.stdout:
                self.popen.stdout.close()

    def cpu(self):
        """(user, system) CPU seconds of an ended program and its children."""
        return (self.usage.ru_utime, self.usage.ru_stime) if self.usage else (0.0, 0.0)

    def end(self, seconds=10.0):
        """Ends the program and all that it started: asks it first, then insists. Each by its own id."""
        members = tree(self.pid) if self.popen.poll() is None else []
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.popen.poll() is None:
                os.kill(self.pid, number)
                try:
                    self.popen.wait(seconds)
                except subprocess.TimeoutExpired:
                    continue
        for pid in members[1:]:
            # A child that outlived its parent still is in the session that the parent opened.
            try:
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()


class Sampler:
    """Looks at the memory of process trees again and again; peaks per role, of the process tree that had the most.

    ru_maxrss of wait4 is not used: Linux counts the benchmark's own memory in it, since exec follows vfork. VmHWM counts
    mapped file pages, which a program that serves from mappings has by the gigabyte without owning them: RssAnon is the
    figure to compare.
    """

    def __init__(self):
        self.watched = []
        self.members = {}
        self.peaks = {}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def add(self, role, process):
        """Watches `process` as one of `role` from now on."""
        self.watched.append((role, process))

    def finish(self):
        """Ends sampling; {role: (anonymous, peak resident)} in bytes."""
        self.stop.set()
        self.thread.join()
        return self.peaks

    def _run(self):
        number = 0
        while not self.stop.wait(SAMPLE):
            self.look(number % MEMBERS_FOR == 0)
            number += 1

    def look(self, afresh=True):
        """One sample of all; `afresh` with children that came meanwhile."""
        for role, process in list(self.watched):
            if process.popen.returncode is None:
                if afresh or process.pid not in self.members:
                    self.members[process.pid] = tree(process.pid)
                now = memory_of(self.members[process.pid])
                before = self.peaks.get(role, (0, 0))
                self.peaks[role] = (max(before[0], now[0]), max(before[1], now[1]))


def await_all(processes, seconds):
    """Blocks until each of `processes` is done. Ends them all if one fails or `seconds` pass."""
    problems = []

    def one(process):
        try:
            process.watch()
        except BenchError as error:
            problems.append(error)

    threads = [threading.Thread(target=one, args=(process,), daemon=True) for process in processes]
    for thread in threads:
        thread.start()
    end = time.perf_counter() + seconds
    for thread in threads:
        while thread.is_alive() and not problems and time.perf_counter() < end:
            thread.join(0.5)
    if any(thread.is_alive() for thread in threads) and not problems:
        problems.append(BenchError(f"not done within {seconds:.0f} s"))
    if problems:
        for process in processes:
            if process.usage is None and process.popen.returncode is None:
                os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join(10)
        raise problems[0]
    for process in processes:
        process.reap()
