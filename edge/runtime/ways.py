"""What a designator of a cell's configuration says: which service, and how it is entered."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Way:
    service: str
    entrypoint: str = ""
    """Empty: the default one."""
    props: str = ""
    """JSON; empty: none."""

    def fill(self, designator: Any) -> None:
        designator.name = self.service
        if self.entrypoint:
            designator.entrypoint = self.entrypoint
        if self.props:
            designator.init("props").json = self.props
