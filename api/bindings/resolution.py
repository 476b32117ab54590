"""Which bindings a new version gets: its own, those it keeps, those it inherits."""

from typing import Any

from api.bindings.kinds import SECRET_KINDS, VARIABLE_KINDS
from api.errors import BindingNotInherited

# wrangler 3 sends no `keep_bindings` on a deploy and expects its secrets to stay all the same.
ALWAYS_KEPT = SECRET_KINDS
KEEPABLE = SECRET_KINDS | VARIABLE_KINDS


def resolve(
    wanted: list[dict[str, Any]], previous: list[dict[str, Any]], keep: list[str]
) -> list[dict[str, Any]]:
    """The bindings of the new version, from checked wanted ones and the revealed previous ones.

    `keep` lists kinds to carry over (`keep_bindings` of the metadata). Raises BindingNotInherited
    when an `inherit` binding has no predecessor.
    """
    before = {binding["name"]: binding for binding in previous}
    resolved = [_inherit(binding, before) for binding in wanted]
    names = {binding["name"] for binding in resolved}
    kept_kinds = ALWAYS_KEPT | (KEEPABLE & set(keep))
    kept = [
        binding
        for binding in previous
        if binding["type"] in kept_kinds and binding["name"] not in names
    ]
    return resolved + kept


def _inherit(binding: dict[str, Any], before: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if binding["type"] != "inherit":
        return binding
    name = binding["name"]
    source = before.get(binding.get("old_name", name))
    if source is None:
        raise BindingNotInherited(
            f"Binding {name} is to be inherited, but the previous version has none of that name. "
            f"Nothing was changed. Set it first: wrangler secret put {name}"
        )
    return {**source, "name": name}
