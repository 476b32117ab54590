"""The folder of what cells may reach, kept whole: it is where the system's cleaners come by."""

import asyncio

import structlog

from edge.agent.egress import Egress
from edge.agent.stores.stores import Stores
from edge.paths import NodePaths
from edge.runtime.binary import Runtime
from edge.runtime.sandbox import Sandbox, reachable

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Doors:
    def __init__(
        self,
        paths: NodePaths,
        runtime: Runtime,
        sandbox: Sandbox,
        egress: Egress,
        stores: Stores,
    ) -> None:
        self._paths = paths
        self._runtime = runtime
        self._sandbox = sandbox
        self._egress = egress
        self._stores = stores
        self._lock = asyncio.Lock()

    async def mend(self) -> None:
        """Make what is missing. Cheap when nothing is. Raises OSError or KeeperError."""
        async with self._lock:
            socket_there = self._paths.egress_socket.is_socket()
            others = (self._sandbox.workerd, *self._paths.mount_points)
            if not socket_there or not all(one.exists() for one in others):
                log.warning("doors_missing", folder=str(self._paths.doors))
                self._paths.make_doors()
                await asyncio.to_thread(reachable, self._runtime, self._paths.doors)
                if not socket_there:
                    await self._egress.reopen()
            await self._stores.mend()
