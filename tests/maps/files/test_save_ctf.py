"""The .ctf file, read back by this package, by orix and by DefDAP, and as Oxford understands it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from diffpy.structure import Lattice, Structure
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orix import io as orix_io
from orix.crystal_map import Phase
from orix.quaternion import Rotation
from orix.vector import Vector3d

from napari_diffmap.errors import BadInputError, PhaseError
from napari_diffmap.maps import MapPhase, OrientationMap, load_map
from napari_diffmap.maps.files.channel import LAUE, OBLIQUE, crystal_turn
from napari_diffmap.maps.files.save_ctf import save_ctf

TOLERANCE_DEG = 1e-3
#: Space groups with a cell of their system; groups whose Laue class is oblique come first.
CRYSTALS = {
    "hexagonal": (194, (3.23, 3.23, 5.15, 90, 90, 120)),
    "trigonal": (166, (2.88, 2.88, 14.2, 90, 90, 120)),
    "quartz": (152, (4.91, 4.91, 5.41, 90, 90, 120)),
    "monoclinic": (14, (5.1, 5.2, 5.3, 90, 99.2, 90)),
    "triclinic": (2, (3.1, 4.2, 5.3, 81, 95, 102)),
    "orthorhombic": (62, (10.3, 6.0, 4.7, 90, 90, 90)),
    "tetragonal": (141, (5.83, 5.83, 3.18, 90, 90, 90)),
    "cubic": (225, (3.6, 3.6, 3.6, 90, 90, 90)),
    "pyrite": (205, (5.42, 5.42, 5.42, 90, 90, 90)),
}


@cache
def crystal(name):
    number, cell = CRYSTALS[name]
    phase = Phase(name, space_group=number, structure=Structure(lattice=Lattice(*cell)))
    if name == "monoclinic":  # orix's own group has its axis along c
        from orix.quaternion.symmetry import C2y

        return MapPhase(name, "#0072B2", phase, C2y.laue)
    return MapPhase(name, "#0072B2", phase)


def unit(q):
    q = np.asarray(q, float)
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def angle_deg(p, q):
    q = q * np.where((p * q).sum(-1, keepdims=True) < 0, -1, 1)
    return np.rad2deg(4 * np.arcsin(np.clip(np.linalg.norm(p - q, axis=-1) / 2, 0, 1)))


def a_map(quaternions, phase, step=(2.0, 1.0)):
    q = unit(quaternions).reshape(1, -1, 1, 4)
    n = q.shape[1]
    return OrientationMap(
        rotations=q,
        scores=np.full((1, n, 1), 0.6),
        phase_ids=np.zeros((1, n, 1)),
        reliability=np.full((1, n), 0.4),
        ambiguity=np.zeros((1, n)),
        phases=(phase,),
        step=step,
        step_unit="nm",
    )


quaternions = st.lists(
    st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda v: np.linalg.norm(v) > 0.1),
    min_size=2,
    max_size=20,
)


@pytest.mark.parametrize("axes", ["a*", "a"])
@pytest.mark.parametrize("name", CRYSTALS)
@settings(max_examples=4, deadline=None)
@given(values=quaternions)
@example(values=[[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 1], [1, 1e-300, 0, -1e-17]])
def test_any_rotation_comes_back(tmp_path_factory, name, axes, values):
    """By this package as it was; by orix too, once its angles are seen in its crystal axes."""
    found = a_map(values, crystal(name))
    path = save_ctf(found, tmp_path_factory.mktemp("ctf") / "o.ctf", crystal_axes=axes)
    q = unit(found.best_rotations[0])
    again = load_map(path)
    assert again.warnings == ()
    assert angle_deg(unit(again.best_rotations[0]), q).max() < TOLERANCE_DEG
    if name == "pyrite":  # orix 0.15 opens no .ctf file with this Laue group
        return
    rotations = orix_io.load(path).rotations
    if axes == "a*" and found.phases[0].point_group.laue.name in OBLIQUE:
        rotations = Rotation.from_matrix(crystal_turn(found.phases[0])[None]) * rotations
    assert angle_deg(rotations.data, q).max() < TOLERANCE_DEG


@pytest.mark.parametrize("name", CRYSTALS)
def test_lattice_vectors_lie_where_oxford_puts_them(tmp_path, name):
    """X ∥ a*, Z ∥ c from the metric alone: every cell vector keeps its laboratory direction."""
    rng = np.random.default_rng(1)
    phase = crystal(name)
    found = a_map(rng.normal(size=(5, 4)), phase)
    table = np.loadtxt(save_ctf(found, tmp_path / "o.ctf"), skiprows=15)
    there = Rotation.from_euler(table[:, 5:8], degrees=True)
    a, b, c, alpha, beta, gamma = phase.orix.structure.lattice.abcABG()
    ca, cb, cg, sa = (
        *(np.cos(np.deg2rad(v)) for v in (alpha, beta, gamma)),
        np.sin(np.deg2rad(alpha)),
    )
    y, z = a * (cg - cb * ca) / sa, a * cb
    cell = np.array([[np.sqrt(a**2 - y**2 - z**2), y, z], [0, b * sa, b * ca], [0, 0, c]])
    ours = np.asarray(phase.orix.structure.lattice.base)
    for i in range(5):
        q = Rotation(unit(found.best_rotations[0, i]))
        np.testing.assert_allclose(
            (~there[i] * Vector3d(cell)).data, (~q * Vector3d(ours)).data, atol=1e-4
        )


def test_header_and_columns_are_those_of_the_format(make_map, tmp_path):
    found = make_map(groups=("m-3m", "6/mmm")).map
    found = found.replaced(extra={"spots": np.full(found.shape, 9, dtype=np.uint8)})
    lines = save_ctf(found, tmp_path / "o.ctf").read_bytes().decode().split("\r\n")
    assert lines.pop() == ""
    keys = [line.split("\t")[0] for line in lines[:12]]
    assert keys[:11] == [
        "Channel Text File",
        *("Prj", "Author", "JobMode", "XCells", "YCells", "XStep", "YStep"),
        *("AcqE1", "AcqE2", "AcqE3"),
    ]
    assert keys[11].startswith("Euler angles refer to Sample Coordinate system (CS0)!")
    assert lines[3:8] == [
        "JobMode\tGrid",
        *("XCells\t50", "YCells\t40", "XStep\t0.0015", "YStep\t0.0025"),
    ]
    assert lines[12] == "Phases\t2"
    assert lines[13].split("\t") == [
        "3.60000;3.60000;3.60000",
        "90.00000;90.00000;90.00000",
        "phase 0 m-3m",
        "11",
        "0",
    ]
    assert lines[14].split("\t")[3] == "9"
    assert max(len(line) for line in lines) < 1000
    assert lines[15].split("\t") == [
        *("Phase", "X", "Y", "Bands", "Error", "Euler1", "Euler2", "Euler3", "MAD", "BC", "BS")
    ]
    table = np.array([[float(v) for v in line.split("\t")] for line in lines[16:]])
    table = table.reshape(40, 50, 11)
    np.testing.assert_array_equal(table[..., 0], found.best_phase_ids + 1)
    np.testing.assert_allclose(table[0, :, 1], np.arange(50) * 0.0015, atol=1e-9)
    lost = ~found.indexed
    assert lost.any()
    assert (table[lost][:, 5:8] == 0).all()
    assert (table[lost][:, 4] == 5).all()  # no data
    assert (table[~lost][:, 4] == 0).all()
    assert (table[..., 3] == 9).all()
    for column in (3, 4, 9, 10):
        assert all("." not in line.split("\t")[column] for line in lines[16:50])
    np.testing.assert_allclose(table[~lost][:, 9] / 255, found.best_scores[~lost], atol=0.002)
    assert table[..., [5, 7]].max() < 360
    assert table[..., 6].max() <= 180


def test_our_reader_restores_what_the_file_holds(make_map, tmp_path):
    found = make_map(groups=("m-3m", "6/mmm", "-3m")).map
    again = load_map(save_ctf(found, tmp_path / "o.ctf"))
    assert again.warnings == ()
    assert again.step == pytest.approx(found.step)
    assert again.step_unit == "nm"
    np.testing.assert_array_equal(again.best_phase_ids, found.best_phase_ids)
    np.testing.assert_allclose(again.best_scores, found.best_scores, atol=0.002)
    np.testing.assert_allclose(again.reliability, found.reliability, atol=0.002)
    q = unit(found.best_rotations[found.indexed])
    assert angle_deg(unit(again.best_rotations[found.indexed]), q).max() < TOLERANCE_DEG
    assert [p.name for p in again.phases] == [p.name for p in found.phases]
    twice = save_ctf(again, tmp_path / "p.ctf").read_text().splitlines()
    first = (tmp_path / "o.ctf").read_text().splitlines()
    same = [
        one.split("\t")[8:] == two.split("\t")[8:] for one, two in zip(first, twice, strict=True)
    ]
    assert all(same[17:])


def test_orix_reads_it(make_map, tmp_path):
    found = make_map(groups=("m-3m", "mmm")).map
    xmap = orix_io.load(save_ctf(found, tmp_path / "o.ctf"))
    assert xmap.shape == found.shape
    assert xmap.scan_unit == "um"
    assert (xmap.dy, xmap.dx) == pytest.approx((0.0025, 0.0015))
    flat = found.indexed.ravel()
    np.testing.assert_array_equal(xmap.is_indexed, flat)
    q = unit(found.best_rotations.reshape(-1, 4)[flat])
    assert angle_deg(xmap.rotations.data[flat], q).max() < TOLERANCE_DEG
    assert [xmap.phases[i].point_group.name for i in (1, 2)] == ["m-3m", "mmm"]


def test_defdap_reads_it(make_map, tmp_path):
    """An independent reader of Oxford files (it knows cubic crystals)."""
    from defdap.file_readers import OxfordTextLoader

    found = make_map(groups=("m-3m",), lost=0.1).map
    loader = OxfordTextLoader()
    loader.load(save_ctf(found, tmp_path / "o.ctf"))
    assert tuple(loader.loaded_metadata["shape"]) == found.shape
    assert loader.loaded_metadata["step_size"] == pytest.approx(0.0015)
    assert loader.loaded_metadata["phases"][0].name == found.phases[0].name
    euler = loader.loaded_data.euler_angle.astype(float).transpose(1, 2, 0)
    theirs = Rotation.from_euler(euler[found.indexed]).data
    assert angle_deg(theirs, unit(found.best_rotations[found.indexed])).max() < 2e-3
    np.testing.assert_array_equal(loader.loaded_data.phase, found.best_phase_ids + 1)


@pytest.mark.parametrize("group", [*LAUE, "121"])
def test_every_laue_group_has_its_number(make_map, tmp_path, group):
    found = make_map((4, 5), 2, (group,)).map
    if group == "121":  # the made cell has its oblique angle at c
        with pytest.raises(PhaseError, match="save the map as HDF5"):
            save_ctf(found, tmp_path / "o.ctf")
        assert list(tmp_path.iterdir()) == []
        return
    again = load_map(save_ctf(found, tmp_path / "o.ctf"))
    groups = [m.phases[0].point_group.laue_proper_subgroup.data for m in (again, found)]
    np.testing.assert_allclose(*(np.sort(np.abs(g), axis=0) for g in groups), atol=1e-9)


@pytest.mark.parametrize("step", [(0.02, 0.013), (0.37, 0.37), (1500.0, 2000.0), (123456.0, 3.0)])
def test_any_step_survives(make_map, tmp_path, step):
    found = make_map((7, 9), 2).map.replaced(step=step)
    path = save_ctf(found, tmp_path / "o.ctf")
    again = load_map(path)
    assert again.shape == (7, 9)
    assert again.step == pytest.approx(step, rel=1e-6)
    assert orix_io.load(path).shape == (7, 9)


@pytest.mark.parametrize("shape", [(1, 6), (5, 1), (1, 1)])
def test_lines_and_points(make_map, tmp_path, shape):
    found = make_map(shape, 2, lost=0).map
    again = load_map(save_ctf(found, tmp_path / "o.ctf"))
    assert again.shape == shape
    assert again.step == pytest.approx(found.step)


def test_uncalibrated_and_without_scores(make_map, tmp_path):
    found = make_map().map
    nothing = np.full(found.shape, np.nan)
    bare = found.replaced(
        step=(1.0, 1.0), step_unit="pixel", reliability=nothing, scores=found.scores * np.nan
    )
    path = save_ctf(bare, tmp_path / "o.ctf")
    assert "no scale" in path.read_text()
    again = load_map(path)
    assert (again.step, again.step_unit) == ((1.0, 1.0), "pixel")
    assert np.isnan(again.reliability).all()
    assert np.isnan(again.scores).all()
    raw = found.replaced(scores=found.scores * 1000)  # counts, no share
    assert np.isnan(load_map(save_ctf(raw, path)).scores).all()


def test_words_in_names_do_no_harm(make_map, tmp_path):
    found = make_map((4, 5), 2).map
    phase = found.phases[0]
    odd = type(phase)("Fe\tγ\nEMsoft Phases 7", phase.color, phase.orix)
    found = found.replaced(phases=(odd, found.phases[1]))
    path = save_ctf(found, tmp_path / "o.ctf")
    again = load_map(path)
    assert again.phases[0].name == "Fe γ EMsoft Phases 7"
    assert again.step == pytest.approx(found.step)
    assert sorted(orix_io.load(path).phases.ids) in ([1, 2], [-1, 1, 2])


def test_measured_oxford_map_keeps_its_columns(shared_data, tmp_path):
    source = shared_data / "maps/odd_ang_ctf/Test_US_1.ctf"
    found = load_map(source)  # hexagonal, turned on reading
    again = load_map(save_ctf(found, tmp_path / "o.ctf"))
    theirs = orix_io.load(source)
    mine = orix_io.load(tmp_path / "o.ctf")
    known = theirs.is_indexed
    np.testing.assert_array_equal(mine.is_indexed, known)
    assert angle_deg(mine.rotations.data[known], theirs.rotations.data[known]).max() < 2e-3
    for name in ("bands", "MAD", "BC", "BS"):
        np.testing.assert_array_equal(mine.prop[name], theirs.prop[name])
    assert again.step == found.step


def test_measured_map_of_another_maker(shared_data, tmp_path):
    found = load_map(shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang")
    again = load_map(save_ctf(found, tmp_path / "o.ctf"))
    np.testing.assert_array_equal(again.best_phase_ids, found.best_phase_ids)
    q = unit(found.best_rotations[found.indexed])
    assert angle_deg(unit(again.best_rotations[found.indexed]), q).max() < TOLERANCE_DEG


def test_what_is_wrong_is_said(make_map, tmp_path):
    found = make_map((2, 2), 1).map
    with pytest.raises(BadInputError, match="must end in"):
        save_ctf(found, tmp_path / "o.txt")
    with pytest.raises(BadInputError, match="crystal axes"):
        save_ctf(found, tmp_path / "o.ctf", crystal_axes="b")
    with pytest.raises(BadInputError, match="no folder"):
        save_ctf(found, tmp_path / "absent" / "o.ctf")
