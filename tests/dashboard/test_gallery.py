"""Templates say what they are, and their bundles are the same whoever makes them."""

import pytest

from gallery import build, templates
from gallery.templates import HERE, Template

ALL = templates.load_all()


def test_every_folder_is_a_template() -> None:
    folders = {path.name for path in HERE.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert {template.name for template in ALL} == folders
    assert [template.name for template in ALL] == ["hello-world", "hono-api"]


@pytest.mark.parametrize("template", ALL, ids=lambda template: template.name)
def test_building_twice_gives_the_same_bytes(template: Template) -> None:
    build.build(template)
    first = template.bundle()
    build.build(template)

    assert template.bundle() == first
    assert str(HERE) not in first.decode()


def test_what_needs_no_package_is_uploaded_as_it_is_written() -> None:
    hello = templates.find("hello-world")
    assert hello is not None
    build.build(hello)

    assert hello.bundle() == hello.source_path.read_bytes()


@pytest.mark.parametrize(
    ("search", "found"),
    [("", 2), ("HONO json", 1), ("starter", 1), ("nothing like it", 0)],
)
def test_the_search_looks_at_every_word(search: str, found: int) -> None:
    assert len([template for template in ALL if template.matches(search)]) == found


def test_there_is_no_template_of_another_name() -> None:
    assert templates.find("../hello-world") is None
