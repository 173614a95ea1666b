"""What a run or a command says of itself: JSON, and tables as CSV."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


def json_text(record: object, indent: int | None = None) -> str:
    """JSON text of a record; numbers that do not exist (NaN, infinity) are null."""
    return json.dumps(_finite(record), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, record: object, indent: int) -> Path:
    """Write a record as `json_text` puts it.

    Raises
    ------
    BadInputError, ResourceError
        If it cannot be written there.
    """
    from napari_diffmap.maps.atomic import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(json_text(record, indent=indent) + "\n", encoding="utf-8")
    return path


def write_rows(path: Path, header: Iterable[str], rows: Iterable[Sequence[Any]]) -> Path:
    """Write a table as CSV.

    Raises
    ------
    BadInputError, ResourceError
        If it cannot be written there.
    """
    from napari_diffmap.maps.atomic import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path


def _finite(value: object) -> object:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
