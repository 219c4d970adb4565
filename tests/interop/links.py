#!/usr/bin/env python3
"""A Go visor and ours over stcp, or another carrier: held in both dial directions at once, killed and back again, handshakes by the hundred.

    callee  <── dials ──  centre  <── dials ──  caller        centre is a Go visor, callee and caller are ours

The same drawing with Go visors in all three places goes through the same, for comparison: what the centre's log warns of
beside us must be of a class that Go visors cause among themselves. A fourth pair, Go and ours, both told to dial the other,
must end with one transport each time.

    links.py [--carrier stcp|stcpr|dmsg] [--hold SECONDS] [--kills N] [--handshakes N]
                                       or INTEROP_HOLD, INTEROP_KILLS, INTEROP_HANDSHAKES

Needs root, redis-server, postgresql, and the binary of the existing implementation in SKYWIRE_REFERENCE (see README.md).
"""

import argparse
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import reference
import skygate
from boxes import Failed, say, wait_for
from reference import AT_ITS_END, GoVisor, Services, box_on_bridge, bridge_up, get, new_keys, play, warnings_in

REJOIN = 30  # seconds within which a transport must be back; ours backs off to 5 s at most


class Ours(skygate.Visor):
    carrier = "stcp"

    def address_of(self, other):
        return f"stcp://{other.box.address}:7777" if self.carrier == "stcp" else self.carrier

    def join(self, name="", other=None, dials=True):
        """The network, and the other end if there is one; dials: and how to reach it."""
        found = "" if self.carrier == "stcp" else skygate.deployment_section(
            dmsg_discovery=reference.DMSG_DISCOVERY, address_resolver=reference.ADDRESS_RESOLVER,
            transport_discovery=reference.TRANSPORT_DISCOVERY)
        if self.carrier == "stcpr":
            found += "config carrier 'stcpr'\n\tlist listen '0.0.0.0:7778'\n\n"
        peer = skygate.peer_section(name, other.pk, self.address_of(other) if dials else None) if other else ""
        self.configure(found + peer, ["transport-dmsg"] if found else [])

    def ready(self):
        super().ready()
        if self.carrier == "dmsg":
            wait_for(f"{self.name}: a session, in its entry too", 30, self.delegated, every=0.1)
        if self.carrier == "stcpr":
            wait_for(f"{self.name}: bound", 30, lambda: self.pk in (get(reference.ADDRESS_RESOLVER + "/transports") or ""),
                     every=0.1)

    def delegated(self):
        up = [s["server"] for s in self.ask("dmsg.status")["sessions"] if s["state"] == "up"]
        entry = get(f"{reference.DMSG_DISCOVERY}/dmsg-discovery/entry/{self.pk}") or "{}"
        return up and json.loads(entry).get("client", {}).get("delegated_servers") == up


class Trio:
    """centre, callee and caller; how long each transport took to come back."""

    def __init__(self, name, centre, callee, caller):
        self.name, self.centre, self.callee, self.caller = name, centre, callee, caller
        self.back = []

    def start(self):
        for v in (self.centre, self.callee, self.caller):
            v.start()
        for v in (self.centre, self.callee, self.caller):
            v.ready()
        self.join_callee()
        self.join_caller()
        say(f"{self.name}: transports up in both directions")

    def join_callee(self):
        word = self.centre.dial(self.callee.pk)
        if word:
            raise Failed(f"{self.name}: the centre cannot dial the callee: {word}\n{self.centre.program.tail()}")

    def join_caller(self):
        if isinstance(self.caller, GoVisor):
            self.caller.dial(self.centre.pk)
        wait_for(f"{self.name}: transport of the caller", REJOIN, lambda: self.centre.transport(self.caller.pk), every=0.2)

    def gone(self, end):
        wait_for(f"{self.name}: the centre noticing that the {end.name} died", 10,
                 lambda: not self.centre.transport(end.pk), every=0.2)

    def kill_one(self, n):
        """Kills one of the three in turn and waits until all transports are back."""
        victim = (self.callee, self.centre, self.caller, self.centre)[n % 4]
        victim.kill()
        if victim is not self.centre:
            self.gone(victim)
        victim.start()
        victim.ready()
        t0 = time.monotonic()
        if victim is not self.caller:
            self.join_callee()
        if victim is not self.callee:
            self.join_caller()
        self.back.append(time.monotonic() - t0)

    def kill_both(self):
        """Centre and caller at once: nobody is left to take their transport out of the directory, and the centre meets it there.

        Stopped first: in the moment between one kill and the next a Go caller takes it out (19 times of 30), and its centre
        does not warn."""
        for v in (self.centre, self.caller):
            v.program.process.send_signal(signal.SIGSTOP)
        for v in (self.centre, self.caller):
            v.kill()
        for v in (self.centre, self.caller):
            v.start()
        for v in (self.centre, self.caller):
            v.ready()
        self.join_callee()
        self.join_caller()

    def kills(self, count):
        for n in range(count):
            self.kill_one(n)
        self.kill_both()
        if count:
            say(f"{self.name}: {count} of {count} times back after a kill, the slowest {max(self.back):.1f} s after the start")


def hold(trio, seconds):
    """Both transports stay the same connections all the time."""
    pk = trio.centre.pk

    def began(end):
        """When its transport came up: not before, not after. It answered somewhere in between."""
        asked = time.monotonic()
        t = end.transport(pk)
        if not t:
            raise Failed(f"the transport of the {end.name} was lost:\n{end.program.tail()}\n{trio.centre.program.tail()}")
        return asked - t["up_ms"] / 1000 - 0.1, time.monotonic() - t["up_ms"] / 1000 + 0.1

    ends = {end: began(end) for end in (trio.callee, trio.caller)}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(5, max(0.1, until - time.monotonic())))
        for end, (first, last) in ends.items():
            now = began(end)
            if now[0] > last or now[1] < first:
                raise Failed(f"the transport of the {end.name} was made anew:\n{end.program.tail()}")
    for end in ends:
        if not trio.centre.transport(end.pk):
            raise Failed(f"the Go visor does not list the transport of the {end.name}")
    say(f"held for {seconds:.0f} s in both directions")


def handshakes_of_go(trio, count):
    """The Go visor dials ours again and again."""
    for n in range(count):
        trio.centre.drop(trio.centre.transport(trio.callee.pk))
        wait_for("the callee noticing the end", 10, lambda: not trio.callee.transport(trio.centre.pk))
        word = trio.centre.dial(trio.callee.pk)
        if word:
            raise Failed(f"handshake {n + 1} of {count}, dialled by the Go visor: {word}\n{trio.callee.program.tail()}")
    say(f"{count} of {count} handshakes dialled by the Go visor")


def handshakes_of_ours(trio, count):
    pk = trio.centre.pk
    address = trio.caller.address_of(trio.centre)
    trio.caller.join()  # what the configuration names cannot be removed
    trio.caller.ask("config.reload")
    wait_for("the end of the configured transport", 10, lambda: not trio.caller.transport(pk))
    before = counter(trio.caller, "link.dial_failed")
    for n in range(count):
        if n:
            trio.caller.ask("transport.rm", pk=pk)
        wait_for("the end of our transport", 10, lambda: not trio.caller.transport(pk), every=0.01)
        trio.caller.ask("transport.add", pk=pk, address=address)
        wait_for(f"handshake {n + 1} of {count}, dialled by ours", REJOIN, lambda: trio.caller.transport(pk), every=0.01)
        if n % 10 == 0:
            wait_for("the Go visor listing it", 5, lambda: trio.centre.transport(trio.caller.pk), every=0.1)
    failed = counter(trio.caller, "link.dial_failed") - before
    if failed:
        raise Failed(f"{failed} handshakes of ours failed and had to be repeated:\n{trio.caller.program.tail(30)}")
    say(f"{count} of {count} handshakes dialled by ours")


def counter(visor, name):
    return next(c["value"] for c in visor.ask("counter.list")["counters"] if c["name"] == name)


class Mutual(GoVisor):
    """A Go visor that is told to keep a transport with one key, as its owner would."""

    def config(self):
        c = super().config()
        c["persistent_transports"] = [{"pk": pk, "type": self.carrier} for pk in self.table]
        return c


def both_dial(go, ours, count):
    """Both ends are told to dial the other and are started at once; one transport must come, and stay."""
    for n in range(count):
        for v in (go, ours):
            v.start()
        for v in (go, ours):
            v.ready()
        both = lambda: ours.transport(go.pk) and go.transport(ours.pk)
        took = wait_for("both dial: one transport on both lists", REJOIN, both, every=0.3)
        since = ours.transport(go.pk)["up_ms"]
        time.sleep(11)  # a round of the Go visor's own retries
        if not both() or ours.transport(go.pk)["up_ms"] < since + 10000:
            raise Failed(f"both dial, round {n + 1}: the transport did not stay:\n{ours.program.tail()}\n{go.program.tail()}")
        say(f"both dial, round {n + 1}: one transport, {took:.1f} s after both were ready, and it stays")
        ours.kill()
        ours.start()
        ours.ready()
        wait_for("both dial: back after ours was killed", REJOIN, both, every=0.3)
        for v in (go, ours):
            v.kill()


def both_dial_among_go(a, b, count):
    """The same course between two Go visors, only for what they warn of: whether a transport comes is their affair."""
    for _ in range(count):
        for v in (a, b):
            v.start()
        for v in (a, b):
            v.ready()
        time.sleep(12)
        b.kill()
        b.start()
        b.ready()
        time.sleep(12)
        for v in (a, b):
            v.kill()


def compare(ours, theirs):
    """Warnings of the Go visors beside us, against all that Go visors warn of among themselves."""
    known = {}
    for visor in theirs:
        for name, n in warnings_in(visor.text()).items():
            known[name] = known.get(name, 0) + n
    new = {}
    for visor in ours:
        for name, n in warnings_in(visor.text()).items():
            (known if name in known else new)[name] = n
    say(f"{len(known)} classes of warnings among Go visors, {len(new)} more beside ours")
    for name in [n for n in new if any(words in n for words in AT_ITS_END)]:
        say(f"   {new.pop(name)} times, explained: {name}")
    if new:
        raise Failed("warnings that Go visors do not show among themselves:\n" +
                     "\n".join(f"  {n} times: {name}" for name, n in sorted(new.items())))


def go_trio(binary):
    keys = [new_keys(binary) for _ in range(3)]
    at = {i: f"203.0.113.{21 + i}:7777" for i in range(3)}
    centre = GoVisor(binary, "go-centre", 21, keys[0], {keys[1][0]: at[1]})
    callee = GoVisor(binary, "go-callee", 22, keys[1])
    caller = GoVisor(binary, "go-caller", 23, keys[2], {keys[0][0]: at[0]})
    return Trio("Go beside Go", centre, callee, caller)


def our_trio(binary):
    callee, caller = Ours(box_on_bridge("callee", 12), "callee"), Ours(box_on_bridge("caller", 13), "caller")
    centre = GoVisor(binary, "centre", 11, new_keys(binary), {callee.pk: f"{callee.box.address}:7777"})
    callee.join("centre", centre, dials=False)
    caller.join("centre", centre)
    return Trio("Go beside ours", centre, callee, caller)


def go_pair(binary):
    keys = [new_keys(binary) for _ in range(2)]
    at = [f"203.0.113.{41 + i}:7777" for i in range(2)]
    return [Mutual(binary, f"go-both-{i}", 41 + i, keys[i], {keys[1 - i][0]: at[1 - i]}) for i in range(2)]


def mutual_pair(binary):
    ours = Ours(box_on_bridge("both-ours", 31), "both-ours")
    go = Mutual(binary, "both-go", 32, new_keys(binary), {ours.pk: f"{ours.box.address}:7777"})
    ours.join("go", go)
    return go, ours


class Background(threading.Thread):
    """The comparison runs beside; what went wrong there is raised by end()."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.error = work, None
        self.start()

    def run(self):
        try:
            self.work()
        except BaseException as e:
            self.error = e

    def end(self):
        self.join()
        if self.error:
            raise self.error


def scenario(binary, postgres, args):
    bridge_up()
    Services(binary, postgres)
    say("services up")
    theirs, ours = go_trio(binary), our_trio(binary)
    theirs.start()
    their_pair, (go, both_ours) = go_pair(binary), mutual_pair(binary)
    comparison = Background(lambda: (theirs.kills(args.kills), both_dial_among_go(*their_pair, args.both)))
    ours.start()
    begun = time.monotonic()
    hold(ours, args.hold)
    comparison.end()
    ours.kills(args.kills)
    handshakes_of_go(ours, args.handshakes)
    handshakes_of_ours(ours, args.handshakes)
    both_dial(go, both_ours, args.both)
    say(f"the Go visors among themselves were watched for {time.monotonic() - begun:.0f} s")
    for trio in (theirs, ours):
        trio.centre.stop()
    compare([ours.centre, go], [theirs.centre, theirs.callee, theirs.caller, *their_pair])


def main():
    env = os.environ.get
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--hold", type=float, default=float(env("INTEROP_HOLD", 60)))
    p.add_argument("--kills", type=int, default=int(env("INTEROP_KILLS", 4)))
    p.add_argument("--handshakes", type=int, default=int(env("INTEROP_HANDSHAKES", 20)))
    p.add_argument("--both", type=int, default=int(env("INTEROP_BOTH", 1)), help="rounds in which both ends dial")
    p.add_argument("--carrier", default="stcp")
    args = p.parse_args()
    GoVisor.carrier = Ours.carrier = args.carrier
    play(scenario, args)


if __name__ == "__main__":
    main()
