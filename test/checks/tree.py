# SPDX-License-Identifier: GPL-2.0-only
#
# The files that the checks look at: those that people write, by their kind.
import os
import re
import sys

os.chdir(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))

KINDS = {
    "c": re.compile(r"\.[ch]$"),
    "shell": re.compile(r"\.(bash|bats|sh)$"),
    "proto": re.compile(r"\.proto$"),
    "make": re.compile(r"(^|/)Makefile$"),
    "md": re.compile(r"\.md$"),
    "conf": re.compile(r"\.(conf|service|socket|slice)$"),
    "python": re.compile(r"\.py$"),
}
SKIPPED = (".git", "build", "corpus", "__pycache__")
SCRIPT = re.compile(r"^#!.*\b(bash|sh|python3)\b")


def kind(path):
    """The kind of a file, from its name or its first line; None: not one that the checks look at."""
    for name, pattern in KINDS.items():
        if pattern.search(path):
            return name
    if "." in os.path.basename(path) or not os.access(path, os.X_OK):
        return None
    with open(path, encoding="utf-8", errors="replace") as f:
        script = SCRIPT.match(f.readline())
    return script and ("python" if script[1] == "python3" else "shell")


def files(only=()):
    """Pairs of path and kind; `only`: files and folders that the caller named, else everything."""
    for start in only or ["."]:
        if os.path.isfile(start):
            yield os.path.normpath(start), kind(start)
        for where, folders, names in os.walk(start):
            where = os.path.normpath(where)
            folders[:] = sorted(d for d in folders if d not in SKIPPED)
            for path in sorted(os.path.normpath(os.path.join(where, n)) for n in names):
                if kind(path):
                    yield path, kind(path)


def lines(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        yield from enumerate(f.read().split("\n"), 1)


def run(check, only):
    """Prints what check(path, kind) finds; the status: 1 if it found anything."""
    count = 0
    for path, what in files(only):
        for number, text in check(path, what):
            print("%s:%d: %s" % (path, number, text))
            count += 1
    return 1 if count else 0
