#!/usr/bin/env python3
"""Two of ours on a dmsg network of the existing implementation: discovery, two servers, and a client that asks for /health.

    client ── session ── server a, server b ── sessions ── ours one, ours two        all register at the discovery

What is shown: both register, both answer requests of the client, which also reads what their transport carried today, and a
server, the discovery, and everything at once may be killed and come back without anybody touching ours. A third of ours knows
no discovery and still has its session.

Needs root, redis-server, and the binary of the existing implementation in SKYWIRE_REFERENCE (see README.md).
"""

import json
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import reference
import skygate
from boxes import SCRATCH, Failed, say, wait_for
from reference import DMSG_DISCOVERY, box_on_bridge, bridge_up, get, new_keys, play

REQUESTS = 20
TRIES = 4
LINES = 25  # of one visor's log for one thing that went wrong: a line per attempt, and attempts back off
PACKAGES = {p: reference.PACKAGES[p] for p in ("redis-server", "redis-cli", "setpriv", "ip", "nsenter")}


class Discovery:
    """redis, which forgets everything when it is killed, and the dmsg discovery before it."""

    def __init__(self, binary):
        self.binary, self.box = binary, box_on_bridge("svc", 1)
        self.redis = self.program = None

    def start(self):
        if not self.redis or not self.redis.alive():
            self.redis = self.box.start("redis", "redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                        cwd=SCRATCH)
            wait_for("redis", 20, lambda: "PONG" in self.box.run("redis-cli", "ping", check=False))
        self.program = self.box.start("dmsg-discovery", self.binary, "dmsg", "disc", "-a", ":9090", "-t", cwd=SCRATCH)
        wait_for("dmsg discovery", 20, lambda: get(DMSG_DISCOVERY + "/health"))

    def kill(self, redis=False):
        for program in (self.program, self.redis) if redis else (self.program,):
            program.stop(signal.SIGKILL)

    @staticmethod
    def servers():
        return {e["static"] for e in json.loads(get(DMSG_DISCOVERY + "/dmsg-discovery/available_servers") or "[]")}

    @staticmethod
    def entry(pk):
        return json.loads(get(f"{DMSG_DISCOVERY}/dmsg-discovery/entry/{pk}") or "{}")


class Server:
    """One dmsg server of the existing implementation."""

    def __init__(self, binary, name, last):
        self.binary, self.name, self.box = binary, name, box_on_bridge(name, last)
        self.pk, sk = new_keys(binary)
        self.address = f"{self.box.address}:8081"
        self.path = f"{SCRATCH}/{name}.json"
        with open(self.path, "w") as f:
            json.dump({"public_key": self.pk, "secret_key": sk, "discovery": DMSG_DISCOVERY, "public_address": self.address,
                       "local_address": ":8081", "health_endpoint_address": ":8082", "log_level": "info",
                       "update_interval": 0, "max_sessions": 2048}, f)
        self.program = None

    def start(self):
        self.program = self.box.start("dmsg-server", self.binary, "dmsg", "server", "start", self.path, cwd=SCRATCH)

    def kill(self):
        self.program.stop(signal.SIGKILL)


class Ours(skygate.Visor):
    def sessions(self):
        """Keys of the servers that it has a session with."""
        return {s["server"] for s in self.ask("dmsg.status")["sessions"] if s["state"] == "up"}

    def cpu(self):
        """Seconds of CPU time used so far."""
        with open(f"/proc/{self.program.pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lines(self):
        return len(self.program.text().splitlines())


def delegated(entry):
    return set(entry.get("client", {}).get("delegated_servers") or [])


def settled(visors, servers, seconds, what):
    """Every one of ours has a session with exactly these servers, and its entry says so."""
    want = {s.pk for s in servers}

    def all_are():
        return all(v.sessions() == want and delegated(Discovery.entry(v.pk)) == want for v in visors)

    try:
        took = wait_for(what, seconds, all_are, every=0.3)
    except Failed as e:
        now = "\n".join(f"{v.name}: sessions {sorted(v.sessions())}, entry {Discovery.entry(v.pk)}\n{v.program.tail()}"
                        for v in visors)
        raise Failed(f"{e}: wanted {sorted(want)}\n{now}") from None
    say(f"{what}: after {took:.1f} s")


def curl(box, binary, pk, path):
    return box.run(binary, "dmsg", "curl", "--dmsg-disc", DMSG_DISCOVERY, f"dmsg://{pk}:80{path}", check=False, cwd=SCRATCH)


def forwarded(servers, visor):
    """How many streams the servers passed on to its port 80."""
    return sum(s.program.text().count(f"{visor.pk}:80") for s in servers)


def ask(box, binary, visor, path, expected, servers):
    """One request; returns how often it had to be repeated. Some sessions of the Go client are ended by the Go server as soon
    as they begin (it loses what arrives with the last message of the handshake): what it did not pass on is asked again."""
    for repeats in range(TRIES):
        before = forwarded(servers, visor)
        out = curl(box, binary, visor.pk, path)
        if expected in out:
            return repeats
        if forwarded(servers, visor) != before:
            break
    raise Failed(f"{path} of {visor.name}: {out[-600:]}\n{visor.program.tail()}")


def requests(box, binary, visors, servers):
    repeats = 0
    for n in range(REQUESTS):
        v = visors[n % len(visors)]
        repeats += ask(box, binary, v, "/health", f'"dmsg_address":"{v.pk}:80"', servers)
    ask(box, binary, visors[0], "/nothere", "404", servers)
    say(f"{REQUESTS} of {REQUESTS} requests answered, {repeats} more did not reach ours; 404 for a path that is not there")


def transport_log(box, binary, visors, servers):
    """What a transport carried today, as everybody may read it; nothing of a day before, and nothing else of that kind."""
    one, two = visors
    one.ask("transport.add", pk=two.pk, address="dmsg")
    wait_for("a transport by dmsg", 30, lambda: one.transport(two.pk) and two.transport(one.pk))
    one.ask("visor.ping", pk=two.pk)
    link = one.transport(two.pk)["id"]
    one.ask("transport.rm", pk=two.pk)  # what ended is counted at once
    wait_for("the transport is gone", 10, lambda: not two.transport(one.pk))
    day = time.strftime("%Y-%m-%d", time.gmtime())
    for v in visors:
        ask(box, binary, v, f"/transport_logs/{day}.csv", f"tp_id,recv,sent,time_stamp\n{link},", servers)
    ask(box, binary, one, "/transport_logs/2020-01-01.csv", "404", servers)
    ask(box, binary, one, "/transport_logs/", "404", servers)
    say("the transport log of today read by the Go client from both ends of a transport; 404 for another day and for a list")


def servers_killed(visors, servers):
    a, b = servers
    a.kill()
    settled(visors, [b], 20, "one server killed: the other is kept, entries follow")
    b.kill()
    settled(visors, [], 20, "the other one too: entries name none")
    for s in servers:
        s.start()
    settled(visors, [a, b], 60, "they are back: sessions with both")


def discovery_killed(visors, discovery, servers):
    """Nobody has a reason to ask while sessions stay. So a server is killed meanwhile: what the entry says is then wrong."""
    a, b = servers
    before = {v: Discovery.entry(v.pk)["sequence"] for v in visors}
    discovery.kill()
    time.sleep(3)
    if any(v.sessions() != {a.pk, b.pk} for v in visors):
        raise Failed(f"a session was lost with the discovery:\n{visors[0].program.tail()}")
    b.kill()
    wait_for("the lost session noticed", 20, lambda: all(v.sessions() == {a.pk} for v in visors))
    time.sleep(8)
    discovery.start()
    settled(visors, [a], 20, "discovery back after 11 s: entries right within one back-off")
    if any(Discovery.entry(v.pk)["sequence"] <= before[v] for v in visors):
        raise Failed("the sequence of an entry did not grow")
    b.start()
    settled(visors, [a, b], 60, "its server too: sessions with both")


def all_killed(visors, discovery, servers):
    for s in servers:
        s.kill()
    discovery.kill(redis=True)
    wait_for("all sessions gone", 20, lambda: not any(v.sessions() for v in visors))
    time.sleep(3)
    discovery.start()
    for s in servers:
        s.start()
    settled(visors, servers, 60, "everything killed, nothing remembered, and back")


def idle(visors, seconds):
    before = {v: (v.cpu(), v.lines()) for v in visors}
    time.sleep(seconds)
    for v in visors:
        used, said = v.cpu() - before[v][0], v.lines() - before[v][1]
        if used >= 0.5 or said > 5:
            raise Failed(f"{v.name}, with nothing to do for {seconds} s: {used:.2f} s of CPU, {said} lines\n{v.program.tail()}")
        say(f"{v.name}, with nothing to do for {seconds} s: {used:.2f} s of CPU, {said} lines")


def quiet(visors, times, what):
    for v in visors:
        if v.lines() > LINES * times:
            raise Failed(f"{v.name} wrote {v.lines()} lines over {what}:\n{v.program.tail(40)}")
    say(f"lines in the logs of ours over {what}: {', '.join(str(v.lines()) for v in visors)}")


def without_discovery(server):
    v = Ours(box_on_bridge("alone", 13), "alone")
    v.configure(f"config deployment 'net'\n\tlist dmsg_server '{server.pk}@{server.address}'\n", ["transport-dmsg"])
    v.start()
    v.ready()
    took = wait_for("a session without any discovery", 20, lambda: v.sessions() == {server.pk})
    say(f"a session without any discovery: after {took:.1f} s")
    return v


def ours(name, last):
    v = Ours(box_on_bridge(name, last), name)
    v.configure(f"config deployment 'net'\n\toption dmsg_discovery '{DMSG_DISCOVERY}'\n", ["transport-dmsg"])
    v.start()
    return v


def scenario(binary, _):
    bridge_up()
    discovery = Discovery(binary)
    discovery.start()
    servers = [Server(binary, "server-a", 2), Server(binary, "server-b", 3)]
    for s in servers:
        s.start()
    wait_for("both servers registered", 30, lambda: discovery.servers() == {s.pk for s in servers}, every=0.2)
    say("discovery and two servers up")
    visors = [ours("one", 11), ours("two", 12)]
    for v in visors:
        v.ready()
    settled(visors, servers, 30, "both of ours have both sessions, the discovery accepted their entries")
    client = box_on_bridge("client", 21)
    requests(client, binary, visors, servers)
    transport_log(client, binary, visors, servers)
    idle(visors, 30)
    servers_killed(visors, servers)
    discovery_killed(visors, discovery, servers)
    all_killed(visors, discovery, servers)
    ask(client, binary, visors[1], "/health", f'"dmsg_address":"{visors[1].pk}:80"', servers)
    quiet(visors, 4, "four failures")
    visors.append(without_discovery(servers[0]))
    for v in visors:
        if v.stop() != 0:
            raise Failed(f"{v.name} did not end well:\n{v.program.tail()}")


if __name__ == "__main__":
    play(scenario, packages=PACKAGES)
