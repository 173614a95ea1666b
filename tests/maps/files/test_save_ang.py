"""The .ang file, read back by orix, by DefDAP and by a strict parser of the format."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from orix import io as orix_io
from orix.quaternion import Rotation

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import Provenance, load_map, save_ang
from napari_diffmap.maps.quaternions import bunge

TOLERANCE_DEG = 1e-3


def angle_deg(p, q):
    q = q * np.where((p * q).sum(-1, keepdims=True) < 0, -1, 1)
    return np.rad2deg(4 * np.arcsin(np.clip(np.linalg.norm(p - q, axis=-1) / 2, 0, 1)))


def unit(q):
    q = np.asarray(q, float)
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def bunge_quaternion(phi1, big_phi, phi2):
    """Passive Bunge rotation ``Z(φ2) X(Φ) Z(φ1)``, from its matrix (textbook form)."""
    c1, s1, c, s, c2, s2 = (f(a) for a in (phi1, big_phi, phi2) for f in (np.cos, np.sin))
    g = np.array(
        [
            [c1 * c2 - s1 * s2 * c, s1 * c2 + c1 * s2 * c, s2 * s],
            [-c1 * s2 - s1 * c2 * c, -s1 * s2 + c1 * c2 * c, c2 * s],
            [s1 * s, -c1 * s, c],
        ]
    )
    return g.transpose(2, 0, 1)


def strict_ang(path):
    """Read an .ang as the EDAX manual lays it out; anything else is an error."""
    header, phases, rows = {}, [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            assert not rows, "header line after data"
            text = line[1:].strip()
            if match := re.fullmatch(r"Phase (\d+)", text):
                phases.append({"number": int(match[1])})
            elif match := re.fullmatch(
                r"(MaterialName|Formula|Info|Symmetry|LatticeConstants|NumberFamilies)\s*(.*)", text
            ):
                phases[-1][match[1]] = match[2]
            elif match := re.fullmatch(
                r"(GRID|XSTEP|YSTEP|NCOLS_ODD|NCOLS_EVEN|NROWS): (\S+)", text
            ):
                header[match[1]] = match[2]
        else:
            words = line.split()
            assert len(words) == 10
            rows.append([float(word) for word in words])
    table = np.array(rows)
    shape = (int(header["NROWS"]), int(header["NCOLS_ODD"]))
    assert header["GRID"] == "SqrGrid"
    assert header["NCOLS_EVEN"] == header["NCOLS_ODD"]
    assert len(table) == shape[0] * shape[1]
    y, x = np.divmod(np.arange(len(table)), shape[1])
    half_a_digit = 0.51 * 10.0 ** -len(path.read_text().splitlines()[-1].split()[3].split(".")[1])
    np.testing.assert_allclose(table[:, 3], x * float(header["XSTEP"]), atol=half_a_digit)
    np.testing.assert_allclose(table[:, 4], y * float(header["YSTEP"]), atol=half_a_digit)
    assert [phase["number"] for phase in phases] == list(range(1, len(phases) + 1))
    return header, phases, table.reshape(*shape, 10)


def test_strict_reader_finds_the_same_rotations(make_map, tmp_path):
    found = make_map().map
    header, phases, table = strict_ang(save_ang(found, tmp_path / "o.ang"))
    ours = Rotation(unit(found.best_rotations[found.indexed])).to_matrix()
    matrix = bunge_quaternion(*table[found.indexed][:, :3].T)
    # angle of R1 R2ᵀ from its antisymmetric part, exact for small angles
    delta = matrix @ ours.transpose(0, 2, 1)
    sine = np.linalg.norm(delta - delta.transpose(0, 2, 1), axis=(1, 2)) / np.sqrt(8)
    assert np.rad2deg(np.arcsin(sine)).max() < TOLERANCE_DEG
    assert (np.trace(delta, axis1=1, axis2=2) > 0).all()
    assert (table[found.indexed][:, :3] >= 0).all()
    assert (table[found.indexed][:, :3] <= 2 * np.pi + 1e-5).all()
    np.testing.assert_array_equal(table[..., 7].astype(int), found.best_phase_ids + 1)
    np.testing.assert_allclose(
        table[found.indexed][:, 5], found.best_scores[found.indexed], atol=1e-4
    )
    np.testing.assert_allclose(
        table[found.indexed][:, 6], found.reliability[found.indexed], atol=1e-4
    )
    np.testing.assert_array_equal(table[..., 8], found.ambiguity)
    lost = table[~found.indexed]
    assert (lost[:, :3] == 12.56637).all()
    assert (lost[:, 6] == -1).all()
    assert (lost[:, 7] == 0).all()
    assert (float(header["YSTEP"]), float(header["XSTEP"])) == pytest.approx((0.0025, 0.0015))
    assert [phase["Symmetry"] for phase in phases] == ["43", "62"]
    cells = [[float(v) for v in phase["LatticeConstants"].split()] for phase in phases]
    np.testing.assert_allclose(cells, [p.orix.structure.lattice.abcABG() for p in found.phases])


def test_orix_reads_it(make_map, tmp_path):
    found = make_map().map
    xmap = orix_io.load(save_ang(found, tmp_path / "o.ang"), autogen_names=False)
    assert xmap.shape == found.shape
    assert xmap.scan_unit == "um"
    assert (xmap.dy, xmap.dx) == pytest.approx((0.0025, 0.0015))
    flat = found.indexed.ravel()
    np.testing.assert_array_equal(xmap.is_indexed, flat)
    np.testing.assert_array_equal(xmap.phase_id[flat], found.best_phase_ids.ravel()[flat] + 1)
    q = unit(found.best_rotations.reshape(-1, 4)[flat])
    assert angle_deg(xmap.rotations.data[flat], q).max() < TOLERANCE_DEG
    assert [xmap.phases[i].point_group.name for i in (1, 2)] == ["432", "622"]
    np.testing.assert_allclose(
        xmap.phases[2].structure.lattice.abcABG(), (3.2, 3.2, 5.1, 90, 90, 120)
    )


@pytest.mark.parametrize("groups", [("m-3m",), ("m-3m", "-43m")])
def test_defdap_reads_it(make_map, tmp_path, groups):
    """An independent reader of EDAX files (it knows cubic crystals)."""
    from defdap.file_readers import EdaxAngLoader

    found = make_map(groups=groups, lost=0.1).map
    path = save_ang(found, tmp_path / "o.ang")
    loader = EdaxAngLoader()
    loader.load(path)
    assert tuple(loader.loaded_metadata["shape"]) == found.shape
    assert loader.loaded_metadata["step_size"] == pytest.approx(0.0015)
    euler = loader.loaded_data.euler_angle.astype(float)
    # DefDAP turns the sample frame by 90° about z.
    euler[0] += np.pi / 2
    theirs = Rotation.from_euler(euler.transpose(1, 2, 0)[found.indexed]).data
    # float32 angles
    assert angle_deg(theirs, unit(found.best_rotations[found.indexed])).max() < TOLERANCE_DEG + 5e-4
    # It counts phases from 1 and adds one where a point has none.
    np.testing.assert_array_equal(loader.loaded_data.phase - 1, found.best_phase_ids + 1)


def test_our_reader_restores_what_the_file_holds(make_map, tmp_path):
    found = make_map().map
    again = load_map(save_ang(found, tmp_path / "o.ang"))
    assert again.warnings == ()
    assert again.step == pytest.approx(found.step)
    assert again.step_unit == "nm"
    assert again.provenance == found.provenance
    np.testing.assert_array_equal(again.best_phase_ids, found.best_phase_ids)
    np.testing.assert_array_equal(again.ambiguity, found.ambiguity)
    np.testing.assert_allclose(again.best_scores, found.best_scores, atol=1e-4)
    np.testing.assert_allclose(again.reliability, found.reliability, atol=1e-4)
    q = unit(found.best_rotations[found.indexed])
    assert angle_deg(unit(again.best_rotations[found.indexed]), q).max() < TOLERANCE_DEG
    twice = load_map(save_ang(again, tmp_path / "p.ang"))
    first, second = ((tmp_path / name).read_text() for name in ("o.ang", "p.ang"))
    assert first.splitlines()[-5:] == second.splitlines()[-5:]
    np.testing.assert_allclose(twice.best_rotations, again.best_rotations, atol=2e-5)


@pytest.mark.parametrize(
    "group",
    ["-1", "2/m", "121", "211", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "-43m"],
)
def test_every_laue_group_has_its_code(make_map, tmp_path, group):
    found = make_map((4, 5), 2, (group,)).map
    again = load_map(save_ang(found, tmp_path / "o.ang"))
    assert again.phases[0].point_group.laue.name == found.phases[0].point_group.laue.name
    np.testing.assert_allclose(
        np.sort(np.abs(again.phases[0].point_group.laue_proper_subgroup.data), axis=0),
        np.sort(np.abs(found.phases[0].point_group.laue_proper_subgroup.data), axis=0),
        atol=1e-9,
    )


@pytest.mark.parametrize("step", [(0.02, 0.013), (0.37, 0.37), (1500.0, 2000.0), (123456.0, 3.0)])
def test_any_step_survives(make_map, tmp_path, step):
    found = make_map((7, 9), 2).map.replaced(step=step)
    path = save_ang(found, tmp_path / "o.ang")
    strict_ang(path)
    again = load_map(path)
    assert again.shape == (7, 9)
    assert again.step == pytest.approx(step, rel=1e-6)
    assert orix_io.load(path, autogen_names=False).shape == (7, 9)


@pytest.mark.parametrize("shape", [(1, 6), (5, 1), (1, 1)])
def test_lines_and_points(make_map, tmp_path, shape):
    found = make_map(shape, 2, lost=0).map
    again = load_map(save_ang(found, tmp_path / "o.ang"))
    assert again.shape == shape
    assert again.step == pytest.approx(found.step)


def test_uncalibrated_and_without_reliability(make_map, tmp_path):
    found = make_map().map.replaced(
        step=(1.0, 1.0),
        step_unit="pixel",
        reliability=np.full((40, 50), np.nan),
        phases=tuple(make_map().map.phases),
    )
    path = save_ang(found, tmp_path / "o.ang")
    assert "uncalibrated" in path.read_text()
    again = load_map(path)
    assert again.step_unit == "pixel"
    assert again.step == (1.0, 1.0)
    assert np.isnan(again.reliability).all()
    np.testing.assert_allclose(again.best_scores, found.best_scores, atol=1e-4)


def test_words_in_names_and_provenance_do_no_harm(make_map, tmp_path):
    """File names that other readers take for their maker's mark, names with blanks."""
    found = make_map().map
    phase = found.phases[0]
    odd = type(phase)("Fe # γ, 2 (α)", phase.color, phase.orix)
    record = Provenance.collect(method="ACOM EMsoft\nPhase 7", parameters={"a": "# Phase  3"})
    path = save_ang(
        found.replaced(phases=(odd, found.phases[1]), provenance=record), tmp_path / "o.ang"
    )
    xmap = orix_io.load(path, autogen_names=False)
    assert xmap.scan_unit == "um"
    assert sorted(xmap.phases.ids) == [-1, 1, 2]
    again = load_map(path)
    assert again.provenance == record
    assert again.step == pytest.approx(found.step)
    strict_ang(path)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda v: np.linalg.norm(v) > 0.1))
@example([0.0, 1.0, 1.0, 0.0])
@example([1.0, 0.0, 0.0, 1.0])
@example([0.0, 0.0, 0.0, 1.0])
@example([1.0, 1e-300, 0.0, -1e-17])
def test_bunge_angles_of_any_rotation(values):
    q = unit(values)[None]
    euler = bunge(q)
    assert (euler >= 0).all()
    assert (euler[:, [0, 2]] < 2 * np.pi).all()
    assert angle_deg(Rotation.from_euler(euler).data, q).max() < 1e-5


def test_suffix_must_fit(make_map, tmp_path):
    with pytest.raises(BadInputError, match="must end in"):
        save_ang(make_map((2, 2), 1).map, tmp_path / "o.txt")


def test_the_unit_that_the_header_names_is_that_of_the_positions(make_map, tmp_path):
    """Files of earlier versions name nm, with steps in µm all the same."""
    found = make_map((4, 5), 2).map
    path = save_ang(found, tmp_path / "o.ang")
    text = path.read_text()
    assert "# napari-diffmap unit: um\n" in text
    assert "# XSTEP: 0.0015\n" in text
    path.write_text(text.replace("unit: um", "unit: nm"))
    again = load_map(path)
    assert again.step == pytest.approx(found.step)
    assert again.step_unit == "nm"
