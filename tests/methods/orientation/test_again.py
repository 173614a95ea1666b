"""Matching again at some pixels: near a start, and with one phase only."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.errors import CancelledError
from napari_diffmap.maps.quaternions import disorientation, multiply
from napari_diffmap.methods.orientation.again import match_at, refine_at


@pytest.fixture(scope="module")
def two(bench: Any) -> Any:
    """Two rows of patterns of Au and LiNiO2 mapped with both, and their truth."""
    phases = [load_phase("Au"), load_phase("LiNiO2")]
    truth = np.stack([bench.random_rotations(24, 5), bench.random_rotations(24, 6)])
    images = np.stack([bench.draw(p, q) for p, q in zip(phases, truth, strict=True)])
    scan = bench.as_scan(bench.counted(images, background=0.1))
    method, _ = bench.run(scan, phases)
    return scan, method, phases, truth


def tilted(rotations: np.ndarray, degrees: float, seed: int = 0) -> np.ndarray:
    axes = np.random.default_rng(seed).normal(size=(len(rotations), 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    half = np.deg2rad(degrees) / 2
    turn = np.concatenate((np.full((len(axes), 1), np.cos(half)), np.sin(half) * axes), axis=1)
    return multiply(turn, rotations)


@pytest.mark.parametrize("row", [0, 1])
def test_a_start_beside_the_truth_is_brought_to_it(two: Any, row: int) -> None:
    """From 1.5° off, by any symmetric variant, to within half a degree."""
    scan, method, phases, truth = two
    symmetry = phases[row].symmetry
    pixels = np.arange(24) + 24 * row
    variants = symmetry[np.arange(24) % len(symmetry)]
    starts = multiply(variants, tilted(truth[row], 1.5))
    ids = np.full(24, row)
    found = refine_at(scan, method, pixels, starts, ids)
    before = disorientation(starts, truth[row], symmetry)
    after = disorientation(found.rotations, truth[row], symmetry)
    assert before.min() > 1.4
    assert np.median(after) < 0.2
    assert (after < 0.5).mean() > 0.85
    assert (found.phase_ids == row).all()
    assert found.scores.min() > 0


def test_what_is_refined_does_not_depend_on_its_company(two: Any) -> None:
    scan, method, _, truth = two
    pixels = np.array([2, 3, 17, 30, 31, 47])
    starts = tilted(truth.reshape(-1, 4)[pixels], 1.0)
    ids = pixels // 24
    together = refine_at(scan, method, pixels, starts, ids)
    for i, pixel in enumerate(pixels):
        one = refine_at(scan, method, np.array([pixel]), starts[i : i + 1], ids[i : i + 1])
        np.testing.assert_array_equal(one.rotations[0], together.rotations[i])
        assert one.scores[0] == together.scores[i]


def test_a_start_is_not_left_for_another_answer(two: Any) -> None:
    """The twin by half a turn about the beam stays the twin, though it is the wrong one."""
    scan, method, phases, truth = two
    pixels = np.arange(24)
    half_turn = np.array([0.0, 0.0, 0.0, 1.0])
    starts = multiply(truth[0], half_turn)
    found = refine_at(scan, method, pixels, starts, np.zeros(24, int))
    left = disorientation(found.rotations, starts, phases[0].symmetry)
    far = disorientation(truth[0], starts, phases[0].symmetry) > 15
    assert far.sum() > 15
    assert np.median(left) < 3
    assert left[far].max() < 8


def test_a_pattern_without_a_crystal_keeps_its_start(two: Any, bench: Any) -> None:
    scan, method, _, truth = two
    empty = np.zeros(scan.shape, np.uint16)
    bare = replace(bench.as_scan(empty), calibration=scan.calibration)
    found = refine_at(bare, method, np.array([0, 5]), truth[0, :2], np.array([0, 0]))
    np.testing.assert_array_equal(found.rotations, truth[0, :2].astype(np.float32))
    assert found.scores.tolist() == [0, 0]


def test_one_phase_alone(two: Any) -> None:
    """What competes is not asked: the other phase's orientation where it is forced."""
    scan, method, phases, truth = two
    right = match_at(scan, method, np.arange(24, 48), 1)
    angles = disorientation(right.rotations, truth[1], phases[1].symmetry)
    assert (right.phase_ids == 1).all()
    assert (angles < 1).mean() > 0.8
    forced = match_at(scan, method, np.arange(24, 48, 5), 0)
    assert set(forced.phase_ids.tolist()) <= {0, -1}
    kept = forced.phase_ids == 0
    assert (forced.scores[kept] <= right.scores[::5][kept] + 0.05).all()


def test_it_can_be_stopped_and_tells_how_far_it_is(two: Any) -> None:
    scan, method, _, truth = two
    told: list[tuple[int, int]] = []
    refine_at(
        scan, method, np.arange(40), truth.reshape(-1, 4)[:40], np.arange(40) // 24,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told[-1] == (40, 40)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    with pytest.raises(CancelledError):
        match_at(scan, method, np.arange(40), 0, cancelled=lambda: True)
