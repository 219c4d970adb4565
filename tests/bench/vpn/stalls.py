#!/usr/bin/env python3
"""What control costs the data path: a ping through the VPN every few milliseconds beside 20 Mbit/s, while control is busy.

    tests/bench/vpn/stalls.py [--seconds S] [--loads idle,strangers,…] [--offers N] [--apart] [--rounds N] [--build DIR] [--ahead]

    idle        nothing else
    strangers   32 handshakes of links at once at the exit, from one address, as fast as they are ended (knock.c)
    crowd       256 at once, from eight addresses
    offers      the service discovery's list of all exits (--offers), asked for by the router without a pause
    viewers     four of them at each end ask for transports, services, counters, status and follow the log
    hundred     the same while the exit has 100 transports more
    reload      the exit's configuration is read again five times a second
    churn       at the exit 300 transports a minute are made and closed
    keep        at the exit 20 transports a second are asked for, kept in the store, and removed

--apart: a second VPN of the same kind is up beside the first on the same machine, and each load comes twice in a round: to the
ends that carry the pings ("here"), and to the other two, whose control is then served by processes of their own ("apart"). More
than this a loop of its own for data cannot bring. Medians over the rounds follow.

Topology: bench.py. Per load: the ping's median, 99th percentile and longest in ms, how many were lost; for router and exit how
many turns of the loop took 1, 5 and 20 ms or longer (`skygate counter ls`, loop.turn.*), and below which limit all were. Lines of
name, number, unit for scripts follow the table.
"""

import http.server
import json
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pylib"))

import bench
import product
from boxes import Failed, wait_for
from measure import Machine, median, percentile, spread
from ours import Ours

PORT, WEB = 7777, 8080
SOURCES = [f"203.0.113.{n}" for n in range(11, 19)]
P = 2**256 - 2**32 - 977
G = (0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
     0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8)
LIMITS = ("100us", "200us", "500us", "1ms", "2ms", "5ms", "10ms", "20ms", "50ms", "100ms", "more")


def keys(count):
    """Public keys: G, 2 G, 3 G …"""
    x, y = G
    slope = 3 * x * x * pow(2 * y, -1, P) % P
    for _ in range(count):
        yield f"{2 + y % 2:02x}{x:064x}"
        if (x, y) != G:
            slope = (y - G[1]) * pow(x - G[0], -1, P) % P
        third = (slope * slope - x - G[0]) % P
        x, y = third, (slope * (x - third) - y) % P


def offers(count):
    """What the public service discovery says of an exit, as often as asked for."""
    return json.dumps([{"address": f"{k}:44", "type": "vpn", "geo": {"lat": 52.52, "lon": 13.4, "country": "DE", "region": "BE"},
                        "version": "v1.3.29"} for k in keys(count)], separators=(",", ":")).encode()


class Services:
    """A service discovery in the provider's box."""

    def __init__(self, net, body):
        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        with net.wan.entered():
            self.server = http.server.ThreadingHTTPServer(("0.0.0.0", WEB), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Busy(Ours):
    """Ours with a store, a service discovery, and the carrier at both ends."""

    def up(self):
        self.visor += "\tlist plugin 'storage-sqlite'\n"
        self.more += f"\nconfig deployment 'net'\n\toption service_discovery 'http://{self.net.GATEWAY}:{WEB}'\n"
        super().up()


class Beside(Busy):
    name = "beside"


class Control:
    """A client of one end's control socket."""

    def __init__(self, rival, who):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(f"{rival.dir}/{who}/run/control.sock")
        self.lines = self.socket.makefile("r")

    def ask(self, method, **params):
        self.socket.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
        for line in self.lines:
            answer = json.loads(line)
            if answer.get("id") == 1:
                return answer
        raise Failed(f"{method}: the control socket was closed")

    def turns(self):
        counters = {c["name"]: c["value"] for c in self.ask("counter.list")["result"]["counters"]}
        return [counters[f"loop.turn.{name}"] for name in LIMITS]


class Load:
    """Calls step() again and again in a thread until it is stopped."""

    def __init__(self, step, pause):
        self.over, self.steps, self.failed = threading.Event(), 0, None
        self.thread = threading.Thread(target=self.run, args=(step, pause))
        self.thread.start()

    def run(self, step, pause):
        try:
            while not self.over.wait(pause):
                step()
                self.steps += 1
        except (Failed, OSError, ValueError) as e:
            self.failed = e

    def stop(self):
        self.over.set()
        self.thread.join()
        if self.failed:
            raise Failed(f"the load ended: {self.failed}")
        return self.steps


class Knock:
    """Strangers at the exit's door, until they have left by themselves."""

    def __init__(self, net, seconds, count, sources):
        self.program = net.wan.start("knock", "nice", "-n", "5", product.build_dir() + "/tests/sg-bench-knock", f"{net.EXIT}:{PORT}",
                                     seconds, count, 0, *sources, log=f"/mnt/knock.{time.monotonic_ns()}")

    def stop(self):
        self.program.process.wait()
        words = self.program.text().split()
        if self.program.process.returncode != 0 or not words:
            raise Failed(f"the strangers: {self.program.tail()}")
        return int(words[-4])


class Churn:
    """Five visors with a transport to the exit, of which one is replaced by another every 200 ms."""

    def __init__(self, net, pk):
        self.program = net.wan.start("crowd", product.build_dir() + "/tests/sg-bench-crowd", f"{net.EXIT}:{PORT}", pk, 5, 200,
                                     log=f"/mnt/crowd.{time.monotonic_ns()}")

    def stop(self):
        self.program.stop()
        return self.program.text().count("replaced")


class Crowd:
    """A hundred visors with a transport to the exit."""

    def __init__(self, net, pk):
        self.program = net.wan.start("crowd", product.build_dir() + "/tests/sg-bench-crowd", f"{net.EXIT}:{PORT}", pk, 100,
                                     log=f"/mnt/crowd.{time.monotonic_ns()}")
        wait_for("a hundred transports", 60, lambda: "up" in self.program.text())

    def stop(self):
        self.program.stop()
        return 0


class Many:
    def __init__(self, loads):
        self.loads = loads

    def stop(self):
        return sum([load.stop() for load in self.loads])


class Loads:
    """What keeps control of one VPN busy: each returns what stop() ends and says how often it did its work."""

    def __init__(self, net, rival, args):
        self.net, self.rival, self.args = net, rival, args
        self.pk = Control(rival, "e").ask("visor.status")["result"]["pk"]
        self.few = list(keys(60))[40:]

    def idle(self):
        return Many([])

    def strangers(self):
        return Knock(self.net, self.args.seconds, 32, [])

    def crowd(self):
        return Knock(self.net, self.args.seconds, 32, SOURCES)

    def offers(self):
        control = Control(self.rival, "r")

        def step():
            answer = control.ask("exit.list")
            if not answer.get("result", {}).get("exits"):
                raise Failed(f"exit.list: {str(answer)[:300]}")

        return Load(step, 0.001)

    def viewers(self):
        def view(who):
            control = Control(self.rival, who)

            def step():
                for method in ("transport.list", "service.list", "counter.list", "visor.status", "route.list"):
                    control.ask(method)

            Control(self.rival, who).ask("log.follow", follow=True)
            return Load(step, 0.005)

        return Many([view(who) for who in "rrrreeee"])

    def hundred(self):
        return Many([Crowd(self.net, self.pk), self.viewers()])

    def reload(self):
        control = Control(self.rival, "e")
        return Load(lambda: control.ask("config.reload"), 0.2)

    def churn(self):
        return Churn(self.net, self.pk)

    def keep(self):
        control = Control(self.rival, "e")
        at = iter(range(1 << 30))

        def step():
            key = self.few[next(at) % len(self.few)]
            control.ask("transport.add", pk=key, address="stcp://198.18.0.2:9", keep=True)
            control.ask("transport.rm", pk=key)

        return Load(step, 0.05)


class Bench:
    def __init__(self, net, rival, args):
        self.net, self.args = net, args
        self.control = {who: Control(rival, who) for who in "re"}

    def measure(self, name, loads, where):
        seconds = self.args.seconds
        log = f"/mnt/ping.{name}.{time.monotonic_ns()}"
        load = getattr(loads, name)()
        before = {who: self.control[who].turns() for who in "re"}
        machine = Machine()
        stream = self.net.lan.start("iperf3", "timeout", seconds + 15, "iperf3", "-u", "-b", "20M", "-l", 1200, "-c", self.net.SERVER,
                                    "-t", seconds)
        ping = self.net.lan.start("ping", "ping", "-n", "-i", "0.004", "-w", seconds, self.net.SERVER, log=log)
        ping.process.wait()
        done = load.stop()
        stream.process.wait()
        after = {who: self.control[who].turns() for who in "re"}
        rtts = sorted(float(line.split("time=")[1].split()[0]) for line in ping.text().splitlines() if "time=" in line)
        sent = int(ping.text().split(" packets transmitted")[0].split()[-1])
        row = {"load": name, "where": where, "steps": done, "p50": percentile(rtts, 50), "p99": percentile(rtts, 99),
               "max": max(rtts, default=float("nan")), "lost": sent - len(rtts), "others": machine.since()["foreign_percent"]}
        for who in "re":
            turns = [b - a for a, b in zip(before[who], after[who])]
            row[who] = (sum(turns[4:]), sum(turns[6:]), sum(turns[8:]), [n for n, t in zip(LIMITS, turns) if t][-1])
        return row


class End:
    """A VPN, up, in a topology of its own, with what keeps its control busy."""

    def __init__(self, kind, beside, args):
        self.net = bench.Net(beside)
        for address in SOURCES:
            self.net.wan.ip("addr", "add", address + "/32", "dev", "e0")
        self.services, self.rival = Services(self.net, offers(args.offers)), kind(self.net)
        try:
            self.rival.up()
            wait_for("a ping through it", 30, lambda: bench.answers(self.net), every=0.02)
            self.loads = Loads(self.net, self.rival, args)
        except Failed as e:
            self.down()
            raise Failed(f"{e}\n{self.rival.logs()}") from e

    def down(self):
        self.rival.down()
        self.services.server.shutdown()
        self.net.down()


def say(row):
    print(f"{row['load']:10} {row['where']:6} {row['steps']:8} {row['p50']:8.2f} {row['p99']:8.2f} {row['max']:8.2f} {row['lost']:5} " +
          " ".join(f"{row[w][0]:6} {row[w][1]:5} {row[w][2]:5} {row[w][3]:>6}" for w in "re") + f" {row['others']:6.0f}", flush=True)


def compare(rows):
    """Medians over the rounds, and of the rounds' differences: what the data path gains when control is elsewhere."""
    print(f"\n{'':10} {'steps':^17} {'p50 ms':^17} {'p99 ms':^17} {'longest ms':^17}  p99: here - apart")
    print(f"{'load':10} " + " ".join([f"{'here':>8} {'apart':>8}"] * 4) + f" {'median':>9} {'±':>6}")
    for name in dict.fromkeys(row["load"] for row in rows):
        here, apart = ([row for row in rows if (row["load"], row["where"]) == (name, where)] for where in ("here", "apart"))
        gains = [h["p99"] - a["p99"] for h, a in zip(here, apart)]
        if gains:
            print(f"{name:10} " + " ".join(f"{median([r[f] for r in side]):8.{digits}f}" for f, digits in
                                           (("steps", 0), ("p50", 2), ("p99", 2), ("max", 2)) for side in (here, apart)) +
                  f" {median(gains):9.2f} {spread(gains):6.2f}")
            print(f"stalls.{name}.apart.gain_p99\t{median(gains):.2f}\tms")


def sides(args, ends, n, name):
    """Where a load goes in round n, in turn: each side comes first in every other round."""
    if not args.apart or name == "idle":
        return [("here", ends[0])]
    return [("here", ends[0]), ("apart", ends[1])][::1 if n % 2 else -1]


def run(args):
    ends, web = [], None
    try:
        for kind, beside in ((Busy, ""), (Beside, "2"))[:1 + args.apart]:
            ends.append(End(kind, beside, args))
        net = ends[0].net
        web = net.server.start("iperf3", "iperf3", "-s")
        wait_for("iperf3", 5, lambda: ":5201" in net.server.run("ss", "-Htln"))
        b = Bench(net, ends[0].rival, args)
        print(f"{'':10} {'':6} {'':8} {'ping ms':^32} {'turns at the router':^25} {'turns at the exit':^25}")
        print(f"{'load':10} {'where':6} {'steps':>8} {'p50':>8} {'p99':>8} {'longest':>8} {'lost':>5} " +
              " ".join([f"{'1 ms':>6} {'5':>5} {'20':>5} {'all <':>6}"] * 2) + " others")
        rows = []
        for n in range(args.rounds):
            for name in args.loads.split(","):
                for where, end in sides(args, ends, n, name):
                    rows.append(b.measure(name, end.loads, where))
                    say(rows[-1])
        for row in rows:
            if row["where"] != "here":
                continue
            for figure in ("p50", "p99", "max"):
                print(f"stalls.{row['load']}.ping.{figure}\t{row[figure]:.2f}\tms")
            for who, end in (("r", "router"), ("e", "exit")):
                print(f"stalls.{row['load']}.{end}.turns_of_1ms\t{row[who][0]}\tturns")
        if args.apart:
            compare(rows)
    except Failed as e:
        print(f"failed: {e}" + "".join("\n" + end.rival.logs() for end in ends))
        return 1
    finally:
        if web:
            web.stop()
        for end in ends:
            end.down()
    return 0


def main():
    p = bench.options(__doc__)
    p.add_argument("--seconds", type=int, default=5, help="per load")
    p.add_argument("--loads", default="idle,strangers,crowd,offers,viewers,hundred,reload,churn,keep,idle")
    p.add_argument("--offers", type=int, default=3000, help="entries of the service discovery; an answer above 1 MiB is refused")
    p.add_argument("--apart", action="store_true", help="each load to the measured ends and to another VPN's, in turn")
    p.add_argument("--rounds", type=int, default=1)
    args = p.parse_args()
    unknown = set(args.loads.split(",")) - {"idle", "strangers", "crowd", "offers", "viewers", "hundred", "reload", "churn", "keep"}
    if unknown:
        p.error(f"no such load: {', '.join(sorted(unknown))}")
    bench.begin(run, args)


if __name__ == "__main__":
    main()
