"""The real programs, installed into the lab's directory and run with configuration files a user would write."""
import contextlib
import json
import os
import re
import signal
import subprocess
import time

from . import home
from .lab import Failed, pids_in, wait_for
from .watch import build_dir

ROUTER_UID, EXIT_UID = 64011, 64012  # numbers, so that no user need be added to the machine

ROUTER_CONF = """\
config visor 'main'
	option identity '{identity}'
	option user '{uid}'
	list plugin 'transport-tcp'
	list plugin 'app-vpn'

config interface 'home'
	option role 'lan'
	list device 'lan0'

config peer 'my_exit'
	option pk '{exit_pk}'
	list address 'stcp://{exit}:{port}'

config vpn_client 'vpn'
	option mode '{mode}'
	option kill_switch '{kill_switch}'
	list exit 'my_exit'
	list probe '{probe}'
"""

EXIT_CONF = """\
config visor 'main'
	option identity '{identity}'
	option user '{uid}'
	list plugin 'transport-tcp'
	list plugin 'app-vpn'

config carrier 'stcp'
	list listen '0.0.0.0:{port}'

config vpn_server 'exit'
	option uplink 'wan0'
	option pool '172.16.0.0/12'
	option max_clients '100'
	list allow_pk '{router_pk}'
"""


def install(lab):
    """The programs where an unprivileged user can reach them (a build tree may lie under /root)."""
    prefix = f"{lab.dir}/usr"
    if not os.path.exists(prefix):
        done = subprocess.run(["cmake", "--install", build_dir(), "--prefix", prefix], capture_output=True, text=True)
        if done.returncode or not os.path.exists(f"{prefix}/sbin/skygate-netd"):
            raise Failed(f"cannot install {build_dir()}: {done.stderr.strip() or 'no skygate-netd in it'}")
    return prefix


class Visor:
    """One installation: netd and what it starts, in one namespace."""

    def __init__(self, lab, space, name, uid, cgroup=None):
        self.lab, self.space, self.name, self.uid, self.cgroup = lab, space, name, uid, cgroup
        self.prefix = install(lab)
        self.dir = f"{lab.dir}/{name}"
        self.run, self.state = f"{self.dir}/run", f"{self.dir}/state"
        self.config, self.log = f"{self.dir}/skygate.conf", f"{self.dir}/log"
        self.identity = f"{self.state}/identity.key"
        for path in (self.dir, self.run, self.state):
            os.mkdir(path, 0o755)
        os.chown(self.state, uid, uid)
        self.pk = self._keygen()
        self.process = None
        self._wrapper()
        lab.at_end.append(self.expect_sound)

    def program(self, name):
        for folder in ("sbin", "bin", "libexec/skygate"):
            path = f"{self.prefix}/{folder}/{name}"
            if os.path.exists(path):
                return path
        raise Failed(f"{name} is not among what was installed from {build_dir()}")

    def plugins(self):
        for folder, _, files in os.walk(self.prefix):
            if "app-vpn.so" in files:
                return folder
        return f"{self.prefix}/lib/skygate"

    def _keygen(self):
        done = subprocess.run([self.program("skygate"), "keygen", "--out", self.identity], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"skygate keygen: {done.stderr.strip()}")
        os.chown(self.identity, self.uid, self.uid)
        return done.stdout.split()[-1]

    def _wrapper(self):
        """A short command for people: skygate with this visor's socket, in its namespace."""
        self.command = f"{self.lab.dir}/{self.name}-skygate"
        with open(self.command, "w") as out:
            out.write(f'#!/bin/sh\nexec nsenter --net={self.space.path} -- {self.program("skygate")} --run {self.run} "$@"\n')
        os.chmod(self.command, 0o755)

    def configure(self, text, **values):
        with open(self.config, "w") as out:
            out.write(text.format(identity=self.identity, uid=self.uid, port=home.CARRIER_PORT, exit=home.EXIT4, **values))

    def places(self):
        return ["--config", self.config, "--run", self.run, "--state", self.state, "--plugins", self.plugins()]

    def netd(self, *words, timeout=20):
        """One-shot: --arm, --disarm."""
        return self.space.run([self.program("skygate-netd"), *self.places(), *words], check=False, timeout=timeout)

    @staticmethod
    def environment():
        """In core's sandbox the leak check of a sanitized build cannot stop its own threads; the unit tests have it."""
        return {"ASAN_OPTIONS": "detect_leaks=0", **os.environ}

    def start(self):
        self.process = self.space.spawn([self.program("skygate-netd"), *self.places()], cgroup=self.cgroup, log=self.log,
                                        env=self.environment())

    def stop(self, timeout=10):
        """As init does it: SIGTERM, and waits."""
        self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failed(f"skygate-netd of {self.name} did not end {timeout} s after SIGTERM") from None

    def core(self):
        """The process id of skygated, or None."""
        for pid in pids_in([self.space.full]):
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/comm") as comm, open(f"/proc/{pid}/status") as status:
                    if comm.read().strip() == "skygated" and f"\nUid:\t{self.uid}\t" in status.read():
                        return pid
        return None

    def kill_core(self, sig=signal.SIGKILL):
        pid = self.core()
        if not pid:
            raise Failed(f"no skygated runs at {self.name}")
        os.kill(pid, sig)
        return pid

    def ask(self, *words):
        """skygate … --json, or None when it has no answer."""
        done = subprocess.run([self.command, *words, "--json"], capture_output=True, text=True, timeout=10)
        with contextlib.suppress(ValueError):
            if done.returncode == 0:
                return json.loads(done.stdout)
        return None

    def vpn_state(self):
        return (self.ask("vpn", "status") or {}).get("state")

    def wait_state(self, state, timeout=15):
        try:
            wait_for(f"{self.name} is {state}", lambda: self.vpn_state() == state, timeout, every=0.05)
        except Failed as late:
            raise Failed(f"{late}; it says {self.vpn_state()}\n{self.tail()}") from None

    def expect_sound(self):
        """Fails when a program crashed or a sanitizer spoke, though everything else went well."""
        with contextlib.suppress(FileNotFoundError), open(self.log) as log:
            bad = [line for line in log if re.search(
                r"Sanitizer|runtime error:|core ended .*\((exit status|signal (4|6|7|8|11|31)\))", line)]
            if bad:
                raise Failed(f"{self.name} did not stay sound:\n" + "".join(f"  {line}" for line in bad[:20]))

    def tail(self, lines=15):
        with contextlib.suppress(OSError):
            with open(self.log) as log:
                return "".join(f"  {self.name}: {line}" for line in log.readlines()[-lines:])
        return ""


class Pair:
    """A router behind an exit, in a Home."""

    def __init__(self, world, mode="vpn", kill_switch=1, cgroup=None):
        self.world = world
        self.exit = Visor(world, world.exit, "exit", EXIT_UID)
        self.router = Visor(world, world.router, "router", ROUTER_UID, cgroup)
        self.exit.configure(EXIT_CONF, router_pk=self.router.pk)
        self.set_mode(mode, kill_switch)

    def set_mode(self, mode, kill_switch=1):
        self.router.configure(ROUTER_CONF, exit_pk=self.exit.pk, mode=mode, kill_switch=kill_switch, probe=home.WEB4)

    def up(self, timeout=15):
        """Starts both and waits until the router is connected; how long that took, in seconds."""
        self.exit.start()
        wait_for("the exit listens", self._exit_listens, timeout)
        start = time.monotonic()
        self.router.start()
        self.router.wait_state("connected", timeout)
        return time.monotonic() - start

    def _exit_listens(self):
        if self.exit.process.poll() is not None:
            raise Failed(f"skygate-netd of the exit ended with {self.exit.process.returncode}\n{self.exit.tail()}")
        found = self.world.exit.run(["ss", "-Hltn", f"sport = :{home.CARRIER_PORT}"], check=False)
        return bool(found.stdout.strip())


def kernel_state(space):
    """What netd may change, as text to compare: ruleset, rules, routes, the sysctls it could touch."""
    words = {
        "ruleset": ["nft", "-s", "list", "ruleset"],
        "rules": ["ip", "rule"], "rules6": ["ip", "-6", "rule"],
        "multicast rules": ["ip", "mrule"], "multicast rules6": ["ip", "-6", "mrule"],
        "routes": ["ip", "route", "show", "table", "all"], "routes6": ["ip", "-6", "route", "show", "table", "all"],
        "sysctls": ["sh", "-c", "sysctl -a 2>/dev/null | "
                                "grep -E '^net\\.(ipv4|ipv6)\\.(ip_forward|conf|tcp_mtu_probing|tcp_retries1)' | "
                                "grep -vE '\\.mtu |stable_secret'"],
        "links": ["ip", "-br", "link"],
    }
    return {name: space.run(argv, check=False).stdout for name, argv in words.items()}


def differences(before, after):
    """Lines that differ, for people; [] when there are none."""
    found = []
    for name, text in before.items():
        old, new = set(text.splitlines()), set(after[name].splitlines())
        found += [f"{name}: gone: {line.strip()}" for line in sorted(old - new)]
        found += [f"{name}: new: {line.strip()}" for line in sorted(new - old)]
    return found
