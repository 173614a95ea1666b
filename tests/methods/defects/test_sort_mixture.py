"""Crops that lie alike, and the classes of a mixture of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.lattice import Lattice, find_lattice
from napari_diffmap.methods.defects.parameters import SortParameters
from napari_diffmap.methods.defects.simulated import Simulated, simulate
from napari_diffmap.methods.defects.sort.crops import cut_crops, operations, turned, upright
from napari_diffmap.methods.defects.sort.mixture import sort_by_mixture


def simulated(seed: int, angle: float) -> tuple[Simulated, Lattice, Finds]:
    rng = np.random.default_rng(seed)
    made = simulate(rng, size=192, peak=2000, background=0, vacancies=12, dopants=12, angle=angle)
    truth = made.truth
    n = len(truth.places)
    finds = Finds(np.zeros(n), truth.places, np.ones(n), truth.sublattice, truth.ratio, np.zeros(n))
    return made, find_lattice(made.image), finds


def test_crops_of_lattices_that_lie_differently_are_alike() -> None:
    means = []
    for angle in (0.1, 0.9, 2.0):
        made, lattice, finds = simulated(1, angle)
        names = [lattice.vectors]
        a, b = lattice.vectors
        names.append(np.stack([b, b - a]))  # the same lattice, its vectors turned by 60°
        for vectors in names:
            there = np.linalg.solve(vectors.T, (lattice.basis @ lattice.vectors).T).T
            same = replace(lattice, vectors=vectors, basis=there)
            crops = cut_crops(made.image[None], finds, {0: same}, 21, 9.0)
            assert crops.shape == (len(finds), 21, 21)
            for kind in (0, 1):
                means.append(np.nanmean(crops[finds.sublattice == kind], axis=0))
    inside = np.hypot(*np.mgrid[-10:11, -10:11]) < 9
    for kind in (0, 1):
        one, *others = means[kind::2]
        alike = min(np.corrcoef(one[inside], other[inside])[0, 1] for other in others)
        flipped = np.corrcoef(one[inside], one[::-1][inside])[0, 1]
        assert alike > 0.98
        assert 1 - flipped > 2 * (1 - alike)
        # upright: turned by a third and mirrored it is itself
        for angle, mirrored in operations(6):
            view = turned(one[None].astype(np.float32), angle, mirrored)[0]
            assert np.corrcoef(view[inside], one[inside])[0, 1] > 0.97


def test_crops_beyond_the_border_are_unknown_and_lattices_are_borrowed() -> None:
    made, lattice, _ = simulated(2, 0.4)
    corner = Finds([0, 3], [[1.0, 1.0], [96.0, 96.0]], [1, 1], [0, 0], [1, 1], [0, 0])
    movie = np.repeat(made.image[None], 4, axis=0)
    crops = cut_crops(movie, corner, {0: lattice, 3: None}, 15, lattice.spacing)
    assert np.isnan(crops[0, :4]).any()
    assert np.isfinite(crops[1]).all()
    assert crops[1, 7, 7] == pytest.approx(made.image[96, 96], rel=1e-3)
    plain = cut_crops(movie, corner, {0: None}, 15, 10.0)
    assert plain[1] == pytest.approx(made.image[89:104, 89:104], rel=1e-3)
    assert abs(upright(lattice)) < 10


def scenes(seed: int, count: int, noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops of three classes, one of them of no symmetry, each seen under a random operation."""
    rng = np.random.default_rng(seed)
    up, right = np.mgrid[-8:9, -8:9]

    def blob(y: float, x: float, height: float) -> np.ndarray:
        return height * np.exp(-((up - y) ** 2 + (right - x) ** 2) / 6)

    turns = 2 * np.pi * np.arange(3) / 3
    around = sum(blob(-5 * np.cos(t), 5 * np.sin(t), 0.5) for t in turns)
    shapes = np.stack([around + blob(0, 0, 1), around, around + blob(0, 0, 1) + blob(-5, 1.5, 0.9)])
    truth = rng.integers(3, size=count)
    crops = shapes[truth].astype(np.float32)
    ops = list(operations(6))
    which = rng.integers(6, size=count)
    for k, (angle, mirrored) in enumerate(ops):
        crops[which == k] = turned(crops[which == k], angle, mirrored)
    return crops + rng.normal(0, noise, crops.shape).astype(np.float32), truth, shapes


def empty_finds(n: int) -> Finds:
    return Finds(np.zeros(n), np.zeros((n, 2)), np.ones(n), np.zeros(n), np.ones(n), np.zeros(n))


def test_a_mixture_tells_planted_classes_whatever_way_they_lie() -> None:
    crops, truth, shapes = scenes(0, 240, 0.1)
    told = sort_by_mixture(crops, empty_finds(240), SortParameters(by="mixture"))
    assert told.class_id.max() + 1 == 3 == len(told.names)
    assert adjusted_rand_score(truth, told.class_id) > 0.95
    assert told.stability > 0.9
    assert min(told.bic, key=told.bic.__getitem__) == min(told.icl, key=told.icl.__getitem__) == 3
    assert told.probability.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (np.diff(np.bincount(told.class_id)) <= 0).all()
    # the class without symmetry is not smeared: one of its views is the planted shape
    inside = np.hypot(*np.mgrid[-8:9, -8:9]) < 7
    mine = told.averages[told.class_id[truth == 2][0]]
    views = [turned(shapes[2][None].astype(np.float32), *op)[0] for op in operations(6)]
    assert max(np.corrcoef(mine[inside], view[inside])[0, 1] for view in views) > 0.98
    again = sort_by_mixture(crops, empty_finds(240), SortParameters(by="mixture"))
    assert np.array_equal(again.class_id, told.class_id)


def test_a_number_of_classes_is_obeyed_and_what_is_unstable_is_told() -> None:
    crops, _, _ = scenes(1, 120, 0.1)
    crops[:4, :, 9:] = np.nan
    told = sort_by_mixture(crops, empty_finds(120), SortParameters(by="mixture", classes=2))
    assert len(told.names) == 2 == len(told.averages)
    assert told.class_id[:4].tolist() == [-1] * 4
    assert np.isnan(told.probability[:4]).all()
    assert "4 finds at the border" in told.warnings[-1]
    blank = np.random.default_rng(2).normal(size=(60, 9, 9)).astype(np.float32)
    noise = sort_by_mixture(blank, empty_finds(60), SortParameters(by="mixture", classes=4))
    assert "not stable" in noise.warnings[0]
    assert len(sort_by_mixture(blank, empty_finds(60), SortParameters(by="mixture")).names) == 1
    with pytest.raises(BadInputError, match="needs 10 finds"):
        sort_by_mixture(crops[:5], empty_finds(5), SortParameters())
