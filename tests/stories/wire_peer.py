# SPDX-License-Identifier: GPL-2.0-or-later
"""Traffic that packets are merged and split in: `wire_peer.py tcp-take|tcp-send|udp ADDRESS PORT key=value...`.

tcp-take listens, prints "ready", takes all there is and prints the bytes; tcp-send carries bytes=N in writes of chunk=N,
with mss=N, and 4 bytes of IP options where options=1. udp sends count=N buffers of bytes=N: split by the kernel into
datagrams of segment=N (UDP_SEGMENT), or else into fragments; with IP options where options=1.
"""

import socket
import sys
import time

UDP_SEGMENT = 103           # udp(7)
NO_OPERATION = b"\x01" * 4  # RFC 791


def prepare(connection, want):
    if want.get("mss"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, want["mss"])
    if want.get("options"):
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, NO_OPERATION)


def tcp_take(address, port, want):
    with socket.socket() as listener:
        prepare(listener, want)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        print("ready", flush=True)
        connection, total = listener.accept()[0], 0
    with connection:
        connection.settimeout(60)
        while got := connection.recv(1 << 18):
            total += len(got)
    return total


def tcp_send(address, port, want):
    with socket.socket() as connection:
        connection.settimeout(60)
        prepare(connection, want)
        connection.connect((address, port))
        if want.get("chunk"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        block, left = bytes(want.get("chunk") or 1 << 16), want["bytes"]
        while left:
            left -= connection.send(block[:left])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    return want["bytes"]


def udp(address, port, want):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        prepare(sender, want)
        if want.get("segment"):
            sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, want["segment"])
        for _ in range(want["count"]):
            sender.sendto(bytes(want["bytes"]), (address, port))
            time.sleep(0.001)  # a queue on the way takes 1,000 packets
    return want["count"]


def main():
    role, address, port, *options = sys.argv[1:]
    want = {key: int(value) for key, value in (option.split("=") for option in options)}
    print({"tcp-take": tcp_take, "tcp-send": tcp_send, "udp": udp}[role](address, int(port), want))


main()
