"""Static assets: files that are uploaded once per content and served under the paths of a manifest."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api.accounts.models import Account
from api.assets import tokens
from api.assets.models import AssetHash, AssetSession
from api.clock import now
from api.errors import NotAuthenticated, UploadMalformed
from api.pagination import Listing, Page, paginate
from api.scripts import service as scripts
from api.versions import service as versions
from api.versions.assets import Assets, WantedAssets, check_manifest
from api.versions.bundle import Upload
from api.versions.models import AssetFile, Module

# One request of wrangler's carries a bucket, as base64.
BUCKET_BYTES, BUCKET_FILES = 32 * 1024 * 1024, 500
# wrangler is done within minutes; its tokens live for an hour.
SESSION_LIFETIME = timedelta(days=1)
_ROWS_AT_ONCE = 5_000


def open_session(
    session: Session, account: Account, script_name: str, manifest: dict[str, Any]
) -> tuple[str, list[list[str]]]:
    """Begin an upload: a token, and the hashes that are missing, in buckets. Without missing ones
    the token is the finished upload's. Raises what `check_manifest` raises."""
    check_manifest(manifest)
    opened = AssetSession(account_id=account.id, script_name=script_name, manifest=manifest)
    session.add(opened)
    session.flush()
    missing = _missing(session, opened)
    kind = tokens.UPLOADING if missing else tokens.COMPLETE
    return tokens.issue(opened.id, kind), _buckets(missing)


def _buckets(sizes: Mapping[str, int]) -> list[list[str]]:
    buckets: list[list[str]] = []
    room = 0
    for hash_, size in sizes.items():
        if not buckets or size > room or len(buckets[-1]) >= BUCKET_FILES:
            buckets.append([])
            room = BUCKET_BYTES
        buckets[-1].append(hash_)
        room -= size
    return buckets


def take_bucket(session: Session, token: str, contents: Mapping[str, bytes]) -> str | None:
    """Store files by their hashes; the finished upload's token once none is missing.

    Raises NotAuthenticated for a token that is not good, UploadMalformed for files that the
    session did not announce.
    """
    # Locked: of buckets that arrive together the last one has to see all others.
    found = session.get(
        AssetSession, tokens.session_of(token, tokens.UPLOADING), with_for_update=True
    )
    if found is None:
        raise NotAuthenticated("This upload of assets is over. Nothing was stored; deploy again.")
    announced = _sizes(found)
    decoded = {hash_: _checked(hash_, text, announced) for hash_, text in contents.items()}
    _store_hashes(session, found.account_id, decoded)
    return None if _missing(session, found) else tokens.issue(found.id, tokens.COMPLETE)


def _checked(hash_: str, text: bytes, announced: Mapping[str, int]) -> bytes:
    """The content that was sent under a hash, if the session announced one of this size."""
    if hash_ not in announced:
        raise UploadMalformed(f"{hash_[:64]} is not in the manifest of this upload.")
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UploadMalformed(f"{hash_} is not base64.") from error
    if len(content) != announced[hash_]:
        raise UploadMalformed(
            f"{hash_} has {len(content):,} bytes, but the manifest says {announced[hash_]:,}."
        )
    return content


def _sizes(found: AssetSession) -> dict[str, int]:
    return {entry["hash"]: entry["size"] for entry in found.manifest.values()}


def _missing(session: Session, found: AssetSession) -> dict[str, int]:
    """Sizes by hash of what was never uploaded. What is there is kept from the pruning."""
    sizes = _sizes(found)
    known = _digests(session, found.account_id, list(sizes))
    session.execute(
        update(Module).where(Module.digest.in_(set(known.values()))).values(uploaded_at=now())
    )
    return {hash_: size for hash_, size in sizes.items() if hash_ not in known}


def _digests(session: Session, account_id: str, hashes: list[str]) -> dict[str, str]:
    rows = session.execute(
        select(AssetHash.hash, AssetHash.digest).where(
            AssetHash.account_id == account_id, AssetHash.hash.in_(hashes)
        )
    )
    return {row.hash: row.digest for row in rows}


def _store_hashes(session: Session, account_id: str, contents: Mapping[str, bytes]) -> None:
    if not contents:
        return
    digests = versions.store_contents(session, contents.values())
    rows = [
        {"account_id": account_id, "hash": hash_, "digest": digest}
        for hash_, digest in zip(contents, digests, strict=True)
    ]
    statement = insert(AssetHash).values(rows)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[AssetHash.account_id, AssetHash.hash],
            set_={"digest": statement.excluded.digest},
        )
    )


def store_manifest(session: Session, files: Mapping[str, tuple[str, int]]) -> str:
    """Store a list of files, (digest, size) by path; gives the list's own digest."""
    listed = {path: digest for path, (digest, _) in sorted(files.items())}
    manifest = versions.store_content(session, json.dumps(listed, separators=(",", ":")).encode())
    rows = [
        {"manifest": manifest, "path": path, "digest": digest, "size_bytes": size}
        for path, (digest, size) in files.items()
    ]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        statement = insert(AssetFile).values(rows[start : start + _ROWS_AT_ONCE])
        session.execute(statement.on_conflict_do_nothing())
    return manifest


def store_files(session: Session, files: Mapping[str, bytes], config: dict[str, Any]) -> Assets:
    """Assets from contents by path, for a version that no wrangler uploads."""
    digests = versions.store_contents(session, files.values())
    stored = {
        path: (digest, len(content))
        for (path, content), digest in zip(files.items(), digests, strict=True)
    }
    return Assets(store_manifest(session, stored), config)


def resolved(session: Session, account_id: str, name: str, upload: Upload) -> Upload:
    """The upload with the assets that it names or keeps. Raises what `resolve` raises."""
    if upload.wanted_assets is None:
        return upload
    script = scripts.find(session, account_id, name)
    latest = versions.latest(session, script) if script else None
    before = versions.assets_of(latest) if latest else None
    found = resolve(session, account_id, name, upload.wanted_assets, before)
    if found is None and not upload.main_module:
        raise UploadMalformed("The upload has neither a script nor static assets.")
    return upload.with_assets(found)


def resolve(
    session: Session,
    account_id: str,
    script_name: str,
    wanted: WantedAssets | None,
    before: Assets | None,
) -> Assets | None:
    """The assets of a new version: of a finished upload, or those of the version before.

    Raises NotAuthenticated for a token that is not this script's, UploadMalformed for an upload
    that is not finished.
    """
    if wanted is None:
        return None
    if not wanted.token:
        kept = before if wanted.keep else None
        return replace(kept, config=wanted.config) if kept and wanted.config is not None else kept
    found = session.get(AssetSession, tokens.session_of(wanted.token, tokens.COMPLETE))
    if found is None or (found.account_id, found.script_name) != (account_id, script_name):
        raise NotAuthenticated(
            "The assets were not uploaded for this Worker, or too long ago. Nothing was changed; "
            "deploy again."
        )
    entries = found.manifest
    known = _digests(session, account_id, [entry["hash"] for entry in entries.values()])
    if any(entry["hash"] not in known for entry in entries.values()):
        raise UploadMalformed("Not all static assets were uploaded. Nothing was changed.")
    manifest = store_manifest(
        session,
        {path: (known[entry["hash"]], entry["size"]) for path, entry in entries.items()},
    )
    return Assets(manifest, wanted.config or {})


def page_of_files(session: Session, assets: Assets, page: Page) -> Listing[AssetFile]:
    """The files of a version, by path."""
    query = select(AssetFile).where(AssetFile.manifest == assets.manifest).order_by(AssetFile.path)
    return paginate(session, query, page)


def prune_sessions(session: Session) -> None:
    session.execute(delete(AssetSession).where(AssetSession.created_at < now() - SESSION_LIFETIME))
