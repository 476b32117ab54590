"""The control plane's gateway as the node sees it. All of it may be away at any time."""

import asyncio
import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2

from edge.agent.credential import GATEWAY_NAME, Credential
from edge.agent.desired import DesiredSlot, node_id, read_slot
from edge.agent.files import FilesMissingError
from edge.agent.front.custom import CustomCertificate, CustomCertificates
from edge.agent.neighbours import Neighbour
from edge.agent.patterns import HOSTNAME
from edge.wire import Fields, WireError

ANSWER_SECONDS = 15.0
# The control plane answers a question about tails after 2 s when nothing has changed.
CHANGE_SECONDS = 15.0
EVENTS_MAX = 500
# Goes into a file and into a URL as it is.
_DIGEST = re.compile(r"[A-Za-z0-9_.:-]{1,200}")


class GatewayError(RuntimeError):
    """The control plane did not answer, or not as agreed."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """What it answered; None when it did not."""


@dataclass(frozen=True)
class Desired:
    generation: int
    """The node's newest."""
    base: int
    """Slots of this generation or an older one are void: the control plane does not know them."""
    slots: tuple[DesiredSlot, ...]
    malformed: tuple[str, ...]
    """Complaints about slots that could not be read; the others are good."""
    nodes: tuple[Neighbour, ...] | None = None
    """The other nodes; None when the control plane does not say."""
    certificates: CustomCertificates | None = None
    """All of them; None when they are what the node has, or the control plane does not say."""


class Gateway:
    def __init__(self, credential: Credential) -> None:
        self._base = f"{credential.control}/edge/v1"
        self._client = httpx2.AsyncClient(
            verify=credential.trust(),
            timeout=ANSWER_SECONDS,
            headers={"Authorization": f"Bearer {credential.token}"},
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def desired(self, since: int, certificates: str) -> Desired:
        """What is newer than a generation, and custom certificates unless `certificates` is their digest."""
        answer = await self._send("GET", f"/desired?since={since}&certificates={certificates}")
        try:
            return read_desired(answer.json())
        except ValueError as error:
            raise GatewayError(f"the desired state is not readable: {error}") from error

    async def module(self, digest: str) -> bytes:
        """Raises FilesMissingError when the file cannot be had now."""
        try:
            return (await self._send("GET", f"/modules/{digest}")).content
        except GatewayError as error:
            raise FilesMissingError(f"A file of this version cannot be fetched: {error}") from error

    async def modules(self, digests: Sequence[str]) -> dict[str, bytes]:
        """Contents by digest: as many of these as fit into one answer. Raises FilesMissingError."""
        try:
            answer = await self._send("POST", "/modules", {"digests": list(digests)})
            return await asyncio.to_thread(read_modules, answer.content)
        except (GatewayError, ValueError) as error:
            raise FilesMissingError(f"Files of this version cannot be fetched: {error}") from error

    async def report(self, report: dict[str, object]) -> int:
        """Answers the node's newest generation."""
        answer = await self._send("POST", "/reports", report)
        try:
            return Fields(answer.json(), "report").whole_number("generation")
        except ValueError as error:
            raise GatewayError(f"the answer to a report is not readable: {error}") from error

    async def ship(self, batch_id: str, content: bytes) -> None:
        """Hand over records, gzipped JSON. The same id twice counts once."""
        await self._send("PUT", f"/batches/{batch_id}", content=content)

    async def ship_logs(self, batch_id: str, content: bytes) -> None:
        """Hand over stored logs, gzipped JSON. The same id twice counts once."""
        await self._send("PUT", f"/logs/{batch_id}", content=content)

    async def tailed(self, known: list[str]) -> list[str]:
        """The ids of the scripts that somebody tails: at once when they are not the known ones,
        else when that changes or after a while."""
        answer = await self._send("POST", "/tails", {"known": known}, seconds=CHANGE_SECONDS)
        try:
            return list(Fields(answer.json(), "tails").texts("scripts"))
        except ValueError as error:
            raise GatewayError(f"the list of tails is not readable: {error}") from error

    async def show(self, events: list[dict[str, object]]) -> None:
        """Hand over what tailed scripts did."""
        for start in range(0, len(events), EVENTS_MAX):
            await self._send("POST", "/tail-events", {"events": events[start : start + EVENTS_MAX]})

    async def _send(
        self,
        method: str,
        path: str,
        body: object = None,
        content: bytes | None = None,
        seconds: float = ANSWER_SECONDS,
    ) -> httpx2.Response:
        request = self._client.build_request(
            method,
            self._base + path,
            json=body,
            content=content,
            headers={"Content-Type": "application/gzip"} if content is not None else None,
            timeout=seconds,
            extensions={"sni_hostname": GATEWAY_NAME},
        )
        try:
            answer = await self._client.send(request)
        except httpx2.TransportError as error:
            raise GatewayError(f"no answer: {error!r}") from error
        if answer.status_code // 100 != 2:
            raise GatewayError(
                f"{method} {path} was answered {answer.status_code}", answer.status_code
            )
        return answer


def read_modules(content: bytes) -> dict[str, bytes]:
    """Raises ValueError, WireError among them."""
    modules = Fields(json.loads(content), "modules").get("modules")
    if not isinstance(modules, dict):
        raise WireError("modules.modules must be an object")
    return {digest: base64.b64decode(text, validate=True) for digest, text in modules.items()}


def read_desired(source: object) -> Desired:
    """One unreadable slot must not keep the node from the others."""
    fields = Fields(source, "desired")
    entries = fields.get("slots")
    if not isinstance(entries, list):
        raise WireError("desired.slots must be a list of objects")
    slots: list[DesiredSlot] = []
    malformed: list[str] = []
    for index, entry in enumerate(entries):
        try:
            slots.append(read_slot(Fields(entry, f"slots[{index}]")))
        except WireError as error:
            malformed.append(str(error))
    return Desired(
        fields.whole_number("generation"),
        fields.optional_whole_number("base") or 0,
        tuple(slots),
        tuple(malformed),
        None if fields.get("nodes") is None else fields.objects("nodes", _neighbour),
        read_certificates(fields.get("certificates")),
    )


def read_certificates(source: object) -> CustomCertificates | None:
    """One that is unreadable must not keep the node from the others."""
    if source is None:
        return None
    fields = Fields(source, "certificates")
    entries, digest = fields.get("items"), fields.text("digest")
    if not isinstance(entries, list):
        raise WireError("certificates.items must be a list of objects")
    if not _DIGEST.fullmatch(digest):
        raise WireError("certificates.digest must be a word of letters and digits")
    items: list[CustomCertificate] = []
    malformed: list[str] = []
    for index, entry in enumerate(entries):
        try:
            items.append(_certificate(Fields(entry, f"certificates.items[{index}]")))
        except WireError as error:
            malformed.append(str(error))
    return CustomCertificates(digest, tuple(items), tuple(malformed))


def _certificate(fields: Fields) -> CustomCertificate:
    names = fields.texts("names")
    for name in names:
        if not HOSTNAME.fullmatch(name.removeprefix("*.")):
            raise WireError(f"{fields.where}.names holds {name[:255]!r}, which is no hostname")
    if not names:
        # HAProxy would show it for whatever names are in it.
        raise WireError(f"{fields.where}.names must not be empty")
    return CustomCertificate(node_id(fields, "id"), names, fields.text("chain"), fields.text("key"))


def _neighbour(fields: Fields) -> Neighbour:
    return Neighbour(node_id(fields, "id"), fields.text("host"), fields.whole_number("port"))
