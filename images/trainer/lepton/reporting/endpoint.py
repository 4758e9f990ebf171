"""The HTTP endpoint of a training process: GET /progress, /metrics and /healthz.

One daemon thread serves all clients without blocking on any: slow ones are dropped after a few
seconds, the number of connections and the requests per second are bounded, so that training
keeps its core whatever knocks.
"""

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_CONNECTIONS = 64
MAX_REQUEST_BYTES = 8192
CONNECTION_SECONDS = 5.0
PAUSE = 0.002
"""Seconds between two rounds; with REQUESTS_PER_ROUND it bounds the share of a core."""
REQUESTS_PER_ROUND = 2

Response = tuple[str, str]
"""Content type and body."""


@dataclass
class _Connection:
    since: float
    received: bytes = b""
    to_send: bytes = field(default=b"")


class Endpoint:
    """Serves `routes`, functions from nothing to (content type, body) by path."""

    def __init__(self, port: int, routes: dict[str, Callable[[], Response]]) -> None:
        """Binds all interfaces at once (port 0: any free one). Raises OSError when it can't."""
        self._routes = routes
        family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
        try:
            self._listener = socket.create_server(
                ("", port), family=family, backlog=128,
                dualstack_ipv6=family == socket.AF_INET6,
            )  # fmt: skip
        except OSError:
            if family == socket.AF_INET:
                raise
            self._listener = socket.create_server(("", port), backlog=128)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._connections: dict[socket.socket, _Connection] = {}
        threading.Thread(target=self._serve, name="lepton-endpoint", daemon=True).start()

    def _serve(self) -> None:
        while True:
            events = self._selector.select(timeout=1.0)
            served = 0
            for key, _ in events:
                if key.fileobj is self._listener:
                    self._accept()
                elif served < REQUESTS_PER_ROUND:
                    served += self._advance(key.fileobj)  # type: ignore[arg-type]
            self._drop_slow()
            time.sleep(PAUSE)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            client.setblocking(False)
            if len(self._connections) >= MAX_CONNECTIONS:
                oldest = min(self._connections, key=lambda c: self._connections[c].since)
                self._close(oldest)
            self._connections[client] = _Connection(time.monotonic())
            self._selector.register(client, selectors.EVENT_READ)

    def _advance(self, client: socket.socket) -> int:
        """Receive or send what goes without waiting; 1 when a request was answered."""
        connection = self._connections.get(client)
        if connection is None:
            return 0
        answered = 0
        try:
            if not connection.to_send:
                data = client.recv(MAX_REQUEST_BYTES)
                connection.received += data
                if not data or len(connection.received) > MAX_REQUEST_BYTES:
                    self._close(client)
                    return 0
                if b"\r\n\r\n" not in connection.received:
                    return 0
                connection.to_send = self._answer(connection.received)
                answered = 1
            sent = client.send(connection.to_send)
            connection.to_send = connection.to_send[sent:]
            if connection.to_send:
                self._selector.modify(client, selectors.EVENT_WRITE)
            else:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_WR)
                self._close(client)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._close(client)
        return answered

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        path = rest.split(" ")[0].split("?")[0]
        route = self._routes.get(path)
        if method not in ("GET", "HEAD"):
            status, kind, body = "405 Method Not Allowed", "text/plain", "use GET\n"
        elif route is None:
            known = " ".join(self._routes)
            status, kind, body = "404 Not Found", "text/plain", f"there is {known}\n"
        else:
            try:
                kind, body = route()
                status = "200 OK"
            except Exception as error:
                status, kind, body = "500 Internal Server Error", "text/plain", f"{error}\n"
        content = body.encode()
        head = (
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\n"
            f"Content-Length: {len(content)}\r\nCache-Control: no-store\r\n"
            "Connection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == "HEAD" else content)

    def _drop_slow(self) -> None:
        limit = time.monotonic() - CONNECTION_SECONDS
        for client in [c for c, state in self._connections.items() if state.since < limit]:
            self._close(client)

    def _close(self, client: socket.socket) -> None:
        self._connections.pop(client, None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(client)
        client.close()
