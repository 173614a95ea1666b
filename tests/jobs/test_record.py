"""Records as JSON that any reader takes."""

from __future__ import annotations

import json
import math

from napari_diffmap.jobs.record import json_text


def test_numbers_that_do_not_exist_are_null() -> None:
    record = {"a": math.nan, "b": [1.5, -math.inf, (math.inf, "Å")], "c": {"d": None, "e": 0}}
    text = json_text(record)
    assert json.loads(text, parse_constant=lambda word: word) == {
        "a": None,
        "b": [1.5, None, [None, "Å"]],
        "c": {"d": None, "e": 0},
    }
    assert "Å" in text
