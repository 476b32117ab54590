"""Upload: immutable versions."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import Delete, Select, delete, exists, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, object_session

from api import ids
from api.accounts.actor import Actor
from api.bindings.models import Binding
from api.bindings.resolution import resolve
from api.clock import now
from api.errors import VersionNotFound
from api.objects import service as objects
from api.pagination import Listing, Page, paginate
from api.scripts.models import Script
from api.versions import checking
from api.versions.assets import Assets
from api.versions.bundle import SOURCE_MAP, Upload, UploadedModule
from api.versions.limits import cpu_ms_of
from api.versions.models import AssetFile, Module, SourceMap, Version, VersionModule
from api.workflows import service as workflows

# An upload inserts its modules and its version in one transaction; a day is far beyond any.
UNREFERENCED_FOR = timedelta(days=1)
# A statement with more values is slower, not faster.
_ROWS_AT_ONCE = 100


def of_script(script: Script) -> Select[Version]:
    """The one door to versions, newest first."""
    return select(Version).where(Version.script_id == script.id).order_by(Version.number.desc())


def latest(session: Session, script: Script) -> Version | None:
    return session.scalar(of_script(script).limit(1))


def get(session: Session, script: Script, version_id: str) -> Version:
    version = session.scalar(of_script(script).where(Version.id == version_id))
    if version is None:
        raise VersionNotFound(f"{script.name} has no version {version_id}.")
    return version


def page_of_versions(session: Session, script: Script, page: Page) -> Listing[Version]:
    return paginate(session, of_script(script), page)


def resolved(session: Session, script: Script | None, upload: Upload) -> Upload:
    """The upload with the bindings that it keeps and inherits from the latest version."""
    before = latest(session, script) if script else None
    previous = [binding.revealed() for binding in before.bindings] if before else []
    return upload.with_bindings(resolve(upload.bindings, previous, upload.keep_bindings))


def store(
    session: Session, script: Script, upload: Upload, start: checking.Start, *, by: Actor
) -> Version:
    """Insert a version of the locked script from an upload that is resolved and has started."""
    script.version_number += 1
    script.modified_at = now()
    version = Version(
        script=script,
        number=script.version_number,
        digest=upload.digest,
        size_bytes=upload.size_bytes,
        syntax=upload.syntax,
        main_module=upload.main_module,
        compatibility_date=upload.compatibility_date,
        compatibility_flags=upload.compatibility_flags,
        handlers=start.handlers,
        options={**upload.options, objects.TAG_OPTION: script.migration_tag}
        if script.migration_tag
        else upload.options,
        assets=upload.assets and upload.assets.as_json(),
        message=upload.message,
        tag=upload.tag,
        triggered_by=upload.triggered_by,
        source=by.source,
        author_id=by.id,
        author_email=by.email,
        startup_ms=start.startup_ms,
    )
    for position, module in enumerate(upload.modules):
        store_content(session, module.content)
        version.modules.append(
            VersionModule(
                name=module.name, position=position, type=module.type, digest=module.digest
            )
        )
    maps = {one.name: one for one in upload.source_maps}
    for name, one in maps.items():
        digest = store_content(session, one.content)
        version.source_maps.append(SourceMap(name=name, digest=digest))
    version.bindings = [Binding.of(b, position) for position, b in enumerate(upload.bindings)]
    session.add(version)
    session.flush()
    return version


def store_content(session: Session, content: bytes) -> str:
    """Store bytes under their digest, once, and give that digest."""
    (digest,) = store_contents(session, [content])
    return digest


def store_contents(session: Session, contents: Iterable[bytes]) -> list[str]:
    """Store many, and give their digests in the same order."""
    listed = [(ids.digest(content), content) for content in contents]
    moment = now()
    # In the order of digests: two uploads of the same files must not wait for each other in a circle.
    rows = [
        {"digest": digest, "content": content, "size_bytes": len(content), "uploaded_at": moment}
        for digest, content in sorted(dict(listed).items())
    ]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        statement = insert(Module).values(rows[start : start + _ROWS_AT_ONCE])
        # Touching the row that is there keeps the pruning away from it.
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[Module.digest],
                set_={"uploaded_at": statement.excluded.uploaded_at},
            )
        )
    return [digest for digest, _ in listed]


def as_upload(session: Session, version: Version) -> Upload:
    """A stored version as an upload, for a new version that differs in its bindings only."""
    return Upload(
        main_module=version.main_module,
        syntax=version.syntax,
        modules=[
            UploadedModule(module.name, module.type, content(session, module.digest))
            for module in version.modules
        ],
        bindings=[binding.revealed() for binding in version.bindings],
        compatibility_date=version.compatibility_date,
        compatibility_flags=version.compatibility_flags,
        options={key: value for key, value in version.options.items() if key != objects.TAG_OPTION},
        assets=assets_of(version),
        source_maps=[
            UploadedModule(one.name, SOURCE_MAP, content(session, one.digest))
            for one in version.source_maps
        ],
        objects=tuple(objects.of_script(session, version.script)),
        workflows=tuple(_workflows(version)),
    )


def source_maps(session: Session, version_id: str) -> dict[str, bytes]:
    """Contents by name of a version's source maps; empty for a version that is not there."""
    query = (
        select(SourceMap.name, Module.content)
        .join(Module, Module.digest == SourceMap.digest)
        .where(SourceMap.version_id == version_id)
    )
    return {row.name: row.content for row in session.execute(query)}


def assets_of(version: Version) -> Assets | None:
    return Assets(**version.assets) if version.assets else None


def content(session: Session, digest: str) -> bytes:
    """The bytes of a module; raises VersionNotFound if nobody has uploaded it."""
    found = session.scalar(select(Module.content).where(Module.digest == digest))
    if found is None:
        raise VersionNotFound(f"There is no module {digest}.")
    return found


def contents(session: Session, digests: list[str], limit_bytes: int) -> dict[str, bytes]:
    """Bytes of modules by digest: of as many of these as have `limit_bytes` together, at least one.

    Raises VersionNotFound if one of them was never uploaded.
    """
    query = select(Module.digest, Module.size_bytes).where(Module.digest.in_(digests))
    sizes = {row.digest: row.size_bytes for row in session.execute(query)}
    if missing := set(digests) - sizes.keys():
        raise VersionNotFound(f"There is no module {min(missing)}.")
    fitting: list[str] = []
    for digest, size in sizes.items():
        limit_bytes -= size
        if fitting and limit_bytes < 0:
            break
        fitting.append(digest)
    rows = session.execute(select(Module.digest, Module.content).where(Module.digest.in_(fitting)))
    return {row.digest: row.content for row in rows}


def spec(version: Version) -> dict[str, Any]:
    """What a cell is built from. Secrets are in it: it goes to a node over TLS and nowhere else."""
    digests = {module.name: module.digest for module in version.modules}
    observed = version.script.observed(version.options.get("observability"))
    modules = [
        {
            "name": module.name,
            "type": module.type,
            "digest": module.digest,
            "size_bytes": module.module.size_bytes,
        }
        for module in version.modules
        if version.syntax == "modules" or module.name == version.main_module
    ]
    return {
        "syntax": version.syntax,
        "main_module": version.main_module,
        "compatibility_date": version.compatibility_date,
        "compatibility_flags": version.compatibility_flags,
        "modules": modules,
        "bindings": [_cell_binding(version, binding, digests) for binding in version.bindings],
        "version_id": version.id,
        "script_name": version.script.name,
        "assets": version.assets,
        "cpu_ms": cpu_ms_of(version.options),
        "observability": observed and observed.as_json(),
        "objects": [one.as_json() for one in _classes(version)],
        "workflows": [one.as_json() for one in _workflows(version)],
    }


def _classes(version: Version) -> list[objects.ObjectClass]:
    session = object_session(version)
    return objects.of_script(session, version.script) if session else []


def _workflows(version: Version) -> list[workflows.WorkflowClass]:
    session = object_session(version)
    bound = [one.public() for one in version.bindings if one.type == workflows.BINDING]
    return workflows.of_version(session, version.script, bound) if session else []


def _cell_binding(version: Version, binding: Binding, digests: dict[str, str]) -> dict[str, Any]:
    if binding.type == "version_metadata":
        timestamp = version.created_at.isoformat()
        return {
            "name": binding.name,
            "type": binding.type,
            "id": version.id,
            "tag": version.tag,
            "timestamp": timestamp,
        }
    found = checking.cell_binding(binding.revealed(), digests)
    if binding.type == objects.BINDING and "script" in found:
        return {**found, "namespace_id": _namespace_id(version, found)}
    return found


def _namespace_id(version: Version, binding: dict[str, Any]) -> str | None:
    session, account_id = object_session(version), version.script.account_id
    if session is None:
        return None
    return objects.namespace_id_of(session, account_id, binding["script"], binding["class_name"])


def delete_all(session: Session, script: Script) -> None:
    """Delete every version with its bindings and secrets; modules go with the next pruning."""
    session.execute(delete(Version).where(Version.script_id == script.id))


def prune_modules(session: Session) -> int:
    """Delete modules that no version refers to; gives their number."""
    session.execute(_unused_files())
    referenced = or_(
        exists().where(VersionModule.digest == Module.digest),
        exists().where(SourceMap.digest == Module.digest),
        exists().where(AssetFile.digest == Module.digest),
        exists().where(AssetFile.manifest == Module.digest),
    )
    pruned = session.scalars(
        delete(Module)
        .where(~referenced, Module.uploaded_at < now() - UNREFERENCED_FOR)
        .returning(Module.digest)
    )
    return len(pruned.all())


def _unused_files() -> Delete:
    """The lists of static files that no version has; an upload under way has touched its list."""
    used = exists().where(Version.assets["manifest"].astext == AssetFile.manifest)
    fresh = exists().where(
        Module.digest == AssetFile.manifest, Module.uploaded_at >= now() - UNREFERENCED_FOR
    )
    return delete(AssetFile).where(~used, ~fresh)
