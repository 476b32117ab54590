"""Templates say what they are, and their bundles are the same whoever makes them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gallery import build, templates
from gallery.templates import HERE, MetadataError, Template

ALL = templates.load_all()


def test_every_folder_is_a_template() -> None:
    folders = {path.name for path in HERE.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert {template.name for template in ALL} == folders
    assert [template.name for template in ALL] == [
        "hello-world",
        "json-api",
        "hono-api",
        "hono-auth",
        "itty-router",
        "express",
        "ab-test",
        "redirects",
        "html-form",
        "streaming",
        "web-app",
        "cron",
        "short-links",
        "file-drop",
        "cached-api",
        "counter",
        "guestbook",
        "queue",
        "checkout",
    ]


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
    [("", 19), ("HONO json", 1), ("hono", 2), ("web pages cookie", 1), ("nothing like it", 0)],
)
def test_the_search_looks_at_every_word(search: str, found: int) -> None:
    assert len([template for template in ALL if template.matches(search)]) == found


def test_a_category_and_a_search_narrow_each_other() -> None:
    assert [one.name for one in ALL if one.matches("", "security")] == ["hono-auth"]
    assert [one.name for one in ALL if one.matches("kilobyte", "frameworks")] == ["itty-router"]
    assert [one.name for one in ALL if one.matches("kilobyte", "traffic")] == []


@pytest.mark.parametrize("category", templates.CATEGORIES)
def test_no_category_is_empty(category: str) -> None:
    assert [one for one in ALL if one.matches("", category)] != []


_GOOD: dict[str, Any] = {
    "label": "Good",
    "description": "Good.",
    "categories": ["starter"],
    "compatibility_date": "2026-11-17",
}
_KEY = {"name": "KEY", "type": "secret_text", "label": "Key", "description": "A key."}
_COUNT = {"name": "COUNT", "type": "plain_text", "label": "Count", "description": "How many."}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"categories": []}, "`categories` is one or more of starter, api"),
        ({"categories": ["zebra"]}, "`categories` is one or more of starter, api"),
        ({"curl": "curl example.org"}, "`curl` must ask {url}"),
        ({"stripes": 3}, "stripes"),
        ({"label": None, "bindings": [{"name": "X"}]}, "missing"),
        ({"bindings": [_KEY | {"type": "zebra"}]}, "unknown type zebra"),
        ({"bindings": [_KEY | {"name": "no name"}]}, "NAME_LIKE_THIS"),
        ({"bindings": [_KEY | {"default": "1234"}]}, "a default that all can read is none"),
        ({"bindings": [_COUNT | {"generated": True}]}, "its value is not generated"),
        ({"bindings": [_COUNT | {"pattern": "[0-9]+"}]}, "`pattern` and `expects`, or neither"),
        (
            {"bindings": [_COUNT | {"pattern": "[0-9]+", "expects": "a number", "default": "x"}]},
            "does not match its pattern",
        ),
    ],
)
def test_metadata_that_contradicts_itself(wrong: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "hello-world" / "template.json"
    path.parent.mkdir()
    path.write_text(json.dumps(_GOOD | {"bindings": [_KEY, _COUNT]}))
    assert templates.load(path).creates == "1 Worker, 1 secret, 1 variable"

    path.write_text(json.dumps(_GOOD | wrong))
    with pytest.raises(MetadataError, match=re.escape(said)) as refusal:
        templates.load(path)
    assert str(path) in str(refusal.value)


def test_there_is_no_template_of_another_name() -> None:
    assert templates.find("../hello-world") is None
