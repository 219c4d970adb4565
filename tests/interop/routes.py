#!/usr/bin/env python3
"""Routes of one to three hops with real visors on the way, and what a route may not be.

    client ours ── first ours ── second Go ── exit Go        first ── exit,  client ── exit  as well, when it is their turn

min_hops is honoured or refused, whatever shorter way there is; no path meets a visor twice; a middle that dies is gone round
where there is another way. What needs a hand on the packets is in unit.route_group and unit.route_group_peer: packets of a
rule from another transport, groups that want no encryption.

Needs what vpn.py needs.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import skygate
from boxes import Failed, say, wait_for
from network import INET, PACKAGES, PLUGINS, STCP_PORT, Network, page
from reference import play


def see(client, near, exit_, hops):
    """Its VPN by so many hops or more, beginning with these neighbours."""
    peers = "".join(skygate.peer_section(f"near_{n}", v.pk, f"stcp://{v.box.address}:{STCP_PORT}") for n, v in enumerate(near))
    if exit_ not in near:
        peers += skygate.peer_section("exit", exit_.pk)
    name = f"near_{near.index(exit_)}" if exit_ in near else "exit"
    client.configure(client.settings + peers + skygate.client_section([name], INET, min_hops=hops), PLUGINS)
    client.ask("config.reload")
    client.disconnect()
    wait_for("the neighbours", 15, lambda: all(client.transport(v.pk) for v in near))


def known_paths(client, exit_, hops):
    """What the route finder knows, once it knows it: the directory is told of a transport a moment later."""
    def ask():
        try:
            return client.ask("route.find", pk=exit_.pk, min_hops=hops)["paths"]
        except Failed:
            return None

    wait_for(f"a path of {hops} hops", 15, ask, every=0.2)
    return [p["hops"] for p in ask()]


def sound(paths, hops):
    for path in paths:
        keys = [h["from"] for h in path] + [path[-1]["to"]]
        if len(path) < hops or len(set(keys)) != len(keys) or any(a["to"] != b["from"] for a, b in zip(path, path[1:])):
            raise Failed(f"a path that is none of {hops} hops between different visors: {path}")


def first_transport(client, exit_):
    """Over which transport the VPN's packets leave."""
    rules = [r for r in client.ask("route.list")["rules"] if r["type"] == "forward" and r["pk"] == exit_.pk and r["port"] == 44]
    return rules[-1]["next"] if rules else None


def by(client, near, through, exit_, hops):
    """The VPN works by so many hops, leaving by one neighbour, whatever shorter way there is."""
    see(client, near, exit_, hops)
    sound(known_paths(client, exit_, hops), hops)
    took = client.connect()
    if page(client.inside) != exit_.box.outside:
        raise Failed("the LAN does not leave at the exit")
    if client.vpn()["network"] != "skynet" or first_transport(client, exit_) != client.transport(through.pk)["id"]:
        raise Failed(f"min_hops {hops}: the VPN does not leave by {through.name}: {client.vpn()}\n{client.program.tail()}")
    pinged = client.ask("visor.ping", pk=exit_.pk, min_hops=hops)
    if len(pinged["hops"]) < hops:
        raise Failed(f"a ping by {len(pinged['hops'])} hops, asked for {hops}")
    say(f"min_hops {hops}: connected after {took:.1f} s by {through.name}; a ping over {len(pinged['hops'])} hops: "
        f"{min(pinged['rtt_us']) / 1000:.1f} ms")


def refused(client, near, exit_, hops):
    """No such way: a sentence, and nothing gets through, though there is a shorter one."""
    see(client, near, exit_, hops)
    client.ask("vpn.start")
    took = wait_for("the refusal", 20, lambda: client.vpn()["reason"])
    time.sleep(1)
    if client.connected() or page(client.inside, 1):
        raise Failed(f"min_hops {hops}: the LAN gets out where there is no such way")
    say(f"min_hops {hops} where there is none: nothing passes; after {took:.1f} s “{client.vpn()['reason']}”")
    client.disconnect()


def gone_round(client, middles, exit_):
    """Two ways of two hops; the middle that carries dies."""
    see(client, middles, exit_, 2)
    client.connect()
    at = first_transport(client, exit_)
    victim = next(m for m in middles if client.transport(m.pk)["id"] == at)
    victim.kill()
    t0 = time.monotonic()
    wait_for("the other way", 30, lambda: page(client.inside, 0.5) == exit_.box.outside and first_transport(client, exit_) != at)
    say(f"the middle killed ({victim.name}): by the other one after {time.monotonic() - t0:.1f} s")


def scenario(binary, postgres):
    net = Network(binary, postgres)
    exit_, client = net.go_exit("exit"), net.our_client("client")
    first, second = net.our_middle("first"), net.go_middle("second")
    visors = (exit_, client, first, second)
    for v in visors:
        v.start()
    for v in visors:
        v.ready()
    say("directory and visors up")
    refused(client, [exit_], exit_, 2)
    first.reach(second, "stcpr")
    second.reach(exit_, "stcpr")
    by(client, [exit_], exit_, exit_, 1)
    by(client, [first, exit_], first, exit_, 3)
    refused(client, [first, exit_], exit_, 4)
    first.reach(exit_, "stcpr")
    by(client, [first, exit_], first, exit_, 2)
    by(client, [first, exit_], first, exit_, 3)
    gone_round(client, [first, second], exit_)


if __name__ == "__main__":
    play(scenario, packages=PACKAGES)
