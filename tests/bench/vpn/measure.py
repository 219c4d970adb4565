"""Figures of one rival in one round, and the arithmetic over rounds."""

import json
import os
import re
import time

import product
from boxes import wait_for

PACKETS_PORT = 9007
TICK = os.sysconf("SC_CLK_TCK")


def tree(pids):
    """The processes and all their descendants."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    parents[int(entry)] = int(f.read().rsplit(") ", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    found = list(pids)
    for pid in found:
        found += [c for c, p in parents.items() if p == pid and c not in found]
    return found


def times(pid):
    """(own seconds of CPU, those of children it waited for)."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            w = f.read().rsplit(") ", 1)[1].split()
        return (int(w[11]) + int(w[12])) / TICK, (int(w[13]) + int(w[14])) / TICK
    except OSError:
        return 0, 0


def cpu(pids):
    return sum(times(p)[0] for p in tree(pids))


def pss_kib(pids, part="Pss"):
    """Of all these processes. part: as smaps_rollup calls it; all of PSS where the kernel does not say."""
    total = 0
    for pid in tree(pids):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                text = f.read()
            total += int((re.search(rf"^{part}:\s+(\d+)", text, re.M) or re.search(r"^Pss:\s+(\d+)", text, re.M))[1])
        except OSError:
            pass
    return total


class Machine:
    """What the whole machine spent, and how much of it others took, between two moments."""

    def __init__(self):
        self.at = self.now()

    @staticmethod
    def now():
        with open("/proc/stat") as f:
            user, nice, system, _, _, irq, softirq, steal = (int(x) / TICK for x in f.readline().split()[1:9])
        # Processes of this script are all that /proc shows here; those that ended are in their parents' sums. Work for
        # packets outside of processes (softirq) is taken to be ours.
        ours = sum(times(int(p))[0] for p in os.listdir("/proc") if p.isdigit()) + times(os.getpid())[1]
        return {"busy": user + nice + system + irq + softirq, "foreign": user + nice + system - ours,
                "time": time.monotonic()}

    def since(self):
        now = self.now()
        took = now["time"] - self.at["time"]
        foreign = max(0, now["foreign"] - self.at["foreign"])
        return {"cpu": now["busy"] - self.at["busy"] - foreign, "foreign_percent": 100 * foreign / took / os.cpu_count()}


def percentile(values, p):
    values = sorted(values)
    return values[min(len(values) - 1, int(p * len(values) / 100))] if values else float("nan")


def median(values):
    values = sorted(v for v in values if v == v)
    if not values:
        return float("nan")
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def spread(values):
    """Half the way from the smallest to the largest."""
    values = [v for v in values if v == v]
    return (max(values) - min(values)) / 2 if values else float("nan")


class Meter:
    def __init__(self, net, seconds):
        self.net, self.seconds = net, seconds

    def round(self, rival):
        """All figures of a rival that is up: {name: number}."""
        pids_r, pids_e = [p.pid for p in rival.router], [p.pid for p in rival.exit]
        server = self.net.server.start("iperf3", "iperf3", "-s")
        try:
            wait_for("iperf3", 5, lambda: ":5201" in self.net.server.run("ss", "-Htln"))
            machine = Machine()
            f = {"pss_r_idle": pss_kib(pids_r), "pss_e_idle": pss_kib(pids_e)}
            self.pings(f, "idle", int(self.seconds * 60), 0.01)
            self.loaded(f, pids_r, pids_e)
            f["down"] = self.iperf("-R")[0]
            f["up8"], f["down8"] = self.iperf("-P", "8")[0], self.iperf("-P", "8", "-R")[0]
            for size in (1400, 200):
                f[f"packets{size}"] = self.packets(size)
            f["foreign"] = machine.since()["foreign_percent"]
            return f
        finally:
            server.stop()

    def loaded(self, f, pids_r, pids_e):
        """One stream up, with CPU time per byte, and pings and memory in the middle of it."""
        r, e, machine = cpu(pids_r), cpu(pids_e), Machine()
        ping = self.start_pings(max(20, int((self.seconds - 1) * 50)), 0.02)
        iperf = self.start_iperf()
        time.sleep(self.seconds * 0.6)
        f["pss_r_load"], f["pss_e_load"] = pss_kib(pids_r), pss_kib(pids_e)
        f["up"], gb = self.end_iperf(iperf)
        if gb > 0:
            f["cpu_r"], f["cpu_e"] = (cpu(pids_r) - r) / gb, (cpu(pids_e) - e) / gb
            f["cpu_all"] = machine.since()["cpu"] / gb
        self.end_pings(f, "load", ping)

    def start_iperf(self, *options):
        log = f"/mnt/iperf-client.{time.monotonic_ns()}"
        return self.net.lan.start("iperf3", "timeout", str(self.seconds + 15), "iperf3", "-J", "-Z", "-C", "cubic", "-c",
                                  self.net.SERVER, "-t", str(self.seconds), *options, log=log)

    def end_iperf(self, program):
        """(Mbit/s, GB) that arrived; a failure is 0."""
        program.process.wait()
        text = program.text()
        os.unlink(program.log)
        try:
            got = json.loads(text)["end"]["sum_received"]
            return got["bits_per_second"] / 1e6, got["bytes"] / 1e9
        except (ValueError, KeyError):
            return 0.0, 0.0

    def iperf(self, *options):
        return self.end_iperf(self.start_iperf(*options))

    def packets(self, size):
        """UDP packets per second from the LAN to the server, at most 1 % lost (packets.c)."""
        program = product.build_dir() + "/tests/sg-bench-packets"
        counts = self.net.server.start("packets", program, "-s", f"{self.net.SERVER}:{PACKETS_PORT}")
        try:
            words = self.net.lan.run(program, "-c", f"{self.net.SERVER}:{PACKETS_PORT}", "-n", size, "-t",
                                     max(0.1, min(0.5, self.seconds / 6)), check=False).split()
            return float(words[0])
        except ValueError:
            return float("nan")
        finally:
            counts.stop()

    def start_pings(self, count, interval):
        log = f"/mnt/ping.{time.monotonic_ns()}"
        return self.net.lan.start("ping", "ping", "-n", "-i", str(interval), "-c", str(count), "-W", "2", self.net.SERVER,
                                  log=log)

    def end_pings(self, f, name, program):
        program.process.wait()
        rtts = [float(x) for x in re.findall(r"time=([\d.]+)", program.text())]
        lost = re.search(r"(\d+) packets transmitted, (\d+)", program.text())
        os.unlink(program.log)
        f[f"ping_{name}_p50"], f[f"ping_{name}_p99"] = percentile(rtts, 50), percentile(rtts, 99)
        f[f"ping_{name}_lost"] = int(lost[1]) - int(lost[2]) if lost else float("nan")

    def pings(self, f, name, count, interval):
        self.end_pings(f, name, self.start_pings(count, interval))
