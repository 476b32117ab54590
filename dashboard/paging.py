"""Where a person is in a list."""

from dataclasses import dataclass, field

from dashboard.addresses import with_query


@dataclass(frozen=True)
class Paging:
    """One page of a list, counted from 1, and the way to its neighbours."""

    path: str
    page: int
    per_page: int
    total: int
    query: dict[str, str] = field(default_factory=dict)

    @property
    def last(self) -> int:
        return max(1, -(-self.total // self.per_page))

    @property
    def first_row(self) -> int:
        return min(self.total, (self.page - 1) * self.per_page + 1)

    @property
    def last_row(self) -> int:
        return min(self.total, self.page * self.per_page)

    @property
    def previous(self) -> str | None:
        return self._address(min(self.page - 1, self.last)) if self.page > 1 else None

    @property
    def next(self) -> str | None:
        return self._address(self.page + 1) if self.page < self.last else None

    def _address(self, page: int) -> str:
        return with_query(self.path, {**self.query, "page": str(page) if page > 1 else ""})
