"""What the versions of a node need on its disk: fetched before they start, removed when nobody needs it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import structlog

from edge.agent.assets import AssetFolders, ManifestError
from edge.agent.background import Background
from edge.agent.bundles import Bundles, DigestError
from edge.agent.cells.cell import StartError
from edge.agent.desired import Version
from edge.agent.state import State
from edge.spec import SpecError, read_spec
from edge.wire import WireError

# Looking through every slot and file is not worth doing for each of many deploys.
PRUNE_SECONDS = 1.0
FETCHED_AT_ONCE = 200

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class FilesMissingError(StartError):
    """The node lacks files and cannot get them now; worth another try."""


Fetch = Callable[[Sequence[str]], Awaitable[Mapping[str, bytes]]]
"""Gets contents by digest from the control plane, of some of these at least; raises
FilesMissingError."""


@dataclass(frozen=True)
class Needs:
    """What one version needs, by digest."""

    modules: frozenset[str] = frozenset()
    manifest: str = ""
    """Of its static assets; empty without any."""


class Files:
    def __init__(
        self,
        *,
        state: State,
        bundles: Bundles,
        assets: AssetFolders,
        fetch: Fetch,
        background: Background,
    ) -> None:
        self._state = state
        self._bundles = bundles
        self._assets = assets
        self._fetch = fetch
        self._background = background
        self._needs: dict[str, Needs] = {}
        self._pruning = False
        self.incomplete: set[str] = set()
        """Scripts whose files were out of reach at the last try."""

    async def ensure(self, script_id: str, version: Version) -> None:
        """Get everything that the version needs. Raises StartError, FilesMissingError among them."""
        try:
            spec = read_spec(version.spec)
        except (SpecError, WireError) as error:
            raise StartError(str(error)) from error
        self.incomplete.add(script_id)
        await self._fetch_missing(spec.digests())
        if spec.assets:
            await self._fetch_assets(spec.assets.manifest)
        self.incomplete.discard(script_id)

    async def _fetch_assets(self, manifest: str) -> None:
        await self._fetch_missing({manifest})
        try:
            files = await asyncio.to_thread(self._assets.files, manifest)
            await self._fetch_missing(set(files.values()))
            await asyncio.to_thread(self._assets.plant, manifest)
        except ManifestError as error:
            raise StartError(str(error)) from error
        except (DigestError, OSError) as error:
            raise FilesMissingError(f"The static assets cannot be stored: {error}") from error

    async def _fetch_missing(self, digests: Collection[str]) -> None:
        """Many at once: a site has thousands of small files. Raises FilesMissingError."""
        missing = await asyncio.to_thread(self._bundles.missing, digests)
        while missing:
            found = await self._fetch(missing[:FETCHED_AT_ONCE])
            if not found:
                raise FilesMissingError("The control plane sends none of the missing files.")
            try:
                await asyncio.to_thread(self._bundles.store, found)
            except DigestError as error:
                raise FilesMissingError(str(error)) from error
            missing = [digest for digest in missing if digest not in found]

    def wanted(self) -> set[str]:
        """Digests of everything that some slot may need."""
        versions = self._state.referenced_versions()
        known = self._needs
        self._needs = {
            version.version_id: known.get(version.version_id) or _needs_of(version)
            for version in versions
        }
        modules = set[str]().union(*(one.modules for one in self._needs.values()))
        return modules.union(*(self._assets.digests(one) for one in self._manifests()))

    def _manifests(self) -> set[str]:
        return {one.manifest for one in self._needs.values() if one.manifest}

    def prune_soon(self, draining: Callable[[], bool]) -> None:
        """Remove files that no slot needs any more, in a moment. A cell that drains still reads its
        static files."""
        if not self._pruning:
            self._pruning = True
            self._background.run(self._prune(draining), "prune")

    async def _prune(self, draining: Callable[[], bool]) -> None:
        await asyncio.sleep(PRUNE_SECONDS)
        self._pruning = False
        # First what is there, then what is wanted: a file that comes meanwhile is in neither list.
        stored = await asyncio.to_thread(self._bundles.stored)
        stale = set(stored) - self.wanted()
        await asyncio.to_thread(self._bundles.remove, stale)
        if not draining():
            await asyncio.to_thread(self._assets.keep_only, self._manifests())
        if stale:
            log.info("modules_pruned", files=len(stale))


def _needs_of(version: Version) -> Needs:
    try:
        spec = read_spec(version.spec)
    except (SpecError, WireError):
        return Needs()  # it cannot run here, so it needs no files
    return Needs(spec.digests(), spec.assets.manifest if spec.assets else "")
