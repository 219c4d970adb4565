#!/usr/bin/env python3
"""What ours costs at rest, and how much memory it takes at work (P25, P26), on the topology of bench.py.

    tests/bench/vpn/rest.py [--starts N] [--seconds S] [--crowd N] [--build DIR] [--ahead]

    start.ready      from exec of netd until the control socket answers, at the router, median
    idle.cpu         percent of one core, all processes of the router, the VPN up and nothing sent; idle.wakeups: per second
    idle.flash       MB a day: what the router's processes wrote to a disk in that time, and for one start
    pss.*            MiB, summed over all processes: VPN up at rest; with a crowd of other transports; these, at full rate

With SKYWIRE_REFERENCE the router is in a Skywire network (dmsg, a discovery); without, transports are all it has. The store is
SQLite on a disk. Lines of name, number, unit for scripts.
"""

import json
import os
import shutil
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pylib"))

import bench
import product
from boxes import Failed, wait_for
from measure import Machine, Meter, cpu, median, pss_kib, tree
from ours import Ours, OursByGroup

CROWD_PORT = 7777


def say(name, value, unit):
    print(f"{name}\t{value:.2f}\t{unit}", flush=True)


def lines_of(pids, path, names):
    """The sum of numbers of these names over all threads or processes."""
    total = 0
    for pid in tree(pids):
        tasks = [f"/proc/{pid}/task/{t}" for t in os.listdir(f"/proc/{pid}/task")] if path == "status" else [f"/proc/{pid}"]
        for task in tasks:
            with open(f"{task}/{path}") as f:
                total += sum(int(w[1]) for w in (line.split() for line in f) if w[0].rstrip(":") in names)
    return total


def wakeups(pids):
    return lines_of(pids, "status", ("voluntary_ctxt_switches",))


def written(pids):
    return lines_of(pids, "io", ("write_bytes",))


class AtRest:
    """Ours with what a router has besides: a store on a disk, a listener for others."""

    def stores(self):
        self.visor += "\tlist plugin 'storage-sqlite'\n"

    def configure(self, who, sections):
        if who == "r":
            sections += f"\nconfig carrier 'stcp'\n\tlist listen '{self.net.ROUTER}:{CROWD_PORT}'\n"
        super().configure(who, sections)

    def restart(self):
        """Ends the router's end and starts it again; seconds until it answers."""
        for p in self.router:
            p.stop()
        self.router.clear()
        socket = f"{self.dir}/r/run/control.sock"
        t0 = time.monotonic()
        self.at_router(*self.command("r"))
        wait_for("the control socket", 10, lambda: os.path.exists(socket) and answers(socket), every=0.001)
        return time.monotonic() - t0


def answers(path):
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(path)
            s.sendall(b'{"jsonrpc":"2.0","id":1,"method":"visor.status"}\n')
            return b"result" in s.recv(65536)
    except OSError:
        return False


class Alone(AtRest, Ours):
    def up(self):
        self.stores()
        super().up()


class InNetwork(AtRest, OursByGroup):
    direct = True

    def up(self):
        self.stores()
        super().up()


def full_rate(net, pids, seconds):
    """The largest sum while eight streams run each way."""
    most, over = 0, threading.Event()

    def watch():
        nonlocal most
        while not over.wait(0.1):
            most = max(most, pss_kib(pids))

    t = threading.Thread(target=watch)
    t.start()
    server = net.server.start("iperf3", "iperf3", "-s")
    try:
        wait_for("iperf3", 5, lambda: ":5201" in net.server.run("ss", "-Htln"))
        meter = Meter(net, seconds)
        rates = [meter.iperf("-P", "8")[0], meter.iperf("-P", "8", "-R")[0]]
    finally:
        over.set()
        t.join()
        server.stop()
    return most, rates


def crowd(net, rival, count, *period):
    """Visors that hold a transport with the router each; period: milliseconds after which the oldest is replaced."""
    status = net.router.run(product.program("skygate"), "--run", f"{rival.dir}/r/run", "status", "--json")
    pk = json.loads(status)["pk"]
    program = net.wan.start("crowd", product.build_dir() + "/tests/sg-bench-crowd", f"{net.ROUTER}:{CROWD_PORT}", pk, count,
                            *period)
    wait_for(f"{count} transports", 60, lambda: not program.alive() or "up" in program.text().split())
    if not program.alive():
        raise Failed(f"the crowd: {program.tail()}")
    return program


def measure(args):
    net = bench.Net()
    rival = (InNetwork if os.environ.get("SKYWIRE_REFERENCE") else Alone)(net)
    disk = tempfile.mkdtemp(prefix="skygate-rest.", dir="/var/tmp")
    rival.dir = disk  # scratch files of boxes are in memory
    try:
        rival.up()
        wait_for("a ping through it", 30, lambda: bench.answers(net), every=0.02)
        say("start.ready", 1000 * median([rival.restart() for _ in range(args.starts)]), "ms")
        wait_for("a ping through it", 60, lambda: bench.answers(net), every=0.02)
        pids = [p.pid for p in rival.router]
        time.sleep(args.settle)
        start = written(pids)
        machine, c, w, f, t = Machine(), cpu(pids), wakeups(pids), start, time.monotonic()
        time.sleep(args.seconds)
        took = time.monotonic() - t
        say("idle.cpu", 100 * (cpu(pids) - c) / took, "% of a core")
        say("idle.wakeups", (wakeups(pids) - w) / took, "per s")
        say("idle.flash", (written(pids) - f) / took * 86400 / 1e6, "MB a day")
        say("start.flash", start / 1e6, "MB for one start")
        say("pss.idle", pss_kib(pids) / 1024, "MiB")
        most, rates = full_rate(net, pids, args.load)
        say("pss.full", most / 1024, f"MiB at {rates[0]:.0f} / {rates[1]:.0f} Mbit/s")
        program = crowd(net, rival, args.crowd)
        say("pss.crowd", pss_kib(pids) / 1024, f"MiB with {args.crowd} transports more")
        most, rates = full_rate(net, pids, args.load)
        say("pss.crowd.full", most / 1024, f"MiB at {rates[0]:.0f} / {rates[1]:.0f} Mbit/s")
        say("others", machine.since()["foreign_percent"], "% of the machine")
        program.stop()
    except Failed as e:
        print(f"failed: {e}\n{rival.logs()}")
        return 1
    finally:
        rival.down()
        net.down()
        shutil.rmtree(disk)
    return 0


def main():
    p = bench.options(__doc__)
    p.add_argument("--starts", type=int, default=9)
    p.add_argument("--seconds", type=float, default=60, help="at rest")
    p.add_argument("--settle", type=float, default=30, help="seconds after the start that count as start")
    p.add_argument("--load", type=float, default=3, help="seconds of full rate each way")
    p.add_argument("--crowd", type=int, default=100)
    args = p.parse_args()
    bench.begin(measure, args)


if __name__ == "__main__":
    main()
