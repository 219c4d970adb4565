"""The web server at the far end, and its clients.

    python3 web.py LOGFILE       port 80: says whose address it sees; port 7000: the transfer service below

Every connection's peer goes into LOGFILE, one JSON object per line. The transfer service reads one line and then:

    D <bytes>    sends so many random bytes and their SHA-256 (32 bytes)
    U <bytes>    takes so many bytes and their SHA-256, answers "ok" or "broken"
    E            says "peer <address> <port>", then echoes

MARKER begins every block that is sent, so that plaintext is found in a capture wherever it is cut.
"""
import hashlib
import http.server
import json
import os
import socket
import socketserver
import sys
import threading
import time

PORT = 7000
BLOCK = 1 << 16
MARKER = "Skygate-payload-marker-7f3a91"
_log_lock = threading.Lock()


def _plain(address):
    return address[7:] if address.startswith("::ffff:") else address


def _blocks(total):
    while total > 0:
        block = MARKER.encode() + os.urandom(BLOCK - len(MARKER))
        yield block[:total]
        total -= BLOCK


def _send(sock, total):
    digest = hashlib.sha256()
    for block in _blocks(total):
        digest.update(block)
        sock.sendall(block)
    sock.sendall(digest.digest())


def _receive(sock, total):
    """True when the hash behind the bytes is theirs."""
    digest, view = hashlib.sha256(), memoryview(bytearray(1 << 18))
    while total:
        got = sock.recv_into(view, min(total, len(view)))
        if not got:
            raise ConnectionError(f"the connection ended {total} bytes too early")
        digest.update(view[:got])
        total -= got
    theirs = b""
    while len(theirs) < 32:
        more = sock.recv(32 - len(theirs))
        if not more:
            raise ConnectionError("the connection ended in front of the hash")
        theirs += more
    return theirs == digest.digest()


def _line(sock):
    text = b""
    while not text.endswith(b"\n"):
        one = sock.recv(1)
        if not one:
            raise ConnectionError("the connection ended in front of an answer")
        text += one
    return text.decode().strip()


# The clients. sock: a connection to PORT.

def download(sock, total):
    sock.sendall(b"D %d\n" % total)
    return _receive(sock, total)


def upload(sock, total):
    sock.sendall(b"U %d\n" % total)
    _send(sock, total)
    return _line(sock) == "ok"


def echo(sock):
    """Makes it an echo; the peer's address as the server sees it."""
    sock.sendall(b"E\n")
    return _line(sock).split()[1]


class _Service(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.note(self.client_address, "transfer")
        try:
            word, *more = _line(self.request).split()
            if word == "D":
                _send(self.request, int(more[0]))
            elif word == "U":
                self.request.sendall(b"ok\n" if _receive(self.request, int(more[0])) else b"broken\n")
            elif word == "E":
                self.request.sendall(f"peer {_plain(self.client_address[0])} {self.client_address[1]}\n".encode())
                while True:
                    data = self.request.recv(1 << 16)
                    if not data:
                        return
                    self.request.sendall(data)
        except OSError:
            pass  # the client went away


class _Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.note(self.client_address, self.path)
        body = f"Hello. I see you as {_plain(self.client_address[0])}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port, handler, log):
        self.log = log
        super().__init__(("::", port), handler)

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def note(self, peer, what):
        with _log_lock:
            print(json.dumps({"time": time.time(), "peer": _plain(peer[0]), "port": peer[1], "what": what}),
                  file=self.log, flush=True)


class Web:
    """The server running in a namespace, and its log."""

    def __init__(self, space):
        self.log = f"{space.lab.dir}/web.log"
        # In a session of its own: Ctrl-C in a terminal is for who started us; the lab ends this one.
        self.process = space.spawn([sys.executable, os.path.abspath(__file__), self.log], start_new_session=True)
        from .lab import wait_for
        wait_for("the web server listens", lambda: self._listens(space), 10)

    @staticmethod
    def _listens(space):
        with space.entered():
            try:
                socket.create_connection(("::1", PORT), timeout=1).close()
                return True
            except OSError:
                return False

    def peers(self, since=0.0):
        """Addresses that connected after a time (time.time()), itself left out."""
        with open(self.log) as lines:
            seen = [json.loads(line) for line in lines]
        return {one["peer"] for one in seen if one["time"] >= since and one["peer"] != "::1"}


def connect(space, address, port=PORT, timeout=10.0):
    """A TCP connection from inside a namespace."""
    with space.entered():
        return socket.create_connection((address, port), timeout=timeout)


def fetch(space, address, timeout=5.0):
    """The page, or None."""
    try:
        with connect(space, address, 80, timeout) as sock:
            sock.sendall(f"GET / HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            text = b""
            while True:
                more = sock.recv(4096)
                if not more:
                    break
                text += more
            return text.partition(b"\r\n\r\n")[2].decode().strip()
    except OSError:
        return None


def main():
    log = open(sys.argv[1], "a")
    page = _Server(80, _Page, log)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    _Server(PORT, _Service, log).serve_forever()


if __name__ == "__main__":
    main()
