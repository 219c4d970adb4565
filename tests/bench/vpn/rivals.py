"""What is measured: each class brings one tunnel up between the router and the exit, in a fresh pair of boxes.

up() leaves two devices (device_router, device_exit) that the topology gives addresses to, or says own_routing and routes the
LAN itself. router and exit are the lists of programs whose CPU time and memory count.
"""

import os
import re
import shutil

import product
from boxes import SCRATCH, call, wait_for

MTU = 1420


class Missing(Exception):
    """This rival cannot run here; the text says what it needs."""


def need(program, package):
    if not shutil.which(program):
        raise Missing(f"{program} not found (Debian package {package})")


class Rival:
    device_router, device_exit, own_routing = "pmr0", "pme0", False

    def __init__(self, net):
        self.net, self.router, self.exit = net, [], []
        self.dir = f"{SCRATCH}/{self.name}"
        os.makedirs(self.dir, exist_ok=True)

    def at_router(self, *argv, **more):
        self.router.append(self.net.router.start(self.name, *argv, **more))

    def at_exit(self, *argv, **more):
        self.exit.append(self.net.exit.start(self.name, *argv, **more))

    def file(self, name, text):
        path = f"{self.dir}/{name}"
        with open(path, "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as f:
            f.write(text)
        return path

    def check(self):
        """Called when a ping came back: raises Failed when it went another way than it should."""

    def down(self):
        for p in self.router + self.exit:
            p.stop()

    def logs(self):
        return "\n".join(f"-- {p.log}\n{p.tail()}" for p in self.router + self.exit)


class Plain(Rival):
    """No tunnel: the limit. Only here the provider knows the way to the server."""

    name, own_routing = "plain", True

    def up(self):
        self.net.wan.ip("route", "add", "198.51.100.0/24", "via", self.net.EXIT)
        self.net.router.ip("route", "replace", "default", "via", self.net.GATEWAY, "table", "100")

    def down(self):
        self.net.wan.ip("route", "del", "198.51.100.0/24")


class Fastd(Rival):
    name = "fastd"
    method = "salsa2012+umac"

    def keys(self, who):
        text = call("fastd", "--generate-key")
        secret, public = (re.search(w + r": ([0-9a-f]{64})", text)[1] for w in ("Secret", "Public"))
        head = f'mode tun; mtu {MTU}; log level warn; method "{self.method}"; secret "{secret}";\n'
        return head, public

    def up(self):
        need("fastd", "fastd")
        (head_r, public_r), (head_e, public_e) = self.keys("r"), self.keys("e")
        # Only the router calls: two that call at once, or a call to a socket not yet bound, cost fastd's 20 s retry.
        conf_e = self.file("e.conf", head_e + f'interface "pme0"; bind {self.net.EXIT}:10000; peer "r" {{ key "{public_r}"; }}\n')
        conf_r = self.file("r.conf", head_r + f'interface "pmr0"; bind {self.net.ROUTER}:10000;\n'
                           f'peer "e" {{ key "{public_e}"; remote {self.net.EXIT}:10000; }}\n')
        self.at_exit("fastd", "-c", conf_e)
        wait_for("fastd's port", 10, lambda: ":10000" in self.net.exit.run("ss", "-Huln"), every=0.02)
        self.at_router("fastd", "-c", conf_r)


class OpenVPN(Rival):
    """AES-256-GCM over UDP, point to point, peer fingerprints, no kernel offload."""

    name = "openvpn"

    def certificate(self, who):
        crt, key = f"{self.dir}/{who}.crt", f"{self.dir}/{who}.key"
        if not os.path.exists(crt):
            call("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                 "-subj", f"/CN={who}", "-keyout", key, "-out", crt)
        print_ = call("openssl", "x509", "-in", crt, "-noout", "-fingerprint", "-sha256").strip().split("=")[1]
        return ["--cert", crt, "--key", key], print_

    def up(self):
        need("openvpn", "openvpn")
        (own_r, print_r), (own_e, print_e) = self.certificate("r"), self.certificate("e")
        common = ["--dev-type", "tun", "--disable-dco", "--data-ciphers", "AES-256-GCM", "--tun-mtu", str(MTU), "--verb", "1",
                  "--keepalive", "10", "60", "--proto", "udp"]
        self.at_exit("openvpn", *common, "--float", "--dev", "pme0", "--local", self.net.EXIT, "--lport", "1194", "--tls-server",
                     "--dh", "none", *own_e, "--peer-fingerprint", print_r)
        self.at_router("openvpn", *common, "--nobind", "--dev", "pmr0", "--remote", self.net.EXIT, "1194", "--tls-client", *own_r,
                       "--peer-fingerprint", print_e)


class WireguardGo(Rival):
    """The user-space WireGuard; environment WIREGUARD_GO names the program."""

    name = "wireguard-go"

    def up(self):
        program = os.environ.get("WIREGUARD_GO", "")
        if not os.access(program, os.X_OK):
            raise Missing("WIREGUARD_GO does not name a program")
        need("wg", "wireguard-tools")
        os.makedirs("/var/run/wireguard", exist_ok=True)
        keys = {w: call("wg", "genkey") for w in "re"}
        public = {w: call("wg", "pubkey", input=k).strip() for w, k in keys.items()}
        path = {w: self.file(w + ".key", k) for w, k in keys.items()}
        self.at_router(program, "-f", "pmr0")
        self.at_exit(program, "-f", "pme0")
        for dev in ("pmr0", "pme0"):
            wait_for(f"control socket of {dev}", 10, lambda: os.path.exists(f"/var/run/wireguard/{dev}.sock"))
        self.net.exit.run("wg", "set", "pme0", "private-key", path["e"], "listen-port", "51820", "peer", public["r"],
                          "allowed-ips", "10.9.0.2/32")
        self.net.router.run("wg", "set", "pmr0", "private-key", path["r"], "peer", public["e"], "allowed-ips", "0.0.0.0/0",
                            "endpoint", f"{self.net.EXIT}:51820")


class Ceiling(Rival):
    """A program of our shape without our protocol: TUN with segmentation offload, two layers, one TCP connection."""

    name, layers = "ceiling", ()

    def up(self):
        program = product.build_dir() + "/tests/sg-bench-ceiling"
        if not os.access(program, os.X_OK):
            raise Missing(f"{program} is not built")
        self.at_exit(program, "-l", f"{self.net.EXIT}:7000", "-d", "pme0", *self.layers)
        wait_for("its port", 10, lambda: ":7000" in self.net.exit.run("ss", "-Htln"), every=0.02)
        self.at_router(program, "-r", f"{self.net.EXIT}:7000", "-d", "pmr0", *self.layers)


class Ceiling1(Ceiling):
    """With one layer, as a direct stream has."""

    name, layers = "ceiling-1", ("-1",)
