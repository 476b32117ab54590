"""The rules of the dashboard's files (style.md, B4), executed."""

import re
from pathlib import Path

import pytest

from dashboard.navigation import navigation
from dashboard.nodes import LEVELS, UNKNOWN
from dashboard.templating import ENVIRONMENT, HERE, STATIC

TEMPLATES = sorted((HERE / "templates").rglob("*.html"))
STYLES = sorted((STATIC / "css").glob("*.css"))
MODULES = sorted((STATIC / "js").glob("*.js"))

_COLOUR = re.compile(r"#[0-9a-f]{3,8}\b|\b(?:rgb|hsl|oklch|oklab|lab|lch|color)a?\(", re.IGNORECASE)


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_colours_stand_in_the_tokens_only(path: Path) -> None:
    if path.name != "tokens.css":
        assert _COLOUR.findall(path.read_text()) == []


def test_dark_redefines_primitives_only() -> None:
    light, dark = (
        (STATIC / "css" / name).read_text() for name in ("tokens.css", "tokens-dark.css")
    )
    primitives = re.compile(r"^\s*(--[\w-]+):", re.MULTILINE)

    redefined = set(primitives.findall(dark))
    assert redefined <= set(primitives.findall(light))
    assert all(name.startswith(("--lch-", "--alpha-")) for name in redefined)


def test_tokens_that_are_used_exist_and_the_others_do_not() -> None:
    text = "".join(path.read_text() for path in STYLES)
    defined = set(re.findall(r"(?<![\w-])(--[\w-]+):", text))
    assert defined == set(re.findall(r"var\((--[\w-]+)\)", text))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(HERE)))
def test_templates_are_small_and_without_style_or_script(path: Path) -> None:
    text = path.read_text()

    assert _lines(path) < 120
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"https?://(?!www\.w3\.org)", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(HERE)))
def test_htmx_stands_in_components_and_fragments_only(path: Path) -> None:
    if path.parent.name != "components" and not path.name.startswith("_"):
        assert re.findall(r"\bhx-[\w-]+=", path.read_text()) == []


def test_no_form_is_sent_by_a_second_click() -> None:
    """But for those of which a second one changes nothing, and the editor, which sees to it itself."""
    forms = [form for path in TEMPLATES for form in re.findall(r"<form\b[^>]*>", path.read_text())]
    posting = [form for form in forms if 'method="post"' in form]
    harmless = re.compile(r'data-module="(busy|theme|editor)"|action="/(logout|theme)"')
    assert len(posting) > 8
    assert [form for form in posting if not harmless.search(form)] == []


def test_every_template_compiles() -> None:
    for name in ENVIRONMENT.list_templates():
        ENVIRONMENT.get_template(name)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_are_small(path: Path) -> None:
    assert _lines(path) <= 60


def test_every_icon_and_module_that_is_named_exists() -> None:
    templates = "".join(path.read_text() for path in TEMPLATES)
    icons = set(re.findall(r'<symbol id="([\w-]+)"', (STATIC / "icons.svg").read_text()))
    modules = set(re.findall(r'data-module"?[=:] ?"([\w-]+)"', templates))

    rail = {entry.icon for _, entries in navigation("/") for entry in entries}
    assert set(re.findall(r'icon\("([\w-]+)"', templates)) | rail <= icons
    assert {level.kind for level in (*LEVELS.values(), UNKNOWN)} <= icons
    assert modules == {path.stem for path in MODULES} - {"modules"}
