"""A private network of the existing Go implementation: directory services and visors, each in a box.

Only runs a binary that SKYWIRE_REFERENCE names. Everything hangs on one bridge in the script's own namespace, so the
script itself reaches every service. Addresses look public because the address resolver refuses others. The service discovery
is the opposite: where public callers live it asks on the Internet, and refuses them when that fails. So every box has a
second, private address on the same bridge, used for the service discovery only.
"""

import glob
import json
import os
import pwd
import re
import signal
import sys
import urllib.error
import urllib.request

import boxes
from boxes import SCRATCH, Box, Failed, call, link, say, skip, wait_for

VERSION = "v1.3.29"  # of the configuration files; visors compare only its major part
SERVICES = "203.0.113.1"
DMSG_DISCOVERY = f"http://{SERVICES}:9090"
TRANSPORT_DISCOVERY = f"http://{SERVICES}:9091"
ROUTE_FINDER = f"http://{SERVICES}:9092"
ADDRESS_RESOLVER = f"http://{SERVICES}:9093"
UPTIME_TRACKER = f"http://{SERVICES}:9096"  # named and never started: an empty one is busy for minutes
SERVICE_DISCOVERY = "http://10.99.0.1:9098"
PACKAGES = {"redis-server": "redis-server", "redis-cli": "redis-tools", "setpriv": "util-linux", "psql": "postgresql-client",
            "ip": "iproute2", "nsenter": "util-linux"}


def find(packages=PACKAGES):
    """Paths of the reference binary and of PostgreSQL's programs, if packages names that; ends the script where they are missing."""
    binary = os.environ.get("SKYWIRE_REFERENCE", "")
    if not binary:
        skip("SKYWIRE_REFERENCE does not name the binary of the existing implementation")
    if not os.access(binary, os.X_OK):
        skip(f"SKYWIRE_REFERENCE: {binary} is not a program")
    if "psql" in packages and not postgres():
        skip("Debian packages missing: postgresql")
    return os.path.abspath(binary), postgres()


def play(scenario, *args, packages=PACKAGES):
    """A script's main part: scenario(binary, postgres, *args) in namespaces of its own, and how it ended."""
    boxes.need_root()
    paths = find(packages)
    boxes.need_programs(packages)
    boxes.enter()
    try:
        scenario(*paths, *args)
    except Failed as e:
        say(f"FAILED: {e}")
        sys.exit(1)
    finally:
        boxes.keep_logs()
    say("all as it should be")


def postgres():
    """The folder of PostgreSQL's programs, or None."""
    return max(glob.glob("/usr/lib/postgresql/*/bin"), default=None)


def get(url):
    """The body of a GET, or None unless it was answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as r:
            return r.read().decode()
    except (urllib.error.URLError, OSError):
        return None


def bridge_up():
    """The bridge forwards onto itself: a Go vpn-client sends to its gateway even what is on the link."""
    call("ip", "link", "add", "br0", "type", "bridge")
    for address in ("203.0.113.254/24", "10.99.0.254/24"):
        call("ip", "addr", "add", address, "dev", "br0")
    call("ip", "link", "set", "br0", "up")
    call("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.br0.send_redirects=0")


def box_on_bridge(name, last, default=True):
    """A box with the addresses 203.0.113.<last> and 10.99.0.<last>. default: the bridge is its gateway."""
    box = Box(name)
    link(box, "up0", [f"203.0.113.{last}/24", f"10.99.0.{last}/24"], None, f"p{last}", [])
    call("ip", "link", "set", f"p{last}", "master", "br0")
    if default:
        box.ip("route", "add", "default", "via", "203.0.113.254")
    box.address = f"203.0.113.{last}"
    return box


def no_names():
    """Nobody resolves names here; that shall fail at once and not after a resolver's patience."""
    path = SCRATCH + "/resolv.conf"
    with open(path, "w") as f:
        f.write("nameserver 127.0.0.1\noptions attempts:1 timeout:1\n")
    call("mount", "--bind", path, "/etc/resolv.conf")


class Services:
    """The directory, each service by its name: what it is started with and how one sees that it answers.

    names: which of them start; those of BASIC are what a visor waits for, ALL is a whole network. box: which has the address
    SERVICES already; postgres is needed by some names only.
    """

    BASIC = ("dmsg-discovery", "dmsg-server", "transport-discovery", "address-resolver")
    ALL = BASIC + ("route-finder", "service-discovery", "setup-node", "setup-node-2")

    def __init__(self, binary, postgres, names=BASIC, box=None):
        self.binary, self.box, self.names = binary, box or box_on_bridge("svc", 1), names
        self.keys = {n: new_keys(binary) for n in names if n.startswith(("dmsg-server", "setup-node"))}
        self.programs, self.stores = {}, []
        self.start_redis()
        if any(self.command(n)[1] for n in names):
            self.start_postgres(postgres)
        for name in names:
            self.start(name)
            self.ready(name)

    def start_redis(self):
        self.stores.append(self.box.start("redis", "redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                                          cwd=SCRATCH))
        wait_for("redis", 20, lambda: "PONG" in self.box.run("redis-cli", "ping", check=False))

    def start_postgres(self, postgres):
        data = SCRATCH + "/pg"
        os.mkdir(data)
        os.chown(data, pwd.getpwnam("postgres").pw_uid, -1)
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        call(*user, postgres + "/initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", cwd="/")
        self.stores.append(self.box.start("postgres", *user, postgres + "/postgres", "-D", data, "-F", "-c",
                                          "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + data, "-c",
                                          "shared_buffers=16MB", cwd="/"))
        wait_for("postgres", 20, lambda: "accepting" in self.box.run(postgres + "/pg_isready", "-h", "127.0.0.1", check=False))
        for name in ("tpd", "sd"):
            self.box.run("psql", "-qh", "127.0.0.1", "-U", "postgres", "-c", "create database " + name, cwd="/")

    def command(self, name):
        """Arguments of the binary, and the database it uses. The route finder reads the transport discovery's table."""
        disc = ("--dmsg-disc", DMSG_DISCOVERY)
        return {
            "dmsg-discovery": (["dmsg", "disc", "-a", ":9090", "-t"], None),
            "dmsg-server": (["dmsg", "server", "start", SCRATCH + "/dmsg-server.json"], None),
            "transport-discovery": (["svc", "tpd", "-a", ":9091", *disc], "tpd"),
            "address-resolver": (["svc", "ar", "-a", ":9093", *disc], None),
            "route-finder": (["svc", "rf", "-a", ":9092", *disc], "tpd"),
            "service-discovery": (["svc", "sd", "-a", ":9098", "-d", DMSG_DISCOVERY], "sd"),
            "setup-node": (["svc", "sn", SCRATCH + "/setup-node.json"], None),
            "setup-node-2": (["svc", "sn", SCRATCH + "/setup-node-2.json"], None),
        }[name]

    def start(self, name):
        if name in self.keys:
            with open(f"{SCRATCH}/{name}.json", "w") as f:
                json.dump(self.file(name), f)
        argv, database = self.command(name)
        env = dict(os.environ, PG_USER="postgres", PG_PASSWORD="x", PG_DATABASE=database or "")
        self.programs[name] = self.box.start(name, self.binary, *argv, env=env, cwd=SCRATCH)

    def file(self, name):
        pk, sk = self.keys[name]
        if name.startswith("setup-node"):
            return {"public_key": pk, "secret_key": sk, "transport_discovery": TRANSPORT_DISCOVERY, "log_level": "info",
                    "dmsg": {"discovery": DMSG_DISCOVERY, "sessions_count": 1, "servers": []}}
        return {"public_key": pk, "secret_key": sk, "discovery": DMSG_DISCOVERY, "public_address": f"{SERVICES}:8081",
                "local_address": ":8081", "health_endpoint_address": ":8082", "log_level": "info", "update_interval": 0,
                "max_sessions": 2048}

    def ready(self, name):
        """Waits until it answers; a dmsg server and a setup node, until the discovery knows them."""
        wait_for(name, 40, lambda: self.answers(name))

    def answers(self, name):
        if not self.programs[name].alive():
            raise Failed(f"{name} ended:\n{self.programs[name].tail()}")
        health = {"dmsg-discovery": DMSG_DISCOVERY, "transport-discovery": TRANSPORT_DISCOVERY,
                  "address-resolver": ADDRESS_RESOLVER, "route-finder": ROUTE_FINDER, "service-discovery": SERVICE_DISCOVERY}
        if name in health:
            return get(health[name] + "/health")
        if name.startswith("dmsg-server"):
            return self.keys[name][0] in (get(DMSG_DISCOVERY + "/dmsg-discovery/available_servers") or "")
        return get(f"{DMSG_DISCOVERY}/dmsg-discovery/entry/{self.keys[name][0]}")

    def stop(self, name, sig=signal.SIGKILL):
        self.programs[name].stop(sig)

    def stop_all(self):
        for program in [*self.programs.values(), *self.stores]:
            program.stop(signal.SIGKILL)

    def setup_nodes(self):
        return [self.keys[n][0] for n in self.names if n.startswith("setup-node")]


def new_keys(binary):
    """(public, secret) in hex."""
    pk, sk = re.findall(r"^[0-9a-f]{64,66}$", call(binary, "cli", "config", "gen-keys", cwd=SCRATCH), re.M)
    return pk, sk


class GoVisor:
    """One visor of the existing implementation in its own box.

    table: public key -> host:port that it may dial by stcp. apps: (name, port, starts by itself, arguments).
    """

    carrier = "stcp"  # of the transports that it makes unless told otherwise

    def __init__(self, binary, name, last, keys, table=None, setup=(), apps=(), default=True):
        self.binary, self.name, (self.pk, self.sk) = binary, name, keys
        self.box = box_on_bridge(name, last, default)
        self.table, self.setup, self.apps, self.min_hops, self.stcpr_port = table or {}, list(setup), list(apps), 1, 0
        self.dir = f"{SCRATCH}/{name}.d"
        self.log = f"{SCRATCH}/{name}.log"
        os.mkdir(self.dir)
        os.symlink(binary, self.dir + "/skywire")  # apps are started by this name
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
                          "stcpr_port": self.stcpr_port, "sudph_port": 0},
            "routing": {"route_setup_nodes": self.setup, "route_finder": ROUTE_FINDER, "route_finder_timeout": "10s",
                        "min_hops": self.min_hops},
            "uptime_tracker": {"addr": UPTIME_TRACKER},
            "launcher": {"service_discovery": SERVICE_DISCOVERY, "server_addr": "localhost:5505", "bin_path": d,
                         "display_node_ip": False, "apps": [
                             {"name": name, "binary": "skywire", "args": ["app", name, *args], "auto_start": auto, "port": port}
                             for name, port, auto, args in self.apps]},
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
        # Asked for its key before its router is there, it panics. The launcher comes after that one.
        return "auto_start" in self.cli("visor", "app", "ls", check=False) and self.pk in self.cli("visor", "pk", check=False)

    def cli(self, *argv, **more):
        return self.box.run(self.binary, "cli", *argv, cwd=self.dir, **more)

    def kill(self):
        self.program.stop(signal.SIGKILL)

    def stop(self):
        self.program.stop(signal.SIGINT, 20)

    def dial(self, pk, carrier=None):
        """tp add; returns an empty text when the transport is up, the command's words otherwise."""
        out = self.cli("tp", "add", "-f", "-t", carrier or self.carrier, pk, check=False, timeout=40)
        return "" if self.transport(pk, carrier) else out.strip() or "no word"

    def transport(self, pk, carrier=None):
        """The id of its transport of that type with a key, or None."""
        for line in self.cli("tp", check=False).splitlines():
            words = line.split()
            if pk in words and (carrier or self.carrier) in words:
                return next((w for w in words if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", w)), None)
        return None

    def app(self, action, name):
        return self.cli("visor", "app", action, name, check=False)

    def app_state(self, name):
        """running, stopped, errored or starting, as it is listed; None where there is no such app."""
        for line in self.cli("visor", "app", "ls", check=False).splitlines():
            words = line.split()
            if name in words:
                return next((w for w in words if w in ("running", "stopped", "errored", "starting")), line)
        return None

    def drop(self, tp_id):
        self.cli("tp", "rm", "-i", tp_id)

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()


# At its end a Go visor closes its log server and its dmsg client in any order: alone with its services it warns so too, in 2 of 36.
AT_ITS_END = ("[dmsghttp_logserver]: Logserver exited with error. error=\"http: Server closed\"",
              "[dmsghttp_logserver]: error=\"dmsg error N - local entity closed\"")
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
