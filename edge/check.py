"""Start a bundle once and say what happened: what the API asks before it accepts an upload.

    python -m edge.check            one JSON object on stdin → one JSON object on stdout
    python -m edge.check --preview  the same with a request in it, which the started bundle answers
    python -m edge.check --runtime  what the installed runtime knows
    python -m edge.check --sandbox  which sandbox this machine lets a script have

Exit status 0 also for a script that does not start; anything else is a failure of the check itself.
"""

import base64
import json
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from edge.runtime import messages, preview
from edge.runtime.binary import Runtime, RuntimeMissingError, find_runtime
from edge.runtime.compatibility import (
    effective_date,
    newest_date,
    newest_date_in,
    read_flags,
    refused_flag,
)
from edge.runtime.config import Build, check_config
from edge.runtime.network import missing
from edge.runtime.sandbox import Sandbox, find_sandbox
from edge.runtime.trial import Trial, start_once
from edge.spec import Spec, SpecError, read_spec
from edge.wire import Fields, WireError

# Cloudflare gives a script 1 s of CPU; a busy machine with two cores needs more wall time.
STARTUP_SECONDS = float(os.environ.get("SKERRY_CHECK_SECONDS") or 10)

_LISTENERS = re.compile(r"""addEventListener\(\s*["'](\w+)["']""")


class CheckError(RuntimeError):
    """The check could not be made; says nothing about the script."""


def check(
    runtime: Runtime, request: object, attempt: Callable[[Build], dict[str, object]]
) -> dict[str, object]:
    """Answer `{"spec": …, "modules": {digest: base64}}` as the contract says: with what the attempt
    makes of it, if the spec can be attempted at all."""
    fields = Fields(request, "request")
    try:
        spec = read_spec(fields.get("spec"))
        refusal = refused_flag(read_flags(runtime), spec.compatibility_flags)
        if refusal:
            return _refused(refusal)
        files = _files(spec, fields.get("modules"))
        return attempt(Build(spec, files, effective_date(spec.compatibility_date)))
    except SpecError as error:
        return _refused(str(error))


def describe_runtime(runtime: Runtime) -> dict[str, object]:
    return {
        "version": runtime.version,
        "newest_compatibility_date": newest_date(runtime),
        "compatibility_flags": sorted(read_flags(runtime).allowed),
    }


def describe_sandbox(runtime: Runtime) -> dict[str, object]:
    sandbox = find_sandbox(runtime)
    lacking = missing(sandbox.level)
    return {"level": sandbox.level, "reason": sandbox.reason, "no_networks": lacking}


def _files(spec: Spec, source: object) -> dict[str, bytes]:
    if not isinstance(source, dict):
        raise CheckError("request.modules must be an object of base64 strings by digest")
    missing = spec.digests() - source.keys()
    if missing:
        raise CheckError(f"request.modules lacks {min(missing)}")
    try:
        return {digest: base64.b64decode(text, validate=True) for digest, text in source.items()}
    except (ValueError, TypeError) as error:
        raise CheckError(f"request.modules holds something that is not base64: {error}") from error


def start(runtime: Runtime, build: Build) -> dict[str, object]:
    """Start the build and say what it exports."""
    sandbox = find_sandbox(runtime)
    build = replace(build, assets_folder=sandbox.empty_folder)
    if not build.spec.workflows:
        return _started(runtime, build, sandbox)
    # Their engine wants a disk, though nothing comes to it.
    with sandbox.scratch() as (folder, options):
        return _started(runtime, replace(build, owned_folder=folder), sandbox, options)


def _started(
    runtime: Runtime, build: Build, sandbox: Sandbox, options: Sequence[str] = ()
) -> dict[str, object]:
    ends = time.monotonic() + STARTUP_SECONDS
    config = check_config(runtime, build)
    trial = start_once(runtime, config, STARTUP_SECONDS, "/", sandbox, options)
    newest = newest_date_in(trial.stderr)
    if newest and not trial.started:
        # Cheaper than asking the binary for its newest date each time: few scripts are that new.
        newer = effective_date(build.compatibility_date, newest)
        build = replace(build, compatibility_date=newer)
        left = max(ends - time.monotonic(), 0.1)
        trial = start_once(runtime, check_config(runtime, build), left, "/", sandbox, options)
    if trial.timed_out:
        return _refused("Script startup exceeded time limit")
    if not trial.started:
        return _refused(messages.failure(trial.stderr, build.service))
    return _accepted(build, trial)


def answer_once(runtime: Runtime, build: Build, asked: preview.Asked) -> dict[str, object]:
    """Start the build and let it answer one request."""
    newest = newest_date(runtime)
    sandbox = find_sandbox(runtime)
    build = replace(
        build,
        compatibility_date=effective_date(build.compatibility_date, newest),
        assets_folder=sandbox.empty_folder,
    )
    with sandbox.scratch() as (folder, options):
        if build.spec.owned():
            build = replace(build, owned_folder=folder)
        shown = preview.run(runtime, build, asked, STARTUP_SECONDS, sandbox, options)
    if shown.timed_out:
        return _refused("Script startup exceeded time limit")
    if not shown.started:
        return _refused(messages.failure(shown.said, build.service))
    return {"ok": True, **shown.told()}


def _accepted(build: Build, trial: Trial) -> dict[str, object]:
    _, warnings = messages.complaints(trial.stderr, build.service)
    return {
        "ok": True,
        "startup_ms": trial.startup_ms,
        **_exports(build, trial),
        "compatibility_date": build.compatibility_date,
        "warnings": warnings,
    }


def _exports(build: Build, trial: Trial) -> Mapping[str, object]:
    if build.spec.syntax == "service-worker":
        source = b"".join(
            build.files[one.digest]
            for one in build.spec.modules
            if one.name == build.spec.main_module
        )
        found = _LISTENERS.findall(source.decode())
        return {"handlers": list(dict.fromkeys(found)), "named_handlers": []}
    if isinstance(trial.answer, dict):
        return trial.answer
    return {"handlers": [], "named_handlers": []}


def _refused(message: str) -> dict[str, object]:
    return {"ok": False, "code": messages.code_of(message), "message": message}


def main(arguments: list[str]) -> int:
    try:
        runtime = find_runtime()
        if arguments == ["--runtime"]:
            answer = describe_runtime(runtime)
        elif arguments == ["--sandbox"]:
            answer = describe_sandbox(runtime)
        elif not arguments:
            answer = check(runtime, json.load(sys.stdin), partial(start, runtime))
        elif arguments == ["--preview"]:
            request = json.load(sys.stdin)
            asked = preview.read_asked(request)
            answer = check(runtime, request, lambda build: answer_once(runtime, build, asked))
        else:
            raise CheckError("usage: python -m edge.check [--preview | --runtime | --sandbox]")
    except (CheckError, RuntimeMissingError, WireError, json.JSONDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
