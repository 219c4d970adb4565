#!/usr/bin/env python3
"""The router at full rate for a long time in a small memory group, while its transports come and go (P18, P25).

    tests/bench/vpn/churn.py [--minutes M] [--cycle S] [--crowd N] [--limit MIB] [--build DIR] [--ahead]

The topology of bench.py; all processes of the router are in a memory control group. TCP runs both ways through the VPN; N
visors hold a transport each, and every second the oldest of them leaves and a new one comes (crowd.c). In each cycle the
limit is lifted for a sixth of the time, between two sixths with it that it is compared with; then the traffic pauses, and
what is held at rest is read: the heap without the buffers that links send from, for they grow to what was needed at once at some
moment and are counted apart. The ring of the last log lines is filled before. Slopes are fitted to the readings but the first; in
a run of ten minutes or more those of the first five minutes are left out too. A shorter one tells nothing about an hour: there
the heap may grow by as much as it may in one, and so may that part of PSS that does not move with what others map.

    speed.*          Mbit/s, both directions together, with the limit and without, and the median of their ratio (>= 0.70)
    heap.slope       KB/h of live bytes of our allocator, without buffers (<= 64), and its standard error
    buffers.last     KB of links' buffers (<= those of 32 that are kept and one for each transport)
    pss.slope        KB/h of PSS over all processes (<= 512), and its standard error
    descriptors.*    of all processes, at rest: the medians of the first and the last third (equal but for one)
    group.*          MiB at most, kills (0)

Exit status 1 when one of these is not so; a slope counts when it is above its bound by twice its standard error.
With SKYWIRE_REFERENCE the router is in a Skywire network. Lines of name, number, unit for scripts.
"""

import json
import os
import re
import shutil
import socket
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pylib"))

import bench
from boxes import Failed, skip, wait_for
from measure import Machine, median, pss_kib, tree
from rest import Alone, InNetwork, crowd

PIECES = 6  # of a cycle; one of them without the limit
FREE = 3
HEAP_KB_H, PSS_KB_H, RATIO = 64, 512, 0.7
BUFFER_KB, KEPT = 17, 32
WARM_S, SHORT_S = 300, 600
LINES = 256  # that core keeps of its log


def say(name, value, unit):
    print(f"{name}\t{value:.2f}\t{unit}", flush=True)


class MemoryGroup:
    """A memory control group, version 2 or 1."""

    def __init__(self):
        for root, version in (("/sys/fs/cgroup/memory", 1), ("/sys/fs/cgroup", 2)):
            try:
                if version == 2:
                    with open(f"{root}/cgroup.subtree_control", "w") as f:
                        f.write("+memory")
                elif not os.path.exists(f"{root}/memory.limit_in_bytes"):
                    continue
                self.path = f"{root}/skygate-churn-{time.time_ns()}"
                os.mkdir(self.path)
            except OSError:
                continue
            self.version = version
            return
        skip("no memory control group can be made here")

    def write(self, name, value):
        with open(f"{self.path}/{name}", "w") as f:
            f.write(str(value))

    def read(self, name):
        with open(f"{self.path}/{name}") as f:
            return f.read()

    def limit(self, size):
        """None: no limit."""
        if self.version == 2:
            self.write("memory.max", "max" if size is None else size)
            return
        # Version 1 counts buffers of TCP apart from the rest, and only where they have a limit.
        for name in ("memory.limit_in_bytes", "memory.kmem.tcp.limit_in_bytes"):
            if os.path.exists(f"{self.path}/{name}"):
                self.write(name, 1 << 50 if size is None else size)

    def used(self):
        """Bytes, buffers of TCP included."""
        if self.version == 2:
            return int(self.read("memory.current"))
        tcp = "memory.kmem.tcp.usage_in_bytes"
        return int(self.read("memory.usage_in_bytes")) + (int(self.read(tcp)) if os.path.exists(f"{self.path}/{tcp}") else 0)

    def kills(self):
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        return int(re.search(r"^oom_kill (\d+)", self.read(name), re.M)[1])

    def remove(self):
        wait_for("an empty control group", 5, lambda: not self.read("cgroup.procs"))
        os.rmdir(self.path)


def limited(kind, group):
    class Limited(kind):
        """The same with all processes of the router in the group."""

        def at_router(self, *argv, **more):
            super().at_router("sh", "-c", f'echo $$ >{group.path}/cgroup.procs && exec "$@"', "sh", *argv, **more)

    return Limited


def fit(points):
    """(slope per hour, its standard error) of values over seconds."""
    n = len(points)
    if n < 3:
        return float("nan"), float("nan")
    mt, mv = sum(t for t, _ in points) / n, sum(v for _, v in points) / n
    sxx = sum((t - mt) ** 2 for t, _ in points)
    slope = sum((t - mt) * (v - mv) for t, v in points) / sxx
    rest = sum((v - mv - slope * (t - mt)) ** 2 for t, v in points)
    return 3600 * slope, 3600 * (rest / (n - 2) / sxx) ** 0.5


class Run:
    def __init__(self, args, net, rival, group):
        self.args, self.net, self.rival, self.group = args, net, rival, group
        self.core = None
        self.began = time.monotonic()
        self.quiet = []  # (seconds, heap KB, PSS KB, descriptors, buffers KB, PSS of what no file is behind KB)
        self.speeds, self.free, self.ratios, self.peak, self.pss_peak = [], [], [], 0, 0

    def ask(self, method):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(f"{self.rival.dir}/r/run/control.sock")
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method}).encode() + b"\n")
            text = b""
            while not text.endswith(b"\n"):
                part = s.recv(65536)
                if not part:
                    raise Failed(f"the router hangs up instead of answering {method}")
                text += part
        answer = json.loads(text)
        if "result" not in answer:
            raise Failed(f"{method}: {answer}")
        return answer["result"]

    def fill_log(self):
        """Each time that core takes its configuration over, it says so; netd lets it do that five times a second."""
        for _ in range(LINES):
            self.ask("config.reload")
            time.sleep(0.25)
        self.began = time.monotonic()

    def pids(self):
        return [p.pid for p in self.rival.router]

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in tree(self.pids()))

    def passed(self):
        """Bytes through the VPN, both ways, as the server's cable counts them."""
        stats = json.loads(self.net.server.ip("-s", "-j", "link", "show", "dev", "eth0"))[0]["stats64"]
        return stats["rx"]["bytes"] + stats["tx"]["bytes"]

    def piece(self, seconds):
        """Mbit/s over so long; what the group holds is watched."""
        t0, bytes0 = time.monotonic(), self.passed()
        while time.monotonic() - t0 < seconds:
            time.sleep(0.1)
            self.peak = max(self.peak, self.group.used())
        self.pss_peak = max(self.pss_peak, pss_kib(self.pids()))
        return (self.passed() - bytes0) * 8e-6 / (time.monotonic() - t0)

    def at_rest(self):
        """The least of three readings, for a handshake may be under way in one."""
        time.sleep(2)
        found = []
        for _ in range(3):
            time.sleep(0.3)
            status = self.ask("visor.status")
            held = status["memory"]
            found.append(((held["heap"] - held["buffers"]) / 1024, pss_kib(self.pids()), self.descriptors(),
                          held["buffers"] / 1024, pss_kib(self.pids(), "Pss_Anon")))
        self.core = self.core or self.core_pid()
        if self.core_pid() != self.core:
            raise Failed("skygated is another process than before")
        if status["transports"] < self.args.crowd:
            raise Failed(f"{status['transports']} transports are up instead of {self.args.crowd + 1}")
        self.quiet.append((time.monotonic() - self.began, *map(min, zip(*found))))

    def core_pid(self):
        return max(tree(self.pids()))

    def cycle(self, limit):
        seconds = self.args.cycle / PIECES
        load = self.net.lan.start("iperf3", "iperf3", "--bidir", "-Z", "-C", "cubic", "-c", self.net.SERVER, "-t",
                                  self.args.cycle + 1)
        speeds = []
        time.sleep(0.5)
        for n in range(PIECES):
            self.group.limit(None if n == FREE else limit)
            speeds.append(self.piece(seconds))
        self.group.limit(limit)
        wait_for("the end of the traffic", 30, lambda: not load.alive())
        self.speeds += [v for n, v in enumerate(speeds) if n != FREE]
        self.free.append(speeds[FREE])
        self.ratios.append((speeds[FREE - 1] + speeds[FREE + 1]) / 2 / max(1e-9, speeds[FREE]))
        self.at_rest()
        t, heap, pss, fds, buffers, _ = self.quiet[-1]
        print(f"{t:6.0f} s  {median(self.speeds[1 - PIECES:]):5.0f} Mbit/s, {speeds[FREE]:5.0f} without the limit; at rest heap "
              f"{heap:.1f} KB, buffers {buffers:.0f} KB, PSS {pss} KB, {fds} descriptors; group at most "
              f"{self.peak / 2 ** 20:.1f} MiB", flush=True)

    def verdict(self, crowd):
        short = self.args.minutes * 60 < SHORT_S
        rest = self.quiet[1:] if short else [q for q in self.quiet if q[0] > WARM_S]
        third = max(1, len(rest) // 3)
        first, last = (median([q[3] for q in part]) for part in (rest[:third], rest[-third:]))
        replaced, bad = crowd.text().split().count("replaced"), []
        say("churn.minutes", (time.monotonic() - self.began) / 60, "min")
        say("churn.replaced", replaced, f"transports, {self.args.crowd} at a time")
        say("speed.limited", median(self.speeds), f"Mbit/s in {self.args.limit} MiB")
        say("speed.free", median(self.free), "Mbit/s without a limit")
        say("speed.ratio", median(self.ratios), f"median of {len(self.ratios)}")
        if median(self.ratios) < RATIO:
            bad.append(f"with the limit {median(self.ratios):.2f} of the speed without, {RATIO} is promised")
        for name, at, bound in (("heap", 1, HEAP_KB_H), ("pss", 2, PSS_KB_H)):
            slope, error = fit([(q[0], q[at]) for q in rest])
            if not short:
                say(f"{name}.slope", slope, "KB/h")
                say(f"{name}.slope.error", error, "KB/h")
            say(f"{name}.first", rest[0][at], "KB")
            say(f"{name}.last", rest[-1][at], "KB")
            if not short and slope - 2 * error > bound:
                bad.append(f"{name} grows by {slope:.0f} KB/h, {bound} is the bound")
        for name, at, bound in (("heap", 1, HEAP_KB_H), ("pss.anonymous", 5, PSS_KB_H)):
            grown = rest[-1][at] - rest[0][at]
            say(f"{name}.grown", grown, "KB")
            if short and grown > bound:
                bad.append(f"{name} grew by {grown:.0f} KB, {bound} are the bound for an hour")
        say("buffers.last", rest[-1][4], "KB")
        if rest[-1][4] > BUFFER_KB * (KEPT + self.args.crowd + 1):
            bad.append(f"links have buffers of {rest[-1][4]:.0f} KB")
        say("pss.peak", self.pss_peak / 1024, "MiB under load")
        say("descriptors.first", first, "at rest")
        say("descriptors.last", last, "at rest")
        if abs(last - first) > 1:  # a visor may be on its way in or out
            bad.append(f"{first:.0f} descriptors became {last:.0f}")
        say("group.peak", self.peak / 2 ** 20, "MiB")
        say("group.kills", self.group.kills(), "")
        if self.group.kills():
            bad.append("the kernel killed a process")
        if replaced < 0.8 * (time.monotonic() - self.began):
            bad.append(f"only {replaced} transports were replaced")
        for what in bad:
            print(f"missed: {what}")
        return 1 if bad else 0


def measure(args):
    group, net = MemoryGroup(), bench.Net()
    rival = limited(InNetwork if os.environ.get("SKYWIRE_REFERENCE") else Alone, group)(net)
    disk = rival.dir = tempfile.mkdtemp(prefix="skygate-churn.", dir="/var/tmp")
    limit, programs = args.limit << 20, []
    try:
        group.limit(limit)
        rival.up()
        wait_for("a ping through it", 30, lambda: bench.answers(net), every=0.02)
        programs += [net.server.start("iperf3", "iperf3", "-s"), crowd(net, rival, args.crowd, 1000)]
        run, machine = Run(args, net, rival, group), Machine()
        run.fill_log()
        while len(run.quiet) < 3 or time.monotonic() - run.began < args.minutes * 60:
            run.cycle(limit)
        say("others", machine.since()["foreign_percent"], "% of the machine")
        return run.verdict(programs[-1])
    except Failed as e:
        print(f"failed: {e}; {group.kills()} kills\n{rival.logs()}")
        return 1
    finally:
        for p in programs:
            p.stop()
        rival.down()
        net.down()
        group.remove()
        shutil.rmtree(disk)


def main():
    p = bench.options(__doc__)
    p.add_argument("--minutes", type=float, default=3)
    p.add_argument("--cycle", type=int, default=60, help="seconds of traffic between two readings at rest")
    p.add_argument("--crowd", type=int, default=100)
    p.add_argument("--limit", type=int, default=32, help="MiB")
    args = p.parse_args()
    bench.begin(measure, args)


if __name__ == "__main__":
    main()
