"""What the bench reads out of its tools, and what it says about it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from launcher.bench import BARE_START, SANDBOXED_START, Row, functions, load, report
from launcher.bench.contenders import BARE, EXPRESS, FRONT, WRANGLER_DEV, Contender
from launcher.bench.load import Place
from launcher.paths import ROOT

WRK = """\
Running 3s test @ http://127.0.0.1:8080/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.28ms    1.05ms  21.70ms   87.25%
  Latency Distribution
     50%  950.00us
     75%    4.56ms
     90%    5.30ms
     99%    1.20s
  22399 requests in 3.00s, 3.27MB read
Requests/sec:   7466.00
"""


def test_wrk_is_read_in_its_units() -> None:
    assert load._latency(WRK, 50) == pytest.approx(0.95)
    assert load._latency(WRK, 99) == pytest.approx(1200)
    assert load.failures(WRK) == 0


def test_every_kind_of_failure_counts() -> None:
    broken = (
        "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n"
    )
    assert load.failures(WRK + broken) == 15


def test_the_table_has_medians_spread_and_verdicts() -> None:
    rates = {BARE: 10_000.0, FRONT: 8_000.0, EXPRESS: 4_000.0, WRANGLER_DEV: 500.0}
    rows = [
        Row(f"requests/s, {name}", "1/s", [rate, rate - 1, rate + 1])
        for name, rate in rates.items()
    ]
    for kind, p50, p99 in ((SANDBOXED_START, 42.0, 90.0), (BARE_START, 30.0, 29.0)):
        rows.append(Row(f"cold start, {kind}, p50 of 300", "ms", [p50]))
        rows.append(Row(f"cold start, {kind}, p99 of 300", "ms", [p99]))
    text = report.table(rows, [Contender(EXPRESS, "5.0", Place(1))], rounds=3)
    assert "10,000.0 |    9,999.0 |   10,001.0" in text
    assert "of a bare workerd: 0.80 (goal at least 0.90: not reached)" in text
    assert "of Express: 2.00 (goal at least 1.50: reached)" in text
    assert "of wrangler dev: 16.00 (goal at least 12.00: reached)" in text
    assert "cold start p50, sandboxed, of a bare start: 1.40 (goal at most 1.50: reached)" in text
    assert (
        "cold start p99, sandboxed, of a bare start: 3.10 (goal at most 3.00: not reached)" in text
    )
    assert "Express 5.0" in text


def test_a_section_is_replaced_alone_and_outlives_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PAGE", tmp_path / "benchmarks.md")
    report.save("| first |")
    report.save_section("Pages", "| 1 ms |")
    report.save_section("Other", "| 2 ms |")
    report.save_section("Pages", "| 3 ms |")
    report.save("| second |")
    assert report.PAGE.read_text() == (
        f"{report.HEAD}| second |\n\n## Other\n| 2 ms |\n\n## Pages\n| 3 ms |\n"
    )


def test_figures_of_functions_are_a_table_that_says_what_they_are_not() -> None:
    rows = [Row("cold, a cell", "ms", [30.0, 10.0, 20.0]), Row("ZIP", "kB", [44.4])]
    said = functions._said(rows)
    assert "| cold, a cell |       20.0 |       10.0 |       30.0 | ms   |" in said
    assert "AWS adds its network" in said


def test_another_account_is_made_by_a_process_of_its_own(committed: Engine) -> None:
    url = committed.url.render_as_string(hide_password=False)
    done = subprocess.run(
        [sys.executable, "-m", "launcher.bench.tenant", "noisy"],
        env={**os.environ, "DATABASE_URL": url},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with committed.begin() as connection:
        found = connection.execute(text("DELETE FROM tokens RETURNING account_id")).scalar_one()
        connection.execute(text("DELETE FROM accounts"))
    assert json.loads(done.stdout)["id"] == found


def test_a_percentile_is_between_its_neighbours() -> None:
    row = Row("x", "ms", [float(value) for value in range(1, 101)])
    assert row.percentile(95) == pytest.approx(95.05)
