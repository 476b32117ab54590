"""The templates of the gallery: their metadata, their source and what is uploaded of them."""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "gallery"
METADATA = "template.json"

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


class NotBuiltError(Exception):
    """The bundle of a template has not been made yet."""


class MetadataError(Exception):
    """A template.json does not say what it must."""


@dataclass(frozen=True)
class Variable:
    """A variable that the Worker gets, with its first value."""

    name: str
    text: str
    description: str


@dataclass(frozen=True)
class Template:
    """One folder of the gallery."""

    name: str
    label: str
    description: str
    categories: tuple[str, ...]
    compatibility_date: str
    compatibility_flags: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    """Packages from node_modules; a template without any is uploaded as it is written."""
    variables: tuple[Variable, ...] = ()
    main_module: str = "index.js"
    order: int = 100

    @property
    def source_path(self) -> Path:
        return HERE / self.name / "src" / self.main_module

    @property
    def bundle_path(self) -> Path:
        return BUILD / self.name / self.main_module

    @property
    def source(self) -> str:
        """What a person wrote and may read."""
        return self.source_path.read_text()

    def bundle(self) -> bytes:
        """What is uploaded; raises NotBuiltError before `python -m gallery.build`."""
        try:
            return self.bundle_path.read_bytes()
        except FileNotFoundError as error:
            raise NotBuiltError(
                f"The template {self.label} has not been built. Run: python -m gallery.build."
            ) from error

    def matches(self, search: str) -> bool:
        """Whether every word of the search is found in label, description or categories."""
        text = " ".join((self.label, self.description, *self.categories)).lower()
        return all(word in text for word in search.lower().split())


@lru_cache
def load_all() -> tuple[Template, ...]:
    """Every template, in the order of the gallery. Raises MetadataError."""
    found = [_load(path) for path in HERE.glob(f"*/{METADATA}")]
    return tuple(sorted(found, key=lambda template: (template.order, template.label)))


def find(name: str) -> Template | None:
    return next((template for template in load_all() if template.name == name), None)


def _load(path: Path) -> Template:
    name = path.parent.name
    try:
        metadata: dict[str, Any] = json.loads(path.read_text())
        variables = tuple(Variable(**variable) for variable in metadata.pop("variables", ()))
        lists: dict[str, Any] = {
            key: tuple(metadata.pop(key, ()))
            for key in ("categories", "compatibility_flags", "dependencies")
        }
        template = Template(name=name, variables=variables, **lists, **metadata)
    except (ValueError, TypeError) as error:
        raise MetadataError(f"{path}: {error}") from error
    if not _NAME.fullmatch(name) or not template.source_path.is_file():
        raise MetadataError(f"{path}: a template is a folder named like-this with src/index.js.")
    return template
