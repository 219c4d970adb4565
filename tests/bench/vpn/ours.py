"""Ours: skygate-netd and skygated at both ends, with configuration files as a user would write them."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../interop"))

import product
import reference
from boxes import Failed
from rivals import Missing, Rival, need

CORE_UID = 64001


class Ours(Rival):
    name, steers_lan = "ours", True
    visor = more = ""  # options of the visor, sections that both ends have besides

    def up(self):
        if not os.path.exists(product.build_dir() + "/bin/skygate-netd"):
            raise Missing(f"{product.build_dir()}/bin/skygate-netd is not built")
        router, exit_ = self.end("r"), self.end("e")
        self.configure("r", f"""
config interface 'home'
	option role 'lan'
	list device 'lan0'

config peer 'my_exit'
	option pk '{exit_}'
	list address 'stcp://{self.net.EXIT}:7777'

config vpn_client 'vpn'
	option mode 'vpn'
	option kill_switch '1'
	list exit 'my_exit'
	list probe '{self.net.SERVER}'
""")
        self.configure("e", f"""
config carrier 'stcp'
	list listen '{self.net.EXIT}:7777'

config vpn_server 'exit'
	option uplink 'inet0'
	list allow_pk '{router}'
""")
        # The home router's own translation and MSS, as a router has them without us.
        self.net.router.run("nft", "-f", "-", input='table ip home {\nchain post {\n type nat hook postrouting priority srcnat\n'
                            ' oifname "wan0" masquerade\n}\n}\n')
        self.at_exit(*self.command("e"))
        self.at_router(*self.command("r"))

    def end(self, who):
        """Directories and identity of one end; its public key."""
        for d in ("run", "state"):
            os.makedirs(f"{self.dir}/{who}/{d}", exist_ok=True)
        os.chmod(self.dir, 0o755)
        os.chown(f"{self.dir}/{who}/state", CORE_UID, CORE_UID)
        key = f"{self.dir}/{who}/state/identity.key"
        if os.path.exists(key):
            os.unlink(key)
        return product.keygen(key, CORE_UID)

    def configure(self, who, sections):
        path = self.file(f"{who}/skygate.conf", f"""config visor 'main'
	option identity '{self.dir}/{who}/state/identity.key'
	option user '{CORE_UID}'
	list plugin 'transport-tcp'
	list plugin 'app-vpn'
{self.visor}{self.more}{sections}""")
        os.chmod(path, 0o644)

    def command(self, who):
        d = f"{self.dir}/{who}"
        return (product.program("skygate-netd"), "--config", d + "/skygate.conf", "--run", d + "/run", "--state", d + "/state",
                "--plugins", product.plugins())

    def down(self):
        for p in self.router + self.exit:
            p.stop(signal.SIGTERM)


class OursByGroup(Ours):
    """By a route group over the one transport between them, two layers of encryption.

    Its rules go over dmsg (port 136), so the provider runs a dmsg server and discovery of the existing implementation; no
    packet of the VPN passes there.
    """

    name, direct = "ours-group", False

    def up(self):
        binary = os.environ.get("SKYWIRE_REFERENCE", "")
        need("redis-server", "redis-server")
        if not os.access(binary, os.X_OK):
            raise Missing("SKYWIRE_REFERENCE does not name a program; a route is set up over its dmsg server")
        with self.net.wan.entered():
            self.services = reference.Services(binary, None, ("dmsg-discovery", "dmsg-server"), self.net.wan)
        self.visor += f"\tlist plugin 'transport-dmsg'\n\toption direct_streams '{self.direct:d}'\n"
        self.more = f"\nconfig deployment 'net'\n\toption dmsg_discovery '{reference.DMSG_DISCOVERY}'\n"
        super().up()

    def check(self):
        """That it is a route, in the words of the product."""
        text = self.net.router.run(product.program("skygate"), "--socket", f"{self.dir}/r/run/control.sock", "route", "ls")
        if "consume" not in text and "forward" not in text:
            raise Failed(f"no route carries the VPN:\n{text}")

    def down(self):
        super().down()
        if hasattr(self, "services"):
            self.services.stop_all()
