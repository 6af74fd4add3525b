#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
#
# A peer that misbehaves: rogue.py ADDR:PORT KIND SECONDS
#
#	silent		many connections that never say a word
#	garbage		random bytes, connection after connection
#	greetings	greetings with random roles, ids and secrets
#	hello		sessions that are opened under the name of the one that moves, and others
import os
import random
import socket
import struct
import sys
import time

NAMES = [b"test", b"other", b"../test", b""]


def connect(address):
    s = socket.create_connection(address, timeout=1)
    s.settimeout(0.2)
    return s


def greeting(role, channel=0, session=bytes(16), secret=bytes(32)):
    return struct.pack("<IHBBHHI", 0x4446554D, 1, role, 0, channel, 0, 0) + session + secret


def field(number, value):
    if isinstance(value, bytes):
        return bytes([number << 3 | 2, len(value)]) + value
    out = bytearray([number << 3])
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def hello(name):
    body = field(1, name) + field(2, random.choice([1, 4, 64, 1000])) + field(3, 1 << 20)
    body += field(4, 1) + field(6, random.randrange(2)) + field(7, 0) + field(8, 4096)
    return struct.pack("<IHHI", 0x4D43464D, 1, 0, len(body)) + body


def one(kind, s):
    if kind == "garbage":
        s.sendall(os.urandom(random.randrange(1, 1 << 16)))
    elif kind == "greetings":
        role, channel = random.randrange(5), random.randrange(9)
        s.sendall(greeting(role, channel, os.urandom(16), os.urandom(32)))
    elif kind == "hello":
        s.sendall(greeting(1) + hello(random.choice(NAMES)))
    s.recv(4096)


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    kind, end = sys.argv[2], time.monotonic() + float(sys.argv[3])
    held = []
    while time.monotonic() < end:
        try:
            s = connect((host, int(port)))
            if kind == "silent":
                held.append(s)
                time.sleep(0.01 if len(held) < 60 else 0.5)
                continue
            one(kind, s)
        except OSError:
            time.sleep(0.02)
        held.append(s)
        if len(held) > 20:
            held.pop(0).close()


main()
