"""Two maps are compared answer by answer, symmetry and half turns considered."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.comparison import PICTURE, RECORD, map_of, write_comparison
from napari_diffmap.maps.comparison import KINDS, compare
from napari_diffmap.maps.figures.sheet import enlargement
from napari_diffmap.maps.figures.sheet_parts import SIDE
from napari_diffmap.maps.files.export import save_orientation_h5
from napari_diffmap.maps.quaternions import laue_operators, multiply

CODE = {kind.key: kind.code for kind in KINDS}


def turned(found: Any, here: tuple[int, int], by: np.ndarray) -> Any:
    """Map whose first answer at a position is turned in the laboratory."""
    rotations = found.rotations.copy()
    # Stored rotations take the laboratory to the crystal: a turn there stands at the right.
    rotations[here][0] = multiply(rotations[here][0].astype(float), by)
    return replace(found, rotations=rotations)


def test_a_map_agrees_with_itself(make_map: Callable[..., Any]) -> None:
    found = make_map().map
    told = compare(found, found)
    assert set(np.unique(told.codes)) == {0, CODE["agree"]}
    assert np.array_equal(told.codes > 0, found.indexed)
    assert told.record["agree"] == 1
    assert told.record["median_deg"] == pytest.approx(0, abs=0.1)


def test_every_kind_is_told(make_map: Callable[..., Any]) -> None:
    found = make_map(lost=0, scatter_deg=0).map
    about_beam = np.array([0.0, 0, 0, 1])
    tilt = np.array([np.cos(np.deg2rad(10)), np.sin(np.deg2rad(10)), 0, 0])
    small = np.array([np.cos(np.deg2rad(1)), np.sin(np.deg2rad(1)), 0, 0])
    other = turned(found, (0, 0), about_beam)
    other = turned(other, (1, 1), tilt)
    other = turned(other, (2, 2), small)
    ids = other.phase_ids.copy()
    ids[3, 3, 0] = 1 - ids[3, 3, 0]
    ids[4, 4, 0] = -1
    other = replace(other, phase_ids=ids)
    told = compare(found, other)
    assert told.codes[0, 0] == CODE["half_a_turn_apart"]
    assert told.codes[1, 1] == CODE["orientations_differ"]
    assert told.angle[1, 1] == pytest.approx(20, abs=0.01)
    assert told.codes[2, 2] == CODE["agree"]
    assert told.angle[2, 2] == pytest.approx(2, abs=0.01)
    assert told.codes[3, 3] == CODE["phases_differ"]
    assert told.codes[4, 4] == CODE["one_has_no_answer"]
    record = told.record
    assert sum(record[key] for key in CODE) == pytest.approx(1)
    assert record["positions"] == found.shape[0] * found.shape[1]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000))
def test_symmetry_makes_no_difference(make_map: Callable[..., Any], seed: int) -> None:
    found = make_map(shape=(5, 6), lost=0).map
    rng = np.random.default_rng(seed)
    rotations = found.rotations.copy()
    for i, phase in enumerate(found.phases):
        operators = laue_operators(phase)
        here = found.phase_mask(i)
        some = operators[rng.integers(0, len(operators), int(here.sum()))]
        rotations[here, 0] = multiply(some, rotations[here, 0].astype(float))
    assert compare(found, replace(found, rotations=rotations)).record["agree"] == 1


def test_phases_are_told_by_name(make_map: Callable[..., Any]) -> None:
    found = make_map().map
    swapped = replace(
        found,
        phases=found.phases[::-1],
        phase_ids=np.where(found.phase_ids < 0, -1, 1 - found.phase_ids),
    )
    assert compare(found, swapped).record["agree"] == 1


def test_maps_of_other_positions_are_refused(make_map: Callable[..., Any]) -> None:
    with pytest.raises(BadInputError, match="40 × 50 positions cannot be compared"):
        compare(make_map().map, make_map(shape=(4, 5)).map)


def test_nothing_to_compare(make_map: Callable[..., Any]) -> None:
    empty = make_map(lost=1.1).map
    record = compare(empty, empty).record
    assert record["positions"] == 0
    assert record["agree"] is None
    assert record["median_deg"] is None


def test_what_is_written(make_map: Callable[..., Any], tmp_path: Path) -> None:
    found = make_map().map
    other = turned(found, (0, 0), np.array([0.0, 0, 0, 1]))
    (tmp_path / "run").mkdir()
    save_orientation_h5(other, tmp_path / "run" / "orientation.h5")
    record = write_comparison(found, map_of(tmp_path / "run"), ("one", "two"), tmp_path)
    assert json.loads((tmp_path / RECORD).read_text()) == record
    assert record["first"] == "one"
    assert record["half_a_turn_apart"] > 0
    picture = np.asarray(Image.open(tmp_path / PICTURE).convert("RGB"))
    # Three maps of one shape lie in a row, with gaps between them and keys at the right.
    wide = enlargement(found.shape, found.step, 450)[1] * found.shape[1]
    assert picture.shape[1] > 3 * wide + SIDE
