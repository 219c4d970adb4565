#!/usr/bin/env python3
"""A Go visor and ours by the carriers that find a visor by its key: stcpr through an address resolver, dmsg through a server.

    go ── session ── dmsg server ── session ── ours          go ── TCP, address from the resolver ── ours

Each carrier in each dial direction: handshakes one after the other, the Go visor listing every transport and accepting calls
to the end; the same held for a while; the dmsg server killed and back. Then one of ours offers itself at the service discovery
as a public visor, and another connects to it without being told.

    carriers.py [--handshakes N] [--hold SECONDS]      or INTEROP_HANDSHAKES, INTEROP_HOLD

Needs root, redis-server, postgresql, and the binary of the existing implementation in SKYWIRE_REFERENCE (see README.md).
"""

import argparse
import http.server
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import reference
import skygate
from boxes import Failed, say, wait_for
from reference import GoVisor, Services, box_on_bridge, bridge_up, get, new_keys, no_names, play, warnings_in

CARRIERS = ("stcpr", "dmsg")


def network_section(public=False):
    return (f"config deployment 'net'\n\toption dmsg_discovery '{reference.DMSG_DISCOVERY}'\n"
            f"\toption address_resolver '{reference.ADDRESS_RESOLVER}'\n"
            f"\toption transport_discovery '{reference.TRANSPORT_DISCOVERY}'\n"
            f"\toption service_discovery 'http://203.0.113.254:{Listing.PORT}'\n\n"
            f"config carrier 'stcpr'\n\tlist listen '0.0.0.0:7778'\n\toption public '{int(public)}'\n\n"
            "config dmsg\n\toption sessions '1'\n\n")


class Listing(http.server.BaseHTTPRequestHandler):
    """What a service discovery is to visors: a nonce, an entry taken, all entries given. The one of the existing implementation
    asks the Internet where a visor is, which is not here."""

    PORT = 9099
    entries = {}

    def say(self, what):
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/security/nonces/"):
            self.say({"edge": self.path.rpartition("/")[2], "next_nonce": 0})
        else:
            self.say(list(self.entries.values()))

    def do_POST(self):
        entry = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.entries[entry["address"]] = entry
        self.say(entry)

    def log_message(self, *_):
        pass

    @classmethod
    def serve(cls):
        server = http.server.ThreadingHTTPServer(("203.0.113.254", cls.PORT), cls)
        threading.Thread(target=server.serve_forever, daemon=True).start()


class Ours(skygate.Visor):
    def of_carrier(self, pk, carrier):
        found = [t for t in self.ask("transport.list")["transports"] if t["pk"] == pk and t["carrier"] == carrier]
        if len(found) > 1:
            raise Failed(f"{self.name} holds {len(found)} {carrier} transports with {pk[:8]}")
        return found[0] if found else None

    def on_dmsg(self):
        return any(s["state"] == "up" for s in self.ask("dmsg.status")["sessions"])


def fail(what, go, ours):
    raise Failed(f"{what}\nours:\n{ours.program.tail(15)}\nGo:\n{go.program.tail(15)}")


def ours_dials(go, ours, carrier, n):
    """One transport up and down again, dialled by ours."""
    ours.ask("transport.add", pk=go.pk, address=carrier)
    try:
        wait_for("", 15, lambda: ours.of_carrier(go.pk, carrier), every=0.05)
        wait_for("", 10, lambda: go.transport(ours.pk, carrier), every=0.2)
    except Failed:
        fail(f"{carrier}: handshake {n} dialled by ours", go, ours)
    ours.ask("transport.rm", pk=go.pk)
    wait_for(f"{carrier}: the Go visor noticing the end", 15, lambda: not go.transport(ours.pk, carrier), every=0.2)
    time.sleep(1.2)  # a Go visor keeps what it has seen closed for a second


def go_dials(go, ours, carrier, n):
    word = go.dial(ours.pk, carrier)
    if word or not ours.of_carrier(go.pk, carrier):
        fail(f"{carrier}: handshake {n} dialled by the Go visor: {word}", go, ours)
    go.drop(go.transport(ours.pk, carrier))
    wait_for(f"{carrier}: ours noticing the end", 15, lambda: not ours.of_carrier(go.pk, carrier), every=0.1)
    time.sleep(1.2)


def handshakes(go, ours, count):
    for carrier in CARRIERS:
        for dial in (ours_dials, go_dials):
            t0 = time.monotonic()
            for n in range(count):
                dial(go, ours, carrier, n + 1)
            say(f"{carrier}: {count} of {count} transports, {dial.__name__.replace('_', ' ')}"
                f" ({(time.monotonic() - t0) / count:.1f} s each with its end)")


def hold(go, ours, services, seconds):
    """All at once: stcpr dialled by the Go visor, dmsg by ours; then the dmsg server goes and comes back."""
    word = go.dial(ours.pk, "stcpr")
    if word:
        fail(f"stcpr: {word}", go, ours)
    ours.ask("transport.add", pk=go.pk, address="dmsg")
    wait_for("dmsg beside stcpr", 15, lambda: ours.of_carrier(go.pk, "dmsg"))
    since = {c: ours.of_carrier(go.pk, c)["up_ms"] for c in CARRIERS}
    time.sleep(seconds)
    for carrier in CARRIERS:
        t = ours.of_carrier(go.pk, carrier)
        if not t or t["up_ms"] < since[carrier] + (seconds - 1) * 1000 or not go.transport(ours.pk, carrier):
            fail(f"{carrier}: not held for {seconds} s", go, ours)
    say(f"both held for {seconds} s")
    if registered(go, ours) != set(CARRIERS):
        fail(f"registered at the transport discovery: {sorted(registered(go, ours))}", go, ours)
    say("both are registered at the transport discovery")
    services.programs["dmsg-server"].stop(9)
    wait_for("dmsg gone with its server", 15, lambda: not ours.of_carrier(go.pk, "dmsg"))
    if not ours.of_carrier(go.pk, "stcpr"):
        fail("stcpr went with the dmsg server", go, ours)
    services.start("dmsg-server")
    took = wait_for("dmsg back with its server", 90, lambda: ours.of_carrier(go.pk, "dmsg") and go.transport(ours.pk, "dmsg"))
    say(f"dmsg back {took:.1f} s after its server")


def automatic():
    """A public visor of ours, and one that finds it."""
    public, other = (Ours(box_on_bridge(name, last), name) for name, last in (("public", 13), ("other", 14)))
    public.configure(network_section(True), ["transport-dmsg"])
    other.configure(network_section(), ["transport-dmsg"])
    for v in (public, other):
        v.start()
    for v in (public, other):
        v.ready()
    try:
        took = wait_for("", 60, lambda: other.of_carrier(public.pk, "stcpr"))
    except Failed:
        raise Failed(f"no automatic transport\n{public.program.tail(15)}\n{other.program.tail(15)}") from None
    t = other.of_carrier(public.pk, "stcpr")
    if t["label"] != "automatic" or not t["dialled"]:
        raise Failed(f"not an automatic transport: {t}")
    say(f"a public visor of ours found and connected to after {took:.1f} s")


def registered(go, ours):
    """As the transport discovery lists them, of both."""
    listed = get(f"{reference.TRANSPORT_DISCOVERY}/all-transports") or "[]"
    return {e["type"] for e in json.loads(listed) if set(e["edges"]) == {go.pk, ours.pk}}


def scenario(binary, postgres, args):
    no_names()
    bridge_up()
    services = Services(binary, postgres)
    Listing.serve()
    go = GoVisor(binary, "go", 11, new_keys(binary))
    ours = Ours(box_on_bridge("ours", 12), "ours")
    ours.configure(network_section(), ["transport-dmsg"])
    for v in (go, ours):
        v.start()
    for v in (go, ours):
        v.ready()
    wait_for("ours on dmsg", 30, ours.on_dmsg)
    bound = f"{reference.ADDRESS_RESOLVER}/transports"
    wait_for("both at the address resolver", 30, lambda: all(v.pk in (get(bound) or "") for v in (go, ours)))
    say("both visors are up and can be found")
    handshakes(go, ours, args.handshakes)
    automatic()
    hold(go, ours, services, args.hold)
    for name, lines in sorted(warnings_in(go.text()).items()):
        say(f"Go warned {lines} times: {name[:140]}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--handshakes", type=int, default=int(os.environ.get("INTEROP_HANDSHAKES", "5")))
    p.add_argument("--hold", type=int, default=int(os.environ.get("INTEROP_HOLD", "20")))
    args = p.parse_args()
    play(scenario, args)


if __name__ == "__main__":
    main()
