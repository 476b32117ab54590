"""The control plane as one process: API and dashboard on one port, the gateway for nodes on another.

`python -m launcher.control [api] [dashboard] [gateway]`: these parts only, for a process each. Settings come from
the environment (api/settings.py).
"""

from api import garbage

# isort: split
import argparse
import asyncio
import contextlib
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from api.app import create_app as create_api
from api.db import connect
from api.gateway import create_gateway
from api.logging import configure_logging
from api.nodes.authority import gateway_tls
from api.settings import Settings, settings
from api.websockets import LenientWebSockets
from dashboard.app import create_app as create_dashboard

PARTS = ["api", "dashboard", "gateway"]
API_PATHS = ("/client/v4", "/s3", "/openapi.json", "/docs", "/healthz")

# Requests under way get this long at a stop; a deploy waits up to 5 s for its nodes.
DRAIN_SECONDS = 6
# A browser that keeps its connection costs nothing, a new one costs a round trip.
KEEP_ALIVE_SECONDS = 60


class Front:
    """Sends the API's paths to the API and everything else to the dashboard; starts and ends both."""

    def __init__(self, api: ASGIApp, dashboard: ASGIApp) -> None:
        self._api = api
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        path: str = scope["path"]
        for_api = any(path == prefix or path.startswith(f"{prefix}/") for prefix in API_PATHS)
        await (self._api if for_api else self._dashboard)(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with lifespans(self._api, self._dashboard):
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


@contextlib.asynccontextmanager
async def lifespans(*applications: ASGIApp) -> AsyncIterator[None]:
    """Run the start and end of each application, in order and in reverse; those without any are fine."""
    async with contextlib.AsyncExitStack() as stack:
        for application in applications:
            config = uvicorn.Config(application, log_config=None)
            config.load()
            lifespan = config.lifespan_class(config)
            await lifespan.startup()
            stack.push_async_callback(lifespan.shutdown)
            if lifespan.should_exit:
                raise RuntimeError("an application did not start; its log lines are above")
        yield


class Server(uvicorn.Server):
    """A server that leaves signals alone: two of them in one process would take each other's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(
    application: ASGIApp, bind: str, port: int, tls: tuple[str, str] | None = None
) -> Server:
    """A server whose log lines are ours."""
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        application,
        host=bind,
        port=port,
        log_config=None,
        access_log=False,
        ws=LenientWebSockets,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    config.load()
    return Server(config)


def servers(parts: list[str], found: Settings) -> list[Server]:
    """A server for the public port, one for the nodes, or both."""
    wanted = []
    if (application := public_application(parts)) is not None:
        wanted.append(server(application, found.bind, found.port))
    if "gateway" in parts:
        tls = gateway_tls()
        wanted.append(server(create_gateway(), found.gateway_bind, found.gateway_port, tls))
        # Loaded by now: the key need not stay on the disk, where a killed process would leave it.
        shutil.rmtree(Path(tls[0]).parent)
    return wanted


def public_application(parts: list[str]) -> ASGIApp | None:
    """What answers on the public port."""
    if "api" in parts and "dashboard" in parts:
        return Front(create_api(), create_dashboard())
    if "api" in parts:
        return create_api()
    return create_dashboard() if "dashboard" in parts else None


async def serve(running: list[Server]) -> int:
    """Serve until SIGTERM or SIGINT; when one server ends, all do, and the supervisor starts them again."""

    def stop() -> None:
        for one in running:
            one.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    tasks = [asyncio.create_task(_run(one)) for one in running]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    stop()
    return max(await asyncio.gather(*tasks))


async def _run(one: Server) -> int:
    """The exit status of a server: uvicorn ends the whole process when it cannot listen, from inside a task."""
    try:
        await one.serve()
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m launcher.control",
        description="The control plane: API, dashboard and the gateway for nodes, in one process or one each.",
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)"
    )
    return parser


def main(arguments: list[str]) -> int:
    parser = argument_parser()
    parts = parser.parse_args(arguments).parts or PARTS
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"unknown: {', '.join(unknown)}")
    configure_logging()
    connect()
    wanted = servers(parts, settings())
    garbage.everything_is_loaded()
    return asyncio.run(serve(wanted))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
