"""Archives that are whole, cut off, changed, or somebody else's."""

import io
import json
import stat
import tarfile
from pathlib import Path

import pytest

from launcher import archive
from launcher.errors import LauncherError

FILES = {"config.json": b"{}", "nodes/edge-1/credential.json": b"x" * 200_000}


@pytest.fixture
def written(tmp_path: Path) -> Path:
    source, scratch = tmp_path / "source", tmp_path / "scratch"
    scratch.mkdir()
    for name, content in FILES.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    files = {name: source / name for name in FILES}
    manifest = archive.describe(files, version="0.1.0", schema="0001", made_at="2026-11-24")
    archive.write(tmp_path / "backup", manifest, files, scratch)
    return tmp_path / "backup"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "unpacked"
    made.mkdir()
    return made


def pack(path: Path, members: dict[str, bytes], *, links: dict[str, str] | None = None) -> Path:
    """An archive with these members in this order, honest or not."""
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    return path


def manifest_of(*names: str, format: int = archive.FORMAT) -> bytes:  # noqa: A002 - the field's name
    files = {name: {"bytes": 0, "sha256": ""} for name in names}
    found = {"format": format, "version": "", "schema": "", "made_at": "", "files": files}
    return json.dumps(found).encode()


def test_what_goes_in_comes_out(written: Path, folder: Path) -> None:
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    found = archive.extract(written, folder)
    assert (found.version, found.schema) == ("0.1.0", "0001")
    for name, content in FILES.items():
        assert (folder / name).read_bytes() == content
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


def test_every_cut_is_noticed(written: Path, tmp_path: Path) -> None:
    whole = written.read_bytes()
    for number, length in enumerate((0, 1, 12, len(whole) // 2, len(whole) - 60)):
        cut = tmp_path / f"cut-{number}"
        cut.write_bytes(whole[:length])
        target = tmp_path / f"out-{number}"
        target.mkdir()
        with pytest.raises(LauncherError, match=r"(is damaged|ends early).*Nothing was changed"):
            archive.extract(cut, target)


def test_changed_content_is_noticed(written: Path, folder: Path) -> None:
    with tarfile.open(written) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    members["config.json"] = b"[]"
    with pytest.raises(LauncherError, match=r"config\.json is not what the manifest says"):
        archive.extract(pack(written, members), folder)


def test_a_file_that_is_none(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(LauncherError, match="No such file"):
        archive.extract(tmp_path / "nowhere", folder)
    with pytest.raises(LauncherError, match="Is a directory"):
        archive.extract(tmp_path, folder)
    text = tmp_path / "text"
    text.write_text("not an archive")
    with pytest.raises(LauncherError, match="is not a backup"):
        archive.extract(text, folder)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"something": b""}, "does not begin with a manifest"),
        ({"manifest.json": b"[]"}, "is not a backup"),
        ({"manifest.json": b"{"}, "is not a backup"),
        ({"manifest.json": manifest_of(format=2)}, "its format is 2"),
        ({"manifest.json": manifest_of(), "extra": b""}, "'extra' does not belong in it"),
        ({"manifest.json": manifest_of("../x"), "../x": b""}, "'../x' does not belong in it"),
        ({"manifest.json": manifest_of("/x"), "/x": b""}, "'/x' does not belong in it"),
        ({"manifest.json": manifest_of("missing")}, "missing is missing"),
    ],
)
def test_somebody_elses_archive(
    members: dict[str, bytes], reason: str, tmp_path: Path, folder: Path
) -> None:
    with pytest.raises(LauncherError, match=reason):
        archive.extract(pack(tmp_path / "foreign", members), folder)
    assert not (tmp_path / "x").exists()


def test_a_link_is_refused(tmp_path: Path, folder: Path) -> None:
    members = {"manifest.json": manifest_of("link")}
    foreign = pack(tmp_path / "foreign", members, links={"link": "/etc/passwd"})
    with pytest.raises(LauncherError, match="'link' is not a plain file"):
        archive.extract(foreign, folder)
