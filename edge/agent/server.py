"""Serves the agent's API over TLS with the node's certificate."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette


class _Server(uvicorn.Server):
    """The agent has its own signal handling; uvicorn's would end more than the API."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class ApiServer:
    def __init__(self, app: Starlette, host: str, port: int, certificate: Path, key: Path) -> None:
        self._address = (host, port)
        config = uvicorn.Config(
            app,
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
            log_config=None,
            access_log=False,
            lifespan="off",
            # Who reads a body slowly does not see a ping for as long, and is there none the less.
            ws_ping_interval=None,
            timeout_graceful_shutdown=5,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns when the port is open; raises OSError when it cannot be."""
        # Bound here: uvicorn would end the whole process when the port is taken.
        listener = _listen(*self._address)
        self._task = asyncio.create_task(self._server.serve([listener]), name="api")
        while not self._server.started:
            await asyncio.sleep(0.01)
            if self._task.done():
                await self._task
                raise OSError(f"cannot serve on {self._address}")

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task:
            await self._task


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host} port {port}: {error.strerror}") from error
    return listener
