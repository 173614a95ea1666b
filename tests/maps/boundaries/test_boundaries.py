"""Boundary classes on bicrystals of known truth; lines and pictures of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from orix.quaternion import Orientation, Rotation

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    BOUNDARY_TABLE,
    BoundaryClass,
    OrientationMap,
    find_boundaries,
    load_map,
)
from napari_diffmap.maps.boundaries import lines

SOME = (0.31, 0.22, -0.57, 0.73)


def rows_of(phases, *rows):
    """A map whose every row is one orientation of one phase: (quaternion, phase)."""
    q = np.array([np.asarray(r[0], float) / np.linalg.norm(r[0]) for r in rows])
    shape = (len(rows), 4)
    return OrientationMap(
        rotations=np.broadcast_to(q[:, None, None], (*shape, 1, 4)),
        scores=np.ones((*shape, 1)),
        phase_ids=np.broadcast_to(np.array([r[1] for r in rows])[:, None, None], (*shape, 1)),
        reliability=np.ones(shape),
        ambiguity=np.zeros(shape),
        phases=phases,
    )


def turned(q, axis, degrees):
    return (Rotation.from_axes_angles(axis, np.deg2rad(degrees)) * Rotation(q)).data[0]


def test_classes_of_known_neighbours(make_phase):
    phases = (make_phase("m-3m"), make_phase("6/mmm"))
    half = (Rotation(SOME) * Rotation((0, 0, 0, 1))).data[0]
    found = rows_of(
        phases,
        (SOME, 0),
        (turned(SOME, (1, 2, 3), 1.9), 0),  # none
        (turned(SOME, (1, 2, 3), 1.9 + 2.1), 0),  # low-angle
        (turned(SOME, (1, 2, 3), 4.0 + 15.5), 0),  # high-angle
        (SOME, 1),  # another phase
        (half, 1),  # the same pattern
        (SOME, -1),  # no answer
        (SOME, 0),
    )
    edges = find_boundaries(found)
    expected = [0, 1, 2, 3, 4, 0, 0]
    np.testing.assert_array_equal(edges.class_y[:, 0], expected)
    np.testing.assert_allclose(edges.angle_y[:3, 1], [1.9, 2.1, 15.5], atol=1e-4)
    assert np.isnan(edges.angle_y[[3, 5, 6]]).all()
    assert (edges.class_x == 0).all()
    assert edges.shape == found.shape


def test_a_half_turn_that_is_a_symmetry_leaves_no_boundary(make_phase):
    """Beam along [001] of a cubic crystal: the turned crystal is the same crystal."""
    found = rows_of((make_phase("m-3m"),), ((1, 0, 0, 0), 0), ((0, 0, 0, 1), 0))
    edges = find_boundaries(found)
    assert (edges.class_y == BoundaryClass.NONE).all()
    assert edges.angle_y.max() < 1e-4


def test_twin_tolerance_and_thresholds(make_phase):
    half = (Rotation(SOME) * Rotation((0, 0, 0, 1))).data[0]
    found = rows_of((make_phase("-3m"),), (SOME, 0), (turned(half, (1, 0, 2), 3.0), 0))
    assert find_boundaries(found).class_y[0, 0] == BoundaryClass.TWIN_AMBIGUOUS
    assert find_boundaries(found, vanish=2.5).class_y[0, 0] == BoundaryClass.HIGH_ANGLE
    close = rows_of((make_phase("-3m"),), (SOME, 0), (turned(SOME, (1, 0, 2), 3.0), 0))
    assert find_boundaries(close).class_y[0, 0] == BoundaryClass.LOW_ANGLE
    assert find_boundaries(close, low=4).class_y[0, 0] == BoundaryClass.NONE
    assert find_boundaries(close, low=1, high=2.9).class_y[0, 0] == BoundaryClass.HIGH_ANGLE


@pytest.mark.parametrize(
    "wrong", [{"low": 20.0}, {"low": -1.0}, {"high": 200.0}, {"low": 6.0, "vanish": 5.0}]
)
def test_thresholds_out_of_order(make_map, wrong):
    with pytest.raises(BadInputError, match="thresholds"):
        find_boundaries(make_map((3, 4), 2).map, **wrong)


def against_orix(found):
    edges = find_boundaries(found)
    for i, phase in enumerate(found.phases):
        proper = phase.point_group.laue_proper_subgroup
        same = found.phase_mask(i)[:, :-1] & found.phase_mask(i)[:, 1:]
        if same.any():
            left = Orientation(found.best_rotations[:, :-1][same].astype(float), symmetry=proper)
            right = Orientation(found.best_rotations[:, 1:][same].astype(float), symmetry=proper)
            theirs = np.rad2deg(left.angle_with(right))
            # orix takes the arc cosine near 1, where it knows no better than this.
            np.testing.assert_allclose(edges.angle_x[same], theirs, atol=0.05)
    return edges


def test_made_map_against_orix_and_truth(make_map):
    made = make_map()
    edges = against_orix(made.map)
    within = (made.grain[:, :-1] == made.grain[:, 1:]) & ~np.isnan(edges.angle_x)
    assert edges.angle_x[within].max() < 2.0
    between = (made.grain[:, :-1] != made.grain[:, 1:]) & (
        made.map.indexed[:, :-1] & made.map.indexed[:, 1:]
    )
    assert (edges.class_x[between] >= BoundaryClass.HIGH_ANGLE).all()
    assert (edges.class_x[within] == BoundaryClass.NONE).all()


def test_measured_map_against_orix(shared_data):
    found = load_map(shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang")
    edges = against_orix(found)
    lengths = edges.lengths(found.step)
    assert lengths[BoundaryClass.PHASE] > lengths[BoundaryClass.HIGH_ANGLE] > 0


def test_an_oblique_axis_counts(make_phase):
    """A monoclinic crystal keeps the setting of its two-fold axis."""
    b_unique = make_phase("121")
    about_b = rows_of((b_unique,), (SOME, 0), (turned(SOME, (0, 1, 0), 180), 0))
    about_c = rows_of((b_unique,), (SOME, 0), (turned(SOME, (0, 0, 1), 180), 0))
    assert find_boundaries(about_b).class_y[0, 0] == BoundaryClass.NONE
    assert find_boundaries(about_c).class_y[0, 0] != BoundaryClass.NONE


def test_a_single_pixel_has_no_edges(make_map):
    edges = find_boundaries(make_map((1, 1), 1, lost=0).map)
    assert edges.class_x.shape == (1, 0)
    assert edges.shape == (1, 1)
    assert edges.polylines(2) == []
    assert edges.line_segments(2).shape == (0, 2, 2)
    assert edges.raster(3).shape == (3, 3)


# ------------------------------------------------------------------ lines

masks = st.tuples(st.integers(1, 7), st.integers(1, 7)).flatmap(
    lambda s: st.tuples(hnp.arrays(bool, (s[0], s[1] - 1)), hnp.arrays(bool, (s[0] - 1, s[1])))
)


def unit_edges(points):
    """Set of grid edges that a line of corner points covers."""
    covered = []
    for (y0, x0), (y1, x1) in pairwise(points):
        n = int(abs(y1 - y0) + abs(x1 - x0))
        sy, sx = np.sign(y1 - y0), np.sign(x1 - x0)
        for i in range(n):
            a = (float(y0 + i * sy), float(x0 + i * sx))
            b = (float(y0 + (i + 1) * sy), float(x0 + (i + 1) * sx))
            covered.append(tuple(sorted((a, b))))
    return covered


def expected_edges(edge_x, edge_y):
    upright = {((y - 0.5, x + 0.5), (y + 0.5, x + 0.5)) for y, x in np.argwhere(edge_x)}
    level = {((y + 0.5, x - 0.5), (y + 0.5, x + 0.5)) for y, x in np.argwhere(edge_y)}
    return upright | level


@settings(max_examples=200, deadline=None)
@given(masks)
def test_lines_cover_every_edge_once(edges):
    wanted = expected_edges(*edges)
    for pieces in (lines.segments(*edges), lines.polylines(*edges)):
        covered = [edge for piece in pieces for edge in unit_edges(piece)]
        assert len(covered) == len(set(covered))
        assert set(covered) == wanted


@settings(max_examples=100, deadline=None)
@given(masks)
def test_polylines_end_only_at_junctions_and_ends(edges):
    degree: dict[tuple[float, float], int] = {}
    for a, b in expected_edges(*edges):
        degree[a] = degree.get(a, 0) + 1
        degree[b] = degree.get(b, 0) + 1
    for line in lines.polylines(*edges):
        first, last = tuple(map(float, line[0])), tuple(map(float, line[-1]))
        if first == last and degree[first] == 2:
            continue  # a loop
        assert degree[first] != 2
        assert degree[last] != 2


def test_a_lone_pixel_has_a_closed_outline():
    edge_x, edge_y = np.zeros((3, 2), bool), np.zeros((2, 3), bool)
    edge_x[1] = True
    edge_y[:, 1] = True
    (outline,) = lines.polylines(edge_x, edge_y)
    assert len(outline) == 5
    np.testing.assert_array_equal(outline[0], outline[-1])
    assert {tuple(p) for p in outline} == {(0.5, 0.5), (0.5, 1.5), (1.5, 0.5), (1.5, 1.5)}


def test_raster_draws_between_the_pixels():
    edge_x, edge_y = np.zeros((2, 1), np.uint8), np.zeros((1, 2), np.uint8)
    edge_x[0, 0], edge_y[0, 1] = BoundaryClass.HIGH_ANGLE, BoundaryClass.PHASE
    table = [(int(s.code), s.line) for s in BOUNDARY_TABLE]
    image = lines.raster(edge_x, edge_y, table, (8, 8), 2)
    assert (image[:7, 7:9] == 2).all()
    assert (image[7:9, 8:] == 3).all()
    image[:9, 7:9] = 0
    image[7:9, 8:] = 0
    assert not image.any()


def test_classes_are_told_apart_without_colour():
    kinds = {style.code: style.line for style in BOUNDARY_TABLE}
    edge_x = np.array([[1], [4], [2]], np.uint8)
    edge_y = np.zeros((2, 2), np.uint8)
    image = lines.raster(edge_x, edge_y, list(kinds.items()), (16, 16))
    assert (image == 1).sum() < (image == 2).sum()
    dashed = (image[16:32] == 4).any(axis=1)
    assert dashed[8]
    assert not dashed[0]


def test_a_picture_cannot_shrink(make_map):
    with pytest.raises(BadInputError, match="enlarged"):
        find_boundaries(make_map((3, 4), 2).map).raster(0)


def test_lengths_are_in_the_unit_of_the_step(make_phase):
    found = rows_of((make_phase("m-3m"),), (SOME, 0), (turned(SOME, (1, 2, 3), 30), 0))
    assert find_boundaries(found).lengths((3.0, 2.0))[BoundaryClass.HIGH_ANGLE] == 4 * 2.0
