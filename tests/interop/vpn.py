#!/usr/bin/env python3
"""A VPN between ours and visors of the existing implementation, on a whole network of its directory services.

    vpn.py [--long] [--sessions N] [--mb N] [--idle SECONDS] [--faster] [--courses WORD...]

A course is CLIENT-EXIT:CARRIER or CLIENT-EXIT:CARRIER:MIDDLE, of "go" and "ours". Each is so many sessions, opened and closed
again under load, none of which may fail; in the last one so many MiB go down and up, hash compared. At the end a client by
each carrier and in each direction is connected, all at once, without traffic for so long, and has to be alive then. What the Go
visors beside ours warn of must be of a class that Go visors warn of among themselves. --faster: ours may not be the slower side.
--long: 100 sessions, 20 at two hops, 1 GiB by stcpr and 100 MiB by the others, half an hour without traffic.

Needs root, redis-server, postgresql, iptables, nftables, and the binary in SKYWIRE_REFERENCE (see README.md).
"""

import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

from boxes import Failed, say
from network import PACKAGES, Busy, Network, compare_warnings, page, percentile, throughput
from reference import play

MB = 1 << 20
# A Go vpn-server that was told of the end copies what its device brings into the closed connection: once in some 300 closes
# under load, and Go beside Go closes fewer times here.
EXPLAINED = ("Error resending traffic from TUN tunN to VPN client: no conn with key",)
SPEED_MB, ROUNDS = 24, 3
COURSES = ["go-go:stcpr", "go-go:stcpr:go"]
COURSES += [f"{ends}:{carrier}" for carrier in ("stcp", "stcpr", "dmsg") for ends in ("ours-go", "go-ours")]
COURSES += [f"{ends}:stcpr:{middle}" for middle in ("go", "ours") for ends in ("ours-go", "go-ours")]


class Course:
    def __init__(self, word):
        ends, self.carrier, self.middle = (word.split(":") + [None])[:3]
        self.client, self.exit = ends.split("-")
        self.name = f"{word:18s}"


class Team:
    """Clients, exits and middles of both kinds. Go visors that meet only their like are others than those that meet ours."""

    def __init__(self, net):
        self.exits = {"go-go": net.go_exit("go-exit"), "ours-go": net.go_exit("go-exit-2"), "go-ours": net.our_exit("our-exit")}
        self.exits["ours-ours"] = self.exits["go-ours"]
        self.clients = {e: net.go_client("go-client-" + e, self.exits[e]) for e in ("go-go", "go-ours")}
        self.clients["ours-go"] = self.clients["ours-ours"] = net.our_client("our-client")
        self.middles = {(True, "go"): net.go_middle("go-middle"), (False, "go"): net.go_middle("go-middle-2"),
                        (False, "ours"): net.our_middle("our-middle")}

    def all(self):
        return {*self.exits.values(), *self.clients.values(), *self.middles.values()}

    def at(self, course):
        ends = f"{course.client}-{course.exit}"
        return (self.clients[ends], self.exits[ends],
                self.middles[ends == "go-go", course.middle] if course.middle else None)

    def start(self):
        for v in self.all():
            v.start()
        for v in self.all():
            v.ready()
        for (_, kind), middle in self.middles.items():
            for exit_ in {self.exits["go-ours"], self.exits["go-go" if middle.name == "go-middle" else "ours-go"]}:
                middle.reach(exit_, "stcpr")


def sessions(course, client, exit_, count):
    took = []
    for n in range(count):
        if n:
            close_under_load(client)
        try:
            took.append(client.connect())
            seen = page(client.inside)
        except Failed as e:
            raise Failed(f"{course.name}: session {n + 1} of {count}: {e}\n{exit_.program.tail(20)}") from None
        if seen != exit_.box.outside:
            raise Failed(f"{course.name}: session {n + 1}: the web server sees {seen}, not the exit {exit_.box.outside}")
    say(f"{course.name} {count} of {count} sessions, up after p50 {percentile(took, 50):.1f} s, the slowest {max(took):.1f} s")


def close_under_load(client):
    """Both ends have packets on the way then; what Go visors say to that, they say among themselves too."""
    busy = Busy(client.inside)
    time.sleep(0.3)
    client.disconnect()
    busy.end()


def idle(net, team, seconds):
    """Every carrier in both directions at once, nothing to carry."""
    clients = []
    for carrier in ("stcp", "stcpr", "dmsg"):
        clients += [(net.our_client("idle-" + carrier), team.exits["ours-go"], carrier),
                    (net.go_client("go-idle-" + carrier, team.exits["go-ours"]), team.exits["go-ours"], carrier)]
    for client, _, _ in clients:
        client.start()
    for client, exit_, carrier in clients:
        client.ready()
        client.join(exit_, carrier)
        client.connect()
    say(f"{len(clients)} clients connected")
    before = {c: c.sessions() for c, _, _ in clients}
    time.sleep(seconds)
    for client, exit_, carrier in clients:
        if page(client.inside, 5) != exit_.box.outside or client.sessions() != before[client]:
            raise Failed(f"{client.name}: not the same session after {seconds:.0f} s without traffic\n{client.program.tail()}")
    say(f"all {len(clients)} clients alive after {seconds:.0f} s without traffic")
    for client, _, _ in clients:
        client.disconnect()


def run(course, team, count, total):
    """So many sessions; in the last one so many bytes both ways. Its rates in Mbit/s."""
    client, exit_, middle = team.at(course)
    client.join(exit_, course.carrier, middle)
    sessions(course, client, exit_, count)
    by = client.carriers(middle or exit_)
    if course.carrier not in by:
        raise Failed(f"{course.name}: the transports that are up: {', '.join(by)}")
    ends = {"client": client.box, "exit": exit_.box, **({"middle": middle.box} if middle else {})}
    rates = throughput(course.name, client.inside, total, ends)
    client.disconnect()
    client.leave(exit_, course.carrier, middle)
    return rates


def extent(course, args):
    """How many sessions, and how many bytes."""
    count = args.hop2_sessions if course.middle else args.sessions
    if (course.client, course.exit) == ("go", "go"):
        return min(count, 5), args.mb * MB
    whole = 1024 if course.carrier == "stcpr" and not course.middle else 100
    return count, (whole if args.long else args.mb) * MB


def compare_speed(team):
    """Ours at either end, beside Go at both: medians of rounds in which each has its turn; the machine does other things too."""
    for kind in ("stcpr", "stcpr:go"):
        words = [f"{ends}:{kind}" for ends in ("go-go", "ours-go", "go-ours")]
        # More sessions of Go beside Go: what they say to a close under load is to be known.
        rounds = [{w: run(Course(w), team, 3 if w == words[0] else 1, SPEED_MB * MB) for w in words} for _ in range(ROUNDS)]
        base, *others = ({d: statistics.median(r[w][d] for r in rounds) for d in ("down", "up")} for w in words)
        for word, rates in zip(words[1:], others):
            say(f"{word}: {rates['down'] / base['down']:.1f} × Go beside Go down, {rates['up'] / base['up']:.1f} × up, "
                f"median of {ROUNDS}")
            if any(rates[d] < base[d] for d in rates):
                raise Failed(f"{word} is slower than Go beside Go")


def scenario(binary, postgres, args):
    net = Network(binary, postgres)
    say("directory up")
    team = Team(net)
    team.start()
    say("visors up")
    for word in args.courses:
        run(Course(word), team, *extent(Course(word), args))
    if args.faster:
        compare_speed(team)
    if args.idle:
        idle(net, team, args.idle)
    compare_warnings([team.exits["go-go"], team.clients["go-go"], team.middles[True, "go"]],
                     [team.exits["ours-go"], team.clients["go-ours"], team.middles[False, "go"]], EXPLAINED)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--courses", nargs="*", default=COURSES)
    p.add_argument("--sessions", type=int, default=2)
    p.add_argument("--mb", type=int, default=8)
    p.add_argument("--idle", type=float, default=0)
    p.add_argument("--faster", action="store_true")
    p.add_argument("--long", action="store_true")
    args = p.parse_args()
    args.hop2_sessions = args.sessions
    if args.long:
        args.sessions, args.hop2_sessions, args.mb, args.idle, args.faster = 100, 20, 100, 1800, True
    play(scenario, args, packages=PACKAGES)


if __name__ == "__main__":
    main()
