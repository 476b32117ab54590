"""The command line of ./skerry."""

import argparse
import os
import signal
import sys
from pathlib import Path

from launcher import (
    backup,
    bench,
    doctor,
    environment,
    installation,
    password,
    restore,
    status,
    storage,
    testing,
    trust,
    up,
)
from launcher.errors import LauncherError
from launcher.paths import DEFAULT_DATA, ROOT, VENV_PYTHON, DataDirectory

DESCRIPTION = "Skerry: a self-hosted platform for Cloudflare Workers. Start with: ./skerry up"


def main(arguments: list[str]) -> int:
    """Run one command; the exit status of the program."""
    if not arguments:
        # Somebody who looks what there is; one line that something is missing would not help.
        parser().print_help()
        return 2
    options = parser().parse_args(arguments)
    try:
        return _dispatch(options, arguments)
    except LauncherError as error:
        print(f"skerry: {error}", file=sys.stderr)
    except PermissionError as error:
        print(f"skerry: {error.strerror}: {error.filename}", file=sys.stderr)
    except KeyboardInterrupt:
        print("skerry: interrupted.", file=sys.stderr)
    except BrokenPipeError:
        # `./skerry status | head`: the reader has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _dispatch(options: argparse.Namespace, arguments: list[str]) -> int:
    data = DataDirectory(options.data.resolve())
    command = options.command
    if command in ("up", "test", "bench", "restore", "soak"):
        _set_up(arguments, testing=command in ("test", "bench", "soak"))
    if command in ("test", "bench", "soak", "backup", "restore", "reset-password", "storage"):
        # Ended from outside (a time limit, say), they stop what they started all the same.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    commands = {
        "up": lambda: _up(options, data, arguments),
        "down": lambda: up.down(data),
        "status": lambda: status.show(data, as_json=options.json),
        "env": lambda: environment.print_exports(data),
        "url": lambda: environment.print_url(data, options.name, https=options.https),
        "backup": lambda: backup.run(data, options.file.resolve()),
        "restore": lambda: restore.run(data, options.file.resolve(), force=options.force),
        "reset-password": lambda: password.reset(data, options.email),
        "storage": lambda: storage.move(data),
        "trust": lambda: trust.run(data, remove=options.remove),
        "test": lambda: testing.run(options.paths),
        "bench": lambda: _bench(options.part, records=options.records, save=options.save),
        "soak": lambda: _soak(options.minutes, options.seed),
        "doctor": lambda: doctor.run(data),
    }
    return commands[command]()


# What `bench` measures by itself.
BENCHES = {
    "bindings": "KV, D1, queues and Durable Objects beside wrangler dev",
    "lambda": "a Worker under AWS Lambda's runtime client beside a cell",
    "pages": "the dashboard's pages, at 1,000 scripts",
    "records": "storing and finding request records",
    "observing": "requests of a script whose logs are stored or tailed",
}


def _bench(part: str | None, *, records: int, save: bool) -> int:
    if part is None:
        return bench.run(save=save)
    # Imported here: it needs what `_set_up` has installed.
    from launcher.bench import (  # noqa: PLC0415
        bindings,
        functions,
        observing,
        pages,
        records as stored,
    )

    if part == "records":
        return stored.run(records=records, save=save)
    parts = {"bindings": bindings, "lambda": functions, "observing": observing, "pages": pages}
    status: int = parts[part].run(save=save)
    return status


def _soak(minutes: float, seed: int | None) -> int:
    from launcher import soak  # noqa: PLC0415

    return soak.run(minutes, seed)


def _set_up(arguments: list[str], *, testing: bool) -> None:
    installation.ensure(testing=testing)
    if Path(sys.prefix) != ROOT / ".venv":
        # From here on everything runs on the Python that was just set up.
        os.execve(  # noqa: S606 - replaces this process, no shell
            VENV_PYTHON,
            [str(VENV_PYTHON), "-P", "-m", "launcher", *arguments],
            os.environ | {"PYTHONPATH": str(ROOT)},
        )


def _up(options: argparse.Namespace, data: DataDirectory, arguments: list[str]) -> int:
    if options.detach:
        return up.detach(data, [word for word in arguments if word != "--detach"])
    flags = up.Flags(
        bind=options.bind,
        nodes=options.nodes,
        control=options.port,
        http=options.http_port,
        https=options.https_port,
    )
    return up.run(data, flags)


def parser() -> argparse.ArgumentParser:
    """Every command with its flags."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--data", type=Path, default=DEFAULT_DATA, metavar="DIR",
        help="where this instance keeps everything (default: .skerry in the checkout)",
    )  # fmt: skip
    top = argparse.ArgumentParser(prog="./skerry", description=DESCRIPTION, allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=text, parents=[shared], allow_abbrev=False
        )

    _add_up(command("up", "Set up what is missing, then run the whole platform until Ctrl-C."))
    command("down", "Stop the platform.")
    shown = command("status", "Show every process and node.")
    shown.add_argument("--json", action="store_true", help="for programs")
    command("env", 'Print shell exports that point wrangler here: eval "$(./skerry env)"')
    url = command("url", "Print the live URL of a script.")
    url.add_argument("name", metavar="NAME", help="the script")
    url.add_argument("--https", action="store_true", help="the one over HTTPS (see ./skerry trust)")
    saved = command("backup", "Write everything that an instance needs to come back into one file.")
    saved.add_argument("file", type=Path, metavar="FILE", help="must not exist yet")
    _add_restore(command("restore", "Make an instance from a backup; then ./skerry up starts it."))
    forgotten = command(
        "reset-password",
        "Give a member a new password, asked for here or read from a pipe; logs them out everywhere.",
    )
    forgotten.add_argument("email", metavar="EMAIL", help="the member's address")
    _add_storage(
        command("storage", "Carry what Workers store from the nodes' disks into SKERRY_BUCKET.")
    )
    _add_trust(command("trust", "Let this machine believe the certificates of its live URLs."))
    _add_test(command("test", "Run every check: lint, types, imports, tests."))
    measured = command("bench", "Measure requests, deploys and memory on a temporary instance.")
    measured.add_argument(
        "part",
        nargs="?",
        choices=BENCHES,
        metavar="PART",
        help="only " + "; only ".join(f"`{name}`: {what}" for name, what in BENCHES.items()),
    )
    measured.add_argument(
        "--records",
        type=int,
        default=10_000_000,
        metavar="N",
        help="of `bench records`: how many a day has (default: %(default)s)",
    )
    measured.add_argument("--save", action="store_true", help="also write docs/benchmarks.md")
    soaked = command(
        "soak",
        "Load every template on a temporary instance while versions are deployed and processes killed.",
    )
    soaked.add_argument(
        "--minutes", type=float, default=5.0, metavar="N", help="how long (default: %(default)g)"
    )
    soaked.add_argument(
        "--seed", type=int, metavar="N", help="kill in the same order as a run that printed it"
    )
    command("doctor", "Check this machine and say what to do about what it lacks.")
    return top


def _add_up(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--detach", action="store_true", help="run in the background; return once all is healthy"
    )
    command.add_argument(
        "--bind",
        metavar="ADDR",
        help="address to listen on (default: 127.0.0.1, this machine only)",
    )
    command.add_argument(
        "--port", type=_port, metavar="N", help="dashboard and API (default: 8700; 0: any free)"
    )
    command.add_argument(
        "--http-port",
        type=_port,
        metavar="N",
        help="scripts over HTTP (default: 80, or 8080 when that is taken, for root only, or another port is given; 0: any free)",
    )
    command.add_argument(
        "--https-port",
        type=_port,
        metavar="N",
        help="scripts over HTTPS (default: 443, or 8443 likewise; 0: any free)",
    )
    command.add_argument(
        "--nodes", type=_count, metavar="N", help="edge nodes on this machine (default: 1)"
    )
    command.epilog = "What you choose is remembered in the data directory for the next time."


def _add_restore(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help="what ./skerry backup wrote")
    command.add_argument(
        "--force",
        action="store_true",
        help="replace a stopped instance, which is kept as DIR.before-restore-…",
    )


def _add_storage(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "what", choices=["move"], metavar="move", help="what was carried over before stays"
    )
    command.epilog = "The instance must not run. See docs/operating.md, Several nodes."


def _add_trust(command: argparse.ArgumentParser) -> None:
    command.add_argument("--remove", action="store_true", help="take that back")


def _add_test(command: argparse.ArgumentParser) -> None:
    command.add_argument("paths", nargs="*", metavar="PATH", help="run pytest on these only")
    command.epilog = "Flags for pytest go after `--`: ./skerry test tests/api -- -x -k deploy"


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is not a port: 0 to 65535")
    return port


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 64:
        raise argparse.ArgumentTypeError(f"{count} nodes: 1 to 64 are possible")
    return count
