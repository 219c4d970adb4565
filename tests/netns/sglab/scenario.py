"""The frame of a scenario script: reasons to skip, the report, the exit status."""
import os
import sys
import time
import traceback

from .lab import Failed, end_on_signals, why_not

SKIP = 77
_start = time.monotonic()


def say(text):
    print(f"{time.monotonic() - _start:6.1f} s  {text}", flush=True)


def expect(condition, text):
    if not condition:
        raise Failed(text)


def suffix():
    """Tests use names of their own, so that ./demo may run beside them."""
    return f"-{os.getpid()}"


def is_long():
    """SG_LONG=1 asks for the whole length of what the short run shortens."""
    return os.environ.get("SG_LONG", "0") not in ("", "0")


def run(scenario):
    """Calls scenario(); ends the program with 0, 1 (with a sentence), or 77 after "SKIP: reason"."""
    reason = why_not()
    if reason:
        print(f"SKIP: {reason}")
        sys.exit(SKIP)
    end_on_signals()
    try:
        scenario()
    except Failed as failure:
        say(f"FAILED: {failure}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception:  # the harness itself is wrong: show where
        traceback.print_exc(file=sys.stdout)
        sys.exit(1)
    say("passed")
