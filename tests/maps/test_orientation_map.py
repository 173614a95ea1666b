"""The map itself: what it accepts, what it refuses, and orix's view of it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.crystal_map import CrystalMap, PhaseList
from orix.quaternion import Rotation
from orix.vector import Vector3d

from napari_diffmap.errors import BadInputError, PhaseError
from napari_diffmap.maps import AMBIGUITY, AMBIGUITY_TABLE, Ambiguity, MapPhase, OrientationMap
from napari_diffmap.maps.orix_bridge import from_crystal_map


def angle_between(p, q):
    """Degrees between two sets of quaternions, accurate for small angles."""
    p, q = np.asarray(p, float), np.asarray(q, float)
    p = p / np.linalg.norm(p, axis=-1, keepdims=True)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    q = q * np.where((p * q).sum(-1, keepdims=True) < 0, -1, 1)
    return np.rad2deg(4 * np.arcsin(np.clip(np.linalg.norm(p - q, axis=-1) / 2, 0, 1)))


def test_types_shapes_and_views(make_map):
    found = make_map(n_best=4).map
    assert found.rotations.dtype == np.float32
    assert found.phase_ids.dtype == np.int16
    assert found.ambiguity.dtype == np.uint8
    assert found.shape == (40, 50)
    assert found.n_best == 4
    assert np.shares_memory(found.best_rotations, found.rotations)
    np.testing.assert_array_equal(found.indexed, found.best_phase_ids >= 0)
    assert found.phase_mask(0).sum() + found.phase_mask(1).sum() == found.indexed.sum()


def test_rotations_without_an_answer_become_the_identity(make_map):
    found = make_map().map
    rotations = found.rotations.copy()
    rotations[~found.indexed] = np.nan
    again = found.replaced(rotations=rotations)
    np.testing.assert_array_equal(
        again.best_rotations[~again.indexed], [[1, 0, 0, 0]] * int((~again.indexed).sum())
    )
    assert np.isnan(rotations[~found.indexed]).all()  # the caller's array is untouched


@pytest.mark.parametrize(
    ("field", "change", "words"),
    [
        ("scores", lambda a: a[:, :, :1], "scores must have shape"),
        ("reliability", lambda a: a.T, "reliability must have shape"),
        ("rotations", lambda a: a[..., :3], "must have shape"),
        ("rotations", lambda a: a * 2, "no unit quaternion"),
        ("phase_ids", lambda a: a + 1, "phase ids run"),
        ("phase_ids", lambda a: a - 5, "phase ids run"),
        ("phase_ids", lambda a: a + 0.5, "whole numbers"),
        ("reliability", lambda a: a + 1, "probability"),
        ("ambiguity", lambda a: a + 7, "ambiguity code"),
        ("ambiguity", lambda a: a.astype(int) - 1, "between 0 and 255"),
        ("step", lambda a: (0.0, 1.0), "impossible"),
        ("step_unit", lambda a: "furlong", "nm or pixel"),
        ("phases", lambda a: ("Fe", "Ni"), "is no phase"),
        ("extra", lambda a: {"x": np.zeros(3)}, "must have shape"),
        ("scores", lambda a: a.astype(str), "must be numbers"),
    ],
)
def test_what_cannot_be_is_refused(make_map, field, change, words):
    found = make_map().map
    with pytest.raises(BadInputError, match=words) as caught:
        found.replaced(**{field: change(getattr(found, field))})
    assert "\n" not in str(caught.value)


def test_ambiguity_table_is_complete_and_colours_differ():
    assert AMBIGUITY == {
        0: "none",
        1: "twin or coincidence",
        2: "competing phase",
        3: "overlap",
        4: "too few spots",
        5: "outside the model",
        6: "no data",
    }
    assert len({cause.color for cause in AMBIGUITY_TABLE}) == len(AMBIGUITY_TABLE)


def test_ambiguous_fraction_counts_positions_with_data(make_map):
    found = make_map().map
    codes = found.ambiguity
    expected = ((codes > 0) & (codes < 6)).sum() / (codes < 6).sum()
    assert found.ambiguous_fraction() == pytest.approx(expected)
    empty = found.replaced(ambiguity=np.full(found.shape, Ambiguity.NO_DATA))
    assert np.isnan(empty.ambiguous_fraction())


@pytest.mark.parametrize("shape", [(4, 6), (1, 6), (4, 1), (1, 1)])
def test_crystal_map_and_back(make_map, shape):
    found = make_map(shape, 3, lost=0.2).map
    xmap = found.to_crystal_map()
    assert xmap.scan_unit == "nm"
    assert xmap.size == shape[0] * shape[1]
    np.testing.assert_array_equal(xmap.phase_id, found.best_phase_ids.ravel())
    assert set(xmap.prop) == {"score", "reliability", "ambiguity", "spots found"}
    again = from_crystal_map(xmap)
    assert again.shape == shape
    assert again.step == (
        found.step[0] if shape[0] > 1 else 1.0,
        found.step[1] if shape[1] > 1 else 1.0,
    )
    assert (
        angle_between(again.best_rotations, found.best_rotations)[found.indexed].max(initial=0)
        < 1e-4
    )
    np.testing.assert_array_equal(again.ambiguity, found.ambiguity)
    np.testing.assert_array_equal(again.reliability, found.reliability)
    names = [phase.name for phase in found.phases]
    for y, x in np.argwhere(found.indexed):
        assert again.phases[again.best_phase_ids[y, x]].name == names[found.best_phase_ids[y, x]]
    np.testing.assert_array_equal(again.indexed, found.indexed)


def test_crystal_map_in_any_order_and_masked(make_map):
    found = make_map().map
    xmap = found.to_crystal_map()
    order = np.random.default_rng(1).permutation(xmap.size)
    shuffled = CrystalMap(
        rotations=xmap.rotations[order],
        phase_id=xmap.phase_id[order],
        x=xmap.x[order],
        y=xmap.y[order],
        phase_list=xmap.phases,
        prop={k: v[order] for k, v in xmap.prop.items()},
        scan_unit="nm",
    )
    again = from_crystal_map(shuffled)
    assert angle_between(again.best_rotations, found.best_rotations)[found.indexed].max() < 1e-4
    np.testing.assert_array_equal(again.ambiguity, found.ambiguity)
    masked = from_crystal_map(xmap[xmap.x > xmap.dx * 1.5])
    assert masked.shape == (40, 48)
    np.testing.assert_array_equal(masked.best_phase_ids, found.best_phase_ids[:, 2:])


def test_crystal_map_with_several_answers_per_point(make_phase):
    rotations = Rotation.random((6, 3))
    xmap = CrystalMap(
        rotations,
        phase_id=np.zeros(6, dtype=int),
        x=np.tile(np.arange(3.0), 2),
        y=np.repeat(np.arange(2.0), 3),
        phase_list=PhaseList([make_phase("m-3m").orix]),
        prop={"correlation": np.arange(18.0).reshape(6, 3)},
        scan_unit="um",
    )
    found = OrientationMap.from_crystal_map(xmap)
    assert found.n_best == 3
    assert found.step == (1000.0, 1000.0)
    np.testing.assert_allclose(found.rotations.reshape(6, 3, 4), rotations.data, atol=1e-6)
    np.testing.assert_array_equal(found.scores.reshape(6, 3), np.arange(18.0).reshape(6, 3))


def test_unknown_scan_unit_is_refused(make_map):
    xmap = make_map((4, 6), 3).map.to_crystal_map()
    xmap.scan_unit = "parsec"
    with pytest.raises(BadInputError, match="parsec"):
        OrientationMap.from_crystal_map(xmap)


def test_orientations_take_laboratory_to_crystal(make_map):
    """O of the map is orix's: a crystal vector g lies at Oᵀ g in the laboratory."""
    made = make_map(groups=("m-3m",), scatter_deg=0, lost=0)
    found = made.map
    crystal = found.orientations(0)
    assert crystal.symmetry.name == "m-3m"
    matrix = crystal.to_matrix()
    g = np.array([0.2, -0.3, 0.5])
    laboratory = (~crystal * Vector3d(g)).data
    np.testing.assert_allclose(laboratory, np.einsum("nji,j->ni", matrix, g), atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_change_of_frame_turns_directions(make_map, seed):
    found = make_map((3, 4), 2, ("m-3m",), lost=0).map
    frame = Rotation(np.random.default_rng(seed).normal(size=4)).unit.to_matrix()[0]
    turned = found.in_frame(frame)
    v = np.array([0.3, 0.4, -0.8])
    before = (found.orientations(0) * Vector3d(v)).data
    after = (turned.orientations(0) * Vector3d(frame @ v)).data
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_a_left_handed_frame_is_refused(make_map):
    with pytest.raises(BadInputError, match="right-handed"):
        make_map((3, 4), 2).map.in_frame(np.diag([1.0, 1.0, -1.0]))


def test_a_phase_without_symmetry_says_so(make_phase):
    from orix.crystal_map import Phase

    with pytest.raises(PhaseError, match="CIF"):
        _ = MapPhase("unknown", "#000000", Phase(name="unknown")).point_group


def test_importing_maps_is_cheap():
    code = "import sys, napari_diffmap.maps; print([m for m in %r if m in sys.modules])"
    heavy = ["orix", "matplotlib", "scipy", "torch", "h5py", "tifffile", "napari", "qtpy"]
    done = subprocess.run(
        [sys.executable, "-c", code % heavy], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
