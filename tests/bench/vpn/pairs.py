"""Ours with visors of the existing implementation, and theirs among themselves: client, exit, by stcpr at one hop.

On a network of theirs (../../interop/network.py), which is brought up once for all rounds; what is not measured idles. A
client of theirs sends from its own box, one of ours from a LAN behind it.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../interop"))

import network
from boxes import Failed, need_programs
from measure import Meter
from rivals import Missing

PAIRS = ("go-go", "ours-go", "go-ours", "ours-ours")
CARRIER = "stcpr"


class Place:
    """What a Meter asks of a topology, and of a rival: one client, one exit, the server."""

    SERVER = network.INET

    def __init__(self, net, client, exit_):
        self.lan, self.server = client.inside, net.inet
        self.router, self.exit = [client.program], [exit_.program]


def measure(courses, args):
    """Yields (round, pair, figures)."""
    binary, postgres = os.environ.get("SKYWIRE_REFERENCE", ""), network.reference.postgres()
    unknown = [c for c in courses if c not in PAIRS]
    if unknown:
        raise Failed(f"unknown: {', '.join(unknown)}; known: {', '.join(PAIRS)}")
    if not os.access(binary, os.X_OK):
        raise Missing("SKYWIRE_REFERENCE does not name a program")
    if not postgres:
        raise Missing("Debian package postgresql is missing")
    need_programs(network.PACKAGES)
    net = network.Network(binary, postgres)
    exits, clients = {}, {}
    for course in courses:
        client, exit_ = course.split("-")
        exits[exit_] = exits.get(exit_) or (net.go_exit("go-exit") if exit_ == "go" else net.our_exit("our-exit"))
        name = f"{client}-of-{exit_}"
        clients[course] = net.go_client(name, exits[exit_]) if client == "go" else net.our_client(name)
    visors = [*exits.values(), *clients.values()]
    for v in visors:
        v.start()
    for v in visors:
        v.ready()
    for n in range(args.rounds):
        for course in courses:
            client, exit_ = clients[course], exits[course.split("-")[1]]
            client.join(exit_, CARRIER)
            client.connect()
            place = Place(net, client, exit_)
            yield n, course, Meter(place, args.seconds).round(place)
            client.disconnect()
            client.leave(exit_, CARRIER)
