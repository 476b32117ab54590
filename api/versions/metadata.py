"""The `metadata` part of an upload: from JSON that anybody may send to an Upload that can be stored.

Format: cloudflare-api.md, section 3.
"""

import json
from datetime import date
from typing import Any

from api.bindings.kinds import check_bindings
from api.clock import now
from api.errors import NotSupported, ScriptRejected, TooLarge, UploadMalformed
from api.objects.steps import read_migrations
from api.scripts import observability
from api.settings import settings
from api.versions.assets import WantedAssets, read_wanted
from api.versions.bundle import SOURCE_MAP, Upload, UploadedModule
from api.versions.limits import check_limits

# What Cloudflare runs a script with that names no date.
OLDEST_DATE = "2021-11-02"
# Keys that mean a product Skerry does not have yet, with the words for it.
_NOT_YET = {
    "exports": "Durable Objects (`exports`) are",
    "containers": "Containers are",
    "capnp_schema": "A Cap'n Proto schema of your own is",
}
# Keys that are stored and shown, but have no effect yet.
_WITHOUT_EFFECT = {
    "placement": "placement",
    "tail_consumers": "tail consumers",
    "streaming_tail_consumers": "tail consumers",
    "logpush": "Logpush",
    "cache_options": "cache options",
}
# What is kept of the metadata besides code and bindings, by the type that JSON must give it.
_KEPT_OPTIONS: dict[str, type] = {
    "limits": dict,
    "placement": dict,
    "tail_consumers": list,
    "streaming_tail_consumers": list,
    "logpush": bool,
    "cache_options": dict,
    "observability": dict,
    "package_dependencies": list,
}
_WORDS_OF_TYPE = {dict: "an object", list: "a list", bool: "true or false"}


def read_metadata(text: str) -> dict[str, Any]:
    """Parse the JSON of the part; raises UploadMalformed."""
    try:
        metadata = json.loads(text, parse_constant=_refuse_constant)
        json.dumps(metadata, ensure_ascii=False).encode()  # fails on half a surrogate pair
    except (ValueError, RecursionError) as error:
        raise UploadMalformed(f"`metadata` is not JSON: {error}. Nothing was stored.") from error
    if not isinstance(metadata, dict):
        raise UploadMalformed("`metadata` must be a JSON object. Nothing was stored.")
    return metadata


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def read_upload(metadata: dict[str, Any], parts: list[UploadedModule]) -> Upload:
    """Metadata and parts as an Upload.

    Raises UploadMalformed, ScriptRejected, NotSupported or TooLarge; each says what is wrong.
    """
    _refuse_products(metadata)
    modules = [part for part in parts if part.type != SOURCE_MAP]
    wanted_assets = read_wanted(metadata)
    syntax, main = _entry(metadata, modules, alone=wanted_assets is not None)
    _check_size(modules)
    date_text, flags = _compatibility(metadata)
    annotations = _mapping(metadata, "annotations")
    bindings = check_bindings(metadata.get("bindings") or [])
    _check_assets_binding(bindings, wanted_assets, main)
    return Upload(
        main_module=main,
        syntax=syntax,
        modules=modules,
        bindings=bindings,
        keep_bindings=_strings(metadata, "keep_bindings"),
        compatibility_date=date_text,
        compatibility_flags=flags,
        source_maps=[part for part in parts if part.type == SOURCE_MAP],
        message=_text(annotations, "workers/message", 1000),
        tag=_text(annotations, "workers/tag", 100),
        triggered_by=_text(annotations, "workers/triggered_by", 100) or "upload",
        options=_options(metadata),
        wanted_assets=wanted_assets,
        migrations=read_migrations(metadata.get("migrations")),
        warnings=_warnings(metadata),
    )


def _warnings(metadata: dict[str, Any]) -> list[str]:
    ignored = [words for key, words in _WITHOUT_EFFECT.items() if metadata.get(key)]
    if "subrequests" in (metadata.get("limits") or {}):
        ignored.append("limits of subrequests")
    return [f"{words} are stored but have no effect in Skerry yet." for words in ignored]


def _refuse_products(metadata: dict[str, Any]) -> None:
    for key, words in _NOT_YET.items():
        if metadata.get(key):
            raise NotSupported(
                f"{words} not supported by Skerry yet. Nothing was changed. "
                "docs/compatibility.md lists what works."
            )


def _check_assets_binding(
    bindings: list[dict[str, Any]], wanted: WantedAssets | None, main: str
) -> None:
    names = [binding["name"] for binding in bindings if binding["type"] == "assets"]
    if len(names) > 1:
        raise ScriptRejected(f"{names[0]} and {names[1]} both name the static assets. Keep one.")
    if names and wanted is None:
        raise ScriptRejected(f"Binding {names[0]} needs static assets, and the upload has none.")
    if bindings and not main:
        raise ScriptRejected(
            f"Binding {bindings[0]['name']} needs a script. Static assets alone can use no bindings."
        )


def _entry(
    metadata: dict[str, Any], modules: list[UploadedModule], *, alone: bool
) -> tuple[str, str]:
    """Syntax and name of the main module, which is empty when static assets come `alone`."""
    if alone and not modules and not {"main_module", "body_part"} & metadata.keys():
        return "modules", ""
    key = "main_module" if "main_module" in metadata else "body_part"
    main = metadata.get(key)
    if not isinstance(main, str):
        raise UploadMalformed("`metadata` names neither a `main_module` nor a `body_part`.")
    names = [module.name for module in modules]
    if main not in names:
        raise ScriptRejected(
            f"No such module: {main}. The upload has: {', '.join(names) or 'none'}."
        )
    for name in names:
        if names.count(name) > 1:
            raise UploadMalformed(f"Two parts are called {name}. Nothing was stored.")
    for module in modules:
        if module.type.startswith("python"):
            raise NotSupported(
                "Python Workers are not supported by Skerry yet. Nothing was changed."
            )
    return ("modules" if key == "main_module" else "service-worker"), main


def _check_size(modules: list[UploadedModule]) -> None:
    size, limit = sum(len(module.content) for module in modules), settings().script_size_limit_bytes
    if size > limit:
        largest = max(modules, key=lambda module: len(module.content))
        raise TooLarge(
            f"Your Worker exceeded the size limit of {limit / 2**20:.0f} MiB: it has "
            f"{size / 2**20:.1f} MiB, {len(largest.content) / 2**20:.1f} MiB of them in "
            f"{largest.name}. Nothing was stored."
        )


def _compatibility(metadata: dict[str, Any]) -> tuple[str, list[str]]:
    text = metadata.get("compatibility_date") or OLDEST_DATE
    return check_date(text), _strings(metadata, "compatibility_flags")


def check_date(text: Any) -> str:
    """A `YYYY-MM-DD` that is not in the future (UTC); else ScriptRejected."""
    day = _date(text)
    if day is None:
        raise ScriptRejected(f"Compatibility date {text!r} is not a date. Write it as YYYY-MM-DD.")
    if day > now().date():
        raise ScriptRejected(
            f'Can\'t set compatibility date in the future: "{text}". Today is {now().date()} (UTC).'
        )
    return day.isoformat()


def _date(text: Any) -> date | None:
    try:
        day = date.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    # Python also reads 20260101 and 2026-W01-1.
    return day if day.isoformat() == text else None


def _mapping(metadata: dict[str, Any], key: str) -> dict[str, Any]:
    value = metadata.get(key) or {}
    if not isinstance(value, dict):
        raise UploadMalformed(f"`{key}` must be an object.")
    return value


def _options(metadata: dict[str, Any]) -> dict[str, Any]:
    options = {key: metadata[key] for key in _KEPT_OPTIONS if metadata.get(key)}
    for key, value in options.items():
        if not isinstance(value, _KEPT_OPTIONS[key]):
            raise UploadMalformed(f"`{key}` must be {_WORDS_OF_TYPE[_KEPT_OPTIONS[key]]}.")
    check_limits(options.get("limits", {}))
    if complaint := observability.complaint(options.get("observability")):
        raise UploadMalformed(complaint)
    return options


def _strings(metadata: dict[str, Any], key: str) -> list[str]:
    value = metadata.get(key) or []
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise UploadMalformed(f"`{key}` must be a list of strings.")
    return value


def _text(mapping: dict[str, Any], key: str, length_max: int) -> str:
    value = mapping.get(key) or ""
    if not isinstance(value, str) or "\0" in value:
        raise UploadMalformed(f"Annotation `{key}` must be text.")
    return value[:length_max]
