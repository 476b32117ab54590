"""Counting what a script's Durable Objects read and write: a main module of ours before the script's, which
gives the runtime the same exports, the classes with objects counted (`edge/cell/operations.js`)."""

import json
from pathlib import Path

from edge.spec import Spec

MAIN, COUNTING = "__skerry_main__.js", "__skerry_operations__.js"
_FILE = Path(__file__).resolve().parents[1] / "cell" / "operations.js"


def are_counted(spec: Spec) -> bool:
    """CommonJS has exports of another kind."""
    main = [one.type for one in spec.modules if one.name == spec.main_module]
    return bool(spec.objects) and spec.syntax == "modules" and main == ["esm"]


def modules(spec: Spec, told: bool) -> list[tuple[str, str]]:
    """Names and texts, the main module first. `told`: somebody hears of each invocation."""
    return [(MAIN, _main_text(spec, told)), (COUNTING, _FILE.read_text())]


def _main_text(spec: Spec, told: bool) -> str:
    script = json.dumps(f"./{spec.main_module.removeprefix('./')}")
    lines = [
        f'import {{ counting }} from "./{COUNTING}";',
        f"import * as script from {script};",
        f"export * from {script};",
    ]
    names = {one.class_name for one in spec.objects}
    for number, name in enumerate(sorted(names)):
        exported = json.dumps(name)
        found = f"counting(script[{exported}], {json.dumps(told)})"
        lines.append(f"const class{number} = {found}; export {{ class{number} as {exported} }};")
    if "default" not in names:
        # The runtime takes no export that is undefined.
        lines.append("export default script.default ?? {};")
    return "\n".join(lines)
