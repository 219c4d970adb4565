#!/usr/bin/env python3
"""A handshake with an extra payload is accepted, in both directions: the peers of 2026 send 1,184 bytes of an ML-KEM key.

A scripted peer (sg-scripted-peer, built from peer.c) dials skygated and is dialled by it, with payloads of several lengths,
and proves each transport by a ping of its own. Nothing of the existing implementation is needed.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import boxes
import product
import skygate
from boxes import SCRATCH, Box, Failed, need_programs, need_root, wait_for

PEER = product.build_dir() + "/tests/sg-scripted-peer"
LENGTHS = (0, 1, 1184, 4045, 4046, 8192)  # 4045 fills a message of 4,094 bytes


def dialled(box, visor, length):
    print(box.run(PEER, "dial", "127.0.0.1", "7777", visor.pk, length).strip())


def dialling(box, visor, length, port):
    log = f"{SCRATCH}/peer-{length}.log"
    peer = box.start("peer", PEER, "listen", port, length, log=log)
    wait_for("the peer's key", 5, lambda: peer.text().endswith("\n"))
    visor.ask("transport.add", pk=peer.text().split()[0], address=f"stcp://127.0.0.1:{port}")
    if peer.process.wait(20) != 0:
        raise Failed(f"skygated dialled, payload of {length} bytes: {peer.tail()}\n{visor.program.tail()}")
    print(peer.tail())


def main():
    need_root()
    need_programs({"ip": "iproute2", "setpriv": "util-linux"})
    boxes.enter()
    try:
        box = Box("one")
        visor = skygate.Visor(box, "visor", "127.0.0.1:7777")
        visor.configure()
        visor.start()
        visor.ready()
        for n, length in enumerate(LENGTHS):
            dialled(box, visor, length)
            dialling(box, visor, length, 7800 + n)
        if visor.stop() != 0:
            raise Failed(f"skygated did not end well:\n{visor.program.tail()}")
    except Failed as e:
        print(f"FAILED: {e}")
        sys.exit(1)


if __name__ == "__main__":
    main()
