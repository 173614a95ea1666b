"""Grains against the grains that were made."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import find_boundaries, find_grains, find_zones, load_map
from napari_diffmap.maps.quaternions import disorientation, laue_operators


def true_labels(made):
    """Connected pieces (four neighbours) of each made grain, lost pixels cut out."""
    labels = np.zeros(made.grain.shape, int)
    for grain in range(made.grain.max() + 1):
        pieces, _ = ndimage.label((made.grain == grain) & made.map.indexed)
        labels[pieces > 0] = pieces[pieces > 0] + labels.max()
    return labels


def test_grains_are_the_ones_made(make_map):
    made = make_map((60, 70), 15)
    grains = find_grains(made.map)
    truth = true_labels(made)
    assert grains.count == len(grains) == truth.max()
    pairs = np.unique(np.stack((truth.ravel(), grains.labels.ravel())), axis=1)
    assert pairs.shape[1] == truth.max() + 1  # one to one, 0 with 0
    assert (grains.labels == 0).sum() == (~made.map.indexed).sum()
    assert grains.sizes.sum() == made.map.indexed.sum()
    # reading order
    first = [np.flatnonzero(grains.labels.ravel() == i)[0] for i in range(1, grains.count + 1)]
    assert first == sorted(first)


def test_means_phases_and_centres(make_map):
    made = make_map((60, 70), 15, scatter_deg=0.5, lost=0)
    grains = find_grains(made.map)
    for i in range(grains.count):
        mask = grains.labels == i + 1
        (grain,) = np.unique(made.grain[mask])
        phase = int(grains.phase_ids[i])
        assert (made.map.best_phase_ids[mask] == phase).all()
        operators = laue_operators(made.map.phases[phase])
        off = disorientation(grains.mean_rotations[i][None], made.rotations[grain][None], operators)
        assert off < 4 * 0.5 / np.sqrt(mask.sum()) + 1e-3
        np.testing.assert_allclose(grains.centroids[i], np.argwhere(mask).mean(axis=0))
        assert grains.sizes[i] == mask.sum()


def test_small_pieces_are_left_out(make_map):
    made = make_map((60, 70), 15)
    everything = find_grains(made.map)
    large = find_grains(made.map, min_size=20)
    assert large.count == (everything.sizes >= 20).sum()
    assert large.sizes.min() >= 20
    np.testing.assert_array_equal(
        large.labels > 0,
        np.isin(everything.labels, np.flatnonzero(everything.sizes >= 20) + 1),
    )


def test_threshold_and_reuse_of_boundaries(make_map):
    made = make_map((30, 30), 6, ("m-3m",), scatter_deg=1.5, lost=0)
    edges = find_boundaries(made.map)
    fine, coarse = (find_grains(made.map, threshold=t, boundaries=edges) for t in (2.0, 10.0))
    assert fine.count > coarse.count
    np.testing.assert_array_equal(coarse.labels, find_grains(made.map, threshold=10.0).labels)


def test_nothing_indexed_is_no_grain(make_map):
    found = make_map((5, 6), 2, lost=1.0).map
    grains = find_grains(found)
    assert grains.count == 0
    assert not grains.labels.any()
    assert len(find_zones(found)) == 0


def test_equivalent_diameter(make_map):
    grains = find_grains(make_map((10, 10), 1, ("m-3m",), lost=0).map)
    assert grains.equivalent_diameters((2.0, 2.0))[0] == pytest.approx(2 * np.sqrt(400 / np.pi))


@pytest.mark.parametrize("wrong", [{"threshold": 0.0}, {"threshold": 180.0}, {"min_size": 0}])
def test_impossible_settings(make_map, wrong):
    with pytest.raises(BadInputError, match="threshold"):
        find_grains(make_map((3, 4), 2).map, **wrong)


def test_boundaries_of_another_map(make_map):
    edges = find_boundaries(make_map((3, 5), 2).map)
    with pytest.raises(BadInputError, match="find them again"):
        find_grains(make_map((3, 4), 2).map, boundaries=edges)


def test_measured_grains(shared_data):
    found = load_map(shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang")
    grains = find_grains(found, min_size=5)
    assert 60 < grains.count < 200
    for i in np.argsort(grains.sizes)[-20:]:
        mask = grains.labels == i + 1
        operators = laue_operators(found.phases[int(grains.phase_ids[i])])
        members = found.best_rotations[mask]

        def spread(center, members=members, operators=operators):
            angle = disorientation(np.broadcast_to(center, members.shape), members, operators)
            return float((angle.astype(float) ** 2).mean())

        # No orientation of the grain lies nearer to all the others than its mean.
        mean = spread(grains.mean_rotations[i])
        assert mean <= min(spread(q) for q in members[:: max(1, len(members) // 40)]) + 1e-6
        assert (found.best_phase_ids[mask] == grains.phase_ids[i]).all()
