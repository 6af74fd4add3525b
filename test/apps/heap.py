# SPDX-License-Identifier: GPL-2.0-only
# An application under test (apps.bash, start_heap): CPython's heap. Usage: python3 heap.py MIB
import hashlib
import os
import random
import sys
import threading
import time

rng = random.Random(7)
heap = {}
for i in range(int(sys.argv[1]) * 64):
    # A mebibyte is 64 of these: bytes, and small objects of every kind that point at each other.
    heap[i] = {"bytes": rng.randbytes(15 << 10), "list": [i, str(i) * 3, float(i) / 7, (i, None)],
               "next": heap.get(i - 1)}


def checksum():
    h = hashlib.sha256()
    for i, node in heap.items():
        assert node["next"] is heap.get(i - 1)
        h.update(node["bytes"])
        h.update(repr(node["list"]).encode())
    return h.hexdigest()


rounds = 0


def churn():
    # What a program does all day: garbage, and objects that are replaced by equal ones.
    global rounds
    local = random.Random(8)
    while True:
        i = local.randrange(len(heap))
        heap[i]["bytes"] = bytes(bytearray(heap[i]["bytes"]))
        heap[i]["list"] = list(heap[i]["list"])
        rounds += 1
        if rounds % 50 == 0:
            time.sleep(0.001)


print("ready", checksum(), flush=True)
threading.Thread(target=churn, daemon=True).start()
longest = 0.0
last = time.time()
while not os.path.exists("CHECK"):
    time.sleep(0.002)
    now = time.time()
    longest = max(longest, now - last)
    last = now
print("check", checksum(), "rounds=%d" % rounds, "longest_ms=%.1f" % (longest * 1000), flush=True)
while True:
    time.sleep(1)
