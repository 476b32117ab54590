"""HAProxy's runtime API: one command, one connection, one answer."""

import asyncio
import re
from pathlib import Path

from edge.agent.front.template import FUNCTIONS, word

ANSWER_SECONDS = 10.0
# An entry of a list of certificates: only its path may have blanks.
_ENTRY = re.compile(r"(?P<path>/.*):(?P<line>\d+)( .*)?")


class AdminError(RuntimeError):
    """HAProxy is away or did not do what it was told."""


class AdminSilentError(AdminError):
    """HAProxy is there and says nothing."""


class Admin:
    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def ask(self, *commands: str) -> str:
        """The combined answer, stripped. Raises AdminError when HAProxy does not answer."""
        return await self._answer("; ".join(commands) + "\n")

    async def give(self, *commands: str, payload: str) -> str:
        """Likewise, with several lines for the last command. None of them may be empty."""
        return await self._answer(f"{'; '.join(commands)} <<\n{payload.strip()}\n\n")

    async def _answer(self, text: str) -> str:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                reader, writer = await asyncio.open_unix_connection(self._socket)
                try:
                    writer.write(text.encode())
                    answer = await reader.read()
                finally:
                    writer.close()
        except TimeoutError as error:
            raise AdminSilentError(f"no answer in {ANSWER_SECONDS:.0f} s") from error
        except OSError as error:
            raise AdminError(f"the front does not answer: {error!r}") from error
        return answer.decode().strip()

    async def connections(self, slot: str, server: str) -> tuple[int, int]:
        """Requests and connections a server still has, queued ones included, and how many idle
        connections it is kept for the next ones; zeros if it is gone."""
        sessions = _rows(await self.ask(f"show stat {slot} 4 -1"), ",")
        kept = _rows(await self.ask(f"show servers conn {slot}"), None)
        return (
            sum(
                int(row["scur"] or 0) + int(row["qcur"] or 0)
                for row in sessions
                if row["svname"] == server
            ),
            sum(int(row["idle_cur"]) for row in kept if row["bkname/svname"] == f"{slot}/{server}"),
        )

    async def dropped_lines(self) -> tuple[int, int]:
        """HAProxy's pid, and how many lines of its log it could not write since it started."""
        lines = (line.partition(": ") for line in (await self.ask("show info")).splitlines())
        info = {name: value for name, _, value in lines}
        return int(info.get("Pid", 0)), int(info.get("DroppedLogs", 0))

    async def servers(self) -> dict[tuple[str, str], int]:
        """Administrative state by (slot, server), of all slots: 0 is ready, a bit of 0x01 or 0x08 is maint or
        drain set by us."""
        found: dict[tuple[str, str], int] = {}
        for line in (await self.ask("show servers state")).splitlines():
            fields = line.split()
            if len(fields) > 6 and fields[0].isdigit() and fields[1] != FUNCTIONS:
                found[fields[1], fields[3]] = int(fields[6])
        return found

    async def map(self, map_file: Path) -> dict[str, str]:
        """A map as HAProxy has it."""
        answer = await self.ask(f"show map {word(map_file)}")
        entries = (line.split() for line in answer.splitlines())
        return {entry[1]: entry[2] for entry in entries if len(entry) == 3}

    async def crt_list(self, file: Path) -> dict[Path, list[int]]:
        """The lines of each certificate in a list of them as HAProxy has it."""
        found: dict[Path, list[int]] = {}
        for text in (await self.ask(f"show ssl crt-list -n {word(file)}")).splitlines():
            if entry := _ENTRY.fullmatch(text.strip()):
                found.setdefault(Path(entry["path"]), []).append(int(entry["line"]))
        return found

    async def certificates(self) -> set[Path]:
        """All that HAProxy has, shown or not. A transaction that somebody left open ends."""
        lines = (await self.ask("show ssl cert")).splitlines()
        for line in lines:
            if line.startswith("*"):
                await self.ask(f"abort ssl cert {word(Path(line[1:]))}")
        return {Path(line) for line in lines if line.startswith("/")}


def _rows(table: str, separator: str | None) -> list[dict[str, str]]:
    header, *rows = table.splitlines()
    columns = header.removeprefix("# ").split(separator)
    return [dict(zip(columns, row.split(separator), strict=False)) for row in rows]
