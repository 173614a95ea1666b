"""Edits of phase maps of spectra: the same steps as of orientation maps, phases alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import label

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import SpectralDoubt, SpectralMap
from napari_diffmap.maps.edits import selection
from napari_diffmap.maps.edits.corrections import Corrections
from napari_diffmap.maps.edits.edit import EDITED, EditKind, part_of, snapshot
from napari_diffmap.maps.edits.log import EditLog, load_log, save_log

_FIELDS = (*SpectralMap.arrays, *SpectralMap.measured)


def assert_same(a: Any, b: Any) -> None:
    for name in _FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def values(count: int, phase: int, score: float = 0.5) -> dict[str, NDArray[Any]]:
    return {
        "phase_ids": np.full(count, phase, dtype=np.int16),
        "scores": np.full(count, score, dtype=np.float32),
    }


def test_a_phase_that_is_set_comes_first_and_the_others_follow(make_spectral: Any) -> None:
    answer = make_spectral()
    mine = Corrections(answer)
    before = answer.phase_ids.reshape(-1, 3)
    pixels = np.array([31, 32, 60])
    mine.edit(EditKind.PHASE, pixels, values(3, 2))
    after = mine.map.phase_ids.reshape(-1, 3)
    for pixel in pixels:
        rest = [i for i in before[pixel] if i != 2]
        assert after[pixel].tolist() == [2, *rest]
    others = np.setdiff1d(np.arange(180), pixels)
    np.testing.assert_array_equal(after[others], before[others])
    assert np.isnan(mine.map.reliability.flat[pixels]).all()
    assert (mine.map.ambiguity.flat[pixels] == SpectralDoubt.NONE).all()
    assert mine.map.extra[EDITED].flat[pixels].tolist() == [EditKind.PHASE] * 3
    assert mine.done[0].before == "Na1 3"
    assert mine.done[0].after == "Na3 3"


def test_fractions_are_measured_and_stay(make_spectral: Any) -> None:
    answer = make_spectral()
    mine = Corrections(answer)
    mine.edit(EditKind.INVALID, np.arange(40, 90))
    np.testing.assert_array_equal(mine.map.fractions, answer.fractions)
    np.testing.assert_array_equal(mine.map.composition, answer.composition)
    assert not mine.map.indexed.flat[40:90].any()


def test_one_pixel_is_told_with_its_correlation(make_spectral: Any) -> None:
    answer = make_spectral()
    mine = Corrections(answer)
    mine.edit(EditKind.PHASE, np.array([34]), values(1, 1, np.nan))
    score = answer.best_scores.flat[34]
    assert mine.done[0].before == f"Na1 with r {score:.3f}"
    assert mine.done[0].after == "Na2"


def test_an_edit_of_orientations_does_not_fit(make_spectral: Any, flat_map: Any) -> None:
    turned = {**values(1, 0), "rotations": np.array([[1, 0, 0, 0]], np.float32)}
    with pytest.raises(BadInputError, match="another kind of map"):
        Corrections(make_spectral()).edit(EditKind.TURNED, np.array([20]), turned)
    with pytest.raises(BadInputError, match="another kind of map"):
        Corrections(flat_map((4, 4))).edit(EditKind.PHASE, np.array([2]), values(1, 0))


def test_parts_and_snapshots_hold_what_was_measured(make_spectral: Any) -> None:
    mine = Corrections(make_spectral()).map
    part = part_of(mine, np.array([16, 40, 75]))
    assert part.shape == (1, 3)
    np.testing.assert_array_equal(part.fractions[0], mine.fractions.reshape(-1, 3)[[16, 40, 75]])
    assert part.composition is not None
    assert EDITED not in snapshot(mine).extra
    assert_same(snapshot(mine), mine)


_STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["phase", "accept", "paint", "invalid", "unknown"]),
            st.sets(st.integers(0, 179), min_size=1, max_size=60),
            st.integers(0, 3),
        ),
        st.tuples(
            st.sampled_from(["undo", "redo", "off", "on"]), st.just(set()), st.integers(1, 8)
        ),
    ),
    max_size=14,
)


def play(mine: Corrections, steps: Any) -> None:
    kinds = {
        "phase": EditKind.PHASE,
        "accept": EditKind.ACCEPTED,
        "paint": EditKind.PAINTED,
        "invalid": EditKind.INVALID,
        "unknown": EditKind.UNKNOWN,
    }
    for step, chosen, number in steps:
        if step in kinds:
            pixels = np.array(sorted(chosen), dtype=np.int64)
            emptied = step in ("invalid", "unknown")
            mine.edit(kinds[step], pixels, None if emptied else values(len(pixels), number, np.nan))
        elif step in ("undo", "redo"):
            getattr(mine, step)()
        else:
            mine.switch(number, step == "on")


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=_STEPS)
def test_any_edits_undone_give_the_answer_back(
    make_spectral: Any, tmp_path: Path, steps: Any
) -> None:
    """And what a record tells is what was there, whatever was done, undone and switched off."""
    answer = make_spectral(count=4)
    mine = Corrections(answer)
    play(mine, steps)
    path = save_log(mine, tmp_path / "edits.jsonl")
    again, warnings = load_log(path, answer)
    assert warnings == ()
    assert_same(again.map, mine.map)
    np.testing.assert_array_equal(again.map.extra[EDITED], mine.map.extra[EDITED])
    while mine.undo() is not None:
        pass
    assert_same(mine.map, answer)
    assert not mine.map.extra[EDITED].any()


def test_steps_are_recorded_as_they_are_made(make_spectral: Any, tmp_path: Path) -> None:
    answer = make_spectral()
    mine = Corrections(answer)
    log = EditLog(tmp_path / "edits.jsonl", mine)
    mine.edit(EditKind.PHASE, np.arange(30, 50), values(20, 1))
    mine.edit(EditKind.UNKNOWN, np.arange(40, 45))
    mine.undo()
    log.close()
    again, _ = load_log(tmp_path / "edits.jsonl", answer)
    assert_same(again.map, mine.map)
    assert len(again.undone) == 1
    other = make_spectral(seed=3, count=3)
    ids = other.phase_ids.copy()
    ids[3, 3] = ids[3, 3][::-1]
    _, warnings = load_log(tmp_path / "edits.jsonl", other.replaced(phase_ids=ids))
    assert len(warnings) == 1


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_grain_is_what_hangs_together(make_spectral: Any, data: Any) -> None:
    ids = data.draw(st.lists(st.integers(-1, 2), min_size=48, max_size=48))
    first = np.array(ids).reshape(6, 8)
    kept = np.stack((first, np.full((6, 8), -1)), axis=-1)
    found = make_spectral(
        (6, 8), phase_ids=kept, scores=np.where(kept >= 0, 0.9, np.nan),
    )  # fmt: skip
    y, x = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 7))
    pieces, _ = label(first == first[y, x])
    wanted = np.flatnonzero(pieces == pieces[y, x])
    np.testing.assert_array_equal(selection.grain_at(found, y, x), wanted)


def test_the_same_answer_is_the_same_phase(make_spectral: Any) -> None:
    found = make_spectral()
    pixels = np.arange(15, 165)
    places = selection.nearest_kept(found, pixels, None, 1)
    kept = found.phase_ids.reshape(-1, 3)[pixels]
    assert (kept[np.arange(len(pixels)), places] == 1).all()
    two = make_spectral(count=4)
    places = selection.nearest_kept(two, pixels, None, 3)
    kept = two.phase_ids.reshape(-1, 3)[pixels]
    np.testing.assert_array_equal(places < 0, ~(kept == 3).any(axis=1))


def test_the_same_confusion_is_between_the_same_phases(make_spectral: Any) -> None:
    found = make_spectral()
    y, x = 2, 2
    assert found.ambiguity[y, x] == SpectralDoubt.AMBIGUITY
    first, second = found.phase_ids[y, x, :2]
    pixels, places = selection.same_confusion(found, y, x, 1)
    ids = found.phase_ids.reshape(-1, 3)
    assert y * 15 + x in pixels
    assert (ids[pixels, 0] == first).all()
    assert (ids[pixels, places] == second).all()
    assert (found.ambiguity.flat[pixels] == SpectralDoubt.AMBIGUITY).all()
    pair = (None, int(first)), (None, int(second))
    alike = selection.alike(found, *pair)
    assert set(pixels) <= set(alike)
    assert found.ambiguous.flat[alike].all()


def test_a_zone_keeps_to_pixels_that_have_the_answer(make_spectral: Any) -> None:
    found = make_spectral(count=4)
    zone = selection.zone_at(found, 2, 2)
    assert zone.tolist() == [y * 15 + x for y in (2, 3) for x in (1, 2, 3)]
    chosen = selection.of_one_doubt(found, zone, 2, 2, 1)
    ids = found.phase_ids.reshape(-1, 3)[chosen]
    wanted = found.phase_ids[2, 2, 1]
    assert 2 * 15 + 2 in chosen
    assert (ids == wanted).any(axis=1).all()
