"""Visitors of every node, all the time: what each of them got, and when."""

import http.client
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from launcher.visiting import Visit, connect, visit


class Visitors:
    """Some threads per node that ask for the same page again and again, at a steady pace."""

    def __init__(
        self,
        ports: Mapping[str, int],
        hostname: str,
        *,
        each: int = 1,
        pause_seconds: float,
        keep_alive: bool = False,
    ) -> None:
        self.visits: list[Visit] = []
        self._ports = ports
        self._hostname = hostname
        self._pause_seconds = pause_seconds
        self._keep_alive = keep_alive
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._visit_on_and_on, args=(node, self._over))
            for node in ports
            for _ in range(each)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def since(self, moment: float) -> list[Visit]:
        """Visits that ended after this moment."""
        return [one for one in list(self.visits) if one.ended > moment]

    def _visit_on_and_on(self, node: str, over: threading.Event) -> None:
        connection: http.client.HTTPConnection | None = None
        while not over.wait(self._pause_seconds):
            if connection is None:
                connection = connect(self._ports[node])
            done = visit(connection, node, self._hostname)
            self.visits.append(done)
            if done.status == 0 or not self._keep_alive:
                connection.close()
                connection = None
        if connection:
            connection.close()


class Stream:
    """A visitor who reads an answer that never ends."""

    def __init__(self, port: int, hostname: str) -> None:
        self.heard_at = 0.0
        """When the last line came."""
        self.broken = False
        self._over = threading.Event()
        self._connection = connect(port)
        self._connection.request("GET", "/stream", headers={"Host": hostname})
        self._answer = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._answer.close()
        self._connection.close()

    def _read(self) -> None:
        while not (self._over.is_set() or self.broken):
            line = b""
            with suppress(OSError, http.client.HTTPException):
                line = self._answer.readline()
            if line:
                self.heard_at = time.monotonic()
            self.broken = not line
