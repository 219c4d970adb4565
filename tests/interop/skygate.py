"""skygated as the interop tests run it: alone, without netd, under a user of its own, in a box."""

import json
import os
import signal
import socket

import product
from boxes import SCRATCH, Failed, wait_for

UID = 64001


def peer_section(name, pk, address=None):
    where = f"\tlist address 'stcp://{address}'\n" if address else ""
    return f"config peer '{name}'\n\toption pk '{pk}'\n{where}\n"


class Visor:
    """One skygated. sections: what its configuration holds besides identity, plugin and listener."""

    def __init__(self, box, name, listen="0.0.0.0:7777"):
        self.box, self.name, self.listen = box, name, listen
        self.dir = f"{SCRATCH}/{name}.d"
        self.log = f"{SCRATCH}/{name}.log"
        for d in (self.dir, self.dir + "/run", self.dir + "/state"):
            os.mkdir(d)
            os.chown(d, UID, UID)
        self.pk = product.keygen(self.dir + "/state/identity.key", UID)
        self.program = None

    def configure(self, sections="", plugins=()):
        more = "".join(f"\tlist plugin '{p}'\n" for p in plugins)
        with open(self.dir + "/skygate.conf", "w") as f:
            f.write(f"config visor 'main'\n\toption identity '{self.dir}/state/identity.key'\n\toption user '{UID}'\n"
                    f"\tlist plugin 'transport-tcp'\n{more}\nconfig carrier 'stcp'\n\tlist listen '{self.listen}'\n\n{sections}")

    def start(self):
        # Confined, it may not look for leaks at its end: LeakSanitizer traces the threads of its own process.
        env = {"ASAN_OPTIONS": "detect_leaks=0", **os.environ}
        self.program = self.box.start(
            "skygated", "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", product.program("skygated"),
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
