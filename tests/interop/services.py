#!/usr/bin/env python3
"""Two of ours and the directory services of the existing implementation: transport discovery, address resolver, route finder,
service discovery.

    one (an exit) ── stcpr, found at the address resolver ── two        everything over http, signed where it has to be

With --dmsg ours reaches them over dmsg, where they see a key in place of an address; but not the service discovery, which
would look the address that we tell up on the Internet.

What is shown: ours binds, registers, resolves, lists and is listed; a service that is killed stops nothing, is not asked in a
loop, and finds everything right again one back-off after it is back; one that starts while all are dead uses what it heard last; who ends in order leaves nothing behind.

Needs root, redis-server, PostgreSQL, and the binary of the existing implementation in SKYWIRE_REFERENCE (see README.md).
"""

import argparse
import json
import os
import signal
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import skygate
from boxes import Failed, say, wait_for
from dmsg import Ours, quiet
from reference import (ADDRESS_RESOLVER, DMSG_DISCOVERY, ROUTE_FINDER, SERVICE_DISCOVERY, TRANSPORT_DISCOVERY, Services,
                       box_on_bridge, bridge_up, get, new_keys, no_names, play)

NAMES = Services.BASIC + ("route-finder", "service-discovery")
WEB = ("transport-discovery", "address-resolver", "route-finder", "service-discovery")
UID = 64111  # of the one that has a netd
BACK = 75  # seconds until everything is right again: the longest back-off, and a little


def bound():
    return set((json.loads(get(ADDRESS_RESOLVER + "/transports") or "{}") or {}).get("stcpr", []))


def registered():
    """(edges, type) of each transport."""
    return {(frozenset(t["edges"]), t["type"]) for t in json.loads(get(TRANSPORT_DISCOVERY + "/all-transports") or "null") or []}


def listed():
    entries = json.loads(get(SERVICE_DISCOVERY + "/api/services?type=vpn") or "null") or []
    return {e["address"]: e["version"] for e in entries}


def routes(a, b):
    body = json.dumps({"Edges": [f"{a}:{b}", f"{b}:{a}"], "Opts": {"MinHops": 0, "MaxHops": 50}}).encode()
    try:
        with urllib.request.urlopen(ROUTE_FINDER + "/routes", body, timeout=3) as r:
            return len(json.load(r)) == 2
    except OSError:
        return False


class Keyed(Services):
    """Those that answer on dmsg too, by keys of their own."""

    def __init__(self, binary, postgres):
        self.dmsg_keys = {n: new_keys(binary) for n in WEB[:3]}
        super().__init__(binary, postgres, NAMES)

    def command(self, name):
        argv, database = super().command(name)
        return (argv + ["--sk", self.dmsg_keys[name][1]] if name in self.dmsg_keys else argv), database

    def urls(self, dmsg):
        """As options of our configuration."""
        http = {"transport_discovery": TRANSPORT_DISCOVERY, "address_resolver": ADDRESS_RESOLVER, "route_finder": ROUTE_FINDER}
        over = {n.replace("-", "_"): f"dmsg://{keys[0]}:80" for n, keys in self.dmsg_keys.items()}
        return {"dmsg_discovery": DMSG_DISCOVERY, "service_discovery": SERVICE_DISCOVERY, **(over if dmsg else http)}


class Exit(Ours, skygate.Gateway):
    def __init__(self, box, name):
        skygate.Gateway.__init__(self, box, name, UID)


def visor(kind, name, last, urls, more):
    v = kind(box_on_bridge(name, last), name)
    v.settings = "config carrier 'stcpr'\n\tlist listen '0.0.0.0:7778'\n\n" + skygate.deployment_section(**urls)
    v.configure(v.settings + more, ["transport-dmsg", "app-vpn", "storage-sqlite"])
    return v


def states(v):
    return {s["name"]: s["state"] for s in v.ask("service.list")["services"]}


def together(one, two, seconds, what):
    """What is true when all is well."""
    edges = (frozenset((one.pk, two.pk)), "stcpr")
    checks = {
        "both bound at the address resolver": lambda: {one.pk, two.pk} <= bound(),
        "the transport is up": lambda: two.transport(one.pk) and one.transport(two.pk),
        "and registered": lambda: edges in registered(),
        "and known to the route finder": lambda: routes(one.pk, two.pk),
        "the exit is listed": lambda: f"{one.pk}:44" in listed(),
        "and found": lambda: one.pk in [e["pk"] for e in two.ask("exit.list")["exits"]],
    }
    start = time.monotonic()
    for name, check in checks.items():
        wait_for(f"{what}: {name}", seconds - (time.monotonic() - start), check, every=0.3)
    say(f"{what}: all of it after {time.monotonic() - start:.1f} s")


def killed_and_back(services, names, one, two):
    """While they are away a transport ends and another one comes up: afterwards they have to be told."""
    what = ", ".join(names)
    for n in names:
        services.stop(n)
    before = {v: (v.box.cpu(), v.lines()) for v in (one, two)}
    two.ask("transport.rm", pk=one.pk)
    time.sleep(1.5)
    two.ask("transport.add", pk=one.pk, address=f"stcpr://{one.box.address}:7778")
    wait_for(f"{what} killed: a transport all the same", 20, lambda: two.transport(one.pk))
    if "service-discovery" in names and not two.ask("exit.list").get("note"):
        raise Failed("exit ls does not say that its answer is an earlier one")
    time.sleep(10)
    for v in (one, two):
        used, said = v.box.cpu() - before[v][0], v.lines() - before[v][1]
        if used >= 1.0 or said > 20:
            raise Failed(f"{v.name}, with {what} killed: {used:.2f} s of CPU, {said} lines\n{v.program.tail(40)}")
    for n in names:
        services.start(n)
        services.ready(n)
    together(one, two, BACK, f"{what} killed and back")


def started_without(services, one, two):
    """Where the other one listens, and which exits there are, it knows from its former life."""
    two.ask("transport.rm", pk=one.pk)
    two.ask("transport.add", pk=one.pk, address="stcpr", keep=True)
    wait_for("a transport by key", 20, lambda: two.transport(one.pk))
    two.ask("exit.list")
    time.sleep(2)  # what is not asked to be durable waits for company on its way to the disk
    two.program.stop(signal.SIGTERM)
    for n in WEB:
        services.stop(n)
    two.start()
    two.ready()
    took = wait_for("started without services: the transport", 20, lambda: two.transport(one.pk), every=0.2)
    if one.pk not in [e["pk"] for e in two.ask("exit.list")["exits"]]:
        raise Failed("started without services it does not know the exit any more")
    say(f"started while all are dead: the transport after {took:.1f} s, the exit known")
    for n in WEB:
        services.start(n)
        services.ready(n)
    together(one, two, BACK, "and back")


def ended_in_order(one, two):
    if one.stop() != 0:
        raise Failed(f"{one.name} did not end well:\n{one.program.tail()}")
    left = [w for w, is_left in (("bound", one.pk in bound()), ("listed", f"{one.pk}:44" in listed())) if is_left]
    if left:
        raise Failed(f"{one.name} ended in order and is still {', '.join(left)}\n{one.program.tail()}")
    wait_for("its transport is not registered any more", 10,
             lambda: (frozenset((one.pk, two.pk)), "stcpr") not in registered(), every=0.2)
    say("ended in order: not bound, not listed, no transport left")


def scenario(binary, postgres, dmsg):
    no_names()
    bridge_up()
    services = Keyed(binary, postgres)
    urls = services.urls(dmsg)
    say("services up")
    one = visor(Exit, "one", 11, urls, skygate.SERVER_SECTION.replace("inet0", "up0"))
    one.start()
    one.ready()
    two = visor(Ours, "two", 12, urls, "")
    two.start()
    two.ready()
    wait_for("the exit bound", 20, lambda: one.pk in bound(), every=0.2)
    two.ask("transport.add", pk=one.pk, address="stcpr")
    together(one, two, 30, "from nothing")
    wait_for("all services known to be up", 20, lambda: set(states(two).values()) <= {"up", "none", "not asked yet"})
    two.ask("transport.rm", pk=one.pk)
    wait_for("a transport that ended is deleted", 10, lambda: not registered(), every=0.2)
    two.ask("transport.add", pk=one.pk, address="stcpr")
    together(one, two, 30, "again")
    for names in [(n,) for n in WEB] + [WEB]:
        killed_and_back(services, names, one, two)
    quiet((one, two), 6, "five failures")
    started_without(services, one, two)
    ended_in_order(one, two)
    two.program.stop(signal.SIGTERM)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dmsg", action="store_true")
    options = parser.parse_args()
    play(scenario, options.dmsg)


if __name__ == "__main__":
    main()
