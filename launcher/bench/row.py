"""A line of a table of figures."""

import statistics
from dataclasses import dataclass, field


@dataclass
class Row:
    """One line of the table; every round adds a value."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def percentile(self, percent: int) -> float:
        """Of two values or more."""
        return statistics.quantiles(self.values, n=100, method="inclusive")[percent - 1]
