"""A bad line: tests/lab/wire as a running program."""
import re
import signal
import subprocess
import tempfile

from .lab import Failed
from .watch import tool


class Line:
    """wire between two ends, e.g. Line(lab, "tap:sg-router:wan0", "tap:sg-wan:to_router", "--delay", "20")."""

    def __init__(self, lab, end_a, end_b, *options):
        self._errors = tempfile.TemporaryFile(mode="w+", dir=lab.dir)
        # In the namespace of no end: it enters theirs by itself. It must end with the lab, so it lives in one of them.
        space = next(iter(lab.spaces.values()))
        self.process = space.spawn([tool("wire"), *options, end_a, end_b], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=self._errors, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise Failed(f"wire did not start: {self.errors()}")

    def errors(self):
        self._errors.seek(0)
        return self._errors.read().strip()

    def _read(self):
        both = []
        for _ in range(2):
            line = self.process.stdout.readline()
            if not line:
                raise Failed(f"wire ended: {self.errors()}")
            numbers = {name: int(value) for name, value in re.findall(r"(\w+) (\d+)", line)}
            numbers["longest"] = int(re.search(r"longest queue (\d+)", line).group(1))
            numbers["queue"] = int(re.search(r"dropped:.* queue (\d+)", line).group(1))
            both.append(numbers)
        return both

    def report(self):
        """Two dicts, A to B and B to A: in, out, loss, queue, hole, memory, end, reordered, longest."""
        self.process.send_signal(signal.SIGUSR1)
        return self._read()

    def close(self):
        """Ends it; its last report."""
        self.process.terminate()
        last = self._read()
        self.process.wait()
        self.process.stdout.close()
        self._errors.close()
        return last
