"""A whole Skywire network: the directory of the existing implementation, its visors, ours, and a web server behind the exit.

    svc 203.0.113.1       dmsg discovery and server, transport discovery, route finder, address resolver, service discovery,
      │                   two setup nodes, their stores
    ──┴── bridge ──┬───────────────┬───────────────┐
                 client          middle           exit ── 198.18.0.1 ── inet 198.51.100.10: web server
                 .2x             .3x              .4x

Any number of visors, of either kind, may stand at each of the three places.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../netns"))

import reference
import skygate
from boxes import SCRATCH, Box, Failed, link, say, wait_for
from reference import AT_ITS_END, GoVisor, Services, box_on_bridge, bridge_up, new_keys, no_names, warnings_in
from sglab import watch, web

INET = "198.51.100.10"
STCP_PORT, STCPR_PORT = 7777, 7799
SERVER_PORT, CLIENT_PORT = 44, 43
PLUGINS = ["transport-dmsg", "app-vpn", "storage-sqlite"]
PACKAGES = {**reference.PACKAGES, "iptables": "iptables", "nft": "nftables"}
STCPR_SECTION = f"config carrier 'stcpr'\n\tlist listen '0.0.0.0:{STCPR_PORT}'\n\n"


class Network:
    """Brings the directory up; visors are added to it by go_exit() and its like."""

    def __init__(self, binary, postgres):
        self.binary = binary
        no_names()
        bridge_up()
        self.services = Services(binary, postgres, Services.ALL)
        self.inet = Box("inet")
        self.inet.ip("addr", "add", INET + "/32", "dev", "lo")  # in no network of an exit: those are shut
        self.weblog = SCRATCH + "/web-peers.log"
        self.inet.start("web", sys.executable, os.path.abspath(web.__file__), self.weblog)
        self.last, self.exits = 20, 0

    def place(self):
        self.last += 1
        return self.last

    def go_exit(self, name):
        v = GoExit(self, name, self.place(), [("vpn-server", SERVER_PORT, True, [])], default=False)
        self.behind(v.box)
        return v

    def go_client(self, name, exit_):
        """Its vpn-client asks this exit and no other."""
        table = {exit_.pk: f"{exit_.box.address}:7777"}
        return GoClient(self, name, self.place(), [("vpn-client", CLIENT_PORT, False, ["--srv", exit_.pk])], table)

    def our_exit(self, name):
        v = OurExit(box_on_bridge(name, self.place(), default=False), name, 64100 + self.last)
        self.behind(v.box)
        v.configure(self.section() + STCPR_SECTION + skygate.SERVER_SECTION, PLUGINS)
        return v

    def our_client(self, name):
        v = OurClient(box_on_bridge(name, self.place()), name, 64100 + self.last)
        v.settings = self.section()
        v.configure(v.settings, PLUGINS)
        return v

    def go_middle(self, name):
        return GoMiddle(self, name, self.place(), [])

    def our_middle(self, name):
        v = OurMiddle(box_on_bridge(name, self.place()), name, 64100 + self.last)
        v.configure(self.section() + STCPR_SECTION, PLUGINS[:1] + PLUGINS[2:])
        return v

    def section(self):
        """The deployment as our configuration names it."""
        return skygate.deployment_section(
            dmsg_discovery=reference.DMSG_DISCOVERY, transport_discovery=reference.TRANSPORT_DISCOVERY,
            address_resolver=reference.ADDRESS_RESOLVER, route_finder=reference.ROUTE_FINDER,
            service_discovery=reference.SERVICE_DISCOVERY, setup_node=self.services.setup_nodes())

    def behind(self, box):
        """Puts the web server behind an exit: a cable of its own, and the default route there."""
        n = self.exits
        self.exits += 1
        mine, far = f"198.18.{n}.1", f"198.18.{n}.10"
        link(box, "inet0", [f"{mine}/24"], self.inet, f"eth{n}", [f"{far}/24"])
        box.ip("route", "add", "default", "via", far, "dev", "inet0")
        box.sysctl(net__ipv4__ip_forward=1)
        box.outside = mine  # as whom the web server sees what leaves here


class GoExit(GoVisor):
    kind = "Go"

    def __init__(self, net, name, last, apps, table=None, default=True):
        super().__init__(net.binary, name, last, new_keys(net.binary), table, net.services.setup_nodes(), apps, default)
        self.stcpr_port = STCPR_PORT

    def ready(self):
        super().ready()
        wait_for(f"{self.name}: vpn-server", 30, lambda: self.app_state("vpn-server") == "running", every=0.3)

    def reach(self, other, carrier):
        word = self.dial(other.pk, carrier)
        if word:
            raise Failed(f"{self.name} cannot make a transport to {other.name} by {carrier}: {word}\n{self.program.tail()}")


class GoMiddle(GoExit):
    def ready(self):
        GoVisor.ready(self)


class GoClient(GoExit):
    """Its vpn-client takes what its own box sends."""

    def __init__(self, *more):
        super().__init__(*more)
        self.inside = self.box

    def ready(self):
        GoVisor.ready(self)

    def join(self, exit_, carrier, middle=None):
        """A transport to the exit, or to the middle of a way of two hops."""
        if bool(middle) != (self.min_hops > 1):
            self.min_hops = 2 if middle else 1
            self.stop()
            self.start()
            self.ready()
        self.reach(middle or exit_, carrier)

    def leave(self, exit_, carrier, middle=None):
        self.drop(self.transport((middle or exit_).pk, carrier))

    def carriers(self, exit_):
        """By which carriers it has a transport with that visor now."""
        return {c: 0 for c in ("stcp", "stcpr", "dmsg") if self.transport(exit_.pk, c)}

    def tunnelled(self):
        """The half routes are there."""
        return " dev tun" in self.box.run("ip", "route", "get", INET, check=False)

    def connect(self, seconds=40):
        """From start to the first answer through the tunnel; the seconds it took."""
        t0 = time.monotonic()
        self.app("start", "vpn-client")
        try:
            wait_for(f"{self.name}: vpn-client", seconds, lambda: self.tunnelled() and page(self.inside), every=0.1)
        except Failed as e:
            raise Failed(f"{e}\n{self.program.tail(20)}") from None
        return time.monotonic() - t0

    def sessions(self):
        """How many it has had so far."""
        return self.program.text().count("Got server hello")

    def disconnect(self):
        self.app("stop", "vpn-client")
        wait_for(f"{self.name}: routes of the vpn-client gone", 20, lambda: not self.tunnelled(), every=0.1)


def findable(visor):
    """Waits until others can find it: by dmsg and at the address resolver."""
    wait_for(f"{visor.name}: bound", 30, lambda: visor.pk in (reference.get(reference.ADDRESS_RESOLVER + "/transports") or ""))
    wait_for(f"{visor.name}: its entry", 30, lambda: "delegated_servers" in (
        reference.get(f"{reference.DMSG_DISCOVERY}/dmsg-discovery/entry/{visor.pk}") or ""))


class OurExit(skygate.Gateway):
    kind = "our"

    def ready(self):
        super().ready()
        findable(self)


class OurMiddle(skygate.Visor):
    kind = "our"

    def __init__(self, box, name, uid):
        self.uid = uid
        super().__init__(box, name)

    def ready(self):
        super().ready()
        findable(self)

    def reach(self, other, carrier):
        self.ask("transport.add", pk=other.pk, address=carrier)
        wait_for(f"{self.name}: transport to {other.name}", 20, lambda: self.transport(other.pk))


class OurClient(skygate.Gateway):
    """A router with a LAN of one machine behind it."""

    kind = "our"

    def __init__(self, box, name, uid):
        super().__init__(box, name, uid)
        self.inside = Box(name + "-lan")
        link(self.inside, "eth0", ["192.168.77.10/24"], box, "lan0", ["192.168.77.1/24"])
        self.inside.ip("route", "add", "default", "via", "192.168.77.1")
        box.sysctl(net__ipv4__ip_forward=1)
        self.settings = ""

    def join(self, exit_, carrier, middle=None):
        """Names the exit, to be reached by that carrier, or the middle of a way of two hops. Closed until connect()."""
        near = middle or exit_
        address = f"stcp://{near.box.address}:{STCP_PORT}" if carrier == "stcp" else carrier
        peers = skygate.peer_section("near" if middle else "exit", near.pk, address)
        peers += skygate.peer_section("exit", exit_.pk) if middle else ""
        self.configure(self.settings + peers + skygate.client_section(["exit"], INET, min_hops=2 if middle else 1), PLUGINS)
        self.ask("config.reload")
        self.disconnect()

    def leave(self, exit_, carrier, middle=None):
        self.configure(self.settings, PLUGINS)
        self.ask("config.reload")
        wait_for(f"{self.name}: the transport gone", 10, lambda: not self.carriers(middle or exit_))

    def carriers(self, exit_):
        """By which carriers it has a transport with that visor now: {carrier: bytes both ways}."""
        return {t["carrier"]: t["rx_bytes"] + t["tx_bytes"] for t in self.ask("transport.list")["transports"]
                if t["pk"] == exit_.pk}

    def connected(self):
        return self.vpn()["state"] == "connected"

    def sessions(self):
        """How many it has had so far."""
        return self.program.text().count("connected by ")

    def connect(self, seconds=40):
        """From start to the first answer through the tunnel; the seconds it took."""
        t0 = time.monotonic()
        self.ask("vpn.start")
        try:
            wait_for(f"{self.name}: VPN", seconds, lambda: self.connected() and page(self.inside))
        except Failed as e:
            raise Failed(f"{e}; it says {self.vpn()}\n{self.program.tail(20)}") from None
        return time.monotonic() - t0

    def disconnect(self):
        self.ask("vpn.stop")
        wait_for(f"{self.name}: armed", 10, lambda: self.vpn()["state"] == "armed")


def connect(box, port=web.PORT, timeout=10.0):
    return web.connect(box, INET, port, timeout)


def page(box, timeout=2.0):
    """Whom the web server sees when this box asks, or None."""
    text = web.fetch(box, INET, timeout)
    return text.split()[-1].rstrip(".") if text else None


def move(box, how, total, connections=1, timeout=120):
    """total bytes by web.download or web.upload over so many connections, hash compared; the seconds it took."""
    failures = []

    def one():
        try:
            with connect(box, timeout=timeout) as sock:
                if not how(sock, total // connections):
                    failures.append("the hash is not the sender's")
        except OSError as error:
            failures.append(repr(error))

    t0 = time.monotonic()
    threads = [threading.Thread(target=one, daemon=True) for _ in range(connections)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise Failed(f"{len(failures)} of {connections} transfers of {total >> 20} MiB broke: {failures[0]}")
    return time.monotonic() - t0


class Busy:
    """A download, or an upload, that goes on until its end: whatever is closed meanwhile is closed under load."""

    def __init__(self, box, how=web.download):
        self.how, self.sock = how, connect(box)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            self.how(self.sock, 1 << 40)
        except OSError:
            pass  # its way was closed, or it is the end

    def end(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.sock.close()


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))]


def throughput(name, box, total, ends):
    """Down and up through a tunnel, in Mbit/s, hash compared, and the CPU seconds that each end's box used per GB."""
    rates = {}
    for word, how in (("down", web.download), ("up", web.upload)):
        before = {n: b.cpu() for n, b in ends.items()}
        took = move(box, how, total)
        rates[word] = total * 8 / took / 1e6
        used = ", ".join(f"{n} {(b.cpu() - before[n]) / (total / 1e9):.1f}" for n, b in ends.items())
        say(f"{name}: {total >> 20} MiB {word} at {rates[word]:.0f} Mbit/s; CPU seconds per GB: {used}")
    return rates


def compare_warnings(alone, beside, explained=()):
    """Warnings of Go visors beside ours, against all that those warn of that met only their like. The latter end here: at their
    end they say more. explained: words of classes that are shown and are no failure."""
    said, known, new = [v.text() for v in beside], set(), {}
    for v in alone:
        v.stop()
        known |= set(warnings_in(v.text()))
    for text in said:
        for name, n in warnings_in(text).items():
            if name not in known:
                new[name] = new.get(name, 0) + n
    say(f"{len(known)} classes of warnings among Go visors, {len(new)} more beside ours")
    for name, n in sorted(new.items()):
        say(f"   {n} times: {name}")
    if any(not any(words in name for words in (*explained, *AT_ITS_END)) for name in new):
        raise Failed("Go visors warn of what they do not warn of among themselves")


class Line:
    """What a router of ours lets out toward the bridge while every kind of probe arrives from its LAN.

    Allowed are the transports to these exits, and the directory's services.
    """

    def __init__(self, client, exits=()):
        self.client, self.lan, self.router = client, _Space(client.inside), _Space(client.box)
        ports = [reference.SERVICES + f":{port}" for port in (8081, 9090, 9091, 9092, 9093)] + ["10.99.0.1:9098"]
        ports += [f"{e.box.address}:{port}" for e in exits for port in (STCP_PORT, STCPR_PORT)]
        last = client.box.address.rpartition(".")[2]
        self.judge = watch.Judge(_Space(None), "p" + last, (client.box.address, "10.99.0." + last), ports)
        self.prober = None

    def begin(self, rate=1000):
        self.judge.reset()
        self.prober = watch.Prober(self, rate)

    def end(self, what):
        """How many probes came; fails when one got out."""
        sent = sum(self.prober.stop().values())
        watch.no_leak(self.judge.report(), what)
        return sent

    def close(self):
        self.judge.close()


class _Space:
    """A box as the tools of netns/ ask for one; None: the script's own namespace."""

    def __init__(self, box):
        self.box, self.full = box, box.name if box else "the bridge"

    def spawn(self, argv, **more):
        return subprocess.Popen(self.box.inside(*argv) if self.box else argv, **more)

    def mac(self, interface):
        return json.loads(self.box.ip("-j", "link", "show", "dev", interface))[0]["address"]
