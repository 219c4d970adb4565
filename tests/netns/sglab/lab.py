"""Namespaces, programs and waiting: what every scenario and the demo stand on.

Everything a Lab makes (namespaces, programs inside them, control groups, its directory) is written down with a
guard, a process of its own that removes it all when the Lab is closed or when this process is gone, however it went
(kill -9 included). Programs are found by the network namespace they live in, so nothing outside the
namespaces of this Lab is ever touched.

Python 3.10 or newer, standard library only.
"""
import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pylib"))

import boxes
from boxes import Failed

NETNS = "/run/netns"


def why_not():
    """A sentence if namespaces cannot be made here, else None."""
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    for program, package in (("ip", "iproute2"), ("nft", "nftables"), ("nsenter", "util-linux")):
        if not find(program):
            return f"{program} is missing: apt install {package}"
    probe = f"sg-probe-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if done.returncode:
        return "cannot make a network namespace here: " + done.stderr.strip()
    subprocess.run(["ip", "netns", "del", probe], capture_output=True)
    return None


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def pids_in(names):
    """Every process whose network namespace is one of these."""
    inodes = set()
    for name in names:
        with contextlib.suppress(OSError):
            inodes.add(os.stat(f"{NETNS}/{name}").st_ino)
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}/ns/net").st_ino in inodes:
                    found.append(int(entry))
    return found


def _end_all(names):
    """Ends the programs in these namespaces: SIGTERM, and SIGKILL for what stays."""
    for sig, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 2.0)):
        deadline = time.monotonic() + patience
        for pid in pids_in(names):
            with contextlib.suppress(OSError):
                os.kill(pid, sig)
                os.kill(pid, signal.SIGCONT)
        while pids_in(names) and time.monotonic() < deadline:
            time.sleep(0.02)


def _guard(pipe_fd):
    """The guard's life: collect lines until the other end closes, then remove what they name."""
    names, dirs, cgroups, locks = [], [], [], []
    with os.fdopen(pipe_fd) as lines:
        for line in lines:
            kind, _, what = line.rstrip("\n").partition(" ")
            {"ns": names, "dir": dirs, "cgroup": cgroups, "lock": locks}[kind].append(what)
    _end_all(names)
    for name in names:
        subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)
    for path in cgroups:
        for _ in range(50):
            with contextlib.suppress(OSError):
                os.rmdir(path)
            if not os.path.exists(path):
                break
            time.sleep(0.02)
    for path in dirs:
        shutil.rmtree(path, ignore_errors=True)
    for path in locks:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _become_guard(read_end, close):
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(sig, signal.SIG_IGN)
    for fd in close:
        os.close(fd)
    # A pipe of the starter's that stays open would make `| tail` wait for the guard; it needs none.
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    try:
        _guard(read_end)
    finally:
        os._exit(0)


def _lock_path(suffix):
    return f"/run/sg-lab{suffix}.lock"


def _lock(suffix):
    """Held by a Lab and its guard: two of one name would end each other's programs."""
    fd = os.open(_lock_path(suffix), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise Failed(f"the namespaces sg-*{suffix} are in use: another one is running. End it first "
                     "(Ctrl-C in its terminal)") from None
    return fd


class Lab:
    """A set of namespaces sg-<name><suffix>, a directory, and the programs that run in them."""

    def __init__(self, suffix=""):
        self.suffix = suffix
        self.spaces = {}
        self.at_end = []  # called when all went well, before anything is removed; may raise Failed
        self._lock = _lock(suffix)
        read_end, write_end = os.pipe()
        self._gone, done = os.pipe()
        child = os.fork()
        if child == 0:
            # Nobody's child: ctest ends a test that takes too long together with all its descendants.
            os.setsid()
            if os.fork():
                os._exit(0)
            _become_guard(read_end, {write_end, self._gone})
        os.waitpid(child, 0)
        os.close(read_end)
        os.close(done)
        self._notes = os.fdopen(write_end, "w", buffering=1)
        self.dir = tempfile.mkdtemp(prefix="skygate-")
        os.chmod(self.dir, 0o755)  # core runs as somebody else and must reach its files
        self.note("dir", self.dir)
        self.note("lock", _lock_path(suffix))

    def note(self, kind, what):
        self._notes.write(f"{kind} {what}\n")

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                for check in self.at_end:
                    check()
        finally:
            self.close()

    def close(self):
        """Removes everything and returns when it is gone."""
        if self._notes.closed:
            return
        self._notes.close()
        os.close(self._lock)
        os.read(self._gone, 1)  # its end: the guard is done
        os.close(self._gone)

    def space(self, name):
        """Makes namespace sg-<name><suffix>."""
        full = f"sg-{name}{self.suffix}"
        self.note("ns", full)
        if os.path.exists(f"{NETNS}/{full}"):
            # We hold the lock, so whoever made it is gone and so is its guard.
            _end_all([full])
            subprocess.run(["ip", "netns", "del", full], check=True)
        subprocess.run(["ip", "netns", "add", full], check=True)
        self.spaces[name] = Space(self, full)
        self.spaces[name].ip("link set lo up")
        return self.spaces[name]

    def memory_cgroup(self, name, limit):
        """A control group with a memory limit in bytes; its path, or None where the machine offers none."""
        for root, version in (("/sys/fs/cgroup/memory", 1), ("/sys/fs/cgroup", 2)):
            path = f"{root}/skygate-{name}{self.suffix}-{os.getpid()}"
            try:
                if version == 2:
                    with open(f"{root}/cgroup.controllers") as have:
                        if "memory" not in have.read().split():
                            continue
                    with open(f"{root}/cgroup.subtree_control", "w") as control:
                        control.write("+memory")
                elif not os.path.exists(f"{root}/memory.limit_in_bytes"):
                    continue
                os.mkdir(path)
                self.note("cgroup", path)
                with open(f"{path}/{'memory.limit_in_bytes' if version == 1 else 'memory.max'}", "w") as out:
                    out.write(str(limit))
                return path
            except OSError:
                continue
        return None


class Space:
    """One network namespace."""

    def __init__(self, lab, full):
        self.lab, self.full, self.path = lab, full, f"{NETNS}/{full}"

    def ip(self, words):
        """One ip command, words split at blanks."""
        done = subprocess.run(["ip", "-n", self.full] + words.split(), capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"ip -n {self.full} {words}: {done.stderr.strip()}")
        return done.stdout

    def set(self, key, value):
        """A sysctl under /proc/sys/, dots or slashes."""
        self.run(["sysctl", "-qw", f"{key}={value}"])

    def get(self, key):
        return self.run(["sysctl", "-n", key]).stdout.strip()

    def nft(self, text):
        done = subprocess.run(self._enter() + ["nft", "-f", "-"], input=text, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"nft in {self.full}: {done.stderr.strip()}")

    def _enter(self):
        # Not `ip netns exec`: that mounts a new /sys, without the control groups.
        return ["nsenter", f"--net={self.path}", "--"]

    def run(self, argv, check=True, timeout=60, **more):
        done = subprocess.run(self._enter() + argv, capture_output=True, text=True, timeout=timeout, **more)
        if check and done.returncode:
            raise Failed(f"{self.full}: {' '.join(argv)}: status {done.returncode}: {(done.stderr or done.stdout).strip()}")
        return done

    def spawn(self, argv, cgroup=None, log=None, **more):
        """Starts a program that ends with the lab. log: path for its output."""
        if cgroup:
            procs = f"{cgroup}/cgroup.procs"
            argv = ["sh", "-c", f'echo $$ >{procs} && exec "$@"', "sh"] + argv
        if log:
            with open(log, "a") as out:
                return subprocess.Popen(self._enter() + argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, **more)
        return subprocess.Popen(self._enter() + argv, **more)

    def entered(self):
        """The calling thread is inside; a socket opened here stays here."""
        return boxes.entered(self.path)

    def counter(self, interface, name):
        """A counter of an interface, e.g. rx_packets."""
        for link in json.loads(self.run(["ip", "-s", "-j", "link", "show", "dev", interface]).stdout):
            side, _, what = name.partition("_")
            return link["stats64"][side][what]

    def mac(self, interface):
        return json.loads(self.ip(f"-j link show dev {interface}"))[0]["address"]


def wait_for(what, condition, timeout, every=0.02):
    """Calls condition until it returns something true, and returns that; else Failed after timeout seconds."""
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failed(f"waited {timeout:g} s in vain: {what}")
        time.sleep(every)


def end_on_signals():
    """SIGTERM and SIGHUP become an ordinary exit, so that `with` blocks are left in order."""
    def leave(number, _frame):
        sys.exit(128 + number)
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    # A shell that starts us in the background leaves SIGINT ignored; kill -INT shall work there as Ctrl-C does.
    signal.signal(signal.SIGINT, signal.default_int_handler)
