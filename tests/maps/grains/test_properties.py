"""Grain shapes against scikit-image, outlines and neighbours against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import regionprops

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    BoundaryClass,
    OrientationMap,
    boundary_properties,
    classify_laws,
    find_boundaries,
    find_grains,
    find_pairs,
    gos,
    grain_properties,
    kam,
    load_map,
)


@pytest.fixture(scope="module")
def made(make_map):
    found = make_map((60, 70), 15, lost=0.03).map
    return found, find_grains(found, min_size=3)


def picture(phase, labels, step=(1.0, 1.0), unit="nm"):
    """A map whose grains are the areas of a picture, 20° apart."""
    labels = np.asarray(labels)
    half = np.deg2rad(20.0 * labels) / 2
    q = np.stack((np.cos(half), np.sin(half), 0 * half, 0 * half), axis=-1)
    return OrientationMap(
        rotations=q[:, :, None],
        scores=np.ones((*labels.shape, 1)),
        phase_ids=np.where(labels[..., None] >= 0, 0, -1),
        reliability=np.ones(labels.shape),
        ambiguity=np.zeros(labels.shape),
        phases=(phase,),
        step=step,
        step_unit=unit,
    )


def test_shapes_against_scikit_image(make_map):
    """Square pixels: scikit-image knows no other ones in its ellipse."""
    found = make_map((60, 70), 15).map.replaced(step=(2.5, 2.5))
    grains = find_grains(found, min_size=3)
    mine = grain_properties(found, grains)
    assert len(mine) == len(grains)
    for i, theirs in enumerate(regionprops(grains.labels)):
        assert mine.sizes[i] == theirs.area
        assert mine.area[i] == pytest.approx(theirs.area * 6.25)
        assert mine.equivalent_diameter[i] == pytest.approx(2.5 * theirs.equivalent_diameter_area)
        np.testing.assert_allclose(mine.centroid[i], 2.5 * np.array(theirs.centroid))
        np.testing.assert_array_equal(mine.bbox[i], theirs.bbox)
        # Their pixels are points, ours are squares with a moment of their own.
        for axis, point_axis in (
            (mine.major_axis[i], theirs.axis_major_length),
            (mine.minor_axis[i], theirs.axis_minor_length),
        ):
            assert axis == pytest.approx(2.5 * np.sqrt(point_axis**2 + 16 / 12), rel=1e-6)
        # Theirs is the angle from the rows axis, counter-clockwise on the screen.
        off = (mine.direction[i] - (90 - np.rad2deg(theirs.orientation))) % 180
        assert min(off, 180 - off) < 1e-6


def test_oblong_pixels_of_a_tilted_ellipse(make_phase):
    """An ellipse of 60 x 24 nm, 30° from right towards down, on pixels of 1.0 x 0.5 nm."""
    step = np.array((1.0, 0.5))
    y, x = ((np.indices((80, 160)).T - (39.5, 79.5)) * step).T
    turn = np.deg2rad(30)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = (along / 30) ** 2 + (across / 12) ** 2 < 1
    found = picture(make_phase("m-3m"), inside.astype(int), (1.0, 0.5))
    grains = find_grains(found)
    mine = grain_properties(found, grains)
    (i,) = np.flatnonzero(~mine.touches_edge)
    assert mine.major_axis[i] == pytest.approx(60, rel=0.01)
    assert mine.minor_axis[i] == pytest.approx(24, rel=0.01)
    assert mine.aspect_ratio[i] == pytest.approx(2.5, rel=0.02)
    assert mine.direction[i] == pytest.approx(30, abs=0.5)
    assert mine.area[i] == pytest.approx(np.pi * 30 * 12, rel=0.01)
    np.testing.assert_allclose(mine.centroid[i], np.array((39.5, 79.5)) * step, atol=1e-9)


def test_small_grains_by_hand(make_phase):
    labels = [[1, 1, 1, 2], [1, 3, 1, 2], [1, 1, 1, 2], [-1, 1, 1, 2]]
    found = picture(make_phase("m-3m"), labels, (3.0, 2.0))
    mine = grain_properties(found, find_grains(found))
    assert mine.unit == "nm"
    np.testing.assert_array_equal(mine.sizes, [10, 4, 1])
    np.testing.assert_allclose(mine.area, [60, 24, 6])
    # The ring: outline 2 · (4 · 3 + 3 · 2), the corner cut out adds none, the hole 2 · (3 + 2).
    np.testing.assert_allclose(mine.perimeter, [36 + 10, 2 * (12 + 2), 10])
    np.testing.assert_array_equal(mine.neighbours, [2, 1, 1])
    np.testing.assert_array_equal(mine.touches_edge, [True, True, False])
    np.testing.assert_array_equal(mine.bbox, [[0, 0, 4, 3], [0, 3, 4, 4], [1, 1, 2, 2]])
    assert mine.direction[1] == pytest.approx(90)
    assert mine.direction[2] == pytest.approx(90)  # an upright pixel
    # A filled rectangle a x b has moments a²/12, b²/12.
    np.testing.assert_allclose(mine.major_axis[1], 4 * 12 / np.sqrt(12))
    np.testing.assert_allclose(mine.minor_axis[1], 4 * 2 / np.sqrt(12))


def test_a_square_has_no_direction(make_phase):
    found = picture(make_phase("m-3m"), np.ones((3, 3)))
    mine = grain_properties(found, find_grains(found))
    assert np.isnan(mine.direction).all()
    np.testing.assert_allclose(mine.aspect_ratio, 1)


def test_neighbours_and_shared_lengths_against_loops(made):
    found, grains = made
    pairs = find_pairs(found, grains)
    dy, dx = found.step
    shared: dict[tuple[int, int], float] = {}
    rows, columns = found.shape
    for y in range(rows):
        for x in range(columns):
            for v, u, length in ((y, x + 1, dy), (y + 1, x, dx)):
                if v < rows and u < columns:
                    a, b = sorted((int(grains.labels[y, x]), int(grains.labels[v, u])))
                    if a != b and a > 0:
                        shared[a, b] = shared.get((a, b), 0.0) + length
    keys = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert keys == sorted(shared)
    np.testing.assert_allclose(pairs.length, [shared[key] for key in keys])
    counts = [sum(i + 1 in key for key in keys) for i in range(len(grains))]
    np.testing.assert_array_equal(pairs.neighbour_counts(), counts)
    matrix = pairs.adjacency().toarray()
    np.testing.assert_allclose(matrix, matrix.T)
    for grain in (1, len(grains)):
        labels, lengths = pairs.neighbours(grain)
        assert (np.diff(lengths) <= 0).all()
        np.testing.assert_allclose(matrix[grain - 1, labels - 1], lengths)
    with pytest.raises(BadInputError, match="there is no grain"):
        pairs.neighbours(len(grains) + 1)


def test_spread_gradient_score_and_doubt(made):
    found, grains = made
    mine = grain_properties(found, grains)
    local = kam(found, grains=grains)
    np.testing.assert_allclose(mine.gos, gos(found, grains))
    for i in range(len(grains)):
        mask = grains.labels == i + 1
        assert mine.kam[i] == pytest.approx(np.nanmean(local[mask]), rel=1e-5)
        assert mine.score[i] == pytest.approx(found.best_scores[mask].mean(), rel=1e-5)
        assert mine.doubtful_share[i] == pytest.approx(found.ambiguous[mask].mean())


def test_perimeters_are_shared_lengths_and_the_edge_of_the_map(make_map):
    """With every pixel in a grain, outlines count shared lengths twice, and the frame once."""
    found = make_map((40, 50), 12, lost=0).map
    grains = find_grains(found)
    mine, pairs = grain_properties(found, grains), find_pairs(found, grains)
    frame = 2 * (40 * found.step[0] + 50 * found.step[1])
    assert mine.perimeter.sum() == pytest.approx(2 * pairs.length.sum() + frame)


def test_columns_are_a_table(made):
    found, grains = made
    columns = grain_properties(found, grains).columns()
    assert [column.name for column in columns[:5]] == ["grain", "phase", "phase_id", "size", "area"]
    assert len({column.name for column in columns}) == len(columns)
    assert all(column.values.shape == (len(grains),) for column in columns)
    assert all(
        column.description.endswith(".") or "0–1" in column.description for column in columns
    )
    units = {column.name: column.unit for column in columns}
    assert units["area"] == "nm²"
    assert units["direction"] == "°"
    names = next(column.values for column in columns if column.name == "phase")
    assert [found.phases[i].name for i in grains.phase_ids] == names.tolist()


def test_no_grain_is_an_empty_table(make_map):
    found = make_map((5, 6), 2, lost=1.0).map
    grains = find_grains(found)
    mine = grain_properties(found, grains)
    assert len(mine) == 0
    assert all(len(column.values) == 0 for column in mine.columns())
    edges = find_boundaries(found)
    table = boundary_properties(found, grains, edges, laws=classify_laws(found, edges))
    assert all(len(column.values) == 0 for column in table.columns())


def test_boundary_table_by_hand(make_phase):
    """A low-angle, a high-angle and a phase boundary, and a grain beside nothing."""
    found = picture(make_phase("m-3m"), [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 2, 2]], (3.0, 2.0))
    ids = found.phase_ids.copy()
    ids[2, 3] = 1
    q = found.rotations.copy()
    q[:, :2] = (np.cos(np.deg2rad(6)), np.sin(np.deg2rad(6)), 0, 0)
    q[2, :3, 0] = (np.cos(np.deg2rad(25)), 0, np.sin(np.deg2rad(25)), 0)
    found = found.replaced(
        rotations=q, phase_ids=ids, phases=(make_phase("m-3m", "A"), make_phase("6/mmm", "B", 1))
    )
    grains, edges = find_grains(found), find_boundaries(found)
    mine = boundary_properties(found, grains, edges)
    table = {column.name: column.values.tolist() for column in mine.columns()}
    assert list(zip(table["grain_a"], table["grain_b"], strict=True)) == [
        (1, 2), (1, 3), (2, 3), (2, 4), (3, 4),
    ]  # fmt: skip
    assert table["class"] == ["low-angle", "high-angle", "high-angle"] + 2 * ["phase boundary"]
    assert table["phase_b"] == ["A", "A", "A", "B", "B"]
    assert table["length"] == [6.0, 4.0, 2.0, 2.0, 3.0]
    assert table["edges"] == [2, 2, 1, 1, 1]
    assert set(table["law"]) == {""}
    np.testing.assert_allclose(mine.mean_disorientation[0], 8, atol=1e-3)
    np.testing.assert_allclose(mine.edge_disorientation[0], 8, atol=1e-3)
    assert np.isnan(mine.mean_disorientation[3:]).all()
    assert np.isnan(mine.edge_disorientation[3:]).all()


def test_parts_of_another_map(make_map):
    found, other = make_map((3, 4), 2).map, make_map((3, 5), 2).map
    for call in (
        lambda: grain_properties(found, find_grains(other)),
        lambda: find_pairs(found, find_grains(other)),
        lambda: boundary_properties(found, find_grains(found), find_boundaries(other)),
    ):
        with pytest.raises(BadInputError, match="find them again"):
            call()


def test_measured_duplex_steel(shared_data):
    found = load_map(shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang")
    grains = find_grains(found, min_size=3)
    mine = grain_properties(found, grains)
    pairs = find_pairs(found, grains)
    edges = find_boundaries(found)
    table = boundary_properties(found, grains, edges, pairs=pairs)
    assert mine.area.sum() == pytest.approx(1500.0**2 * (grains.labels > 0).sum())
    assert 5e3 < np.median(mine.equivalent_diameter) < 3e4
    assert (mine.aspect_ratio >= 1).all()
    phase = table.classes == BoundaryClass.PHASE
    np.testing.assert_array_equal(phase, table.phases[:, 0] != table.phases[:, 1])
    # Most neighbours of austenite are ferrite.
    assert table.pairs.length[phase].sum() > 0.5 * table.pairs.length.sum()
    same = ~phase
    np.testing.assert_allclose(
        table.mean_disorientation[same], table.edge_disorientation[same], atol=6
    )
