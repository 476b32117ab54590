"""The reference of what the code defines: commands with their options, and templates.

    python -m launcher.reference           writes docs/reference/commands.md and templates.md
    python -m launcher.reference --check   status 1 when they are not what it would write

Like launcher.control it needs the installed packages: the gallery and the agent are read where they are defined.
"""

import argparse
import sys
from collections.abc import Iterator

from api import admin
from edge.agent.settings import argument_parser as agent_parser
from gallery.templates import CATEGORIES, KINDS, Template, load_all
from launcher import cli, control
from launcher.paths import ROOT

FOLDER = ROOT / "docs" / "reference"
MADE = "<!-- Made from the code by `python -m launcher.reference`; do not edit. -->"


def pages() -> dict[str, str]:
    """Each page by its file name, as the code is now."""
    return {"commands.md": "\n".join(_commands()), "templates.md": "\n".join(_templates())}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m launcher.reference")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(arguments).check
    stale = [name for name, text in pages().items() if _written(name) != text]
    if check:
        for name in stale:
            print(f"docs/reference/{name} is stale: run python -m launcher.reference")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)
    return 0


def _written(name: str) -> str | None:
    path = FOLDER / name
    return path.read_text() if path.exists() else None


# --- commands -------------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    top = cli.parser()
    yield from (MADE, "", "# Commands", "")
    yield "What `./skerry COMMAND --help` says, too. `--data DIR`, which every command takes, names the folder in which an"
    yield "instance keeps everything; without it that is `.skerry` in the checkout."
    for name, command in subcommands(top).items():
        yield from _section(f"./skerry {name}", command)
    yield from ("", "# Programs", "", "What `./skerry up` and `docker-compose.yml` start.")
    for program in (agent_parser(), control.argument_parser()):
        yield from _section(program.prog, program)
    yield from ("", "# Without the launcher", "", str(admin.argument_parser().description))
    for name, command in subcommands(admin.argument_parser()).items():
        yield from _section(f"python -m api.admin {name}", command)
    yield ""


def subcommands(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Each command by its name, in the order of the code."""
    # argparse has no public way to them; its help is made from the same.
    (found,) = (one for one in top._actions if isinstance(one, argparse._SubParsersAction))
    return dict(found.choices)


def _section(title: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = [one for one in parser._actions if one.dest not in ("help", "data")]
    usage = " ".join([title, *(_word(one) for one in shown if not one.option_strings)])
    yield from ("", f"## `{usage}`", "")
    yield from (line for line in (parser.description, parser.epilog) if line)
    if shown:
        yield from ("", "| Option | |", "|---|---|")
    for one in shown:
        text = str(one.help) % {"default": one.default}
        yield f"| `{_spelled(one)}` | {text} |"


def _word(argument: argparse.Action) -> str:
    name = str(argument.metavar or argument.dest)
    return {"*": f"[{name} …]", "?": f"[{name}]"}.get(str(argument.nargs), name)


def _spelled(argument: argparse.Action) -> str:
    if not argument.option_strings:
        return _word(argument)
    value = "" if argument.nargs == 0 else f" {argument.metavar or argument.dest.upper()}"
    return ", ".join(argument.option_strings) + value


# --- templates ------------------------------------------------------------------------------


def _templates() -> Iterator[str]:
    yield from (MADE, "", "# Templates", "")
    yield "What *Create Worker* in the dashboard offers; the source of each is in `gallery/NAME/src`."
    for template in load_all():
        yield from _template(template)
    yield ""


def _template(template: Template) -> Iterator[str]:
    filed = ", ".join(CATEGORIES[name] for name in template.categories)
    yield from ("", f"## {template.label}", "", template.description, "")
    yield f"`{template.name}`; filed under {filed}; creates {template.creates}."
    made_of = [f"`{name}`" for name in (*template.dependencies, *template.compatibility_flags)]
    if made_of:
        yield f"Made with {', '.join(made_of)}."
    if template.bindings:
        yield from ("", "| Asks for | | |", "|---|---|---|")
    for binding in template.bindings:
        rest = [f"It is {binding.expects}."] if binding.expects else []
        rest += [f"Unless changed: `{binding.default}`."] if binding.default else []
        text = " ".join([binding.description, *rest])
        yield f"| `{binding.name}` | {KINDS[binding.type]} | {text} |"
    yield from ("", "```", template.command("https://NAME.SUBDOMAIN.DOMAIN"), "```")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
