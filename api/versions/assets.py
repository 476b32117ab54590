"""What a deploy says about its static assets: which files, and how they are to be served."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from api.errors import ScriptRejected, TooLarge, UploadMalformed
from api.settings import settings

_HASH = re.compile(r"[0-9a-f]{32}")
# A path becomes a file's path on a node: this is what a file system takes for one name.
_PART_BYTES_MAX, _PATH_BYTES_MAX = 255, 1000
_HTML_HANDLING = ("auto-trailing-slash", "force-trailing-slash", "drop-trailing-slash", "none")
_NOT_FOUND_HANDLING = ("none", "404-page", "single-page-application")
_RULES_MAX, _RULE_LENGTH_MAX = 100, 200
_TEXT_LENGTH_MAX = 200_000


@dataclass(frozen=True)
class Assets:
    """The static files of a version."""

    manifest: str
    """Digest of the list of its files."""
    config: dict[str, Any]
    """How they are served, in the words of the runtime's configuration."""

    def as_json(self) -> dict[str, Any]:
        return {"manifest": self.manifest, "config": self.config}


@dataclass(frozen=True)
class WantedAssets:
    """What an upload's metadata says of them."""

    token: str = ""
    """Of a finished upload session; empty when there was none."""
    config: dict[str, Any] | None = None
    keep: bool = False
    """Whether the files of the latest version stay."""


def read_wanted(metadata: dict[str, Any]) -> WantedAssets | None:
    """`assets` and `keep_assets` of the metadata. Raises UploadMalformed or ScriptRejected."""
    given = metadata.get("assets")
    keep = metadata.get("keep_assets") is True
    if not given:
        return WantedAssets(keep=True) if keep else None
    if not isinstance(given, dict) or not isinstance(given.get("jwt", ""), str):
        raise UploadMalformed("`assets` must be an object with a `jwt` of an upload session.")
    token = given.get("jwt", "")
    if not token and not keep:
        raise UploadMalformed("`assets` has no `jwt`: upload the files in a session first.")
    config = given.get("config")
    return WantedAssets(token, None if config is None else read_config(config), keep)


def read_config(config: Any) -> dict[str, Any]:
    """wrangler's `assets.config` as the runtime wants it. Raises ScriptRejected."""
    if not isinstance(config, dict):
        raise ScriptRejected("`assets.config` must be an object.")
    readers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "html_handling": ("html_handling", partial(_one_of, "html_handling", _HTML_HANDLING)),
        "not_found_handling": (
            "not_found_handling",
            partial(_one_of, "not_found_handling", _NOT_FOUND_HANDLING),
        ),
        "run_worker_first": ("run_worker_first", _rules),
        "_headers": ("headers", partial(_text, "_headers")),
        "_redirects": ("redirects", partial(_text, "_redirects")),
    }
    return {
        name: read(config[key])
        for key, (name, read) in readers.items()
        if config.get(key) is not None
    }


def _one_of(key: str, allowed: tuple[str, ...], value: Any) -> Any:
    if value not in allowed:
        raise ScriptRejected(f"`assets.{key}` must be one of {', '.join(allowed)}.")
    return value


def _text(key: str, value: Any) -> Any:
    if not isinstance(value, str) or len(value) > _TEXT_LENGTH_MAX or "\0" in value:
        raise ScriptRejected(f"`{key}` must be text of at most {_TEXT_LENGTH_MAX:,} characters.")
    return value


def _rules(first: Any) -> bool | list[str]:
    if isinstance(first, bool):
        return first
    legal = isinstance(first, list) and len(first) <= _RULES_MAX
    if not legal or not all(
        isinstance(rule, str) and len(rule) <= _RULE_LENGTH_MAX and rule.startswith(("/", "!/"))
        for rule in first
    ):
        raise ScriptRejected(
            f"`assets.run_worker_first` must be true, false, or at most {_RULES_MAX} patterns that "
            "begin with / or !/."
        )
    return list(first)


def check_manifest(manifest: dict[str, Any]) -> None:
    """Raises TooLarge, UploadMalformed or ScriptRejected for files that cannot be taken."""
    limit = settings().asset_count_limit
    if len(manifest) > limit:
        raise TooLarge(f"{len(manifest):,} files are too many: a version has at most {limit:,}.")
    for path, entry in manifest.items():
        _check_path(path)
        _check_entry(path, entry)
    folders = {"/".join(path.split("/")[:end]) for path in manifest for end in _ends(path)}
    if both := folders & manifest.keys():
        raise ScriptRejected(f"{min(both)} is a file and a folder at the same time.")


def _ends(path: str) -> range:
    return range(2, path.count("/") + 1)


def _check_path(path: str) -> None:
    try:
        size = len(path.encode())
        parts = path.split("/")
        legal = parts[0] == "" and len(parts) > 1 and size <= _PATH_BYTES_MAX and "\0" not in path
        legal = legal and all(
            part not in ("", ".", "..") and len(part.encode()) <= _PART_BYTES_MAX
            for part in parts[1:]
        )
    except UnicodeEncodeError:
        legal = False
    if not legal:
        raise ScriptRejected(f"{path[:200]!r} cannot be the path of a static asset.")


def _check_entry(path: str, entry: Any) -> None:
    size = entry.get("size") if isinstance(entry, dict) else None
    hash_ = entry.get("hash") if isinstance(entry, dict) else None
    whole = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    if not whole or not isinstance(hash_, str) or not _HASH.fullmatch(hash_):
        raise UploadMalformed(f"The manifest needs `hash` and `size` of {path}.")
    limit = settings().asset_size_limit_bytes
    if isinstance(size, int) and size > limit:
        raise TooLarge(
            f"{path} has {size / 2**20:.1f} MiB; a static asset has at most {limit / 2**20:.0f} MiB. "
            "Nothing was stored."
        )
