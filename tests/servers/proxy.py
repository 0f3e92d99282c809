"""A TCP proxy that breaks connections on purpose."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Literal

Direction = Literal["to server", "to client"]
Moment = Literal["before", "after"]
_RESET = struct.pack("ii", 1, 0)


class _Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_mute = False

    def reset(self) -> None:
        """Break both ends."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # A thread that reads from it must notice.
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class FaultProxy:
    """Passes bytes on to a port of this machine until it is told to do worse.

    Parameters
    ----------
    port: int
        The server's.

    Attributes
    ----------
    port: int
        The proxy's.
    cuts: int
        How often a connection was cut as `cut_at` or `cut_after` said.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._lock = threading.Lock()
        self._links: list[_Link] = []
        self._mode = "pass"
        self._delay = 0.0
        self._is_open = threading.Event()
        self._is_open.set()
        self._pattern: tuple[Direction, bytes, Moment] | None = None
        self._budget: tuple[Direction, int] | None = None
        self.cuts = 0
        self.accepted = 0
        self.port = 0
        self._listener = self._listen()

    def _listen(self) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    # faults

    def heal(self) -> None:
        """Pass everything on again."""
        self._mode, self._delay, self._pattern, self._budget = "pass", 0.0, None, None
        self._is_open.set()
        if self._listener.fileno() == -1:
            self._listener = self._listen()

    def lead_to(self, port: int) -> None:
        """Break all connections, and pass new ones on to another server's port."""
        self._server_port = port
        self.sever()

    def refuse(self) -> None:
        """Break all connections and refuse new ones."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.sever()

    def reset(self) -> None:
        """Break all connections, and new ones as soon as they are made."""
        self.admit_no_more()
        self.sever()

    def admit_no_more(self) -> None:
        """Break new connections as soon as they are made; those that are there go on."""
        self._mode = "reset"

    def blackhole(self) -> None:
        """Accept connections and data, and never pass on anything."""
        self._is_open.clear()

    def delay(self, seconds: float) -> None:
        """Pass everything on later."""
        self._delay = seconds

    def sever(self) -> None:
        """Break all connections."""
        with self._lock:
            links, self._links = self._links, []
        for link in links:
            link.reset()

    def cut_at(self, direction: Direction, pattern: bytes, moment: Moment) -> None:
        """Cut the next connection on which `pattern` comes: before it is passed on, or once it was answered."""
        self._pattern = (direction, pattern, moment)

    def cut_after(self, direction: Direction, count: int) -> None:
        """Cut a connection when so many bytes more were passed on."""
        self._budget = (direction, count)

    def close(self) -> None:
        """Stop."""
        self.refuse()
        self._is_open.set()

    # passing on

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port), 5)
            except OSError:
                _Link(client, client).reset()
                continue
            link = _Link(client, server)
            if self._mode == "reset":
                link.reset()
                continue
            with self._lock:
                self._links.append(link)
            for end in (client, server):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for direction in ("to server", "to client"):
                threading.Thread(target=self._pump, args=(link, direction), daemon=True).start()

    def _pump(self, link: _Link, direction: Direction) -> None:
        source, target = (link.client, link.server) if direction == "to server" else (link.server, link.client)
        try:
            while data := source.recv(65536):
                if self._delay:
                    threading.Event().wait(self._delay)
                self._is_open.wait()
                if not self._pass_on(link, direction, data, target):
                    break
        except OSError:
            pass
        link.reset()

    def _pass_on(self, link: _Link, direction: Direction, data: bytes, target: socket.socket) -> bool:
        """Pass data on, and return whether the connection goes on."""
        if link.is_mute and direction == "to client":
            # The server has answered what nobody will hear.
            self.cuts += 1
            return False
        allowed = self._take_budget(direction, len(data))
        if allowed < len(data):
            target.sendall(data[:allowed])
            self.cuts += 1
            return False
        moment = self._take_pattern(direction, data)
        if moment == "before":
            self.cuts += 1
            return False
        if moment == "after":
            link.is_mute = True
        target.sendall(data)
        return True

    def _take_budget(self, direction: Direction, length: int) -> int:
        with self._lock:
            if self._budget is None or self._budget[0] != direction:
                return length
            left = self._budget[1]
            self._budget = (direction, left - length) if left >= length else None
            return min(left, length)

    def _take_pattern(self, direction: Direction, data: bytes) -> Moment | None:
        with self._lock:
            if self._pattern is None or self._pattern[0] != direction or self._pattern[1] not in data:
                return None
            moment, self._pattern = self._pattern[2], None
            return moment
