"""Cap'n Proto, set up so that a wrong path is an exception and not the end of the process."""

import os
from pathlib import Path
from types import ModuleType

import capnp

# pycapnp hooks the import of every module otherwise.
capnp.remove_import_hook()

PACKAGE = Path(os.fspath(capnp.__file__)).parent

# The parent makes /capnp/c++.capnp resolvable; without it a failed import aborts the process.
IMPORTS = [str(PACKAGE.parent), str(PACKAGE)]


def load(path: Path) -> ModuleType:
    """Load a schema file with pycapnp's own files as imports."""
    loaded: ModuleType = capnp.load(str(path), imports=IMPORTS)
    return loaded


def schema_of_schemas() -> ModuleType:
    """capnp's own `schema.capnp`, to read a compiled schema out of a program."""
    return load(PACKAGE / "schema.capnp")
