# SPDX-License-Identifier: GPL-2.0-or-later
"""One TCP connection with an exact payload in one direction: `tcp_peer.py serve|call ADDRESS PORT send|take BYTES`.

The sender writes the bytes and closes its side; the receiver takes all until then and closes too. Nothing else
passes: no control connection, no report. `serve` prints "ready" once it listens; both print the bytes they moved.
"""

import socket
import sys


def send(connection, count):
    block = bytes(1 << 16)
    left = count
    while left:
        left -= connection.send(block[:left])
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(1 << 16):
        pass
    return count


def take(connection):
    total, buffer = 0, bytearray(1 << 18)
    while got := connection.recv_into(buffer):
        total += got
    return total


def main():
    role, address, port, action, count = sys.argv[1:]
    if role == "serve":
        listener = socket.create_server((address, int(port)))
        print("ready", flush=True)
        connection = listener.accept()[0]
    else:
        connection = socket.create_connection((address, int(port)), timeout=10)
    with connection:
        connection.settimeout(60)
        print(send(connection, int(count)) if action == "send" else take(connection))


main()
