"""Bodies of Cloudflare's telemetry API, as its SDKs send them (`workers.observability.telemetry`)."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.errors import Refused
from api.logs.keys import Type
from api.logs.queries import EVENTS_MAX, VALUES_MAX, Filter, Needle, Question

FILTERS_MAX = 50
Text = Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]*$")]
Scalar = bool | float | Text
Ms = Annotated[float, Field(ge=0, le=4_000_000_000_000)]
_CAMEL = ConfigDict(populate_by_name=True)


class Timeframe(BaseModel):
    model_config = _CAMEL

    begin: Ms = Field(alias="from")
    to: Ms


class FilterIn(BaseModel):
    key: Text
    operation: Text
    type: Type | None = None
    value: Scalar | list[Scalar] | None = None

    def read(self) -> Filter:
        return Filter(self.key, self.operation, self.value, self.type)


class NeedleIn(BaseModel):
    model_config = _CAMEL

    value: Scalar
    is_regex: bool | None = Field(None, alias="isRegex")
    match_case: bool | None = Field(None, alias="matchCase")

    def read(self) -> Needle:
        return Needle(str(self.value), bool(self.is_regex), bool(self.match_case))


class CalculationIn(BaseModel):
    model_config = _CAMEL

    operator: Text
    key: Text | None = None
    key_type: Type | None = Field(None, alias="keyType")
    alias: Text | None = None


class GroupIn(BaseModel):
    value: Text
    type: Type | None = None


class OrderIn(BaseModel):
    value: Text
    order: Literal["asc", "desc"] | None = None


class Parameters(BaseModel):
    model_config = _CAMEL

    calculations: Annotated[list[CalculationIn], Field(max_length=20)] = []
    datasets: list[Text] = []
    filter_combination: Literal["and", "or", "AND", "OR"] | None = Field(
        None, alias="filterCombination"
    )
    filters: Annotated[list[FilterIn], Field(max_length=FILTERS_MAX)] = []
    group_bys: Annotated[list[GroupIn], Field(max_length=5)] = Field([], alias="groupBys")
    havings: list[dict[str, Any]] = []
    limit: Annotated[int, Field(ge=1, le=EVENTS_MAX)] | None = None
    needle: NeedleIn | None = None
    order_by: OrderIn | None = Field(None, alias="orderBy")


View = Literal["events", "calculations", "invocations", "traces", "requests", "patterns", "agents"]


class QueryIn(BaseModel):
    """A query of its own; saved ones there are none."""

    model_config = _CAMEL

    query_id: Text = Field("", alias="queryId")
    timeframe: Timeframe
    view: View = "events"
    parameters: Parameters = Parameters()
    limit: Annotated[float, Field(ge=1, le=EVENTS_MAX)] | None = None
    offset: Text | None = None
    offset_direction: Text | None = Field(None, alias="offsetDirection")
    granularity: Annotated[float, Field(ge=1, le=86_400_000)] | None = None
    ignore_series: bool = Field(default=False, alias="ignoreSeries")
    compare: bool = False
    dry: bool = False
    chart: bool = False


class KeysIn(BaseModel):
    model_config = _CAMEL

    begin: Ms | None = Field(None, alias="from")
    to: Ms | None = None
    datasets: list[Text] = []
    filters: Annotated[list[FilterIn], Field(max_length=FILTERS_MAX)] = []
    needle: NeedleIn | None = None
    key_needle: NeedleIn | None = Field(None, alias="keyNeedle")
    limit: Annotated[float, Field(ge=1, le=VALUES_MAX)] = VALUES_MAX


class ValuesIn(BaseModel):
    model_config = _CAMEL

    key: Text
    type: Type
    timeframe: Timeframe
    datasets: list[Text] = []
    filters: Annotated[list[FilterIn], Field(max_length=FILTERS_MAX)] = []
    needle: NeedleIn | None = None
    limit: Annotated[float, Field(ge=1, le=VALUES_MAX)] = 50


class KeyOut(BaseModel):
    key: str
    lastSeenAt: float  # noqa: N815 - Cloudflare's names
    type: Type


class ValueOut(BaseModel):
    dataset: str
    key: str
    type: Type
    value: str | float | bool


def question(
    account_id: str,
    begin_ms: float,
    end_ms: float,
    filters: list[FilterIn],
    needle: NeedleIn | None,
    combination: str | None = None,
) -> Question:
    """Raises Refused for a time that ends before it begins."""
    if end_ms <= begin_ms:
        raise Refused("`timeframe.to` must be later than `timeframe.from`, both in milliseconds.")
    return Question(
        account_id,
        datetime.fromtimestamp(begin_ms / 1000, UTC),
        datetime.fromtimestamp(end_ms / 1000, UTC),
        [one.read() for one in filters],
        (combination or "and").lower() == "or",
        needle.read() if needle else None,
    )
