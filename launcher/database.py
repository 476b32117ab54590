"""PostgreSQL's own tools on an instance's database: dump, restore, one question."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from launcher import children, instance_lock, ports, postgres, programs
from launcher.children import Child
from launcher.errors import LauncherError
from launcher.programs import Instance


@contextmanager
def served(instance: Instance) -> Iterator[str]:
    """The URL of the database of an instance, whose embedded server is started for so long if it does not run.

    Raises AlreadyRunningError when the instance starts in the same moment.
    """
    config, data = instance.config, instance.data
    external = programs.external_database()
    if external is not None:
        yield external
    elif instance_lock.supervisor(data) is not None:
        yield postgres.url(config.ports[ports.POSTGRES], config.password("postgres"))
    else:
        with instance_lock.held(data), _started(instance) as url:
            yield url


@contextmanager
def _started(instance: Instance) -> Iterator[str]:
    chosen, _ = ports.choose([ports.Wish(ports.POSTGRES, "PostgreSQL", None)], {})
    port, password = chosen[ports.POSTGRES], instance.config.password("postgres")
    postgres.create(instance.data.postgres, password)
    server = Child(postgres.program(instance.data.postgres, port), instance.data)
    try:
        server.start()
        server.wait_ready()
        yield postgres.url(port, password)
    finally:
        server.stop()


def dump(url: str, file: Path) -> None:
    """Everything in the database as of one moment, in pg_restore's own format."""
    _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={file}")


def restore(url: str, file: Path) -> None:
    """Fill an empty database from a dump, all or nothing."""
    _run(
        url, "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error",
        "--single-transaction", str(file),
    )  # fmt: skip


def ask(url: str, query: str) -> str:
    """The first column of a query's only row; "" when there is no row."""
    return _run(url, "psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={query}")


def _run(url: str, tool: str, *arguments: str) -> str:
    address, password = _for_libpq(url)
    done = subprocess.run(
        [str(postgres.binaries() / tool), f"--dbname={address}", *arguments],
        # Not in the arguments: those can be read by every user of the machine.
        env=children.without_server_urls() | {"PGPASSWORD": password},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LauncherError(f"{tool} failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout.strip()


def _for_libpq(url: str) -> tuple[str, str]:
    """A URL as PostgreSQL's tools read it, and the password that it held."""
    parts = urlsplit(url)
    user, mark, host = parts.netloc.rpartition("@")
    address = parts._replace(scheme="postgresql", netloc=user.partition(":")[0] + mark + host)
    return address.geturl(), unquote(parts.password or "")
