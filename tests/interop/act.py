#!/usr/bin/env python3
"""The second act of ./demo: the LAN behind our router leaves at an exit of the existing implementation, on a network of it.

Needs what vpn.py needs. As a test it fails where a line of the story is not true.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import reference
from boxes import Failed, say, wait_for
from network import INET, PACKAGES, Line, Network, move, page
from reference import play
from sglab import web

SIZE = 8 << 20


def tell(binary, postgres):
    net = Network(binary, postgres)
    exit_, client = net.go_exit("go-exit"), net.our_client("router")
    say("a Skywire network of the existing implementation: discoveries, address resolver, route finder, two setup nodes, dmsg server")
    for v in (exit_, client):
        v.start()
    for v in (exit_, client):
        v.ready()
    wait_for("our entry", 20, lambda: reference.get(f"{reference.DMSG_DISCOVERY}/dmsg-discovery/entry/{client.pk}"))
    say("a Go visor with its vpn-server is the exit; our router has a session with the dmsg server and is registered")
    client.join(exit_, "stcpr")
    took = client.connect()
    say(f"exit found by its key (stcpr), a route set up by a Go setup node, VPN proved {took * 1000:.0f} ms after it was asked for")
    say(f"the router's programs hold {client.box.pss():.1f} MiB of memory (PSS)")
    line = Line(client, [exit_])
    try:
        through(client, exit_, line)
    finally:
        line.close()


def through(client, exit_, line):
    line.begin(200)
    seen = page(client.inside, 5)
    if seen != exit_.box.outside:
        raise Failed(f"the web server saw {seen}; expected the Go exit, {exit_.box.outside}")
    say(f"LAN asks http://{INET}/  →  the web server saw {seen}, the Go exit's address")
    for how in (web.download, web.upload):
        move(client.inside, how, SIZE)
    say(f"{SIZE >> 20} MiB fetched and {SIZE >> 20} MiB sent, intact (SHA-256)")
    killed = time.monotonic()
    client.box.run("ss", "-Ktn", "dst", exit_.box.address)
    wait_for("traffic again", 30, lambda: not client.connected(), every=0.005)
    wait_for("traffic again", 30, lambda: page(client.inside, 0.5))
    say(f"the transport cut: traffic again after {time.monotonic() - killed:.1f} s")
    sent = line.end("the second act")
    say(f"of {sent:,} packets of every kind that the LAN sent meanwhile, got out beside the transport: 0")


if __name__ == "__main__":
    play(tell, packages=PACKAGES)
