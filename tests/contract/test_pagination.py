"""Lists as the three kinds of client page through them (cloudflare-api.md, rules 7, 9 and 10)."""

from typing import Any

import pytest

from tests.contract.conftest import SCRIPT, World

NAMES = sorted([SCRIPT, *(f"script-{number}" for number in range(6))])


@pytest.fixture
def crowded(world: World) -> World:
    """Seven scripts, four of them to a page."""
    from api.accounts.models import Account  # noqa: PLC0415 - reads the settings
    from api.db import transaction  # noqa: PLC0415
    from api.scripts.models import Script  # noqa: PLC0415

    with transaction() as session:
        account = session.get_one(Account, world.owner.id)
        session.add_all(Script(account=account, name=name) for name in NAMES if name != SCRIPT)
    return world


def _page(world: World, path: str, **query: int) -> dict[str, Any]:
    answer = world.owner.call("GET", path, params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def _all_pages(world: World) -> list[tuple[str, str]]:
    return [
        (template, world.path(template).removeprefix("/client/v4"))
        for method, template in world.operations()
        if method == "GET" and _takes_page(world, template)
    ]


def _takes_page(world: World, template: str) -> bool:
    parameters = world.app.openapi()["paths"][template]["get"].get("parameters", [])
    return "page" in {parameter["name"] for parameter in parameters}


def _asks_data(world: World, template: str) -> bool:
    tags = world.app.openapi()["paths"][template]["get"]["tags"]
    return any(tag.endswith(" data") for tag in tags)


def _rows(result: Any) -> list[Any]:
    return result["items"] if isinstance(result, dict) else result


def test_by_result_info(crowded: World) -> None:
    """Rule 7: wrangler goes on while page * per_page < total_count."""
    found, page = [], 1
    while True:
        body = _page(crowded, "workers/scripts", page=page, per_page=4)
        info = body["result_info"]
        assert (info["page"], info["per_page"], info["count"]) == (page, 4, len(body["result"]))
        assert (info["total_count"], info["total_pages"]) == (len(NAMES), 2)
        found += [script["id"] for script in body["result"]]
        if info["page"] * info["per_page"] >= info["total_count"]:
            break
        page += 1
    assert page == 2
    assert sorted(found) == NAMES


def test_until_a_page_is_empty(crowded: World) -> None:
    """Rule 9: an SDK sends no page first, then 2, 3 … and looks only at the rows."""
    pages = [_page(crowded, "workers/scripts", per_page=4)["result"]]
    while pages[-1]:
        following = len(pages) + 1
        pages.append(_page(crowded, "workers/scripts", page=following, per_page=4)["result"])
    assert [len(rows) for rows in pages] == [4, 3, 0]
    found = [script for rows in pages for script in rows]
    assert sorted(script["id"] for script in found) == NAMES


def test_until_a_page_is_short(crowded: World) -> None:
    """Rule 10: stops when fewer rows than `per_page` come back."""
    assert len(_page(crowded, "workers/scripts", page=1, per_page=4)["result"]) == 4
    assert len(_page(crowded, "workers/scripts", page=2, per_page=4)["result"]) == 3
    assert len(_page(crowded, "workers/scripts", page=1, per_page=1000)["result"]) == 7


def test_every_list_ends(world: World) -> None:
    """A list that ignored `page` would keep an SDK asking for ever."""
    # What asks a node has none here.
    lists = [one for one in _all_pages(world) if not _asks_data(world, one[0])]
    assert len(lists) >= 6
    for template, path in lists:
        first = _page(world, path)
        assert first["result_info"]["page"] == 1, template
        assert first["result_info"]["total_count"] == len(_rows(first["result"])), template
        assert _rows(_page(world, path, page=2)["result"]) == [], template
        assert _rows(_page(world, path, page=1_000_000, per_page=1000)["result"]) == [], template


@pytest.mark.parametrize(
    "query",
    [{"page": 0}, {"page": -1}, {"page": 10**30}, {"per_page": 0}, {"per_page": 1001}],
    ids=str,
)
def test_a_page_that_cannot_be(world: World, query: dict[str, int]) -> None:
    for template, path in _all_pages(world):
        answer = world.owner.call("GET", path, params=query)
        assert answer.status_code == 422, template
        assert next(iter(query)) in answer.json()["errors"][0]["message"]


def test_versions_are_paged_newest_first(crowded: World) -> None:
    numbers = [
        version["number"]
        for page in (1, 2, 3)
        for version in _rows(
            _page(crowded, f"workers/scripts/{SCRIPT}/versions", page=page, per_page=1)["result"]
        )
    ]
    assert numbers == [2, 1]
