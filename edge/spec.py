"""The spec: what one cell is built from, as it travels from the control plane (SPEC of the contract)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from edge.runtime.stores import BY_BINDING
from edge.runtime.stores.kind import Kind
from edge.wire import Fields, WireError

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# Names a folder.
_STORAGE_ID = re.compile(r"[0-9a-f]{32}")
# Names a folder, too.
_WORKFLOW_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")

MODULE_TYPES = frozenset({"esm", "cjs", "text", "data", "json", "wasm"})
FILE_BINDING_TYPES = frozenset({"wasm_module", "text_blob", "data_blob"})
# Bindings that are told by one text, and the field that it is in.
_TEXT_FIELDS = {
    "plain_text": "text",
    "secret_text": "text",
    "durable_object_namespace": "class_name",
    "analytics_engine": "dataset",
    "workflow": "workflow_name",
}
# Those of them that may lead to what another script has.
OTHERS_BINDING_TYPES = frozenset({"durable_object_namespace", "workflow"})
# Bindings that name something of the cell's own and carry nothing.
BARE_BINDING_TYPES = frozenset({"assets"})


class SpecError(ValueError):
    """This spec cannot become a cell on this node; the message is for the script's author."""


@dataclass(frozen=True)
class Module:
    name: str
    type: str
    digest: str


@dataclass(frozen=True)
class Binding:
    name: str
    type: str
    value: object
    """A string for text and secrets, any JSON for `json` and `version_metadata`, the id of what it
    leads to for storage, the name of a dataset or a workflow, a class of the script's for Durable Objects,
    the script and the way into it for `service`, else a digest."""
    options: Mapping[str, object] = field(default_factory=dict)
    """What else it says, for kinds of storage that want to know more; of a class or a workflow of
    another script, which one."""

    @property
    def leads_to_script(self) -> bool:
        return self.type == "service" or "script" in self.options

    def as_callee(self) -> dict[str, object]:
        """Without a secret: as it came, if it leads to a script."""
        where: Mapping[str, object] = {}
        if self.type == "service" and isinstance(self.value, dict):
            where = self.value
        elif self.leads_to_script:
            where = {_TEXT_FIELDS[self.type]: self.value, **self.options}
        return {"name": self.name, "type": self.type, **where}


@dataclass(frozen=True)
class Assets:
    """The static files of a version: a file that lists them, and how they are served."""

    manifest: str
    """Digest of a JSON object of digests by path."""
    config: Mapping[str, object]
    """As workerd's `AssetsService.config` wants it."""


@dataclass(frozen=True)
class ObjectClass:
    """A class of the script's whose instances are Durable Objects."""

    class_name: str
    namespace_id: str
    """Of all its objects, whatever the class is called in this version."""
    sqlite: bool
    """Whether they may use SQL."""


@dataclass(frozen=True)
class Workflow:
    """A class of the script's whose runs are kept: each instance is a Durable Object of the runtime's."""

    name: str
    class_name: str
    id: str
    """Of the storage of its instances."""
    limits: Mapping[str, object] = field(default_factory=dict)
    """As the runtime's engine wants them: `steps`, `retention`."""

    @property
    def folder(self) -> str:
        """What the runtime calls that storage: it cannot be told the id."""
        return f"miniflare-workflows-{self.name}"


@dataclass(frozen=True)
class Spec:
    version_id: str
    script_name: str
    syntax: str
    main_module: str
    """Empty when there is no script: then `assets` answer alone."""
    compatibility_date: str
    compatibility_flags: tuple[str, ...]
    modules: tuple[Module, ...]
    bindings: tuple[Binding, ...]
    assets: Assets | None = None
    cpu_ms: int | None = None
    """CPU it may use without letting anything else happen; None leaves it to the node."""
    objects: tuple[ObjectClass, ...] = ()
    workflows: tuple[Workflow, ...] = ()

    def owned(self) -> tuple[str, ...]:
        """The ids of all storage that only a cell of this script may open, and only one at a time."""
        return (*(one.namespace_id for one in self.objects), *(one.id for one in self.workflows))

    def aliases(self) -> dict[str, str]:
        """By which other names the runtime looks for some of that storage."""
        return {one.folder: one.id for one in self.workflows}

    def digests(self) -> frozenset[str]:
        """Every file that goes into the configuration of its cell."""
        files = {module.digest for module in self.modules}
        files |= {str(one.value) for one in self.bindings if one.type in FILE_BINDING_TYPES}
        return frozenset(files)


def read_spec(source: object) -> Spec:
    """Read a spec from the wire; raises WireError for a wrong shape, SpecError for what we lack."""
    fields = Fields(source, "spec")
    syntax = fields.text("syntax")
    if syntax not in ("modules", "service-worker"):
        raise WireError("spec.syntax must be modules or service-worker")
    return Spec(
        version_id=fields.text("version_id"),
        script_name=fields.text("script_name"),
        syntax=syntax,
        main_module=fields.text("main_module"),
        compatibility_date=fields.text("compatibility_date"),
        compatibility_flags=fields.texts("compatibility_flags"),
        modules=fields.objects("modules", _module),
        bindings=fields.objects("bindings", _binding),
        assets=_assets(fields),
        cpu_ms=fields.optional_whole_number("cpu_ms"),
        objects=fields.objects("objects", _object_class) if fields.get("objects") else (),
        workflows=fields.objects("workflows", _workflow) if fields.get("workflows") else (),
    )


def owned_by(spec: object) -> tuple[str, ...]:
    """What `Spec.owned` says, of a spec as it came: empty also for one that cannot be read, which
    has no cell."""
    try:
        return read_spec(spec).owned()
    except (WireError, SpecError):
        return ()


def workflows_of(spec: object) -> tuple[Workflow, ...]:
    """The workflows of a spec as it came, in the same way."""
    try:
        return read_spec(spec).workflows
    except (WireError, SpecError):
        return ()


def _assets(spec: Fields) -> Assets | None:
    if spec.get("assets") is None:
        return None
    fields = Fields(spec.get("assets"), f"{spec.where}.assets")
    config = fields.get("config")
    if not isinstance(config, dict):
        raise WireError(f"{fields.where}.config must be an object")
    return Assets(digest_field(fields, "manifest"), config)


def text_of(name: str, content: bytes) -> str:
    """A file's content as text; raises SpecError if it is none."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SpecError(f'"{name}" is not valid UTF-8 text.') from None


def digest_field(fields: Fields, key: str) -> str:
    digest = fields.text(key)
    if not DIGEST.fullmatch(digest):
        raise WireError(f"{fields.where}.{key} must be sha256: and 64 hex digits")
    return digest


def _module(fields: Fields) -> Module:
    name, kind = fields.text("name"), fields.text("type")
    if kind == "python":
        raise SpecError(f'Python Workers are not supported by Skerry yet (module "{name}").')
    if kind not in MODULE_TYPES:
        raise SpecError(f'Module "{name}" has the type "{kind}", which this node does not know.')
    return Module(name=name, type=kind, digest=digest_field(fields, "digest"))


def _object_class(fields: Fields) -> ObjectClass:
    namespace_id = _storage_id(fields, "namespace_id")
    return ObjectClass(fields.text("class_name"), namespace_id, fields.get("sqlite") is True)


def _workflow(fields: Fields) -> Workflow:
    name = fields.text("name")
    if not _WORKFLOW_NAME.fullmatch(name):
        raise WireError(f"{fields.where}.name is no name of a workflow")
    limits = _options(fields, "limits") if fields.get("limits") else {}
    return Workflow(name, fields.text("class_name"), _storage_id(fields, "id"), limits)


def _storage_id(fields: Fields, key: str) -> str:
    id_ = fields.text(key)
    if not _STORAGE_ID.fullmatch(id_):
        raise WireError(f"{fields.where}.{key} must be 32 hex digits")
    return id_


def _service(fields: Fields) -> dict[str, object]:
    script = fields.optional_text("script") or fields.text("service")
    entrypoint = fields.optional_text("entrypoint") or ""
    return {"script": script, "entrypoint": entrypoint, "props": fields.get("props")}


def _binding(fields: Fields) -> Binding:
    name, kind = fields.text("name"), fields.text("type")
    value: object
    options: Mapping[str, object] = {}
    if kind in _TEXT_FIELDS:
        value = fields.text(_TEXT_FIELDS[kind])
        options = _elsewhere(kind, fields)
    elif kind == "json":
        value = fields.get("json")
    elif kind == "version_metadata":
        value = {key: fields.optional_text(key) or "" for key in ("id", "tag", "timestamp")}
    elif kind in BARE_BINDING_TYPES:
        value = None
    elif kind in FILE_BINDING_TYPES:
        value = digest_field(fields, "digest")
    else:
        value = _leading(name, kind, fields)
        options = _options(fields, BY_BINDING[kind].options_field) if kind in BY_BINDING else {}
    return Binding(name=name, type=kind, value=value, options=options)


def _elsewhere(kind: str, fields: Fields) -> Mapping[str, object]:
    """Of a binding to what another script has: the script, and the id of its objects if it has them."""
    script = fields.optional_text("script") if kind in OTHERS_BINDING_TYPES else None
    if not script:
        return {}
    known = fields.optional_text("namespace_id")
    return {"script": script, "namespace_id": _storage_id(fields, "namespace_id") if known else ""}


def _options(fields: Fields, name: str) -> Mapping[str, object]:
    value = fields.get(name) if name else {}
    if not isinstance(value, dict):
        raise WireError(f"{fields.where}.{name} must be an object")
    return value


def _leading(name: str, kind: str, fields: Fields) -> object:
    """What a binding carries that leads out of the cell."""
    if kind in BY_BINDING:
        return _opened(fields, BY_BINDING[kind])
    if kind == "service":
        return _service(fields)
    raise SpecError(f'Binding "{name}" has the type "{kind}", which this node does not know.')


def _opened(fields: Fields, kind: Kind) -> str:
    """What a binding to storage opens."""
    name = fields.text(kind.id_field)
    option = fields.optional_whole_number(kind.option) if kind.option else None
    return name if option is None else f"{name}~{option}"
