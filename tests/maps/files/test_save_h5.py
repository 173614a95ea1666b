"""HDF5: everything back exactly, and orix reads its part."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from orix import io as orix_io

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import load_map, load_orientation_h5, save_orientation_h5
from napari_diffmap.maps.phases import file_phase
from napari_diffmap.maps.quaternions import laue_operators

ARRAYS = ("rotations", "scores", "phase_ids", "reliability", "ambiguity")


def assert_same(found, again):
    for name in ARRAYS:
        ours, theirs = getattr(found, name), getattr(again, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert again.step == found.step
    assert again.step_unit == found.step_unit
    assert again.provenance == found.provenance
    assert again.warnings == found.warnings
    assert list(again.extra) == list(found.extra)
    for name, values in found.extra.items():
        np.testing.assert_array_equal(again.extra[name], values)
    assert len(again.phases) == len(found.phases)
    for ours, theirs in zip(found.phases, again.phases, strict=True):
        assert (theirs.name, theirs.color) == (ours.name, ours.color)
        np.testing.assert_allclose(laue_operators(theirs), laue_operators(ours), atol=1e-12)
        assert theirs.point_group.name == ours.point_group.name
        lattice, cell = theirs.orix.structure.lattice, ours.orix.structure.lattice
        np.testing.assert_allclose(lattice.abcABG(), cell.abcABG())
        np.testing.assert_allclose(lattice.base, cell.base, atol=1e-9)
        assert [a.element for a in theirs.orix.structure] == [
            a.element for a in ours.orix.structure
        ]


@pytest.mark.parametrize("shape", [(12, 15), (1, 6), (5, 1), (1, 1)])
@pytest.mark.parametrize("lost", [0.0, 0.3, 1.0])
def test_everything_comes_back(make_map, tmp_path, shape, lost):
    found = make_map(shape, 4, ("m-3m", "-3m", "121"), lost=lost).map
    found = found.replaced(warnings=("one é", "two"))
    path = save_orientation_h5(found, tmp_path / "orientation.h5")
    assert_same(found, load_orientation_h5(path))
    assert_same(found, load_map(path))


def test_a_phase_no_position_has_is_kept(make_map, tmp_path):
    found = make_map((6, 7), 1, ("m-3m", "6/mmm"), lost=0).map
    assert not found.phase_mask(1).any()
    again = load_orientation_h5(save_orientation_h5(found, tmp_path / "o.h5"))
    assert_same(found, again)


def test_settings_orix_has_no_name_for(make_map, make_phase, tmp_path):
    """2/m with its axis along y goes by the name of orix's 2/m along z."""
    from orix.quaternion.symmetry import C2y, Symmetry

    along_y = Symmetry(C2y.laue.data)
    along_y.improper = C2y.laue.improper
    along_y.name = "2/m"
    plain = make_phase("2/m")
    phase = type(plain)(plain.name, plain.color, plain.orix, along_y)
    found = make_map((5, 6), 2, ("2/m",)).map.replaced(phases=(phase,))
    assert_same(found, load_map(save_orientation_h5(found, tmp_path / "o.h5")))


@pytest.mark.filterwarnings("error::UserWarning")
def test_space_groups_orix_contradicts(make_map, tmp_path):
    """P3221: orix derives 321 from the number and 32 from the name."""
    found = make_map((5, 6), 2, ("-3m",)).map
    phase = file_phase("quartz", (4.9, 4.9, 5.4, 90, 90, 120), "-3m", 0, space_group=154)
    found = found.replaced(phases=(phase,))
    again = load_orientation_h5(save_orientation_h5(found, tmp_path / "o.h5"))
    assert_same(found, again)
    assert again.phases[0].orix.space_group.number == 154


def test_orix_reads_it(make_map, tmp_path):
    found = make_map().map
    path = save_orientation_h5(found, tmp_path / "o.h5")
    xmap = orix_io.load(path)
    assert xmap.shape == found.shape
    assert xmap.scan_unit == "nm"
    assert (xmap.dy, xmap.dx) == found.step
    for name, ours in (
        ("score", found.best_scores),
        ("reliability", found.reliability),
        ("ambiguity", found.ambiguity),
    ):
        np.testing.assert_array_equal(xmap.prop[name], ours.ravel())
    np.testing.assert_array_equal(xmap.phase_id, found.best_phase_ids.ravel())
    assert set(xmap.phases.ids) == {-1, 0, 1}
    dot = np.abs((xmap.rotations.data * found.best_rotations.reshape(-1, 4)).sum(1))
    np.testing.assert_allclose(dot[found.indexed.ravel()], 1, atol=1e-6)
    assert [xmap.phases[i].point_group.name for i in (0, 1)] == ["m-3m", "6/mmm"]


def test_half_turns_about_an_axis_in_the_plane_survive_orix(make_map, tmp_path):
    """At Φ = 180° orix's own conversion to Euler angles turns the crystal by 180°."""
    found = make_map((1, 5), 1, ("-1",), lost=0, n_best=1).map
    q = np.array([(0, 1, 1, 0), (0, 1, 0, 0), (0, -3, 4, 0), (1, 0, 0, 1), (0, 0, 0, 1)], float)
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    path = save_orientation_h5(found.replaced(rotations=q[None, :, None]), tmp_path / "o.h5")
    theirs = orix_io.load(path).rotations.data
    np.testing.assert_allclose(np.abs((theirs * q).sum(1)), 1, atol=1e-7)


def test_provenance_stands_at_the_top(make_map, tmp_path):
    path = save_orientation_h5(make_map((4, 5), 2).map, tmp_path / "o.h5")
    with h5py.File(path) as file:
        assert '"method": "orientation/templates"' in file.attrs["provenance"]


def test_uncalibrated_map_stays_in_pixels(make_map, tmp_path):
    found = make_map((4, 5), 2).map.replaced(step=(1.0, 1.0), step_unit="pixel")
    path = save_orientation_h5(found, tmp_path / "o.h5")
    assert orix_io.load(path).scan_unit == "px"
    assert load_map(path).step_unit == "pixel"


def test_damaged_files_say_so(make_map, tmp_path):
    path = save_orientation_h5(make_map().map, tmp_path / "o.h5")
    data = path.read_bytes()
    cut = tmp_path / "cut.h5"
    cut.write_bytes(data[: len(data) // 2])
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["a"] = np.zeros((3, 3))
    with h5py.File(tmp_path / "half.h5", "w") as file:
        file.create_group("napari_diffmap").attrs["layout"] = 1
    with h5py.File(tmp_path / "newer.h5", "w") as file:
        file.create_group("napari_diffmap").attrs["layout"] = 99
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.create_group("napari_diffmap").attrs["layout"] = [1, 2]
    for name in ("cut", "text", "other", "half", "newer", "odd"):
        with pytest.raises(BadInputError) as caught:
            load_map(tmp_path / f"{name}.h5")
        assert "\n" not in str(caught.value)
        assert f"{name}.h5" in str(caught.value)
    with pytest.raises(BadInputError, match="newer napari-diffmap"):
        load_map(tmp_path / "newer.h5")


def test_suffix_must_fit(make_map, tmp_path):
    with pytest.raises(BadInputError, match="must end in"):
        save_orientation_h5(make_map((2, 2), 1).map, tmp_path / "o.txt")
