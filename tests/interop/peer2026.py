#!/usr/bin/env python3
"""What peers of 2026 send, ours lives with: scripted, since nothing of the existing implementation is needed.

A scripted peer (sg-scripted-peer, built from peer.c) dials skygated and is dialled by it: handshakes with an extra payload
(1,184 bytes of an ML-KEM key, 1,088 of its answer) and with JSON members nobody knows yet; then the table in tolerates.c; HTTP
and QUIC on the port of stcp. It proves each time by a ping of its own that the transport works. Then the same on dmsg, by a
scripted server (sg-scripted-server, built from server2026.c) with a discovery and a caller behind it.

    peer2026.py [--pings N]      also waits for N of the visor's own pings, one a minute
"""

import argparse
import http.server
import json
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../pylib"))

import boxes
import product
import skygate
from boxes import SCRATCH, Box, Failed, need_programs, need_root, wait_for

PEER = product.build_dir() + "/tests/sg-scripted-peer"
SERVER = product.build_dir() + "/tests/sg-scripted-server"
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


def dmsg(box):
    """A dmsg server, a discovery behind it and a visor that asks ours. In the middle ours is started anew."""
    server = box.start("server", SERVER, 7900, 60)
    wait_for("the server's keys", 5, lambda: server.text().count("\n") >= 3)
    keys = dict(line.split() for line in server.text().splitlines()[:3])
    visor = skygate.Visor(box, "on-dmsg", "127.0.0.1:7778")
    visor.configure(f"config deployment 'net'\n\toption dmsg_discovery 'dmsg://{keys['discovery']}:80'\n"
                    f"\tlist dmsg_server '{keys['server']}@127.0.0.1:7900'\n", ["transport-dmsg"])
    visor.start()
    try:
        wait_for("all but the second start", 20, lambda: server.text().count("\n") >= 3 + 6 or not server.alive(), every=0.2)
        visor.stop()
        visor.start()
        status = server.process.wait(30)
    except Failed as e:
        raise Failed(f"{e}\n{server.text()}\n{visor.program.tail()}") from None
    print(server.text().partition("  ")[2].rstrip())
    if status != 0:
        raise Failed(f"the scripted server ended with {status}\n{visor.program.tail()}")
    visor.stop()


class Discovery(http.server.BaseHTTPRequestHandler):
    """A discovery whose list of servers holds members of 2026, an entry that is none, and nothing else."""

    entry = {"version": "0.0.1", "sequence": 4, "timestamp": 1790000000000000000, "static": "", "server": {
        "address": "127.0.0.1:7902", "address_v6": "[2001:db8::1]:8081", "address_udp": "127.0.0.1:7902",
        "address_ws": "wss://x.example/dmsg", "address_wt": "https://x.example", "cert_hash_wt": "00",
        "availableSessions": 2048, "serverType": "", "dht_bootstrap": True}, "protocol": "quic"}

    def do_GET(self):
        body = json.dumps([{"version": "0.9", "static": 7}, None, self.entry]).encode()
        self.send_response(200 if "available_servers" in self.path else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def servers(box):
    """The list of servers as a discovery of 2026 has it: ours tries the one in it."""
    visor = skygate.Visor(box, "on-list", "127.0.0.1:7779")
    Discovery.entry["static"] = visor.pk  # any key will do: nobody listens at its address
    with box.entered():
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 7901), Discovery)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    visor.configure("config deployment 'net'\n\toption dmsg_discovery 'http://127.0.0.1:7901'\n", ["transport-dmsg"])
    visor.start()
    visor.ready()
    try:
        wait_for("the server tried", 10, lambda: "127.0.0.1:7902" in visor.program.text())
    except Failed as e:
        raise Failed(f"{e}\n{visor.program.tail()}") from None
    print("  a list of servers with members of 2026, and with what is no entry")
    visor.stop()


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
        dmsg(box)
        servers(box)
        if visor.stop() != 0:
            raise Failed(f"skygated did not end well:\n{visor.program.tail()}")
    except Failed as e:
        print(f"FAILED: {e}")
        sys.exit(1)


if __name__ == "__main__":
    main()
