"""Watching a line (sg-judge) and probing it (sg-prober)."""
import json
import os
import socket
import struct
import subprocess
import time

from .lab import Failed
from . import home


def build_dir():
    """The build tree whose programs are tested: SG_BUILD, or of release and dev what was built last."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    if os.environ.get("SG_BUILD"):
        return os.path.abspath(os.environ["SG_BUILD"])
    built = [f"{root}/build/{preset}" for preset in ("release", "dev")]
    built = [path for path in built if os.path.exists(f"{path}/tests/sg-judge")]
    if not built:
        raise Failed("no build tree with the test programs was found\n"
                     "  build one:  cmake --preset dev && cmake --build build/dev")
    return max(built, key=lambda path: os.stat(f"{path}/.ninja_log").st_mtime)


def tool(name):
    path = f"{build_dir()}/tests/{name}"
    if not os.access(path, os.X_OK):
        raise Failed(f"{path} is not there\n  build it:  cmake --build {build_dir()}")
    return path


class Judge:
    """sg-judge at one interface. By default what the allow list allows is the carrier between router and exit."""

    def __init__(self, space, interface, routers=(home.ROUTER4,), exits=(home.EXIT4,), marker=None):
        argv = [tool("sg-judge")]
        for one in exits:
            argv += ["--carrier", one if ":" in one else f"{one}:{home.CARRIER_PORT}"]
        for one in routers:
            argv += ["--router", one]
        if marker:
            argv += ["--marker", marker]
        self.process = space.spawn(argv + [interface], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            raise Failed(f"sg-judge did not start at {interface} of {space.full}")

    def _ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        seen = json.loads(self.process.stdout.readline())
        if seen["lost"]:
            raise Failed(f"the capture lost {seen['lost']} frames and proves nothing")
        return seen

    def report(self):
        return self._ask("report")

    def reset(self):
        return self._ask("reset")

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Prober:
    """sg-prober in the LAN; stop() returns how many of each kind were sent."""

    def __init__(self, world, rate=1000, kinds=None, space=None):
        argv = [tool("sg-prober"), "--rate", str(rate)]
        if kinds:
            argv += ["--kinds", ",".join(kinds)]
        self.process = (space or world.lan).spawn(argv + ["eth0", world.router.mac("lan0")],
                                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "sending\n":
            raise Failed("sg-prober did not start")

    def stop(self):
        sent, _ = self.process.communicate("")
        if self.process.returncode:
            raise Failed("sg-prober failed")
        return json.loads(sent)


def no_leak(seen, what):
    """Fails unless everything that left the router was allowed."""
    out = seen["out"]
    if out["foreign"] or any(seen["probes"].values()):
        leaked = {kind: n for kind, n in seen["probes"].items() if n}
        raise Failed(f"{what}: {out['foreign']} packets on the provider's line that have no business there\n"
                     + (f"  probes: {leaked}\n" if leaked else "")
                     + "".join(f"  {one}\n" for one in seen["samples"]))


# linux/mroute.h, linux/mroute6.h
_MRT_INIT, _MRT_ADD_VIF, _MRT_ADD_MFC = 200, 202, 204
_MRT6_INIT, _MRT6_ADD_MIF, _MRT6_ADD_MFC = 200, 202, 204


class MulticastForwarder:
    """What an IGMP proxy does on a home router with television: the kernel forwards the probes' groups from the LAN
    to the WAN. Without it no multicast could leak and the positive control would be empty. Lives while it is kept."""

    def __init__(self, router):
        with router.entered():
            self.four = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
            self.six = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
            lan, wan = socket.if_nametoindex("lan0"), socket.if_nametoindex("wan0")
        self.four.setsockopt(socket.IPPROTO_IP, _MRT_INIT, 1)
        for vif, index in ((0, lan), (1, wan)):
            # struct vifctl: vif u16, flags u8 (8: by index), threshold u8, rate u32, index u32, remote u32
            self.four.setsockopt(socket.IPPROTO_IP, _MRT_ADD_VIF, struct.pack("=HBBIi4s", vif, 8, 1, 0, index, b""))
        # struct mfcctl: origin, group, parent u16, ttls[32], pad, 3 * u32, expire i32
        ttls = bytes([0, 1] + [0] * 30)
        for group in ("239.255.77.1",):
            self.four.setsockopt(socket.IPPROTO_IP, _MRT_ADD_MFC, struct.pack(
                "=4s4sH32s2x3Ii", socket.inet_aton(home.LAN4), socket.inet_aton(group), 0, ttls, 0, 0, 0, 0))
        self.six.setsockopt(socket.IPPROTO_IPV6, _MRT6_INIT, 1)
        for mif, index in ((0, lan), (1, wan)):
            # struct mif6ctl: mif u16, flags u8, threshold u8, index u16, pad, rate u32
            self.six.setsockopt(socket.IPPROTO_IPV6, _MRT6_ADD_MIF, struct.pack("=HBBH2xI", mif, 0, 1, index, 0))
        # struct mf6cctl: origin and group as sockaddr_in6, parent u16, pad, 256 bits of outgoing interfaces
        self.six.setsockopt(socket.IPPROTO_IPV6, _MRT6_ADD_MFC,
                            _sockaddr6(home.LAN6) + _sockaddr6("ff0e::77:1") + struct.pack("=H2x8I", 0, 2, *[0] * 7))

    def close(self):
        self.four.close()
        self.six.close()


def _sockaddr6(address):
    return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, socket.inet_pton(socket.AF_INET6, address), 0)


def make_leaky(router):
    """Lets the router forward what routers usually do not, so that our rules must stop it and not the kernel's
    defaults. Keep the result: it holds the multicast routes."""
    for which in ("all", "lan0"):
        router.set(f"net.ipv4.conf.{which}.bc_forwarding", 1)
        router.set(f"net.ipv4.conf.{which}.accept_source_route", 1)
    return MulticastForwarder(router)


def control(world, seconds, rate=1000):
    """The positive control: with the switch off the provider's line sees every kind of probe, about as many as were
    sent. Returns the report."""
    leaky = make_leaky(world.router)
    judge = Judge(world.wan, "to_router")
    prober = Prober(world, rate)
    time.sleep(seconds)
    sent = prober.stop()
    seen = judge.report()
    judge.close()
    leaky.close()
    for kind, count in sent.items():
        if count < rate * seconds * 0.9:
            raise Failed(f"only {count} probes {kind} were sent in {seconds} s")
        if seen["probes"][kind] < count * 0.9:
            raise Failed(f"positive control: of {count} probes {kind} only {seen['probes'][kind]} were seen")
    return seen
