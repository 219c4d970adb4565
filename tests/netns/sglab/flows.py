"""Many quiet TCP connections through the router, each with a message and its echo ten times a second."""
import selectors
import socket
import threading
import time

from . import home, web
from .lab import Failed

PERIOD = 0.1


class _Flow:
    def __init__(self, sock):
        self.sock = sock
        self.sent = self.answered = 0      # numbers of messages
        self.sent_at = {}                  # number: time
        self.good_since = 0.0              # the latest message that was answered left at this time
        self.rest = b""
        self.dead = None


class Flows:
    """Opens count connections from the LAN; a thread keeps them talking until close()."""

    def __init__(self, space, count, address=home.WEB4):
        self.flows, self.seen_as = [], set()
        for _ in range(count):
            sock = web.connect(space, address)
            self.seen_as.add(web.echo(sock))
            sock.setblocking(False)
            self.flows.append(_Flow(sock))
        self._stop = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        selector = selectors.DefaultSelector()
        for flow in self.flows:
            selector.register(flow.sock, selectors.EVENT_READ, flow)
        # One after the other, evenly over the period: all at once would be a burst that no LAN of 200 people makes.
        step, turn, due = PERIOD / len(self.flows), 0, time.monotonic()
        while not self._stop:
            now = time.monotonic()
            while due <= now:
                self._send(self.flows[turn], now)
                turn = (turn + 1) % len(self.flows)
                due += step
            for key, _ in selector.select(max(0.0, due - now)):
                if not self._receive(key.data):
                    selector.unregister(key.fileobj)

    @staticmethod
    def _send(flow, now):
        if flow.dead or len(flow.sent_at) > 1000:
            return
        try:
            # Eight bytes never fill the socket's buffer while fewer than a thousand are unanswered.
            flow.sock.send(b"%7d\n" % (flow.sent + 1))
            flow.sent += 1
            flow.sent_at[flow.sent] = now
        except BlockingIOError:
            pass
        except OSError as error:
            flow.dead = error

    @staticmethod
    def _receive(flow):
        try:
            data = flow.sock.recv(65536)
        except BlockingIOError:
            return True
        except OSError as error:
            flow.dead = error
            return False
        if not data:
            flow.dead = ConnectionError("closed by the server")
            return False
        *lines, flow.rest = (flow.rest + data).split(b"\n")
        for line in lines:
            if int(line) != flow.answered + 1:
                flow.dead = ValueError(f"message {flow.answered + 1} came back as {line!r}")
                return False
            flow.answered += 1
            flow.good_since = flow.sent_at.pop(flow.answered)
        return True

    def wait_alive(self, since, timeout):
        """Until every flow has an answer to something it sent after `since` (time.monotonic()); how long that took."""
        deadline = time.monotonic() + timeout
        while True:
            dead = [flow.dead for flow in self.flows if flow.dead]
            if dead:
                raise Failed(f"{len(dead)} of {len(self.flows)} connections died: {dead[0]!r}")
            waiting = sum(flow.good_since < since for flow in self.flows)
            if not waiting:
                return time.monotonic() - since
            if time.monotonic() > deadline:
                raise Failed(f"{waiting} of {len(self.flows)} connections did not continue within {timeout:g} s")
            time.sleep(0.02)

    def answers_since(self, since):
        return sum(flow.good_since >= since for flow in self.flows)

    def close(self):
        self._stop = True
        self._thread.join()
        for flow in self.flows:
            flow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            flow.sock.close()
