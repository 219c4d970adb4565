#!/usr/bin/env python3
"""A VPN between ours and visors of the existing implementation, on a whole network of its directory services.

    vpn.py [--courses WORD...]      go-go stcpr, ours-go stcpr, ...: client, exit, carrier

Needs root, redis-server, postgresql, iptables, nftables, and the binary in SKYWIRE_REFERENCE (see README.md).
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import boxes
import reference
from boxes import Failed, need_programs, need_root
from network import PACKAGES, Network, page, say, throughput

MB = 1 << 20


def course(client, exit_, carrier, total):
    """One session of the VPN and what it is worth."""
    name = f"{client.kind} client, {exit_.kind} exit, {carrier}"
    client.join(exit_, carrier)
    took = client.connect()
    seen, by = page(client.inside), client.carriers(exit_)
    if carrier not in by:
        raise Failed(f"{name}: the transports that are up: {by}")
    if seen != exit_.box.outside:
        raise Failed(f"{name}: the web server sees {seen}; the exit is {exit_.box.outside}")
    say(f"{name}: up after {took:.1f} s, the web server sees the exit")
    rates = throughput(name, client.inside, total, {"client": client.box, "exit": exit_.box})
    client.disconnect()
    client.leave(exit_, carrier)
    return rates


def scenario(args, binary, postgres):
    net = Network(binary, postgres)
    say("directory up")
    exits = {"go": net.go_exit("go-exit"), "ours": net.our_exit("our-exit")}
    clients = {("ours", e): net.our_client(f"our-client-of-{e}") for e in exits}
    clients |= {("go", e): net.go_client(f"go-client-of-{e}", exits[e]) for e in exits}
    visors = {*exits.values(), *clients.values()}
    for v in visors:
        v.start()
    for v in visors:
        v.ready()
    say("visors up")
    for word in args.courses:
        ends, carrier = word.split(":")
        client, exit_ = ends.split("-")
        course(clients[client, exit_], exits[exit_], carrier, args.mb * MB)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--courses", nargs="+", default=["go-go:stcpr", "ours-ours:stcp"])
    p.add_argument("--mb", type=int, default=8)
    args = p.parse_args()
    need_root()
    binary, postgres = reference.find()
    need_programs(PACKAGES)
    boxes.enter()
    try:
        scenario(args, binary, postgres)
    except Failed as e:
        say(f"FAILED: {e}")
        sys.exit(1)
    say("all as it should be")


if __name__ == "__main__":
    main()
