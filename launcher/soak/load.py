"""Visitors who ask every Worker in turn, at a steady pace."""

import itertools
import threading
from collections.abc import Sequence
from typing import Self

from launcher.soak import probes
from launcher.soak.verdict import Asked
from launcher.soak.workers import Deployed
from launcher.visiting import connect, visit

VISITORS = 6
PAUSE_SECONDS = 0.05


class Load:
    def __init__(self, node: str, port: int, workers: Sequence[Deployed]) -> None:
        self.asked: list[Asked] = []
        self._node = node
        self._port = port
        self._requests = [
            (one, probe) for one in workers for probe in probes.of_template(one.template.name)
        ]
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._visit, args=(number,)) for number in range(VISITORS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _visit(self, number: int) -> None:
        connection = connect(self._port)
        begin = number * len(self._requests) // VISITORS
        turn = itertools.chain(self._requests[begin:], self._requests[:begin])
        for one, probe in itertools.cycle(list(turn)):
            if self._over.wait(PAUSE_SECONDS):
                break
            done = visit(
                connection,
                self._node,
                one.host,
                method=probe.method,
                path=probe.path,
                body=probe.body,
                headers=probes.filled(probe, one.values),
            )
            self.asked.append(Asked(one.template.name, probe.status, done))
            if done.status == 0:
                connection.close()
        connection.close()
