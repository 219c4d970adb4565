#!/usr/bin/env python3
"""An exit with a hundred clients (P40): routers of ours, each a machine of its own with its own processes.

    tests/bench/vpn/clients.py [--clients N] [--seconds S] [--rate MBIT] [--told] [--judge] [--build DIR]
                             [--ahead]

    client 1 … N (mode host) ── provider ── wire: 100 Mbit/s, 20 ms each way, queue 512 KiB ── exit ── server

Every client has one TCP connection with the server, every tenth has eight; all run at once, as fast as they can, first down,
then up, then a tenth of them up. --rate 0: no wire, and the machine's processors are what they share. --told: the exit knows
what its line takes and brings (options upload_kbit and download_kbit).

    ready            seconds from the first start until all have a lease
    memory.idle      KiB of PSS per client at the exit, all its processes, beside the same exit without any
    memory.load      the same at the most while all run, beside a tenth of them running (<= 64): what is shared by all counts
                     for none
    down.*, up.*     Mbit/s of all together and Jain's index; the deviation of a client's share from the mean share, of those
                     with one connection (standard deviation in percent, <= 10); what eight connections got (<= 1.1 shares)
    few.all          Mbit/s up of a tenth of them, while the others have nothing to send (>= 0.9 of up.all)

Exit status 1 when a client is lost or takes too much memory; with --judge also when shares are not fair. That a client sends
with no address but its own and reaches no private network is netns.exit-rules. Lines of name, number, unit for scripts.
"""

import json
import os
import selectors
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pylib"))

import bench
import product
from boxes import Box, Failed, call, link, wait_for
from measure import Machine, pss_kib
from ours import Ours

PORT = 9008
MANY = 8  # connections of every tenth client
RAMP_S = 4
PER_CLIENT_KIB, DEVIATION = 64, 10
CHUNK = bytes(256 * 1024)


def say(name, value, unit):
    print(f"{name}\t{value:.2f}\t{unit}", flush=True)


class Net(bench.Net):
    """With a slow line in front of the exit."""

    wire = None

    def slow(self, mbit):
        self.exit.ip("link", "del", "wan0")
        self.wire = self.wan.start("wire", product.build_dir() + "/tests/wire", "--delay", 20, "--rate", mbit, "--queue", 512,
                                   "tap:wan:e0", "tap:exit:wan0")
        wait_for("the line", 10, lambda: "ready" in self.wire.text())
        for box, dev, address in ((self.wan, "e0", "203.0.113.1/24"), (self.exit, "wan0", self.EXIT + "/24")):
            box.ip("addr", "add", address, "dev", dev)
            box.ip("link", "set", dev, "up")
        self.exit.ip("route", "add", "default", "via", "203.0.113.1")

    def down(self):
        if self.wire:
            self.wire.stop()
        super().down()


class Exit(Ours):
    """The exit of Ours, open to everybody, and clients in boxes of their own."""

    def __init__(self, net, kbit):
        super().__init__(net)
        self.kbit = kbit
        self.boxes, self.programs = [], []

    def up(self):
        self.end("e")
        self.configure("e", f"""
config carrier 'stcp'
	list listen '{self.net.EXIT}:7777'

config vpn_server 'exit'
	option uplink 'inet0'
	option max_clients '250'
	option upload_kbit '{self.kbit}'
	option download_kbit '{self.kbit}'
""")
        self.at_exit(*self.command("e"))
        wait_for("the exit listens", 30, lambda: ":7777" in self.net.exit.run("ss", "-Htln"))
        self.pk = self.status()["pk"]

    def status(self, *words):
        return json.loads(self.net.exit.run(product.program("skygate"), "--run", f"{self.dir}/e/run", *(words or ["status"]),
                                            "--json"))

    def add(self, n):
        box, who = Box(f"c{n}"), f"c{n}"
        self.boxes.append(box)
        here, there = f"100.66.{n}.2", f"100.66.{n}.1"
        link(box, "wan0", [here + "/30"], self.net.wan, f"c{n}", [there + "/30"])
        box.ip("route", "add", "default", "via", there)
        self.end(who)
        self.configure(who, f"""
config peer 'my_exit'
	option pk '{self.pk}'
	list address 'stcp://{self.net.EXIT}:7777'

config vpn_client 'vpn'
	option mode 'host'
	list exit 'my_exit'
	list probe '{self.net.SERVER}'
""")

    def start(self):
        for n, box in enumerate(self.boxes):
            self.programs.append(box.start("ours", *self.command(f"c{n}")))

    def clients(self):
        return self.status("vpn", "status")["server"]["clients"]

    def pss(self):
        return pss_kib([p.pid for p in self.exit])

    def down(self):
        for p in self.programs:
            p.process.terminate()
        for p in self.programs:
            p.stop()
        super().down()
        for box in self.boxes:
            call("ip", "netns", "del", box.name)


class Flows:
    """The server's ends and the clients' ends of all connections; bytes are counted where they arrive."""

    def __init__(self, net, boxes, down):
        self.got, self.over, self.down = [0] * len(boxes), threading.Event(), down
        with net.server.entered():
            listener = socket.create_server(("", PORT), backlog=1024)
        self.here, self.there = [], []  # (socket, client)
        for n, box in enumerate(boxes):
            for _ in range(1 if n % 10 else MANY):
                with box.entered():
                    s = socket.create_connection((net.SERVER, PORT), timeout=20)
                s.sendall(struct.pack("!H", n))
                self.here.append((s, n))
                s, _ = listener.accept()
                self.there.append((s, struct.unpack("!H", s.recv(2, socket.MSG_WAITALL))[0]))
        listener.close()
        ends = ((self.there, self.send), (self.here, self.receive)) if down else ((self.here, self.send),
                                                                                (self.there, self.receive))
        self.threads = [threading.Thread(target=work, args=(sockets,)) for sockets, work in ends]
        for t in self.threads:
            t.start()

    def each_ready(self, sockets, event):
        selector = selectors.DefaultSelector()
        for s, n in sockets:
            s.setblocking(False)
            selector.register(s, event, n)
        while not self.over.is_set():
            for key, _ in selector.select(0.2):
                yield key.fileobj, key.data

    def send(self, sockets):
        for s, _ in self.each_ready(sockets, selectors.EVENT_WRITE):
            s.send(CHUNK)

    def receive(self, sockets):
        room = bytearray(len(CHUNK))
        for s, n in self.each_ready(sockets, selectors.EVENT_READ):
            self.got[n] += s.recv_into(room)

    def close(self):
        self.over.set()
        for t in self.threads:
            t.join()
        for s, _ in self.here + self.there:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()


def deviation(shares):
    mean = sum(shares) / len(shares)
    return 100 * (sum((s - mean) ** 2 for s in shares) / len(shares)) ** 0.5 / max(1, mean)


def judge(name, got, seconds):
    """Prints the shares; a sentence for each way in which they are not fair."""
    many, others, bad = got[::10], [g for n, g in enumerate(got) if n % 10], []
    say(f"{name}.all", sum(got) * 8e-6 / seconds, f"Mbit/s of {len(got)} clients")
    say(f"{name}.jain", sum(got) ** 2 / max(1, len(got) * sum(g * g for g in got)), "")
    if not others:
        return []
    mean = sum(others) / len(others)
    say(f"{name}.deviation", deviation(others), "% of the mean share, one connection each")
    say(f"{name}.least", min(others) / max(1, mean), "of the mean share")
    say(f"{name}.most", max(others) / max(1, mean), "of the mean share")
    say(f"{name}.many", sum(many) / len(many) / max(1, mean), f"of the mean share, with {MANY} connections")
    if deviation(others) > DEVIATION:
        bad.append(f"{name}: shares deviate by {deviation(others):.0f} % from the mean")
    if sum(many) / len(many) > mean * (1 + DEVIATION / 100):
        bad.append(f"{name}: {MANY} connections get more than one")
    return bad


def load(rival, net, boxes, down, seconds):
    """(KiB of PSS at the most, bytes of each client, seconds they took) with all these clients at work."""
    flows, most = Flows(net, boxes, down), 0
    time.sleep(RAMP_S)
    before, since = list(flows.got), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.2)
        most = max(most, rival.pss())
    got, took = [now - then for now, then in zip(flows.got, before)], time.monotonic() - since
    flows.close()
    return most, got, took


def measure(args):
    net = Net()
    rival = Exit(net, args.rate * 1000 if args.told else 0)
    try:
        if args.rate:
            net.slow(args.rate)
        rival.up()
        time.sleep(3)
        bare, bad, unfair = rival.pss(), [], []
        for n in range(args.clients):
            rival.add(n)
        machine, t0 = Machine(), time.monotonic()
        rival.start()
        wait_for(f"{args.clients} clients", 180, lambda: rival.clients() == args.clients, every=0.5)
        say("ready", time.monotonic() - t0, f"s until {args.clients} clients have a lease")
        time.sleep(5)
        say("memory.idle", (rival.pss() - bare) / args.clients, f"KiB per client; {bare / 1024:.1f} MiB without any")
        few = rival.boxes[:max(1, args.clients // 10)]
        some, _, _ = load(rival, net, few, True, min(args.seconds, 8))
        most = 0
        for name, down in (("down", True), ("up", False)):
            pss, got, took = load(rival, net, rival.boxes, down, args.seconds)
            most = max(most, pss)
            unfair += judge(name, got, took)
        whole = sum(got) / took
        _, got, took = load(rival, net, few, False, min(args.seconds, 8))
        say("few.all", sum(got) * 8e-6 / took, f"Mbit/s of {len(few)} clients, up")
        if sum(got) / took < 0.9 * whole:
            unfair.append(f"few: {len(few)} clients send {sum(got) / took / whole:.2f} of what all do")
        per_client = (most - some) / max(1, args.clients - len(few))
        say("memory.load", per_client, f"KiB per client; {most / 1024:.1f} MiB with all, {some / 1024:.1f} with {len(few)}")
        if per_client > PER_CLIENT_KIB:
            bad.append(f"more than {PER_CLIENT_KIB} KiB per client")
        if rival.clients() != args.clients:
            bad.append(f"only {rival.clients()} clients are left")
        say("others", machine.since()["foreign_percent"], "% of the machine")
        for what in bad + unfair:
            print(f"missed: {what}")
        return 1 if bad or (args.judge and unfair) else 0
    except Failed as e:
        print(f"failed: {e}\n{rival.logs()}\n" + "\n".join(p.tail(4) for p in rival.programs[:2]))
        return 1
    finally:
        rival.down()
        net.down()


def main():
    p = bench.options(__doc__)
    p.add_argument("--clients", type=int, default=100)
    p.add_argument("--seconds", type=float, default=20, help="each way")
    p.add_argument("--rate", type=int, default=100, help="Mbit/s of the exit's line")
    p.add_argument("--told", action="store_true", help="the exit knows that rate")
    p.add_argument("--judge", action="store_true", help="exit status 1 too when shares are not fair")
    args = p.parse_args()
    bench.begin(measure, args)


if __name__ == "__main__":
    main()
