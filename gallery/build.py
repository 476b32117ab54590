"""Bundle every template into build/gallery/: `python -m gallery.build`.

esbuild and the packages come from node_modules (`npm ci`); the same input gives the same bytes.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from gallery import templates
from gallery.templates import BUILD, HERE, Template

CHECKOUT = HERE.parent
_ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
# The options that wrangler bundles with (cloudflare-api.md, section 3); no source map, not minified,
# so that people can read and edit what runs.
OPTIONS = (
    "--bundle",
    "--format=esm",
    "--target=es2024",
    "--platform=neutral",
    "--main-fields=module,main",
    "--conditions=workerd,worker,browser",
    "--external:node:*",
    "--external:cloudflare:*",
    "--charset=utf8",
    "--legal-comments=inline",
    "--log-level=warning",
)
# Packages made for Node.js ask for its modules without the prefix that the runtime knows them by.
_NODE_MODULES = (
    "assert", "async_hooks", "buffer", "crypto", "diagnostics_channel", "dns", "events", "fs", "http",
    "https", "net", "os", "path", "perf_hooks", "process", "punycode", "querystring", "stream",
    "string_decoder", "timers", "tls", "tty", "url", "util", "zlib",
)  # fmt: skip
NODE_OPTIONS = (
    *(f"--alias:{module}=node:{module}" for module in _NODE_MODULES),
    # CommonJS packages call `require`, which an ES module does not have by itself.
    '--banner:js=import { createRequire } from "node:module";\nconst require = createRequire("/");',
)


def build(template: Template) -> Path:
    """Make the bundle of one template; raises CalledProcessError with esbuild's message shown."""
    target = template.bundle_path
    target.parent.mkdir(parents=True, exist_ok=True)
    # Moved into place whole: a dashboard that runs may read it at any time.
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    if template.dependencies:
        source = template.source_path.relative_to(CHECKOUT)
        options = (*OPTIONS, *NODE_OPTIONS) if template.uses_node else OPTIONS
        command = [str(_esbuild()), str(source), *options, f"--outfile={unfinished}"]
        subprocess.run(command, check=True, cwd=CHECKOUT)
    else:
        shutil.copyfile(template.source_path, unfinished)
    unfinished.replace(target)
    return target


def _esbuild() -> Path:
    # The program itself: the package's own `bin` is a script that needs node.
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    package = f"{sys.platform}-{architecture}"
    return CHECKOUT / "node_modules" / "@esbuild" / package / "bin" / "esbuild"


def main() -> None:
    for template in templates.load_all():
        made = build(template)
        sys.stdout.write(f"{made.relative_to(BUILD.parent.parent)} {made.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
