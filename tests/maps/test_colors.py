"""Colours against orix and against what the TSL key means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.plot import IPFColorKeyTSL
from orix.quaternion import symmetry
from orix.vector import Vector3d

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    AMBIGUITY_TABLE,
    ambiguity_colors,
    ipf_colors,
    ipf_key,
    load_map,
    phase_colors,
)
from napari_diffmap.maps.color_key import color_key
from napari_diffmap.maps.colors import DIRECTIONS
from napari_diffmap.maps.figures.ipf_key import corner_labels

LAUE = ["-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m"]


def directions(n, seed=0):
    v = np.random.default_rng(seed).normal(size=(n, 3))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@pytest.mark.parametrize("group", LAUE)
@pytest.mark.parametrize("direction", ["x", "y", "z"])
def test_ipf_colours_are_orix_ones(make_map, group, direction):
    found = make_map((60, 70), 3000, (group,), lost=0.02, scatter_deg=5).map
    colors = ipf_colors(found, direction)
    key = IPFColorKeyTSL(found.phases[0].point_group, Vector3d(DIRECTIONS[direction]))
    theirs = np.rint(255 * key.orientation2color(found.orientations(0)))
    off = np.abs(colors[found.indexed][:, :3].astype(int) - theirs).max(axis=1)
    # orix puts 0.1 % of the directions of m-3 beside its sector, as its centre is rounded.
    assert (off > 1).mean() <= (0.003 if group == "m-3" else 0.0)
    assert (colors[..., 3] == np.where(found.indexed, 255, 0)).all()


@pytest.mark.parametrize("group", [g.name for g in symmetry._groups])
def test_equivalent_directions_have_one_colour(group):
    """Also in settings for which orix has no right sector (2/m along x, -31m)."""
    point_group = next(g for g in symmetry._groups if g.name == group)
    key = color_key(point_group)
    v = directions(500)
    base = key.colors(v).astype(int)
    for operation in point_group.laue:
        image = key.colors((operation * Vector3d(v)).data).astype(int)
        assert np.abs(image - base).max() <= 1


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(LAUE), st.integers(0, 2**31))
def test_sector_holds_every_direction(make_phase, group, seed):
    key = color_key(make_phase(group).point_group)
    inside = key.into_sector(directions(20, seed).astype(np.float32))
    assert (inside @ key.normals.T).min() > -1e-6


@pytest.mark.parametrize(
    ("group", "direction", "color"),
    [
        ("m-3m", (0, 0, 1), (255, 0, 0)),
        ("m-3m", (1, 0, 1), (0, 255, 0)),
        ("m-3m", (1, 1, 1), (0, 0, 255)),
        ("6/mmm", (0, 0, 1), (255, 0, 0)),
        ("6/mmm", (1, 0, 0), (0, 255, 0)),
        ("6/mmm", (np.sqrt(3), 1, 0), (0, 0, 255)),
        ("4/mmm", (1, 1, 0), (0, 0, 255)),
    ],
)
def test_corners_of_the_key(make_phase, group, direction, color):
    v = np.array([direction], float) / np.linalg.norm(direction)
    found = color_key(make_phase(group).point_group).colors(v)[0].astype(int)
    assert np.abs(found - color).max() <= 2


def test_the_beam_direction_is_z(make_map):
    """A cubic crystal whose [111] lies along the beam is blue in IPF-Z."""
    from orix.quaternion import Rotation

    found = make_map((2, 2), 1, ("m-3m",), lost=0).map
    matrix = np.array([[1, -1, 0], [1, 1, -2], [1, 1, 1]]) / np.sqrt([[2], [6], [3]])
    # rows: crystal directions of laboratory x, y, z; lab -> crystal is the transpose
    q = Rotation.from_matrix(matrix.T[None]).data
    found = found.replaced(rotations=np.broadcast_to(q, found.rotations.shape))
    assert np.abs(ipf_colors(found, "z")[0, 0, :3].astype(int) - (0, 0, 255)).max() <= 2
    assert np.abs(ipf_colors(found, "x")[0, 0, :3].astype(int) - (0, 255, 0)).max() <= 2


def test_phases_are_coloured_by_their_own_key(make_map):
    found = make_map(lost=0).map
    colors = ipf_colors(found)
    for i, phase in enumerate(found.phases):
        key = IPFColorKeyTSL(phase.point_group, Vector3d.zvector())
        theirs = np.rint(255 * key.orientation2color(found.orientations(i)))
        assert np.abs(colors[found.phase_mask(i)][:, :3].astype(int) - theirs).max() <= 1


def test_direction_must_be_known(make_map):
    with pytest.raises(BadInputError, match="x, y or z"):
        ipf_colors(make_map((2, 2), 1).map, "w")


def test_phase_and_ambiguity_colours(make_map):
    found = make_map().map
    colors = phase_colors(found)
    assert (colors[~found.indexed, 3] == 0).all()
    for i, phase in enumerate(found.phases):
        rgb = tuple(int(phase.color[k : k + 2], 16) for k in (1, 3, 5))
        assert (colors[found.phase_mask(i)] == (*rgb, 255)).all()
    doubt = ambiguity_colors(found)
    assert (doubt[found.ambiguity == 0, 3] == 0).all()
    for cause in AMBIGUITY_TABLE[1:]:
        rgb = tuple(int(cause.color[k : k + 2], 16) for k in (1, 3, 5))
        assert (doubt[found.ambiguity == cause.code] == (*rgb, 255)).all()


def test_rows_out_of_order_give_the_picture_of_the_program_that_wrote_them(shared_data):
    """EbsdLib's own IPF-Z picture of its shuffled file is independent truth."""
    import tifffile

    folder = shared_data / "maps/odd_ang_ctf"
    found = load_map(folder / "Out_Of_Order.ang")
    truth = tifffile.imread(folder / "Out_Of_Order_Correct.tiff").astype(float)
    colors = ipf_colors(found).astype(float)
    for channel in range(3):
        ours, theirs = colors[found.indexed, channel], truth[found.indexed, channel]
        assert np.corrcoef(ours, theirs)[0, 1] > 0.98


# ------------------------------------------------------------------- key


@pytest.mark.parametrize("group", [*LAUE, "312", "121", "-43m"])
@pytest.mark.parametrize("size", [220, 400])
def test_key_shows_the_colours_where_they_belong(make_phase, group, size):
    picture = ipf_key(make_phase(group), size)
    assert picture.shape == (size, size, 4)
    assert picture[0, 0, 3] == 0
    painted = picture[..., 3] > 0
    assert 0.05 < painted.mean() < 0.7
    # nothing is cut off at the edge
    assert not painted[[0, -1]].any()
    assert not painted[:, [0, -1]].any()


def test_key_can_have_a_ground_and_must_be_readable(make_phase):
    assert (ipf_key(make_phase("m-3m"), 220, background="white")[0, 0] == 255).all()
    with pytest.raises(BadInputError, match="at least"):
        ipf_key(make_phase("m-3m"), 60)


@pytest.mark.parametrize(
    ("group", "labels"),
    [
        ("m-3m", {"[001]", "[101]", "[111]"}),
        ("m-3", {"[001]", "[101]", "[111]", "[011]"}),
        ("4/mmm", {"[001]", "[100]", "[110]"}),
        ("mmm", {"[001]", "[100]", "[010]"}),
        ("6/mmm", {"[0001]", r"[2$\overline{1}$$\overline{1}$0]", r"[10$\overline{1}$0]"}),
        ("-1", {"[100]", "(001)"}),
    ],
)
def test_corner_labels(make_phase, group, labels):
    phase = make_phase(group)
    found = {text for _, text in corner_labels(phase, color_key(phase.point_group))}
    assert labels <= found


def test_labels_are_parallel_to_their_corners(make_phase):
    """The written lattice direction, from the cell, is the direction of the corner."""
    from orix.vector import Miller

    phase = make_phase("4/m")
    for direction, text in corner_labels(phase, color_key(phase.point_group)):
        uvw = [int(c) for c in text.strip("[]")]
        lattice = Miller(uvw=uvw, phase=phase.orix).unit.data[0]
        np.testing.assert_allclose(lattice, direction, atol=1e-6)


def test_colours_at_the_corners_of_the_picture(make_phase):
    picture = ipf_key(make_phase("m-3m"), 600, background="white").astype(int)
    for color in ((255, 0, 0), (0, 255, 0), (0, 0, 255)):
        assert (np.abs(picture[..., :3] - color).max(axis=-1) <= 12).any()
