#!/usr/bin/env python3
"""Exits that nobody put into the configuration: found at the service discovery, taken by their key.

What is shown: an exit of the existing implementation and one of ours are listed to our client; it leaves by one that is a
bare key in its configuration, with no peer section and no address; exit use moves it to the other one while it runs; after a
restart it is back at the configured one; and with the service discovery dead it still has what that said last.

Needs root, redis-server, postgresql, iptables, nftables, and the binary in SKYWIRE_REFERENCE (see README.md).
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import skygate
from boxes import Failed, say, wait_for
from network import INET, PACKAGES, PLUGINS, Network, page
from reference import play


def listed(client):
    return {e["pk"] for e in client.ask("exit.list")["exits"]}


def leaves_by(client, exit_, seconds=40):
    """Until the VPN is proven and the web server sees who asks; the seconds it took."""
    t0 = time.monotonic()

    def there():
        vpn = client.vpn()
        return vpn["state"] == "connected" and vpn["exit"]["pk"] == exit_.pk and page(client.inside) == exit_.box.outside

    try:
        wait_for(f"{client.name}: leaves by {exit_.name}", seconds, there, every=0.2)
    except Failed as e:
        raise Failed(f"{e}; it says {client.vpn()}\n{client.program.tail(20)}") from None
    return time.monotonic() - t0


def scenario(binary, postgres):
    net = Network(binary, postgres)
    theirs, ours, client = net.go_exit("go-exit"), net.our_exit("our-exit"), net.our_client("our-client")
    for v in (theirs, ours):
        v.start()
    for v in (theirs, ours):
        v.ready()
    client.configure(client.settings + skygate.client_section([theirs.pk], INET), PLUGINS)
    client.start()
    client.ready()
    wait_for("both exits listed", 40, lambda: listed(client) == {theirs.pk, ours.pk}, every=0.3)
    say(f"by a bare key in the configuration to a Go exit: {leaves_by(client, theirs):.1f} s after both were listed")
    client.ask("exit.use", pk=ours.pk)
    say(f"exit use, to one of ours: {leaves_by(client, ours):.1f} s")
    client.ask("exit.use", pk=theirs.pk[:12])
    say(f"and back: {leaves_by(client, theirs):.1f} s")
    client.ask("exit.use", pk=ours.pk)
    leaves_by(client, ours)
    net.services.stop("service-discovery")
    answer = client.ask("exit.list")
    if {e["pk"] for e in answer["exits"]} != {theirs.pk, ours.pk} or not answer.get("note"):
        raise Failed(f"with the service discovery dead: {answer}")
    if client.stop() != 0:
        raise Failed(f"the client did not end well:\n{client.program.tail()}")
    client.start()
    client.ready()
    say(f"after a restart at the configured one again: {leaves_by(client, theirs):.1f} s")


if __name__ == "__main__":
    play(scenario, packages=PACKAGES)
