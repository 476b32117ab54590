"""The templates of the gallery: their metadata, their source and what is uploaded of them."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BUILD = HERE.parent / "build" / "gallery"
METADATA = "template.json"

# What a template can be filed under, as the gallery lists it.
CATEGORIES = {
    "starter": "Starters",
    "api": "APIs",
    "frameworks": "Frameworks",
    "security": "Security",
    "traffic": "Traffic",
    "pages": "Web pages",
    "streaming": "Streaming",
    "storage": "Storage",
    "sites": "Sites",
    "scheduled": "Scheduled work",
}
# What a template can bind, and what a person calls it.
KINDS = {
    "plain_text": "variable",
    "secret_text": "secret",
    "kv_namespace": "KV namespace",
    "d1": "D1 database",
    "r2_bucket": "R2 bucket",
    "queue": "queue",
    "durable_object_namespace": "class of Durable Objects",
    "workflow": "workflow",
}
# What is a class of the script's.
CLASSES = frozenset({"durable_object_namespace", "workflow"})
# What is made together with the Worker; the person is asked for nothing.
RESOURCES = frozenset({"kv_namespace", "d1", "r2_bucket", "queue"}) | CLASSES

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_BINDING_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
# Stands for the live URL in a template's command.
_URL = "{url}"


class NotBuiltError(Exception):
    """The bundle of a template has not been made yet."""


class MetadataError(Exception):
    """A template.json does not say what it must."""


@dataclass(frozen=True)
class Binding:
    """Something on `env` whose value the person who creates the Worker is asked for."""

    name: str
    type: str
    label: str
    description: str
    default: str = ""
    generated: bool = False
    """Whether a random value is offered; only a secret's is."""
    required: bool = True
    pattern: str = ".*"
    """A regular expression that the whole value has to match."""
    expects: str = ""
    """What the pattern asks for, in words: "a whole number from 0 to 100"."""
    class_name: str = ""
    """Of the Durable Objects or the workflow that it leads to."""

    @property
    def resource(self) -> bool:
        """Whether it leads to something that is made with the Worker."""
        return self.type in RESOURCES

    @property
    def secret(self) -> bool:
        return self.type == "secret_text"

    def fits(self, value: str) -> bool:
        return re.fullmatch(self.pattern, value) is not None

    def check(self) -> None:
        """Raises ValueError for metadata that contradicts itself."""
        if self.type not in KINDS:
            raise ValueError(f"{self.name} has the unknown type {self.type}")
        if not _BINDING_NAME.fullmatch(self.name) or not self.label or not self.description:
            raise ValueError("a binding has a NAME_LIKE_THIS, a label and a description")
        if (self.type in CLASSES) != bool(self.class_name):
            raise ValueError(f"{self.name} needs a `class_name` if it leads to a class only")
        if self.generated and not self.secret:
            raise ValueError(f"{self.name} is no secret, so its value is not generated")
        if self.secret and self.default:
            raise ValueError(f"{self.name} is a secret: a default that all can read is none")
        if self.default and not self.fits(self.default):
            raise ValueError(f"the default of {self.name} does not match its pattern")
        if (self.pattern != ".*") != bool(self.expects):
            raise ValueError(f"{self.name} needs `pattern` and `expects`, or neither")


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
    bindings: tuple[Binding, ...] = ()
    curl: str = f"curl {_URL}"
    """A command that shows what the Worker does; a secret stands in it as `$NAME`."""
    main_module: str = "index.js"
    assets: Mapping[str, Any] | None = None
    """How the files of `public/` are served, in the runtime's words; None when there are none."""
    crons: tuple[str, ...] = ()
    """When its `scheduled` handler is called."""
    consumes: tuple[str, ...] = ()
    """Bindings of queues whose messages its `queue` handler is given."""
    order: int = 100

    @property
    def source_path(self) -> Path:
        return HERE / self.name / "src" / self.main_module

    @property
    def bundle_path(self) -> Path:
        return BUILD / self.name / self.main_module

    @property
    def files(self) -> dict[str, bytes]:
        """The static files by path."""
        public = HERE / self.name / "public"
        found = sorted(path for path in public.rglob("*") if path.is_file())
        return {f"/{path.relative_to(public).as_posix()}": path.read_bytes() for path in found}

    @property
    def source(self) -> str:
        """What a person wrote and may read."""
        return self.source_path.read_text()

    @property
    def asked(self) -> tuple[Binding, ...]:
        """The bindings whose value the person gives."""
        return tuple(one for one in self.bindings if not one.resource)

    @property
    def resources(self) -> tuple[Binding, ...]:
        """The bindings to what is made with the Worker."""
        return tuple(one for one in self.bindings if one.resource)

    @property
    def uses_node(self) -> bool:
        """Whether the runtime has to give it Node.js's modules."""
        return "nodejs_compat" in self.compatibility_flags

    @property
    def creates(self) -> str:
        """What comes into being: `1 Worker, 2 variables, 1 secret`."""
        counts = Counter(KINDS[binding.type] for binding in self.bindings)
        if self.files:
            counts["static file"] = len(self.files)
        if self.crons:
            counts["cron trigger"] = len(self.crons)
        return ", ".join(["1 Worker", *(_counted(counts[kind], kind) for kind in counts)])

    def bundle(self) -> bytes:
        """What is uploaded; raises NotBuiltError before `python -m gallery.build`."""
        try:
            return self.bundle_path.read_bytes()
        except FileNotFoundError as error:
            raise NotBuiltError(
                f"The template {self.label} has not been built. Run: python -m gallery.build."
            ) from error

    def command(self, url: str) -> str:
        """The lines for a terminal, the ones that set the secrets they need first."""
        secrets = [one for one in self.bindings if one.secret and f"${one.name}" in self.curl]
        lines = [f"{one.name}='your {one.label}'" for one in secrets]
        return "\n".join([*lines, self.curl.replace(_URL, url)])

    def matches(self, search: str, category: str = "") -> bool:
        """Whether it is in the category, and every word is in label, description or categories."""
        labels = [CATEGORIES[name] for name in self.categories]
        text = " ".join((self.label, self.description, *self.categories, *labels)).lower()
        filed = not category or category in self.categories
        return filed and all(word in text for word in search.lower().split())

    def check(self) -> None:
        """Raises ValueError for metadata that does not fit the gallery."""
        if not _NAME.fullmatch(self.name) or not self.source_path.is_file():
            raise ValueError("a template is a folder named like-this with src/index.js")
        if not self.categories or not set(self.categories) <= CATEGORIES.keys():
            raise ValueError(f"`categories` is one or more of {', '.join(CATEGORIES)}")
        if bool(self.files) != (self.assets is not None):
            raise ValueError("files in public/ need `assets`, and `assets` needs files there")
        if _URL not in self.curl:
            raise ValueError(f"`curl` must ask {_URL}")
        queues = {one.name for one in self.bindings if one.type == "queue"}
        if not set(self.consumes) <= queues:
            raise ValueError("`consumes` lists bindings of type queue")
        for binding in self.bindings:
            binding.check()


@lru_cache
def load_all() -> tuple[Template, ...]:
    """Every template, in the order of the gallery. Raises MetadataError."""
    found = [load(path) for path in HERE.glob(f"*/{METADATA}")]
    return tuple(sorted(found, key=lambda template: (template.order, template.label)))


def find(name: str) -> Template | None:
    return next((template for template in load_all() if template.name == name), None)


def load(path: Path) -> Template:
    """Read one template.json. Raises MetadataError."""
    try:
        metadata: dict[str, Any] = json.loads(path.read_text())
        bindings = tuple(Binding(**binding) for binding in metadata.pop("bindings", ()))
        lists: dict[str, Any] = {
            key: tuple(metadata.pop(key, ()))
            for key in ("categories", "compatibility_flags", "consumes", "crons", "dependencies")
        }
        template = Template(name=path.parent.name, bindings=bindings, **lists, **metadata)
        template.check()
    except (ValueError, TypeError) as error:
        raise MetadataError(f"{path}: {error}.") from error
    return template


def _counted(count: int, kind: str) -> str:
    if count == 1:
        return f"1 {kind}"
    several = kind.replace("class ", "classes ", 1) if kind.startswith("class ") else f"{kind}s"
    return f"{count} {several}"
