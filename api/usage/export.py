"""Usage as a file: CSV for spreadsheets, JSON for programs."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Literal

from fastapi import Response

from api.usage.service import COLUMNS, Days, Used, rows

Format = Literal["csv", "json"]


def as_file(listed: Sequence[Used], asked: Days, kind: Format) -> Response:
    name = f"usage-{asked.first}-{asked.last}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    if kind == "json":
        text = json.dumps([one.as_json() for one in listed], indent=1)
        return Response(text, media_type="application/json", headers=headers)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows(rows(listed))
    return Response(file.getvalue(), media_type="text/csv", headers=headers)
