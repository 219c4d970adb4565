"""The world of the demo and of most scenarios.

    sg-lan            sg-router               sg-wan (the provider)                    sg-web
    eth0 ─────────── lan0   wan0 ─────────── to_router ┐
    192.168.77.10    .77.1  192.0.2.2                  ├ br0 192.0.2.1   to_web ────── eth0
    db8:77::10       ::1    db8:2::2                   │     db8:2::1    198.51.100.1  198.51.100.10
                            sg-exit                    │                 db8:51::1     db8:51::10
                            wan0 ─────────── to_exit   ┘
                            192.0.2.10

(db8 is 2001:db8.) The router is a home router: it forwards, masquerades IPv4 and routes IPv6 with its own ruleset,
and knows nothing of us. IPv6 works from the LAN to the web, so that a leak of it is possible and would be seen.
The provider's line is watched at to_router.
"""
from .lab import Lab

LAN4, LAN6 = "192.168.77.10", "2001:db8:77::10"
ROUTER_LAN4, ROUTER_LAN6 = "192.168.77.1", "2001:db8:77::1"
ROUTER4, ROUTER6 = "192.0.2.2", "2001:db8:2::2"
PROVIDER4, PROVIDER6 = "192.0.2.1", "2001:db8:2::1"
EXIT4, EXIT6 = "192.0.2.10", "2001:db8:2::10"
WEB4, WEB6 = "198.51.100.10", "2001:db8:51::10"
DNS4, DNS6 = "198.51.100.53", "2001:db8:51::53"
CARRIER_PORT = 7777

HOME_RULES = """
table inet home {
	chain forward {
		type filter hook forward priority filter; policy drop;
		ct state established,related accept
		iifname "lan0" accept
	}
	chain postrouting {
		type nat hook postrouting priority srcnat;
		oifname "wan0" meta nfproto ipv4 masquerade
	}
}
"""


def pair(a, name_a, b, name_b):
    """A cable between two namespaces."""
    a.ip(f"link add {name_a} type veth peer name {name_b} netns {b.full}")
    for space, name in ((a, name_a), (b, name_b)):
        space.ip(f"link set {name} up")


def address(space, interface, *addresses):
    for one in addresses:
        space.ip(f"addr add {one} dev {interface}" + (" nodad" if ":" in one else ""))


class Home(Lab):
    """Makes the drawing above; a cable between router and provider can be left out for a line of `wire`."""

    def __init__(self, suffix="", wan_cable=True):
        super().__init__(suffix)
        try:
            self._make(wan_cable)
        except BaseException:
            self.close()
            raise

    def _make(self, wan_cable):
        for name in ("lan", "router", "wan", "exit", "web"):
            setattr(self, name, self.space(name))
        lan, router, wan, exit_, web = self.lan, self.router, self.wan, self.exit, self.web
        for space in (lan, router, wan, exit_, web):
            for which in ("all", "default"):
                space.set(f"net.ipv6.conf.{which}.accept_dad", 0)  # else IPv6 begins a second or two late
        for space in (router, wan):
            space.set("net.ipv4.ip_forward", 1)
            space.set("net.ipv6.conf.all.forwarding", 1)
        for key in ("iptables", "ip6tables", "arptables"):
            wan.run(["sysctl", "-qw", f"net.bridge.bridge-nf-call-{key}=0"], check=False)

        pair(lan, "eth0", router, "lan0")
        address(lan, "eth0", f"{LAN4}/24", f"{LAN6}/64")
        address(router, "lan0", f"{ROUTER_LAN4}/24", f"{ROUTER_LAN6}/64")
        lan.ip(f"route add default via {ROUTER_LAN4}")
        lan.ip(f"route add default via {ROUTER_LAN6}")

        # No port floods multicast: what is seen at to_router came from the router or is for it.
        wan.ip("link add br0 type bridge mcast_snooping 0")
        wan.ip("link set br0 up")
        address(wan, "br0", f"{PROVIDER4}/24", f"{PROVIDER6}/64")
        pair(exit_, "wan0", wan, "to_exit")
        wan.ip("link set to_exit master br0")
        address(exit_, "wan0", f"{EXIT4}/24", f"{EXIT6}/64")
        exit_.ip(f"route add default via {PROVIDER4}")
        exit_.ip(f"route add default via {PROVIDER6}")
        if wan_cable:
            pair(router, "wan0", wan, "to_router")
            self.plug_wan()

        pair(wan, "to_web", web, "eth0")
        address(wan, "to_web", "198.51.100.1/24", "2001:db8:51::1/64")
        address(web, "eth0", f"{WEB4}/24", f"{DNS4}/24", f"{WEB6}/64", f"{DNS6}/64")
        web.ip("route add default via 198.51.100.1")
        web.ip("route add default via 2001:db8:51::1")
        wan.ip(f"route add 2001:db8:77::/64 via {ROUTER6}")
        router.nft(HOME_RULES)

    def plug_wan(self):
        """Addresses of both ends once wan0 and to_router exist."""
        self.wan.ip("link set to_router master br0")
        self.address_wan(ROUTER4)

    def address_wan(self, address4):
        address(self.router, "wan0", f"{address4}/24", f"{ROUTER6}/64")
        self.router.ip(f"route add default via {PROVIDER4}")
        self.router.ip(f"route add default via {PROVIDER6}")
