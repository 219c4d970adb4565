"""A small capture for interfaces without Ethernet frames (TUN): counts packets that hold a token."""
import socket
import threading

ETH_P_ALL = 3


class Sniffer:
    """with Sniffer(space, "skyx0", b"token") as seen: …; then seen.count. What the interface sends and receives."""

    def __init__(self, space, interface, token):
        with space.entered():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            self.sock.bind((interface, ETH_P_ALL))
        self.sock.settimeout(0.1)
        self.token, self.count, self._stop = token, 0, False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._stop:
            try:
                self.count += self.token in self.sock.recv(1 << 16)
            except TimeoutError:
                pass

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop = True
        self._thread.join()
        self.sock.close()
