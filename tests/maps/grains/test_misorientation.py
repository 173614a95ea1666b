"""KAM, GROD and GOS against plain loops, orix and cases that can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from orix.quaternion import Orientation, Rotation

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    OrientationMap,
    find_boundaries,
    find_grains,
    gos,
    grain_means,
    grod,
    kam,
    load_map,
)
from napari_diffmap.maps.quaternions import laue_operators


def turned_map(phase, angles, axis=(1, 2, 3)):
    """One crystal turned about an axis of the crystal by an angle (degrees) a pixel."""
    angles = np.asarray(angles, dtype=float)
    q = Rotation.from_axes_angles(axis, np.deg2rad(angles.ravel())).data
    return OrientationMap(
        rotations=q.reshape(*angles.shape, 1, 4),
        scores=np.ones((*angles.shape, 1)),
        phase_ids=np.zeros((*angles.shape, 1)),
        reliability=np.ones(angles.shape),
        ambiguity=np.zeros(angles.shape),
        phases=(phase,),
    )


def plain_kam(found, order, limit, labels=None):
    """KAM by loops over the pixels, and disorientations by orix."""
    rows, columns = found.shape
    ids = found.best_phase_ids
    angle = np.full((rows * columns, rows * columns), np.nan)
    for i, phase in enumerate(found.phases):
        mine = np.flatnonzero(ids == i)
        q = found.best_rotations.reshape(-1, 4)[mine].astype(float)
        members = Orientation(q, symmetry=phase.point_group.laue_proper_subgroup)
        angle[np.ix_(mine, mine)] = members.get_distance_matrix(degrees=True, progressbar=False)
    out = np.full(found.shape, np.nan)
    for y in range(rows):
        for x in range(columns):
            angles = []
            for v in range(max(0, y - order), min(rows, y + order + 1)):
                for u in range(max(0, x - order), min(columns, x + order + 1)):
                    near = 0 < abs(v - y) + abs(u - x) <= order
                    apart = labels is not None and (
                        labels[y, x] == 0 or labels[y, x] != labels[v, u]
                    )
                    here = angle[y * columns + x, v * columns + u]
                    if near and not apart and here <= limit:
                        angles.append(here)
            if angles:
                out[y, x] = np.mean(angles)
    return out


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("within", [False, True])
def test_kam_against_loops(make_map, order, within):
    found = make_map((9, 8), 4, scatter_deg=1.0, lost=0.1).map
    grains = find_grains(found, min_size=2) if within else None
    labels = None if grains is None else grains.labels
    mine = kam(found, order=order, limit=4.0, grains=grains)
    assert mine.dtype == np.float32
    np.testing.assert_allclose(mine, plain_kam(found, order, 4.0, labels), atol=0.03)


def test_kam_of_a_steady_bend(make_phase):
    """A turn of 0.5° a column: neighbours left and right 0.5°, above and below 0°."""
    found = turned_map(make_phase("m-3m"), np.tile(0.5 * np.arange(7), (5, 1)))
    np.testing.assert_allclose(kam(found)[1:-1, 1:-1], 0.25, atol=1e-4)
    # Of 12 neighbours: 4 at one column (two of them on the next rows too), 2 at two columns.
    np.testing.assert_allclose(kam(found, order=2)[2, 2:-2], (6 * 0.5 + 2 * 1.0) / 12, atol=1e-4)


def test_kam_leaves_out_what_lies_beyond_the_limit(make_phase):
    step = np.tile([0, 0, 3, 3], (3, 1))
    found = turned_map(make_phase("m-3m"), step)
    np.testing.assert_allclose(kam(found, limit=5)[1], [0, 0.75, 0.75, 0], atol=1e-4)
    np.testing.assert_allclose(kam(found, limit=2), 0, atol=1e-4)
    apart = find_grains(found, threshold=1.0)
    np.testing.assert_allclose(kam(found, grains=apart), 0, atol=1e-4)


def test_kam_reuses_boundaries(make_map):
    found = make_map((20, 30), 6).map
    edges = find_boundaries(found)
    for order in (1, 2):
        np.testing.assert_array_equal(
            kam(found, order=order, boundaries=edges), kam(found, order=order)
        )


def test_lone_pixels_have_no_kam(make_map, make_phase):
    assert np.isnan(kam(turned_map(make_phase("m-3m"), [[1.0]]), order=3)).all()
    found = make_map((6, 6), 1, lost=1.0).map
    assert np.isnan(kam(found)).all()
    assert np.isnan(grod(found, find_grains(found))).all()


def test_grod_against_orix(make_map):
    found = make_map((30, 30), 5, scatter_deg=1.0, lost=0.05).map
    grains = find_grains(found, min_size=4)
    deviation = grod(found, grains)
    assert (np.isnan(deviation) == (grains.labels == 0)).all()
    for i in range(len(grains)):
        mask = grains.labels == i + 1
        symmetry = found.phases[int(grains.phase_ids[i])].point_group.laue_proper_subgroup
        members = Orientation(found.best_rotations[mask].astype(float), symmetry=symmetry)
        mean = Orientation(grains.mean_rotations[i], symmetry=symmetry)
        np.testing.assert_allclose(deviation[mask], np.rad2deg(members.angle_with(mean)), atol=0.05)
        assert gos(found, grains)[i] == pytest.approx(deviation[mask].mean(), rel=1e-5)
    np.testing.assert_array_equal(gos(found, grains, deviation=deviation), gos(found, grains))


def test_gos_of_a_bent_grain(make_phase):
    """From -2° to 2° about one axis: the mean is in the middle, the spread the mean of |angle|."""
    angles = np.linspace(-2, 2, 9)
    found = turned_map(make_phase("6/mmm"), np.tile(angles, (4, 1)))
    grains = find_grains(found)
    assert len(grains) == 1
    np.testing.assert_allclose(grod(found, grains)[0], np.abs(angles), atol=1e-3)
    assert gos(found, grains)[0] == pytest.approx(np.abs(angles).mean(), abs=1e-3)


def test_symmetric_variants_change_nothing(make_map):
    found = make_map((12, 12), 3, scatter_deg=1.0).map
    rng = np.random.default_rng(1)
    q = found.rotations.astype(float).copy()
    for i, phase in enumerate(found.phases):
        operators = laue_operators(phase)
        here = found.phase_mask(i)
        chosen = Rotation(operators[rng.integers(len(operators), size=here.sum())])
        q[here, 0] = (chosen * Rotation(q[here, 0])).data
    other = found.replaced(rotations=q)
    np.testing.assert_allclose(kam(other, order=2), kam(found, order=2), atol=1e-3)
    grains, others = find_grains(found), find_grains(other)
    np.testing.assert_array_equal(grains.labels, others.labels)
    np.testing.assert_allclose(grod(other, others), grod(found, grains), atol=1e-3)


def test_means_leave_out_nan(make_map):
    found = make_map((10, 10), 3, lost=0).map
    grains = find_grains(found)
    values = np.arange(100.0).reshape(10, 10)
    values[grains.labels == 1] = np.nan
    values[grains.labels == 2][:1] = np.nan
    means = grain_means(grains, values)
    assert np.isnan(means[0])
    for i in range(1, len(grains)):
        assert means[i] == pytest.approx(np.nanmean(values[grains.labels == i + 1]))


@pytest.mark.parametrize("wrong", [{"order": 0}, {"order": 11}, {"limit": 0.0}, {"limit": 181.0}])
def test_impossible_settings(make_map, wrong):
    with pytest.raises(BadInputError, match="KAM"):
        kam(make_map((3, 4), 2).map, **wrong)


def test_parts_of_another_map(make_map):
    found, other = make_map((3, 4), 2).map, make_map((3, 5), 2).map
    for call in (
        lambda: kam(found, grains=find_grains(other)),
        lambda: kam(found, boundaries=find_boundaries(other)),
        lambda: grod(found, find_grains(other)),
        lambda: grain_means(find_grains(other), np.zeros((3, 4))),
    ):
        with pytest.raises(BadInputError, match="find them again"):
            call()


def test_measured_nickel(shared_data):
    """Small gradients, and larger ones where neighbours across boundaries count."""
    found = load_map(shared_data / "maps/odd_ang_ctf/EdaxAngOnly.h5")
    grains = find_grains(found, min_size=5)
    local = kam(found, grains=grains)
    assert 0.4 < np.nanmedian(local) < 1.0
    spread = gos(found, grains)
    assert np.median(spread) < 1.0
    # What crosses no boundary counts less than what does.
    assert np.nanmean(local) < np.nanmean(kam(found, limit=180))
