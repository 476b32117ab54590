"""Which custom certificates the front shows: written to files first, then told to HAProxy, then compared."""

import asyncio
import contextlib
from pathlib import Path

import structlog

from edge.agent.front.admin import Admin, AdminError
from edge.agent.front.custom import (
    CheckError,
    CustomCertificates,
    Listed,
    UnfitError,
    file_of,
    intact,
    list_line,
    read_list,
    unfit,
    write_list,
)
from edge.agent.front.haproxy import PATH
from edge.agent.front.template import FrontFiles, word
from edge.agent.sealing import write_private

DONE = "Success!"

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Certificates:
    """For all other names, and for visitors who name none, there is the default certificate."""

    def __init__(self, files: FrontFiles, admin: Admin, program: str) -> None:
        self._files = files
        self._admin = admin
        self._program = program
        self._listed: Listed = {}
        self._lock = asyncio.Lock()
        self.digest = ""
        """Of what the control plane sent at last; empty when everything is to be sent."""

    async def load(self) -> None:
        """What the disk has, before HAProxy is started: the control plane may be away."""
        await asyncio.to_thread(self._load)

    def _load(self) -> None:
        self._files.certificates.mkdir(mode=0o700, exist_ok=True)
        digest, listed = read_list(self._files)
        good = {file: names for file, names in listed.items() if intact(self._files, file, names)}
        try:
            good = self._accepted(good)
        except CheckError as error:
            # They were checked when they came.
            log.warning("certificates_not_checked", reason=str(error))
        lost = listed.keys() - good.keys()
        if lost:
            log.error("certificates_lost", files=sorted(lost))
        self.digest, self._listed = "" if lost else digest, good
        write_list(self._files, self.digest, good)
        self._remove_others()

    async def learn(self, certificates: CustomCertificates | None) -> None:
        """Show exactly these; None changes nothing. Those that do not fit are left out."""
        if certificates is None:
            return
        for complaint in certificates.malformed:
            log.error("certificate_refused", reason=complaint)
        async with self._lock:
            try:
                await asyncio.to_thread(self._take, certificates)
            except (OSError, CheckError) as error:
                # The digest is the one before, so they are sent again.
                log.error("certificates_not_written", reason=str(error))
                return
            await self._told()
            await asyncio.to_thread(self._remove_others)
        log.info("certificates_learned", count=len(self._listed))

    def _take(self, certificates: CustomCertificates) -> None:
        """Raises OSError or CheckError, and then the list is what it was."""
        self._files.certificates.mkdir(mode=0o700, exist_ok=True)
        wanted, taken = dict[str, tuple[str, ...]](), set[str]()
        for one in certificates.items:
            # Which of two HAProxy would show for a name, depends on which it was told first.
            names = tuple(name for name in one.names if name not in taken)
            try:
                if not names:
                    raise UnfitError("all its names are another one's")
                file, content = file_of(one, names)
            except UnfitError as error:
                self._refuse(one.certificate_id, one.names, str(error))
                continue
            if not (self._files.certificates / file).exists():
                write_private(self._files.certificates / file, content)
            wanted[file] = names
            taken.update(names)
        new = {file: names for file, names in wanted.items() if file not in self._listed}
        refused = new.keys() - self._accepted(new).keys()
        listed = {file: names for file, names in wanted.items() if file not in refused}
        write_list(self._files, certificates.digest, listed)
        self.digest, self._listed = certificates.digest, listed

    def _accepted(self, listed: Listed) -> Listed:
        """Those that HAProxy starts with. Raises CheckError."""
        refused = unfit(self._program, PATH, self._files, listed)
        for file, reason in refused.items():
            self._refuse(file.partition("-")[0], listed[file], reason)
        return {file: names for file, names in listed.items() if file not in refused}

    def _refuse(self, certificate_id: str, names: tuple[str, ...], reason: str) -> None:
        log.error(
            "certificate_refused", certificate_id=certificate_id, names=names[:3], reason=reason
        )

    def _remove_others(self) -> None:
        for path in self._files.certificates.iterdir():
            if path.name not in self._listed:
                with contextlib.suppress(OSError):  # what is there is in no list
                    path.unlink()

    async def compare(self) -> int:
        """Make HAProxy have what it should; answers how many things differed."""
        async with self._lock:
            repairs = await self._told()
            lost = [one for one in self._listed if not (self._files.certificates / one).exists()]
        if lost:
            # HAProxy has them until it ends, and would not start again.
            log.error("certificates_lost", files=lost)
            self.digest = ""
        if repairs:
            log.warning("front_certificates_repaired", differences=repairs)
        return repairs

    async def _told(self) -> int:
        """One that is away reads the files when it starts."""
        try:
            return await self._mend()
        except AdminError as error:
            log.warning("front_away", reason=str(error))
            return 0

    async def _mend(self) -> int:
        """What is new comes before what it replaces goes, so that no name is without a certificate.
        Raises AdminError."""
        folder = self._files.certificates
        found = await self._admin.crt_list(self._files.certificate_list)
        stored = {path for path in await self._admin.certificates() if path.parent == folder}
        missing = [file for file in self._listed if folder / file not in found]
        for file in missing:
            await self._add(folder / file, self._listed[file], folder / file in stored)
        # HAProxy started between writing and telling: then what is told is there twice.
        surplus = [
            f"{word(path)}:{line}"
            for path, lines in found.items()
            for line in lines[path.name in self._listed :]
        ]
        for entry in surplus:
            await self._say(f"del ssl crt-list {word(self._files.certificate_list)} {entry}")
        others = [path for path in stored | found.keys() if path.name not in self._listed]
        for path in others:
            await self._say(f"del ssl cert {word(path)}")
        return len(missing) + len(surplus)

    async def _add(self, path: Path, names: tuple[str, ...], stored: bool) -> None:
        """Raises AdminError when HAProxy is away. When it refuses, the next comparison tries again."""
        try:
            content = await asyncio.to_thread(path.read_text)
        except OSError as error:
            log.error("certificate_lost", file=path.name, reason=str(error))
            return
        certificate = word(path)
        new = [] if stored else [f"new ssl cert {certificate}"]
        said = await self._admin.give(*new, f"set ssl cert {certificate}", payload=content)
        # All of HAProxy has one transaction: what is not this one's would go into another certificate.
        if f"created for certificate {path}!" in said:
            said = await self._admin.give(
                f"commit ssl cert {certificate}",
                f"add ssl crt-list {word(self._files.certificate_list)}",
                payload=list_line(path.name, names),
            )
            if said.count(DONE) == 2:
                return
        log.error("front_answered", file=path.name, answer=said[:500])
        await self._admin.ask(f"abort ssl cert {certificate}", f"del ssl cert {certificate}")

    async def _say(self, command: str) -> None:
        answer = await self._admin.ask(command)
        if "deleted" not in answer or "can't" in answer.lower():
            log.warning("front_answered", commands=[command], answer=answer[:500])
