"""Ours as the interop tests run it, in a box, under a user of its own: skygated alone, or netd with it."""

import json
import os
import signal
import socket

import product
from boxes import SCRATCH, Failed, wait_for

UID = 64001


def peer_section(name, pk, address=None):
    """address: stcp://HOST:PORT, or the name of a carrier that finds the peer by its key."""
    where = f"\tlist address '{address}'\n" if address else ""
    return f"config peer '{name}'\n\toption pk '{pk}'\n{where}\n"


class Visor:
    """One skygated. sections: what its configuration holds besides identity, plugin and listener."""

    uid = UID

    def __init__(self, box, name, listen="0.0.0.0:7777"):
        self.box, self.name, self.listen = box, name, listen
        self.dir = f"{SCRATCH}/{name}.d"
        self.log = f"{SCRATCH}/{name}.log"
        for d in (self.dir, self.dir + "/run", self.dir + "/state"):
            os.mkdir(d)
            if d in self.owned():
                os.chown(d, self.uid, self.uid)
        self.pk = product.keygen(self.dir + "/state/identity.key", self.uid)
        self.program = None

    def owned(self):
        """Directories that belong to its user."""
        return self.dir, self.dir + "/run", self.dir + "/state"

    def configure(self, sections="", plugins=()):
        more = "".join(f"\tlist plugin '{p}'\n" for p in plugins)
        with open(self.dir + "/skygate.conf", "w") as f:
            f.write(f"config visor 'main'\n\toption identity '{self.dir}/state/identity.key'\n\toption user '{self.uid}'\n"
                    f"\tlist plugin 'transport-tcp'\n{more}\nconfig carrier 'stcp'\n\tlist listen '{self.listen}'\n\n{sections}")

    def start(self):
        # Confined, it may not look for leaks at its end: LeakSanitizer traces the threads of its own process.
        env = {"ASAN_OPTIONS": "detect_leaks=0", **os.environ}
        self.program = self.box.start(
            "skygated", "setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups", product.program("skygated"),
            "--config", self.dir + "/skygate.conf", "--run", self.dir + "/run", "--state", self.dir + "/state", "--plugins",
            product.plugins(), log=self.log, cwd="/", env=env)

    def ready(self):
        return wait_for(f"{self.name}: answer on its control socket", 15, self.answers)

    def answers(self):
        if not self.program.alive():
            raise Failed(f"{self.name} ended:\n{self.program.tail()}")
        try:
            return bool(self.ask("visor.status"))
        except OSError:
            return False

    def kill(self):
        self.program.stop(signal.SIGKILL)

    def stop(self):
        return self.program.stop(signal.SIGTERM)

    def ask(self, method, **params):
        """Calls a control method and returns its result."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(self.dir + "/run/control.sock")
            s.sendall(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            answer = json.loads(s.makefile().readline())
        if "error" in answer:
            raise Failed(f"{self.name}: {method}: {answer['error']}")
        return answer["result"]

    def transport(self, pk):
        """Its transport with a key as transport.list shows it, or None."""
        found = [t for t in self.ask("transport.list")["transports"] if t["pk"] == pk]
        if len(found) > 1:
            raise Failed(f"{self.name} holds {len(found)} transports with {pk[:8]}")
        return found[0] if found else None


class Gateway(Visor):
    """One skygate-netd with its skygated, the user another: a router before a LAN, or an exit."""

    def __init__(self, box, name, uid, listen="0.0.0.0:7777"):
        self.uid = uid
        super().__init__(box, name, listen)

    def owned(self):
        return (self.dir + "/state",)

    def start(self):
        env = {"ASAN_OPTIONS": "detect_leaks=0", **os.environ}
        self.program = self.box.start(
            "netd", product.program("skygate-netd"), "--config", self.dir + "/skygate.conf", "--run", self.dir + "/run",
            "--state", self.dir + "/state", "--plugins", product.plugins(), log=self.log, cwd="/", env=env)

    def vpn(self):
        return self.ask("vpn.status")


def client_section(exits, probe, **options):
    more = "".join(f"\toption {k} '{v}'\n" for k, v in options.items())
    return ("config interface 'home'\n\toption role 'lan'\n\tlist device 'lan0'\n\n"
            "config vpn_client 'vpn'\n\toption mode 'vpn'\n\toption kill_switch '1'\n"
            + "".join(f"\tlist exit '{e}'\n" for e in exits) + f"\tlist probe '{probe}'\n{more}\n")


def deployment_section(**options):
    """Options of a network's services; a list becomes a line for each of its elements."""
    lines = "".join(f"\tlist {k} '{one}'\n" for k, v in options.items() if isinstance(v, list) for one in v)
    return ("config deployment 'net'\n" + "".join(f"\toption {k} '{v}'\n" for k, v in options.items() if isinstance(v, str))
            + lines + "\n")


SERVER_SECTION = "config vpn_server 'exit'\n\toption uplink 'inet0'\n\toption pool '172.16.0.0/12'\n\toption max_clients '100'\n\n"
