"""What was built, installed where an unprivileged user reaches it: a build tree may lie under /root."""

import os

from boxes import SCRATCH, Failed, call

PREFIX = SCRATCH + "/usr"


def build_dir():
    here = os.path.dirname(os.path.abspath(__file__))
    return os.environ.get("SG_BUILD") or os.path.abspath(os.path.join(here, "../../build/dev"))


def install():
    if not os.path.exists(PREFIX):
        call("cmake", "--install", build_dir(), "--prefix", PREFIX)


def program(name):
    install()
    for folder in ("sbin", "bin", "libexec/skygate"):
        path = f"{PREFIX}/{folder}/{name}"
        if os.access(path, os.X_OK):
            return path
    raise Failed(f"{name} is not among what was installed from {build_dir()}")


def plugins():
    install()
    for folder, _, files in os.walk(PREFIX):
        if "transport-tcp.so" in files:
            return folder
    return PREFIX + "/lib/skygate"  # linked in


def keygen(path, uid):
    """A new identity for a user; its public key."""
    pk = call(program("skygate"), "keygen", "--out", path).split()[-1]
    os.chown(path, uid, uid)
    return pk
