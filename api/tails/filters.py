"""Which invocations a tail shows: the filters that wrangler sends (cloudflare-api.md, section 9)."""

import json
import random
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FILTERS_MAX = 20
Words = Annotated[str, Field(max_length=1000)]
Outcome = Literal["ok", "canceled", "exception", "exceededCpu", "exceededMemory", "unknown"]
SELF = "self"

Event = Mapping[str, Any]


class HeaderFilter(BaseModel):
    """A header that a request must have, with a value that holds `query`."""

    key: Words
    query: Words | None = None


class Filter(BaseModel):
    """One filter; an invocation has to pass every one. wrangler sends one field in each."""

    model_config = ConfigDict(extra="forbid")

    sampling_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    outcome: list[Outcome] | None = None
    method: list[Words] | None = None
    header: HeaderFilter | None = None
    client_ip: list[Words] | None = None
    query: Words | None = None
    scriptVersion: Words | None = None  # noqa: N815 - Cloudflare's name

    def passes(self, event: Event, version_id: str) -> bool:
        """Whether the event of an invocation of that version is shown."""
        return (
            (self.sampling_rate is None or random.random() < self.sampling_rate)
            and (self.outcome is None or event.get("outcome") in self.outcome)
            and (self.method is None or _method(event) in {one.upper() for one in self.method})
            and (self.header is None or _has_header(event, self.header))
            and (
                self.client_ip is None or _headers(event).get("cf-connecting-ip") in self.client_ip
            )
            and (self.query is None or _says(event, self.query))
            and (self.scriptVersion is None or version_id == self.scriptVersion)
        )


def for_visitor(filters: list[Filter], address: str) -> list[Filter]:
    """The filters with `self` replaced by who made the tail."""
    return [
        one.model_copy(
            update={"client_ip": [address if ip == SELF else ip for ip in one.client_ip]}
        )
        if one.client_ip
        else one
        for one in filters
    ]


def _request(event: Event) -> Mapping[str, Any]:
    asked = event.get("event")
    request = asked.get("request") if isinstance(asked, dict) else None
    return request if isinstance(request, dict) else {}


def _method(event: Event) -> str:
    return str(_request(event).get("method", "")).upper()


def _headers(event: Event) -> dict[str, str]:
    headers = _request(event).get("headers")
    return (
        {str(name).lower(): str(value) for name, value in headers.items()}
        if isinstance(headers, dict)
        else {}
    )


def _has_header(event: Event, wanted: HeaderFilter) -> bool:
    value = _headers(event).get(wanted.key.lower())
    return value is not None and (wanted.query is None or wanted.query in value)


def _says(event: Event, words: str) -> bool:
    """Whether anything that the script printed holds these words."""
    printed = (line.get("message") for line in event.get("logs") or [] if isinstance(line, dict))
    return any(
        words in (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False))
        for message in printed
        for one in (message if isinstance(message, list) else [message])
    )
