"""./demo after everything is built: a LAN behind an exit, told step by step, each step proved before it is said."""
import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time

from . import home, web
from .home import Home
from .lab import Failed, end_on_signals, find, pids_in, wait_for, why_not
from .scenario import SKIP
from .skygate import Pair
from .watch import Judge, Prober, build_dir, make_leaky, no_leak

MEMORY = 32 << 20
_start = time.monotonic()


def put(text):
    try:
        print(text, flush=True)
    except BrokenPipeError:  # nobody reads it any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def say(text):
    put(f"{time.monotonic() - _start:4.1f} s  {text}")


def show_before(world, judge):
    """What is proved later proves something only if it is otherwise now."""
    page, seen = web.fetch(world.lan, home.WEB4), judge.report()
    if not page or home.ROUTER4 not in page or not seen["out"]["foreign"]:
        raise Failed(f"without Skygate the LAN is expected to reach the web server as {home.ROUTER4}; it got {page!r}")
    say(f"still without Skygate: the web server sees {home.ROUTER4}, the provider {seen['out']['foreign']} packets of the LAN")


def show_request(world, server):
    since = time.time()
    page = wait_for("an answer from the web server", lambda: web.fetch(world.lan, home.WEB4), 10)
    seen = server.peers(since)
    if seen != {home.EXIT4} or home.EXIT4 not in page:
        raise Failed(f"the web server saw {', '.join(sorted(seen))}; expected the exit, {home.EXIT4}")
    say(f"LAN asks http://{home.WEB4}/  →  the web server saw {home.EXIT4}, the exit's address")


def show_line(world, judge):
    size = 8 << 20
    for one in (web.download, web.upload):
        with web.connect(world.lan, home.WEB4) as sock:
            if not one(sock, size):
                raise Failed("bytes arrived broken (their hash is not the sender's)")
    seen = judge.report()
    no_leak(seen, "the provider's line")
    if seen["marked"]:
        raise Failed(f"{seen['marked']} packets on the provider's line show what they carry")
    carrier = seen["out"]["carrier"] + seen["in"]["carrier"]
    if not carrier:
        raise Failed("the provider's line saw nothing at all; the data must have gone another way")
    say("8 MiB fetched and 8 MiB sent, intact (SHA-256)")
    say(f"on the provider's line: {carrier:,} packets, all inside the transport; packets of the LAN: 0")


def show_kill(world, judge, pair):
    judge.reset()
    with web.connect(world.lan, home.WEB4, timeout=15) as sock:
        web.echo(sock)
        prober = Prober(world)
        killed = time.monotonic()
        pair.router.kill_core(signal.SIGKILL)
        sock.sendall(b"still here?")
        answer = sock.recv(64)
        took = time.monotonic() - killed
        sent = sum(prober.stop().values())
    if answer != b"still here?":
        raise Failed("the TCP connection did not survive")
    no_leak(judge.report(), "while skygated was dead")
    say(f"skygated on the router killed (-9): back after {took:.1f} s, same TCP connection;")
    say(f"of {sent:,} packets of every kind that the LAN sent meanwhile, got out: 0")


def pss_mib(space):
    """Of our programs that run there: what is shared counts in parts."""
    kib = 0
    for pid in pids_in([space.full]):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as comm, open(f"/proc/{pid}/smaps_rollup") as rollup:
            if comm.read().startswith("skygate"):
                kib += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return kib / 1024


def show_memory(world, pair, cgroup):
    """Two numbers: what the programs hold, and what their control group was charged, where a library counts for whoever read it first."""
    said, found = pair.router.ask("status")["memory"]["pss"] / (1 << 20), pss_mib(world.router)
    if abs(said - found) > max(1, found / 10):
        raise Failed(f"skygate status says that {said:.1f} MiB are held, the kernel says {found:.1f}")
    say(f"the router's programs hold {said:.1f} MiB, shared pages in parts (PSS): what skygate status says too")
    if not cgroup:
        say("no memory control group can be made here, so the router's limit of 32 MB is not set")
        return
    for name in ("memory.max_usage_in_bytes", "memory.peak", "memory.current"):
        with contextlib.suppress(OSError):
            with open(f"{cgroup}/{name}") as peak:
                say(f"of the {MEMORY >> 20} MiB they may have their control group counted at most "
                    f"{int(peak.read()) / (1 << 20):.1f}, without libraries that others had read before")
                return


def second_act():
    """On a network of the existing implementation, in namespaces of its own, where its program is here."""
    binary = os.environ.get("SKYWIRE_REFERENCE") or find("skywire")
    if not binary:
        say("a second act has an exit of the existing implementation: put its program skywire into PATH, or its path into "
            "SKYWIRE_REFERENCE")
        return
    say(f"second act, with {binary}")
    act = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../interop/act.py")
    done = subprocess.run([sys.executable, act], env={**os.environ, "SKYWIRE_REFERENCE": binary, "SG_BUILD": build_dir()})
    if done.returncode == SKIP:
        say("so the second act was left out")
    elif done.returncode:
        raise Failed("the second act went wrong, see above")


def tell(once, suffix=""):
    with Home(suffix) as world:
        server = web.Web(world.web)
        leaky = make_leaky(world.router)  # kept: our rules must stop multicast, not the lack of a route
        say("a home LAN, its router, a provider, an exit far away and a web server now exist (network namespaces sg-*)")
        judge = Judge(world.wan, "to_router", marker=web.MARKER)
        show_before(world, judge)
        # A sanitizer's own memory is many times that.
        cgroup = None if os.environ.get("SG_SANITIZE") else world.memory_cgroup("router", MEMORY)
        pair = Pair(world, cgroup=cgroup)
        took = pair.up()
        say(f"router and exit know each other by key; transport up (stcp, encrypted), VPN proved {took * 1000:.0f} ms after start")
        judge.reset()
        show_request(world, server)
        show_line(world, judge)
        show_kill(world, judge, pair)
        show_memory(world, pair, cgroup)
        second_act()
        say("everything above was measured. The dashboard in a browser comes later; the command line is here now")
        if not once:
            put(f"Try:    ip netns exec {world.lan.full} curl http://{home.WEB4}/\n"
                f"        {pair.router.command} status\n"
                f"        {pair.router.command} vpn stop\n"
                f"        ip netns exec {world.wan.full} tcpdump -ni to_router\n"
                "Ctrl-C ends everything")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    signal.pause()
        leaky.close()


def main():
    parser = argparse.ArgumentParser(prog="./demo", add_help=False)
    parser.add_argument("--once", action="store_true")
    once = parser.parse_args().once
    reason = why_not()
    if reason:
        sys.exit(f"demo: {reason}")
    end_on_signals()
    try:
        tell(once)
    except Failed as failure:
        say(f"FAILED: {failure}")
        sys.exit(1)
    except KeyboardInterrupt:
        put("Interrupted. Everything is removed again.")
        sys.exit(130)
    put("Everything is removed again.")


if __name__ == "__main__":
    main()
