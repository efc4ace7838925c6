# SPDX-License-Identifier: GPL-2.0-or-later
"""Gratuitous ARP, as the l3-agent sends it for a new address: `announce.py DEVICE ADDRESS...` inside the router.

Without it a neighbour would go on sending to the router that had the address before.
"""

import socket
import struct
import sys


def main():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((sys.argv[1], 0x0806))
        mac = link.getsockname()[4]
        for text in sys.argv[2:]:
            address = socket.inet_aton(text)
            arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, mac, address, b"\0" * 6, address)
            link.send(b"\xff" * 6 + mac + b"\x08\x06" + arp)


main()
