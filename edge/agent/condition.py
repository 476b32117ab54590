"""How the node itself is: its disk, and when its certificates end."""

import shutil
from pathlib import Path

from cryptography import x509

from edge.agent.credential import tls_files
from edge.agent.front.template import FrontFiles
from edge.paths import NodePaths


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
    (`front`). What cannot be read is left out: it has its own complaint elsewhere."""
    shown = {
        "agent": tls_files(paths.credential)[0],
        "front": FrontFiles(paths.front).certificate,
    }
    return [
        {"name": name, "ends_at": ends_at}
        for name, path in shown.items()
        if (ends_at := _ends_at(path))
    ]


def _ends_at(path: Path) -> str | None:
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found.not_valid_after_utc.isoformat()
