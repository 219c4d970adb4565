#!/usr/bin/env python3
"""Routes to a port where nobody listens, and dials that are called off, with visors of the existing implementation.

Whoever dials is told in the same words by both kinds. Dials of ours that are called off at any moment do no harm: a Go visor that
got a Handshake packet and then no Noise message would take no routes from anybody any more.

Needs root, redis-server, postgresql, iptables, nftables, and the binary in SKYWIRE_REFERENCE (see README.md).
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

from boxes import Failed, say, wait_for
from network import PACKAGES, Network, page
from reference import play

WORDS = "no listener on port 44, vpn-server offline"
CALLED_OFF = 20


def told(client):
    """What our client's user reads."""
    return WORDS in client.vpn()["reason"]


def scenario(binary, postgres):
    net = Network(binary, postgres)
    idle, exit_, ours = net.go_middle("go-idle"), net.go_exit("go-exit"), net.our_middle("our-idle")
    client, go_client = net.our_client("our-client"), net.go_client("go-client", ours)
    visors = [idle, exit_, ours, client, go_client]
    for v in visors:
        v.start()
    for v in visors:
        v.ready()
    say("visors up")

    client.join(idle, "stcpr")
    client.ask("vpn.start")
    wait_for("our client hears that nobody listens at the Go visor", 15, lambda: told(client))
    client.disconnect()
    client.leave(idle, "stcpr")
    say(f"our client reads: {WORDS}")

    go_client.join(ours, "stcpr")
    go_client.app("start", "vpn-client")
    wait_for("the Go client hears that nobody listens at ours", 20, lambda: WORDS in go_client.text())
    say("the Go client reads the same of ours")
    wait_for("no rule is left at ours", 15, lambda: not ours.ask("route.list")["rules"])

    client.join(exit_, "stcpr")
    for n in range(CALLED_OFF):
        client.ask("vpn.start")
        time.sleep(0.02 * n)
        client.ask("vpn.stop")
    client.connect()
    if page(client.inside) != exit_.box.outside:
        raise Failed("the web server does not see the exit")
    say(f"after {CALLED_OFF} dials that were called off the Go exit takes routes as before")
    client.disconnect()


if __name__ == "__main__":
    play(scenario, packages=PACKAGES)
