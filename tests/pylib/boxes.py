"""Boxes: network namespaces for tests that leave nothing behind, however they end.

enter() puts the script into namespaces of its own for network, processes and mounts. Named network namespaces, scratch
files and every process started live inside and vanish together with it, a kill -9 included.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
SCRATCH = "/mnt"  # a tmpfs of our own after enter()
SKIP = 77
T0 = time.monotonic()


class Failed(Exception):
    """The test failed; the text says what was expected."""


def say(*words):
    """A line of the test's story, with the seconds since its start."""
    print(f"{time.monotonic() - T0:6.1f} s ", *words, flush=True)


def skip(why):
    print(f"SKIP: {why}", flush=True)
    sys.exit(SKIP)


def need_root():
    if os.geteuid() != 0:
        skip("network namespaces need root")


def need_programs(packages):
    """packages: {program: Debian package}. Ends the script when one is missing, naming all packages."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    dirs = os.environ["PATH"].split(":")
    missing = {p for prog, p in packages.items() if not any(os.access(f"{d}/{prog}", os.X_OK) for d in dirs)}
    if missing:
        skip("Debian packages missing: " + " ".join(sorted(missing)))


def enter():
    """Starts the script again inside its own namespaces, unless it is inside already."""
    if os.environ.get("SG_BOXES") != "inside":
        os.environ["SG_BOXES"] = "inside"
        sys.stdout.flush()
        args = ["unshare", "--net", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        os.execvp("unshare", args + [sys.executable, "-u", os.path.abspath(sys.argv[0])] + sys.argv[1:])
    del os.environ["SG_BOXES"]
    os.makedirs("/run/netns", exist_ok=True)
    for where in ("/run/netns", SCRATCH):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", where], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def call(*argv, check=True, timeout=60, **more):
    """Runs a command and returns its output."""
    r = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       timeout=timeout, **more)
    if check and r.returncode != 0:
        raise Failed(f"{' '.join(map(str, argv))}: exit status {r.returncode}: {r.stdout.strip()[-600:]}")
    return r.stdout


def keep_logs():
    """Copies the logs of all programs to where INTEROP_LOGS says."""
    where = os.environ.get("INTEROP_LOGS")
    if where:
        os.makedirs(where, exist_ok=True)
        for name in os.listdir(SCRATCH):
            if name.endswith(".log"):
                shutil.copy(f"{SCRATCH}/{name}", where)


def wait_for(what, seconds, test, every=0.05):
    """Polls until test() is true; returns the seconds it took."""
    t0 = time.monotonic()
    while True:
        if test():
            return time.monotonic() - t0
        if time.monotonic() - t0 > seconds:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(every)


class Program:
    """A process in a box."""

    def __init__(self, name, argv, log, **popen):
        self.name, self.log = name, log
        with open(log, "ab") as out:
            self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.STDOUT, **popen)
        self.pid = self.process.pid

    def alive(self):
        return self.process.poll() is None

    def stop(self, sig=signal.SIGTERM, seconds=10):
        """Sends the signal, waits, kills if that is not enough. Returns the exit status."""
        if self.alive():
            self.process.send_signal(sig)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def lines(self):
        return self.text().count("\n")

    def tail(self, lines=12):
        return "\n".join(self.text().splitlines()[-lines:])


class Box:
    """A network namespace with a name."""

    def __init__(self, name):
        self.name = name
        call("ip", "netns", "add", name)
        self.ip("link", "set", "lo", "up")

    def inside(self, *argv):
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *map(str, argv)]

    def ip(self, *argv):
        return call("ip", "-n", self.name, *argv)

    def run(self, *argv, **more):
        return call(*self.inside(*argv), **more)

    def sysctl(self, **values):
        self.run("sysctl", "-qw", *(f"{k.replace('__', '.')}={v}" for k, v in values.items()))

    def entered(self):
        """The calling thread is inside; a socket opened here stays here."""
        return entered(f"/run/netns/{self.name}")

    def pids(self):
        """Every process whose network is this box's."""
        inode, found = os.stat(f"/run/netns/{self.name}").st_ino, []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}/ns/net").st_ino == inode:
                    found.append(int(entry))
        return found

    def pss(self):
        """MiB of memory that the processes living here hold, what they share counted in parts."""
        kib = 0
        for pid in self.pids():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as f:
                kib += sum(int(line.split()[1]) for line in f if line.startswith("Pss:"))
        return kib / 1024

    def cpu(self):
        """Seconds of CPU time that the processes living here have used so far."""
        ticks = 0
        for pid in self.pids():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def start(self, name, *argv, log=None, **popen):
        return Program(name, self.inside(*argv), log or f"{SCRATCH}/{self.name}-{name}.log", **popen)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def entered(path):
    """The calling thread is inside of a network namespace meanwhile."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(there)
        yield
    finally:
        _setns(home)
        os.close(home)
        os.close(there)


def link(a, dev_a, addresses_a, b, dev_b, addresses_b):
    """A veth pair between two boxes. b None: the other end is in the script's own namespace."""
    ns_b = ["netns", b.name] if b else []
    call("ip", "link", "add", dev_a, "netns", a.name, "type", "veth", "peer", "name", dev_b, *ns_b)
    for box, dev, addresses in ((a, dev_a, addresses_a), (b, dev_b, addresses_b)):
        where = ["-n", box.name] if box else []
        for address in addresses:
            call("ip", *where, "addr", "add", address, "dev", dev)
        call("ip", *where, "link", "set", dev, "up")
