"""Asks the cluster's DNS server one question. Run inside the cluster's network namespace."""

import socket
import struct
import sys
import time


def question(name: str, identifier: int) -> bytes:
    """A query for the IPv4 address of `name` (RFC 1035, section 4.1)."""
    header = struct.pack("!6H", identifier, 0x0100, 1, 0, 0, 0)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return header + labels + b"\0" + struct.pack("!2H", 1, 1)


def is_answered(reply: bytes, identifier: int) -> bool:
    """No error and at least one answer."""
    if len(reply) < 12:
        return False
    received, flags, _, answers = struct.unpack("!4H", reply[:8])
    return bool(received == identifier and flags & 0x8000 and not flags & 0x000F and answers)


def resolves(server: str, name: str, seconds: float) -> bool:
    """Asks until there is an answer or the time is over."""
    deadline = time.monotonic() + seconds
    identifier = 0
    while time.monotonic() < deadline:
        identifier += 1
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(0.3)
            try:
                asking.connect((server, 53))
                asking.send(question(name, identifier))
                if is_answered(asking.recv(512), identifier):
                    return True
            except OSError:
                pass
        time.sleep(0.05)
    return False


if __name__ == "__main__":
    sys.exit(0 if resolves(sys.argv[1], sys.argv[2], float(sys.argv[3])) else 1)
