"""A private network of the existing Go implementation: directory services and visors, each in a box.

Only runs a binary that SKYWIRE_REFERENCE names. Everything hangs on one bridge in the script's own namespace, so the
script itself reaches every service. Addresses look public because the address resolver refuses others.
"""

import glob
import json
import os
import pwd
import re
import signal
import urllib.error
import urllib.request

from boxes import SCRATCH, Box, Failed, call, link, skip, wait_for

VERSION = "v1.3.29"  # of the configuration files; visors compare only its major part
SERVICES = "203.0.113.1"
DMSG_DISCOVERY = f"http://{SERVICES}:9090"
TRANSPORT_DISCOVERY = f"http://{SERVICES}:9091"
ADDRESS_RESOLVER = f"http://{SERVICES}:9093"
PACKAGES = {"redis-server": "redis-server", "redis-cli": "redis-tools", "setpriv": "util-linux", "psql": "postgresql-client",
            "ip": "iproute2", "nsenter": "util-linux"}


def find_binary():
    """Path of the reference binary; ends the script where it is missing."""
    binary = os.environ.get("SKYWIRE_REFERENCE", "")
    if not binary:
        skip("SKYWIRE_REFERENCE does not name the binary of the existing implementation")
    if not os.access(binary, os.X_OK):
        skip(f"SKYWIRE_REFERENCE: {binary} is not a program")
    return os.path.abspath(binary)


def find():
    """Paths of the reference binary and of PostgreSQL's programs; ends the script where they are missing."""
    binary = find_binary()
    postgres = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not postgres:
        skip("Debian packages missing: postgresql")
    return binary, postgres[-1]


def get(url):
    """The body of a GET, or None unless it was answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as r:
            return r.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def bridge_up():
    call("ip", "link", "add", "br0", "type", "bridge")
    call("ip", "addr", "add", "203.0.113.254/24", "dev", "br0")
    call("ip", "link", "set", "br0", "up")


def box_on_bridge(name, last):
    """A box with the address 203.0.113.<last>."""
    box = Box(name)
    link(box, "up0", [f"203.0.113.{last}/24"], None, f"p-{name}", [])
    call("ip", "link", "set", f"p-{name}", "master", "br0")
    box.ip("route", "add", "default", "via", "203.0.113.254")
    box.address = f"203.0.113.{last}"
    return box


class Services:
    """redis, PostgreSQL, dmsg discovery, dmsg server, transport discovery, address resolver: what a visor waits for."""

    def __init__(self, binary, postgres):
        self.binary, self.box = binary, box_on_bridge("svc", 1)
        self.start_stores(postgres)
        self.box.start("dmsg-discovery", binary, "dmsg", "disc", "-a", ":9090", "-t", cwd=SCRATCH)
        wait_for("dmsg discovery", 20, lambda: get(DMSG_DISCOVERY + "/health"))
        self.start_dmsg_server()
        env = dict(os.environ, PG_USER="postgres", PG_PASSWORD="x", PG_DATABASE="tpd")
        self.box.start("transport-discovery", binary, "svc", "tpd", "-a", ":9091", "--dmsg-disc", DMSG_DISCOVERY, env=env,
                       cwd=SCRATCH)
        self.box.start("address-resolver", binary, "svc", "ar", "-a", ":9093", "--dmsg-disc", DMSG_DISCOVERY, cwd=SCRATCH)
        wait_for("transport discovery", 20, lambda: get(TRANSPORT_DISCOVERY + "/health"))
        wait_for("address resolver", 20, lambda: get(ADDRESS_RESOLVER + "/health"))
        wait_for("dmsg server registered", 30, lambda: get(DMSG_DISCOVERY + "/dmsg-discovery/available_servers"))

    def start_stores(self, postgres):
        data = SCRATCH + "/pg"
        os.mkdir(data)
        os.chown(data, pwd.getpwnam("postgres").pw_uid, -1)
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        call(*user, postgres + "/initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", cwd="/")
        self.box.start("redis", "redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", cwd=SCRATCH)
        self.box.start("postgres", *user, postgres + "/postgres", "-D", data, "-F", "-c", "listen_addresses=127.0.0.1", "-c",
                       "unix_socket_directories=" + data, "-c", "shared_buffers=16MB", cwd="/")
        wait_for("redis", 20, lambda: "PONG" in self.box.run("redis-cli", "ping", check=False))
        wait_for("postgres", 20, lambda: "accepting" in self.box.run(postgres + "/pg_isready", "-h", "127.0.0.1", check=False))
        self.box.run("psql", "-qh", "127.0.0.1", "-U", "postgres", "-c", "create database tpd", cwd="/")

    def start_dmsg_server(self):
        pk, sk = new_keys(self.binary)
        path = SCRATCH + "/dmsg-server.json"
        with open(path, "w") as f:
            json.dump({"public_key": pk, "secret_key": sk, "discovery": DMSG_DISCOVERY, "public_address": f"{SERVICES}:8081",
                       "local_address": ":8081", "health_endpoint_address": ":8082", "log_level": "info",
                       "update_interval": 0, "max_sessions": 2048}, f)
        self.box.start("dmsg-server", self.binary, "dmsg", "server", "start", path, cwd=SCRATCH)


def new_keys(binary):
    """(public, secret) in hex."""
    pk, sk = re.findall(r"^[0-9a-f]{64,66}$", call(binary, "cli", "config", "gen-keys", cwd=SCRATCH), re.M)
    return pk, sk


class GoVisor:
    """One visor of the existing implementation in its own box."""

    def __init__(self, binary, name, last, keys, table=None):
        self.binary, self.name, (self.pk, self.sk) = binary, name, keys
        self.box = box_on_bridge(name, last)
        self.table = table or {}  # public key -> host:port that it may dial by stcp
        self.dir = f"{SCRATCH}/{name}.d"
        self.log = f"{SCRATCH}/{name}.log"
        os.mkdir(self.dir)
        self.program = None

    def config(self):
        d = self.dir
        return {
            "version": VERSION, "pk": self.pk, "sk": self.sk,
            "dmsg": {"discovery": DMSG_DISCOVERY, "sessions_count": 1, "servers": [], "servers_type": "all"},
            "dmsgpty": {"dmsg_port": 22, "cli_network": "unix", "cli_address": d + "/pty.sock", "whitelist": []},
            "skywire-tcp": {"pk_table": self.table, "listening_address": ":7777"},
            "transport": {"discovery": TRANSPORT_DISCOVERY, "address_resolver": ADDRESS_RESOLVER, "public_autoconnect": False,
                          "transport_setup": [], "log_store": {"type": "memory", "location": d + "/tp", "rotation_interval": "168h"},
                          "stcpr_port": 0, "sudph_port": 0},
            "routing": {"route_setup_nodes": [], "route_finder": f"http://{SERVICES}:9092", "route_finder_timeout": "10s",
                        "min_hops": 1},
            "uptime_tracker": {"addr": f"http://{SERVICES}:9096"},
            "launcher": {"service_discovery": f"http://{SERVICES}:9098", "apps": [], "server_addr": "localhost:5505",
                         "bin_path": d, "display_node_ip": False},
            "survey_whitelist": [], "hypervisors": [], "cli_addr": "localhost:3435", "log_level": "info",
            "local_path": d + "/local", "dmsghttp_server_path": d + "/custom", "stun_servers": [], "shutdown_timeout": "10s",
            "is_public": False, "persistent_transports": [],
        }

    def start(self):
        path = self.dir + "/config.json"
        with open(path, "w") as f:
            json.dump(self.config(), f)
        self.program = self.box.start("visor", self.binary, "visor", "-c", path, log=self.log, cwd=self.dir)

    def ready(self):
        """The transport port answers and so does the control interface."""
        wait_for(f"{self.name}: control interface", 60, self.answers, every=0.3)
        wait_for(f"{self.name}: stcp port", 20, lambda: ":7777" in self.box.run("ss", "-Hltn"))

    def answers(self):
        if not self.program.alive():
            raise Failed(f"{self.name} ended:\n{self.program.tail()}")
        return self.pk in self.cli("visor", "pk", check=False)

    def cli(self, *argv, **more):
        return self.box.run(self.binary, "cli", *argv, cwd=self.dir, **more)

    def kill(self):
        self.program.stop(signal.SIGKILL)

    def stop(self):
        self.program.stop(signal.SIGINT, 20)

    def dial(self, pk):
        """tp add; returns an empty text when the transport is up, the command's words otherwise."""
        out = self.cli("tp", "add", "-t", "stcp", pk, check=False, timeout=40)
        return "" if self.transport(pk) else out.strip() or "no word"

    def transport(self, pk):
        """The id of its stcp transport with a key, or None."""
        for line in self.cli("tp", check=False).splitlines():
            words = line.split()
            if pk in words and "stcp" in words:
                return next((w for w in words if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", w)), None)
        return None

    def drop(self, tp_id):
        self.cli("tp", "rm", "-i", tp_id)

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()


COLOUR = re.compile(r"\x1b\[[0-9;]*m")
VARIES = [(re.compile(p), r) for p, r in (
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "ID"), (r"\b0[23][0-9a-f]{64}\b", "PK"), (r"\b[0-9a-f]{6,}\b", "HEX"),
    (r"\d+(\.\d+)*(:\d+)?", "N"))]


def warnings_in(text):
    """The classes of lines of level warning and above: {class: number of lines}."""
    classes = {}
    for line in COLOUR.sub("", text).splitlines():
        m = re.match(r"\[[^]]*\]\s*(WARN\w*|ERRO\w*|FATA\w*|PANI\w*)\s*(.*)", line)
        if not m and not re.match(r"(panic|fatal error|goroutine \d+ \[|WARNING: DATA RACE)", line):
            continue
        name = f"{m[1]} {m[2]}" if m else line
        for pattern, word in VARIES:
            name = pattern.sub(word, name)
        classes[name] = classes.get(name, 0) + 1
    return classes
