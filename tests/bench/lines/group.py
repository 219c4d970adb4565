"""A router behind an exit by a route group: two layers of encryption over the one transport between them.

Its rules are asked for over dmsg, so the provider runs a dmsg server and discovery of the existing implementation; no packet
of the VPN passes there.
"""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pylib"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../interop"))

import boxes
from sglab.home import address
from sglab.lab import Failed
from sglab.skygate import Pair


def available():
    return os.access(os.environ.get("SKYWIRE_REFERENCE", ""), os.X_OK)


class ByGroup(Pair):
    def __init__(self, world):
        boxes.SCRATCH = world.dir  # what the services write goes with the lab
        import reference
        where = boxes.Box.__new__(boxes.Box)
        where.name = world.wan.full
        address(world.wan, "br0", f"{reference.SERVICES}/24")
        with world.wan.entered():
            reference.SCRATCH = world.dir
            reference.Services(os.environ["SKYWIRE_REFERENCE"], None, ("dmsg-discovery", "dmsg-server"), where)
        super().__init__(world)
        for visor in (self.router, self.exit):
            with open(visor.config) as conf:
                text = conf.read()
            mark = "\tlist plugin 'app-vpn'\n"
            with open(visor.config, "w") as conf:
                conf.write(text.replace(mark, mark + "\tlist plugin 'transport-dmsg'\n\toption direct_streams '0'\n") +
                           f"\nconfig deployment 'net'\n\toption dmsg_discovery '{reference.DMSG_DISCOVERY}'\n")

    def up(self, timeout=15):
        took = super().up(timeout)
        text = self.router.space.run([self.router.command, "route", "ls"]).stdout
        if "consume" not in text and "forward" not in text:
            raise Failed(f"no route carries the VPN:\n{text}")
        return took
