#!/usr/bin/env python3
"""What peers of 2026 send, ours lives with: scripted, since nothing of the existing implementation is needed.

A scripted peer (sg-scripted-peer, built from peer.c) dials skygated and is dialled by it: handshakes with an extra payload
(1,184 bytes of an ML-KEM key, 1,088 of its answer) and with JSON members nobody knows yet; then the table in tolerates.c; HTTP
and QUIC on the port of stcp. It proves each time by a ping of its own that the transport works.

    peer2026.py [--pings N]      also waits for N of the visor's own pings, one a minute
"""

import argparse
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import boxes
import product
import skygate
from boxes import SCRATCH, Box, Failed, need_programs, need_root, wait_for

PEER = product.build_dir() + "/tests/sg-scripted-peer"
LENGTHS = (0, 1, 1088, 1184, 4045, 4046, 8192)  # 4045 fills a message of 4,094 bytes
STRANGERS = {"an HTTP request": b"GET /dmsg HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
             "a QUIC Initial": bytes([0xc3, 0, 0, 0, 1, 8]) + bytes(1194)}


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


def stranger(box, what, words):
    """Somebody who tries another carrier on our port is left without an answer."""
    with box.entered():
        s = socket.create_connection(("127.0.0.1", 7777), timeout=15)
    with s:
        s.sendall(words)
        try:
            answer = s.recv(100)
        except ConnectionResetError:
            answer = b""
        if answer:
            raise Failed(f"{what} on the port of stcp was answered: {answer!r}")
    print(f"{what} on the port of stcp: closed")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pings", type=int, default=0)
    args = p.parse_args()
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
        print(box.run(PEER, "tolerates", "127.0.0.1", "7777", visor.pk).strip())
        for what, words in STRANGERS.items():
            stranger(box, what, words)
        if args.pings:
            print(box.run(PEER, "pings", "127.0.0.1", "7777", visor.pk, args.pings, timeout=66 * args.pings).strip())
        if visor.stop() != 0:
            raise Failed(f"skygated did not end well:\n{visor.program.tail()}")
    except Failed as e:
        print(f"FAILED: {e}")
        sys.exit(1)


if __name__ == "__main__":
    main()
