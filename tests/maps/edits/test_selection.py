"""Pixels of a correction against plain definitions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import label

from napari_diffmap.maps import Ambiguity, OrientationMap, find_grains
from napari_diffmap.maps.edits.selection import (
    alike,
    best_of_phase,
    disk,
    grain_at,
    half_turned,
    nearest_kept,
    of_one_doubt,
    same_confusion,
    zone_at,
)
from napari_diffmap.maps.quaternions import HALF_TURN, multiply


@pytest.fixture(scope="module")
def made(make_map: Any) -> Any:
    return make_map((30, 40), 9, seed=4)


def test_disk() -> None:
    assert disk((5, 5), 2, 2, 0).tolist() == [12]
    assert disk((5, 5), 2, 2, 1).tolist() == [7, 11, 12, 13, 17]
    assert disk((5, 5), 0, 0, 1).tolist() == [0, 1, 5]


def test_grain_is_the_grain_of_the_reconstruction(made: Any) -> None:
    found = made.map
    labels = find_grains(found, threshold=5.0).labels
    for y, x in ((0, 0), (15, 20), (29, 39), (7, 31)):
        if labels[y, x]:
            np.testing.assert_array_equal(
                grain_at(found, y, x), np.flatnonzero(labels == labels[y, x])
            )


def test_without_an_answer_the_grain_is_the_hole(made: Any) -> None:
    found = made.map
    y, x = map(int, np.argwhere(~found.indexed)[0])
    pieces, _ = label(~found.indexed)
    np.testing.assert_array_equal(grain_at(found, y, x), np.flatnonzero(pieces == pieces[y, x]))


def test_zone(made: Any) -> None:
    found = made.map
    y, x = map(int, np.argwhere(found.ambiguity == Ambiguity.TWIN)[3])
    zone = zone_at(found, y, x)
    assert y * 40 + x in zone
    assert set(found.ambiguity.reshape(-1)[zone].tolist()) == {int(Ambiguity.TWIN)}


def confused(make_phase: Any, relation: str) -> OrientationMap:
    """Three orientations in stripes; in each the second answer is related to the first."""
    random = np.random.default_rng(2)
    q = random.normal(size=(3, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    # 60° about a <111> of the crystal, another one in each stripe: the same twin law.
    axes = np.array([(1, 1, 1), (-1, 1, 1), (1, -1, 1)]) / np.sqrt(3)
    twin = np.concatenate((np.full((3, 1), np.sqrt(3) / 2), 0.5 * axes), axis=1)
    other = multiply(twin, q) if relation == "twin" else multiply(q, HALF_TURN)
    stripe = np.repeat([0, 1, 2], 4)[None].repeat(6, axis=0)
    rotations = random.normal(size=(6, 12, 3, 4))
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    rotations[:, :, 0], rotations[:, :, 2] = q[stripe], other[stripe]
    ambiguity = np.full((6, 12), Ambiguity.TWIN)
    ambiguity[0] = Ambiguity.NONE
    return OrientationMap(
        rotations=rotations,
        scores=np.full((6, 12, 3), 0.5),
        phase_ids=np.zeros((6, 12, 3)),
        reliability=np.full((6, 12), 0.5),
        ambiguity=ambiguity,
        phases=(make_phase("m-3m", "Cu"),),
    )


@pytest.mark.parametrize("relation", ["twin", "half turn"])
def test_the_same_confusion_is_found_in_every_orientation(make_phase: Any, relation: str) -> None:
    found = confused(make_phase, relation)
    pixels, places = same_confusion(found, 2, 1, 2)
    assert pixels.tolist() == list(range(12, 72))  # the first row is not in doubt
    assert (places == 2).all()
    random, _ = same_confusion(found, 2, 1, 1)
    assert len(random) < 5


def test_alike_is_the_same_pair_of_orientations(make_phase: Any) -> None:
    found = confused(make_phase, "twin")
    expected = [y * 12 + x for y in range(1, 6) for x in range(4)]
    pair = (found.rotations[3, 2, 0], 0), (found.rotations[3, 2, 2], 0)
    assert alike(found, *pair).tolist() == expected


def test_a_zone_over_several_grains(make_phase: Any) -> None:
    """Twins flip in one stripe; where crystals overlap each side keeps its own."""
    found = confused(make_phase, "twin")
    every = np.arange(72)
    stripe = [y * 12 + x for y in range(6) for x in range(4)]
    assert of_one_doubt(found, every, 3, 2, 2).tolist() == stripe
    flipped = found.rotations.copy()
    flipped[4:, :4, [0, 2]] = flipped[4:, :4, [2, 0]]
    assert of_one_doubt(found.replaced(rotations=flipped), every, 3, 2, 0).tolist() == stripe
    overlap = found.replaced(rotations=flipped, ambiguity=np.full((6, 12), Ambiguity.OVERLAP))
    upper = [pixel for pixel in stripe if pixel < 48]
    assert of_one_doubt(overlap, every, 3, 2, 0).tolist() == upper


def test_kept_answers(make_phase: Any) -> None:
    found = confused(make_phase, "twin")
    pixels = np.array([0, 5, 13])
    rotation = found.rotations[0, 0, 2]
    assert nearest_kept(found, pixels, rotation, 0).tolist() == [2, -1, 2]
    assert best_of_phase(found, pixels, 0).tolist() == [0, 0, 0]
    assert best_of_phase(found, pixels, 1).tolist() == [-1, -1, -1]


def test_half_turn_twice_is_nothing(made: Any) -> None:
    q = made.map.best_rotations.reshape(-1, 4)
    again = half_turned(half_turned(q))
    np.testing.assert_allclose(np.abs((again * q).sum(1)), 1, atol=1e-5)
