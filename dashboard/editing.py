"""Code as the editor shows it and as its form sends it back: files, what is wrong, what changed."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from sqlalchemy.orm import Session
from starlette.datastructures import FormData, UploadFile

from api import ids
from api.errors import UploadMalformed
from api.versions import service as versions
from api.versions.bundle import Upload, UploadedModule
from api.versions.metadata import read_upload
from api.versions.models import Version

# A form's text field may have twice this; a larger file is a bundle that nobody edits by hand.
EDITABLE_SIZE_MAX_BYTES = 512 * 1024
_BYTES_TYPES = frozenset({"wasm", "data"})
_TYPE_OF_EXTENSION = {
    ".js": "esm",
    ".mjs": "esm",
    ".ts": "esm",
    ".cjs": "cjs",
    ".json": "json",
    ".wasm": "wasm",
    ".bin": "data",
}
_NAME_LENGTH_MAX = 512
# A place in a stack of the runtime: `  at lib/deep.js:2:9 in fail`.
_PLACE = re.compile(r"\bat (?:.*\()?([^\s()]+):(\d+):(\d+)\)?")
_IMPORT = re.compile(r'No such module "([^"]+)"\.\s+imported from "([^"]+)"')
# What the runtime calls the script of service-worker syntax.
_CLASSIC_SCRIPT = "worker.js"


@dataclass(frozen=True)
class File:
    """A module as the editor has it."""

    name: str
    type: str
    content: bytes
    digest: str = ""
    """Of the stored module that it was opened from; empty for a new file."""
    main: bool = False
    removed: bool = False

    @property
    def text(self) -> str | None:
        """None for what is shown as so many bytes."""
        if self.type in _BYTES_TYPES or len(self.content) > EDITABLE_SIZE_MAX_BYTES:
            return None
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            return None

    @property
    def forgotten(self) -> bool:
        """Whether a browser would have to send it again, because a page cannot hold it."""
        return self.text is None and ids.digest(self.content) != self.digest

    @property
    def size_bytes(self) -> int:
        return len(self.content)


@dataclass(frozen=True)
class Complaint:
    """Something that is wrong, and where if that is known; lines and columns count from 1."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 1


@dataclass(frozen=True)
class Change:
    """How a file differs: lines with their kind, which is one of add, gone, hunk and same."""

    name: str
    summary: str
    lines: list[tuple[str, str]]


def files_of(session: Session, version: Version) -> list[File]:
    """The modules of a version, the main one first."""
    upload = versions.as_upload(session, version)
    main = version.main_module
    found = [
        File(one.name, one.type, one.content, one.digest, one.name == main)
        for one in upload.modules
    ]
    return sorted(found, key=lambda file: not file.main)


def read_files(form: FormData, before: Sequence[File]) -> list[File]:
    """The files of the form, from fields with a number at the end of their names."""
    numbers = sorted(
        int(found[1]) for key in form if (found := re.fullmatch(r"name-(\d{1,4})", key))
    )
    main = str(form.get("main", ""))
    read = [_read_file(form, number, before, main=str(number) == main) for number in numbers]
    return [file for file in read if file.name or file.content]


def _read_file(form: FormData, number: int, before: Sequence[File], *, main: bool) -> File:
    name = str(form.get(f"name-{number}", "")).strip() or _name_of_chosen(form, number)
    digest = str(form.get(f"digest-{number}", ""))
    stored = next((file for file in before if file.digest == digest), None) if digest else None
    return File(
        name,
        _type_of(name, stored),
        _content(form, number, stored),
        digest if stored else "",
        main,
        removed=f"remove-{number}" in form and not main,
    )


def _name_of_chosen(form: FormData, number: int) -> str:
    chosen = form.get(f"file-{number}")
    if isinstance(chosen, UploadFile) and chosen.size:
        return PurePosixPath(chosen.filename or "").name
    return ""


def _type_of(name: str, stored: File | None) -> str:
    extension = PurePosixPath(name).suffix
    if stored and (stored.main or extension == PurePosixPath(stored.name).suffix):
        return stored.type
    return _TYPE_OF_EXTENSION.get(extension, "text")


def _content(form: FormData, number: int, stored: File | None) -> bytes:
    text, chosen = form.get(f"content-{number}"), form.get(f"file-{number}")
    if isinstance(chosen, UploadFile) and chosen.size:
        return chosen.file.read()
    if not isinstance(text, str):
        return stored.content if stored else b""
    # Browsers end the lines of a text area as mail does. What was not touched stays as it was.
    text = text.replace("\r\n", "\n")
    if stored and stored.text is not None and stored.text.replace("\r\n", "\n") == text:
        return stored.content
    return text.encode(errors="replace")


def revised(upload: Upload, base: Version, files: Sequence[File]) -> Upload:
    """The upload with these files as its code; raises Refused or TooLarge when they will not do."""
    kept = [file for file in files if not file.removed]
    for file in kept:
        if not file.name or "\0" in file.name or len(file.name) > _NAME_LENGTH_MAX:
            raise UploadMalformed("Each file needs a name of 1 to 512 characters.")
    main = next((file.name for file in kept if file.main), "")
    entry = "main_module" if base.syntax == "modules" else "body_part"
    parts = [UploadedModule(file.name, file.type, file.content) for file in kept]
    checked = read_upload({entry: main}, parts)
    # Source maps say nothing about code that was changed here.
    return replace(
        upload,
        main_module=main,
        syntax=checked.syntax,
        modules=checked.modules,
        source_maps=[one for one in upload.source_maps if _unchanged(upload, checked, one.name)],
    )


def _unchanged(before: Upload, after: Upload, source_map: str) -> bool:
    """Whether the module of this source map is what it was."""
    name = source_map.removesuffix(".map")
    found = [{one.digest for one in it.modules if one.name == name} for it in (before, after)]
    return found[0] == found[1]


def complaint_of(message: str, files: Sequence[File]) -> Complaint:
    """The runtime's message with the first place in it that is in one of the files."""
    sources = {file.name: file.text or "" for file in files}
    missing = _IMPORT.search(message)
    if missing and missing[2] in sources:
        name, source = missing[2], sources[missing[2]]
        lines = source.splitlines()
        wanted = PurePosixPath(missing[1]).name
        line = next((at for at, text in enumerate(lines, 1) if wanted in text), 1)
        return Complaint(message, name, line)
    main = next((file.name for file in files if file.main), "")
    for found in _PLACE.finditer(message):
        name = main if found[1] == _CLASSIC_SCRIPT and found[1] not in sources else found[1]
        if name in sources:
            return Complaint(message, name, int(found[2]), int(found[3]))
    return Complaint(message)


def changes_between(before: Sequence[File], after: Sequence[File]) -> list[Change]:
    """How the files differ, by name."""
    old = {file.name: file for file in before}
    new = {file.name: file for file in after if not file.removed}
    names = [*new, *(name for name in old if name not in new)]
    return [
        _change(name, old.get(name), new.get(name))
        for name in names
        if _content_of(old, name) != _content_of(new, name)
    ]


def _content_of(files: Mapping[str, File], name: str) -> bytes | None:
    return files[name].content if name in files else None


def _change(name: str, old: File | None, new: File | None) -> Change:
    word = "changed" if old and new else ("new" if new else "deleted")
    before, after = (file.text if file else "" for file in (old, new))
    if before is None or after is None:
        sizes = " to ".join(f"{file.size_bytes:,} bytes" for file in (old, new) if file)
        return Change(name, f"{word}, {sizes}", [])
    difference = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm=""))
    return Change(name, word, [_line(line) for line in difference[2:]])


def _line(line: str) -> tuple[str, str]:
    kinds = {"+": "add", "-": "gone", "@": "hunk"}
    return kinds.get(line[:1], "same"), line
