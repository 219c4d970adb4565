#!/usr/bin/env python3
"""What README.md, ARCHITECTURE.md, threat-model.md and the tests' map name exists: tests by ctest's list, files in the tree.

usage: names.py CTEST
"""
import glob
import os
import re
import subprocess
import sys

DOCS = ["README.md", "tests/README.md", "daemon/doc/ARCHITECTURE.md", "daemon/doc/threat-model.md"]
LABELS = "unit|plugin|abi|fuzz|netns|interop|bench"


def main():
    root, build = os.environ["SG_SOURCE"], os.environ["SG_BUILD"]
    listed = subprocess.run([sys.argv[1], "--test-dir", build, "-N"], capture_output=True, text=True, check=True).stdout
    tests = re.findall(r"Test +#\d+: (\S+)", listed)
    bad, good = [], 0
    for doc in DOCS:
        with open(f"{root}/{doc}") as text:
            text = text.read()
        names = set(re.findall(r"`([^`\n]+)`", text))
        names |= {target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target}
        for name in names:
            if re.fullmatch(rf"({LABELS})\.[\w*-]+", name):
                pattern = re.compile(re.escape(name).replace(r"\*", ".*"))
                found = any(pattern.fullmatch(test) for test in tests)
            elif re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", name) and ("/" in name or re.search(r"\.(c|h|md)$", name)):
                places = [root, f"{root}/daemon", os.path.dirname(f"{root}/{doc}"), f"{root}/plugins/app-vpn"]
                first = name.split("/")[0]
                if not re.search(r"\.(c|h|md)$", name) and not any(os.path.isdir(f"{place}/{first}") for place in places):
                    continue  # a path on the reader's machine
                found = any(glob.glob(f"{place}/{name}") for place in places)
            else:
                continue
            good += found
            if not found:
                bad.append(f"{doc} names {name}, which does not exist")
    print("\n".join(bad + [f"{good} names exist"]))
    return 1 if bad or not good else 0


sys.exit(main())
