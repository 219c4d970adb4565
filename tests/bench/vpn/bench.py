#!/usr/bin/env python3
"""VPN data paths side by side, in one run, in network namespaces of their own.

    LAN client ── router (VPN client) ── provider ── exit (VPN server, address translation) ── web server
    192.168.77.2  .1        192.0.2.2   .1       .1  203.0.113.2          198.18.0.1           198.51.100.10

The provider knows no way to the LAN nor to the server, so what arrives went through the tunnel; `plain` is the exception and
the limit that ratios refer to. Rounds go round robin over the rivals, so that a slow drift of the machine meets all of them.

    tests/bench/vpn/bench.py [--rounds N] [--seconds S] [--rivals plain,ours,…] [--pairs go-go,…] [--build DIR] [--ahead] [--judge]

Environment: WIREGUARD_GO, SKYWIRE_REFERENCE: programs that no Debian package brings; a rival whose program is missing is left
out and named. Pairs (client-exit) with visors of the existing implementation follow on a network of theirs (pairs.py). Prints
a table, medians over spreads (half of largest minus smallest), and one line of JSON that begins with "result ". --judge: exit
status 1 unless ours is ahead of fastd and OpenVPN. Exit status 77: nothing of ours, or nothing to compare with, could run.
"""

import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pylib"))

from boxes import Box, Failed, call, enter, link, need_programs, need_root, wait_for
import pairs
from measure import Meter, median, spread
from ours import Ours, OursByGroup
from rivals import Ceiling, Ceiling1, Fastd, Missing, OpenVPN, Plain, WireguardGo

RIVALS = {r.name: r for r in (Plain, Ceiling, Ceiling1, Ours, OursByGroup, WireguardGo, Fastd, OpenVPN)}
PROGRAMS = {"ip": "iproute2", "ss": "iproute2", "nft": "nftables", "iperf3": "iperf3", "ping": "iputils-ping", "sysctl": "procps",
            "unshare": "util-linux", "nsenter": "util-linux", "openssl": "openssl"}
COLUMNS = (("up", "up", 0), ("down", "down", 0), ("up8", "8 up", 0), ("down8", "8 down", 0), ("ratio", "up/plain", 3),
           ("packets1400", "1400", 1), ("packets200", "200", 1), ("cpu_r", "router", 2), ("cpu_e", "exit", 2), ("cpu_all", "all", 2),
           ("pss_r_idle", "idle", 1), ("pss_r_load", "load", 1), ("pss_e_load", "exit", 1), ("ping_idle_p50", "p50", 2),
           ("ping_idle_p99", "p99", 2), ("ping_load_p50", "p50", 2), ("ping_load_p99", "p99", 2), ("foreign", "others", 0))
GROUPS = (("Mbit/s", 4), ("", 1), ("kpps of bytes", 2), ("CPU s per GB", 3), ("PSS MiB", 3), ("ping idle ms", 2), ("ping load ms", 2),
          ("%", 1))
# What is promised (P20, P21): ours, of whom it is a multiple, in which figures, how much at least.
PROMISES = (("ours", "wireguard-go", ("up", "down"), 2), ("ours-group", "ceiling", ("up", "down"), 0.9),
            ("ours", "fastd", ("up", "down"), 5), ("ours", "openvpn", ("up", "down"), 5), ("ours", "go-go", ("up", "down"), 100),
            ("ours-go", "go-go", ("up", "down"), 1), ("go-ours", "go-go", ("up", "down"), 1))


class Net:
    """LAN, router, provider, exit, server. Made new for every measurement, so that no rival meets another's leftovers.

    @beside: behind the names of the boxes, for a second one at the same time.
    """

    ROUTER, GATEWAY, EXIT, SERVER = "192.0.2.2", "192.0.2.1", "203.0.113.2", "198.51.100.10"

    def __init__(self, beside=""):
        self.boxes = self.lan, self.router, self.wan, self.exit, self.server = [
            Box(n + beside) for n in ("lan", "router", "wan", "exit", "server")]
        for box in self.boxes:
            box.sysctl(net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0,
                       net__ipv6__conf__all__disable_ipv6=1, net__ipv6__conf__default__disable_ipv6=1)
        for box in (self.router, self.wan, self.exit):
            box.sysctl(net__ipv4__ip_forward=1)
        link(self.lan, "eth0", ["192.168.77.2/24"], self.router, "lan0", ["192.168.77.1/24"])
        link(self.router, "wan0", [self.ROUTER + "/24"], self.wan, "r0", [self.GATEWAY + "/24"])
        link(self.wan, "e0", ["203.0.113.1/24"], self.exit, "wan0", [self.EXIT + "/24"])
        # The server lies beyond a next hop: an exit keeps its clients out of the networks that it is in itself.
        link(self.exit, "inet0", ["198.18.0.1/30"], self.server, "eth0", ["198.18.0.2/30", self.SERVER + "/32"])
        self.lan.ip("route", "add", "default", "via", "192.168.77.1")
        self.router.ip("route", "add", "default", "via", self.GATEWAY)
        self.exit.ip("route", "add", "default", "via", "203.0.113.1")
        self.exit.ip("route", "add", self.SERVER, "via", "198.18.0.2")
        self.server.ip("route", "add", "default", "via", "198.18.0.1")

    def route_lan(self, rival):
        """What a home router needs for a tunnel that does not bring it: steering, translation, MSS; translation at the exit."""
        self.router.ip("rule", "add", "iif", "lan0", "lookup", "100", "priority", "100")
        self.router.ip("rule", "add", "iif", "lan0", "unreachable", "priority", "101")
        clamp = "chain forward {\n type filter hook forward priority mangle\n tcp flags syn tcp option maxseg size set rt mtu\n}\n"
        for box, rule in ((self.router, 'ip saddr 192.168.77.0/24 masquerade'), (self.exit, 'oifname "inet0" masquerade')):
            ruleset = f"table ip bench {{\nchain post {{\n type nat hook postrouting priority srcnat\n {rule}\n}}\n{clamp}}}\n"
            box.run("nft", "-f", "-", input=ruleset)
        if rival.own_routing:
            return
        for box, dev, address in ((self.router, rival.device_router, "10.9.0.2/24"), (self.exit, rival.device_exit, "10.9.0.1/24")):
            wait_for(f"device {dev}", 20, lambda: os.path.exists(f"/run/netns/{box.name}") and dev in box.ip("-br", "link"))
            box.ip("addr", "add", address, "dev", dev)
            box.ip("link", "set", dev, "mtu", "1420", "up")
        self.router.ip("route", "replace", "default", "via", "10.9.0.1", "dev", rival.device_router, "table", "100")

    def down(self):
        for box in self.boxes:
            call("ip", "netns", "del", box.name)


def answers(net):
    return " 1 received" in net.lan.run("ping", "-n", "-c1", "-W", "0.2", net.SERVER, check=False)


def measure(kind, args):
    """One round of one rival."""
    net = Net()
    try:
        rival = kind(net)
        try:
            rival.up()
            if not getattr(rival, "steers_lan", False):
                net.route_lan(rival)
            wait_for(f"{kind.name}: a ping through it", 30, lambda: answers(net), every=0.02)
            rival.check()
            return Meter(net, args.seconds).round(rival)
        except Failed as e:
            raise Failed(f"{e}\n{rival.logs()}") from e
        finally:
            rival.down()
    finally:
        net.down()


def summary(rounds, disturbed):
    """Medians per rival over rounds that others did not disturb, or over all where none was quiet."""
    out = {}
    for name, figures in rounds.items():
        quiet = [f for f in figures if f["foreign"] <= disturbed]
        use = quiet or figures
        out[name] = {k: median([f.get(k, float("nan")) for f in use]) for k in figures[0]}
        out[name]["spread"] = {k: spread([f.get(k, float("nan")) for f in use]) for k in figures[0]}
        out[name]["rounds"], out[name]["disturbed"] = len(figures), len(figures) - len(quiet)
    for name, figures in rounds.items():
        ratios = [f["up"] / p["up"] for f, p in zip(figures, rounds.get("plain", [])) if p["up"] > 0]
        out[name]["ratio"] = median(ratios)
    return out


def cell(row, key, digits):
    value = row.get(key, float("nan"))
    if key.startswith("pss"):
        value /= 1024
    if key.startswith("packets"):
        value /= 1000
    return "-" if value != value else f"{value:.{digits}f}"


def table(result, args):
    width = 9
    print("\n" + " " * 14 + "".join(f"{g:^{n * width}}" for g, n in GROUPS))
    print(f"{'':14}" + "".join(f"{head:>{width}}" for _, head, _ in COLUMNS))
    for name, row in result.items():
        print(f"{name:14}" + "".join(f"{cell(row, key, digits):>{width}}" for key, _, digits in COLUMNS))
        if row["rounds"] > 1:
            print(f"{'±':>14}" + "".join(f"{cell(row['spread'], key, digits):>{width}}" for key, _, digits in COLUMNS))
    for name, row in result.items():
        if row["disturbed"]:
            kept = "left out" if row["disturbed"] < row["rounds"] else "kept, for no round was quiet"
            print(f"{name}: {row['disturbed']} of {row['rounds']} rounds disturbed, "
                  f"others took over {args.disturbed} % of the machine; {kept}")


def ahead_of_others():
    """Puts this process and all it starts into a CPU group of the highest weight; returns what undoes it."""
    for group, weight, value in (("/sys/fs/cgroup/cpu", "cpu.shares", "262144"), ("/sys/fs/cgroup", "cpu.weight", "10000")):
        mine = f"{group}/bench{os.getpid()}"
        if not os.path.exists(f"{group}/cgroup.procs"):
            continue
        os.mkdir(mine)
        try:
            with open(f"{mine}/{weight}", "w") as f:
                f.write(value)
        except OSError:
            os.rmdir(mine)
            continue
        home = "/proc/self/cgroup"
        with open(home) as f:
            lines = [w.rstrip("\n").split(":", 2) for w in f]
        before = next((p for _, c, p in lines if "cpu" in c.split(",") or c == ""), "/")
        subprocess.run(["sh", "-c", f"echo {os.getpid()} >{mine}/cgroup.procs"], check=True)
        return lambda: (subprocess.run(["sh", "-c", f"echo {os.getpid()} >{group}{before}/cgroup.procs"], check=True), os.rmdir(mine))
    print("--ahead: no CPU cgroup can be made here; measuring beside other work")
    return lambda: None


def again_ahead():
    """Runs this script again in such a group, without --ahead; its exit status."""
    undo = ahead_of_others()
    argv = [a for a in sys.argv[1:] if a != "--ahead"]
    status = subprocess.call([sys.executable, "-u", os.path.abspath(sys.argv[0])] + argv)
    undo()
    return status


def options(doc):
    """What the benchmarks beside this file take, too."""
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(here, "../../../build/release"))
    p.add_argument("--ahead", action="store_true", help="run ahead of other work on a shared machine")
    return p


def begin(run, args):
    """run(args) in namespaces of its own; ends with its status."""
    os.environ["SG_BUILD"] = os.path.abspath(args.build)
    need_root()
    need_programs(PROGRAMS)
    if args.ahead and os.environ.get("SG_BOXES") != "inside":
        sys.exit(again_ahead())
    enter()
    sys.exit(run(args))


def main():
    p = options(__doc__)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=3, help="per stream")
    p.add_argument("--rivals", default=",".join(RIVALS))
    p.add_argument("--pairs", default=",".join(pairs.PAIRS), help="with visors of the existing implementation; '' for none")
    p.add_argument("--disturbed", type=float, default=12, help="percent of the machine that others may take in a round")
    p.add_argument("--judge", action="store_true", help="exit status 1 unless ours is ahead of fastd and OpenVPN")
    args = p.parse_args()
    begin(run, args)


def note(rounds, n, name, figures):
    rounds.setdefault(name, []).append(figures)
    print(f"round {n + 1}: {name}: up {figures['up']:.0f} down {figures['down']:.0f}, eight {figures['up8']:.0f} {figures['down8']:.0f} "
          f"Mbit/s, {figures['packets1400'] / 1e3:.1f} {figures['packets200'] / 1e3:.1f} kpps, others took {figures['foreign']:.0f} %")


def promises(result):
    for ours, other, keys, least in PROMISES:
        if ours in result and other in result:
            got = min(result[ours][k] / max(1e-9, result[other][k]) for k in keys)
            print(f"{ours} / {other}: {got:.2f}, promised {least}{'' if got >= least else ': missed'}")
    for ours, other, least in (("ours", "wireguard-go", 1), ("ours-group", "wireguard-go", 1)):
        if ours in result and other in result:
            got = result[ours]["cpu_r"] / max(1e-9, result[other]["cpu_r"])
            print(f"CPU of {ours} / {other}: {got:.2f}, promised below {least}{'' if got < least else ': missed'}")
    for pair, ours, theirs in (("ours-go", "cpu_r", "cpu_e"), ("go-ours", "cpu_e", "cpu_r")):
        if pair in result:
            got = result[pair][ours] / max(1e-9, result[pair][theirs])
            print(f"CPU of ours / Go in {pair}: {got:.2f}, promised at most 0.25{'' if got <= 0.25 else ': missed'}")


def run(args):
    names = [n.strip() for n in args.rivals.split(",")]
    unknown = [n for n in names if n not in RIVALS]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; known: {', '.join(RIVALS)}")
        return 2
    rounds, missing, failed = {}, {}, {}
    for n in range(args.rounds):
        for name in names[:1] + names[1 + n % max(1, len(names) - 1):] + names[1:1 + n % max(1, len(names) - 1)]:
            if name in missing:
                continue
            try:
                figures = measure(RIVALS[name], args)
            except Missing as e:
                missing[name] = str(e)
                continue
            except Failed as e:
                failed[name] = failed.get(name, 0) + 1
                print(f"round {n + 1}: {name} failed: {e}")
                continue
            note(rounds, n, name, figures)
    courses = [c for c in args.pairs.split(",") if c]
    if courses:
        try:
            for n, name, figures in pairs.measure(courses, args):
                note(rounds, n, name, figures)
        except Missing as e:
            missing |= {c: str(e) for c in courses}
        except Failed as e:
            failed["pairs"] = 1
            print(f"pairs failed: {e}")
    for name, why in missing.items():
        print(f"left out: {name}: {why}")
    if not rounds:
        return 77
    result = summary({n: rounds[n] for n in names + courses if n in rounds}, args.disturbed)
    table(result, args)
    promises(result)
    print("result " + json.dumps({n: {k: round(v, 4) if v == v else None for k, v in row.items() if k != "spread"}
                                  for n, row in result.items()}))
    return verdict(result, missing, failed, args)


def verdict(result, missing, failed, args):
    behind = []
    if "ours" in result:
        for rival in ("fastd", "openvpn"):
            if rival in result:
                factor = min(result["ours"][k] / max(1e-9, result[rival][k]) for k in ("up", "down", "up8", "down8"))
                print(f"ours is {factor:.2f} times as fast as {rival} (the worst of up, down, eight streams)")
                if factor <= 1:
                    behind.append(rival)
    elif "ours" in missing:
        return 77
    if failed:
        print("failed: " + ", ".join(f"{n} in {k} rounds" for n, k in failed.items()))
        return 1
    return 1 if args.judge and behind else 0


if __name__ == "__main__":
    main()
