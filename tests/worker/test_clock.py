"""Beat: it sends by name, so the names have to be right, and nothing else has to be loaded."""

import subprocess
import sys

from tests.conftest import ROOT

HEAVY = {"fastapi", "sqlalchemy", "worker.app"}


def test_each_name_is_a_task() -> None:
    from worker.app import app  # noqa: PLC0415 - reads the settings at import
    from worker.clock import app as clock  # noqa: PLC0415

    app.loader.import_default_modules()
    sent = {entry["task"] for entry in clock.conf.beat_schedule.values()}
    assert len(sent) > 5
    assert sent - set(app.tasks) == set()


def test_it_loads_neither_tasks_nor_database() -> None:
    code = f"import sys, worker.clock; print(sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
