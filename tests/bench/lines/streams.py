"""TCP streams between LAN and web, as many and as fast as they can, and pings beside them."""
import contextlib
import re
import selectors
import signal
import socket
import subprocess
import threading
import time

from sglab import home
from sglab.lab import Failed, wait_for

PORT = 5201
BLOCK = bytes(65536)


def tcp(space, buffer=None):
    with space.entered():
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    return sock


class Streams:
    """count streams down (web to LAN) or up; a thread keeps them busy until close(). got: bytes that arrived, by stream."""

    def __init__(self, world, count, down):
        self.got, self._socks, self._stop = [0] * count, [], False
        self._selector, self._down = selectors.DefaultSelector(), down
        # Of hundreds each has little to wait in; one alone gets what the kernel thinks right.
        buffer = 65536 if count > 100 else None
        listener = tcp(world.web, buffer)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((home.WEB4, PORT))
        listener.listen(1024)
        listener.settimeout(15)
        self._socks.append(listener)
        try:
            self._connect(world, listener, count, buffer)
        except OSError as error:
            self.close()
            raise Failed(f"{count} connections to the web were not made: {error}") from None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _connect(self, world, listener, count, buffer):
        numbers = {}
        for i in range(count):
            sock = tcp(world.lan, buffer)
            self._socks.append(sock)
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sock.connect((home.WEB4, PORT))
            numbers[sock.getsockname()[1]] = i
            self._watch(sock, i, not self._down)
        for i in range(count):
            try:
                sock, (_, port) = listener.accept()
            except TimeoutError:
                if i < 0.95 * count:
                    raise
                return  # those that are missing count as streams that got nothing
            self._socks.append(sock)
            sock.setblocking(False)
            # A home router without us may have changed the port; who it is matters only for a sum per stream.
            self._watch(sock, numbers.get(port, i), self._down)

    def _watch(self, sock, number, sends):
        self._selector.register(sock, selectors.EVENT_WRITE if sends else selectors.EVENT_READ, number)

    def _run(self):
        space = bytearray(1 << 18)
        while not self._stop:
            for key, events in self._selector.select(0.1):
                try:
                    if events & selectors.EVENT_WRITE:
                        key.fileobj.send(BLOCK)
                    else:
                        self.got[key.data] += key.fileobj.recv_into(space)
                except BlockingIOError:
                    pass
                except OSError:
                    self._selector.unregister(key.fileobj)

    def close(self):
        self._stop = True
        if hasattr(self, "_thread"):
            self._thread.join()
        for sock in self._socks:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
        self._selector.close()


class Pings:
    """Twenty a second from the LAN to the web."""

    def __init__(self, world):
        self._ping = world.lan.spawn(["ping", "-n", "-D", "-i", "0.05", home.WEB4], stdout=subprocess.PIPE, text=True)

    def end(self):
        """[(when it was sent, ms)], and how many were lost before the last that was answered."""
        self._ping.send_signal(signal.SIGINT)
        found = re.findall(r"^\[([\d.]+)\].*icmp_seq=(\d+).*time=([\d.]+)", self._ping.communicate()[0], re.M)
        seen = {int(number): (float(at) - float(ms) / 1000, float(ms)) for at, number, ms in found}
        return list(seen.values()), max(seen, default=0) - len(seen)


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def jain(values):
    return sum(values) ** 2 / len(values) / sum(v * v for v in values) if any(values) else 0.0


def idle_ms(world):
    """The shortest of ten pings."""
    text = world.lan.run(["ping", "-n", "-c", "20", "-i", "0.05", home.WEB4], check=False).stdout
    return percentile([float(ms) for ms in re.findall(r"time=([\d.]+)", text)], 0.5)


def load(world, count, down, start_s, seconds):
    """
    What count streams reach and what pings see meanwhile. The first start_s seconds are told apart: start: p99 of its pings.
    """
    pings, streams = Pings(world), None
    try:
        streams = Streams(world, count, down)
        begin = time.time()
        time.sleep(start_s)
        first, at = list(streams.got), time.monotonic()
        time.sleep(max(0.1, begin + start_s + seconds - time.time()))
        last, took = list(streams.got), time.monotonic() - at
    finally:
        if streams:
            streams.close()
        seen, lost = pings.end()
    moved = [b - a for a, b in zip(first, last)]
    early = [ms for at, ms in seen if at < begin + start_s]
    late = [ms for at, ms in seen if at >= begin + start_s]
    return {"mbit": sum(moved) * 8 / took / 1e6, "start_mbit": sum(first) * 8 / start_s / 1e6 if start_s else 0.0,
            "jain": jain(moved), "p50": percentile(late, 0.5), "p99": percentile(late, 0.99),
            "start_p99": percentile(early, 0.99), "pings_lost": lost, "pings": len(seen) + lost}


def transfer(world, size, down):
    """Mbit/s of size bytes over one new connection, its handshake included; 0: not done within a minute and a half."""
    streams, start = Streams(world, 1, down), time.monotonic()
    try:
        wait_for("the transfer", lambda: streams.got[0] >= size, 90)
        return size * 8 / (time.monotonic() - start) / 1e6
    except Failed:
        return 0.0
    finally:
        streams.close()
