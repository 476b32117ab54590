"""How the node itself is: its disk, and when its certificates end."""

import shutil
from functools import lru_cache
from pathlib import Path

from cryptography import x509

from edge.agent.credential import tls_files
from edge.agent.front.custom import read_list
from edge.agent.front.template import FrontFiles
from edge.paths import NodePaths

# What a report may have at most.
CERTIFICATES_MAX, NAME_LENGTH = 1000, 200


def condition(paths: NodePaths) -> dict[str, object]:
    """Sizes in bytes of the disk that holds NODE_DIR; `ends_at` in ISO 8601, UTC."""
    disk = shutil.disk_usage(paths.root)
    return {
        "disk_total_bytes": disk.total,
        "disk_free_bytes": disk.free,
        "certificates": certificates(paths),
    }


def certificates(paths: NodePaths) -> list[dict[str, str]]:
    """Those that the node shows: to the control plane (`agent`) and, where no other fits, to visitors
    (`front`); then the custom ones, by the first of their names, those that end soonest. What cannot be
    read is left out: it has its own complaint elsewhere."""
    files = FrontFiles(paths.front)
    ours = {"agent": tls_files(paths.credential)[0], "front": files.certificate}
    named = [(name, _ends_at(path)) for name, path in ours.items()]
    _, listed = read_list(files)
    custom = [
        (names[0][:NAME_LENGTH], _ends_for_good_at(files.certificates / file))
        for file, names in listed.items()
    ]
    custom.sort(key=lambda one: one[1] or "")
    shown = [{"name": name, "ends_at": ends_at} for name, ends_at in named + custom if ends_at]
    return shown[:CERTIFICATES_MAX]


def _ends_at(path: Path) -> str | None:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found.not_valid_after_utc.isoformat()


# The file of a custom certificate never changes.
_ends_for_good_at = lru_cache(maxsize=4096)(_ends_at)
