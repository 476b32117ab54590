"""`./skerry reset-password EMAIL`: for a member who forgot theirs. No mail is sent; whoever has this shell may."""

import getpass
import subprocess
import sys

from launcher import children, database, programs, started
from launcher.errors import LauncherError
from launcher.paths import ROOT, DataDirectory
from launcher.programs import PYTHON


def reset(data: DataDirectory, email: str) -> int:
    """Ask for the new password and set it; the instance may run or not. The exit status."""
    instance = started.find(data)
    password = _asked()
    with database.served(instance) as url:
        done = subprocess.run(
            [*PYTHON, "-m", "api.admin", "reset-password", email],
            cwd=ROOT,
            env=children.environment(data, {**programs.settings(instance), "DATABASE_URL": url}),
            input=password + "\n",
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        raise LauncherError(done.stderr.strip())
    print(done.stdout.strip())
    return 0


def _asked() -> str:
    """Typed twice at a terminal, where it is not shown; one line from a pipe."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("New password: ")
    if getpass.getpass("The same again: ") != password:
        raise LauncherError("The two are not the same. Nothing was changed.")
    return password
