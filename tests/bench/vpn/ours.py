"""Ours: skygate-netd and skygated at both ends, with configuration files as a user would write them."""

import os
import signal

import product
from rivals import Missing, Rival

CORE_UID = 64001


class Ours(Rival):
    name, steers_lan = "ours", True

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
{sections}""")
        os.chmod(path, 0o644)

    def command(self, who):
        d = f"{self.dir}/{who}"
        return (product.program("skygate-netd"), "--config", d + "/skygate.conf", "--run", d + "/run", "--state", d + "/state",
                "--plugins", product.plugins())

    def down(self):
        for p in self.router + self.exit:
            p.stop(signal.SIGTERM)
