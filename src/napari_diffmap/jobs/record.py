"""What a run or a command says of itself, as JSON."""

from __future__ import annotations

import json
import math


def json_text(record: object, indent: int | None = None) -> str:
    """JSON text of a record; numbers that do not exist (NaN, infinity) are null."""
    return json.dumps(_finite(record), indent=indent, ensure_ascii=False, allow_nan=False)


def _finite(value: object) -> object:
    """JSON knows no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
