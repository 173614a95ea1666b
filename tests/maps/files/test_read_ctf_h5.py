"""Reading .ctf and foreign HDF5 maps: steps, commas, crystal axes."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from orix import io as orix_io
from orix.quaternion import Rotation
from orix.vector import Vector3d

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import load_map
from napari_diffmap.maps.files.read_ctf import crystal_turn

SHAPE = (3, 5)
COLUMNS = "Phase\tX\tY\tBands\tError\tEuler1\tEuler2\tEuler3\tMAD\tBC\tBS"


def ctf(
    rows,
    *,
    author="[Unknown]",
    phases=("3.6;3.6;3.6\t90;90;90\tCopper\t11\t225\t\t\tnotes",),
    cells=SHAPE,
    step=(0.5, 0.25),
    columns=COLUMNS,
    extra="",
):
    header = [
        "Channel Text File",
        "Prj\tsomewhere.cpr",
        f"Author\t{author}",
        "JobMode\tGrid",
        f"XCells\t{cells[1]}",
        f"YCells\t{cells[0]}",
        f"XStep\t{step[1]}",
        f"YStep\t{step[0]}",
        *([extra] if extra else []),
        "Euler angles refer to Sample Coordinate system (CS0)!\tMag\t200\tKV\t20\tTiltAngle\t70",
        f"Phases\t{len(phases)}",
        *phases,
        columns,
    ]
    lines = [
        "\t".join(f"{v:.0f}" if i in (0, 3, 4) else f"{v:.4f}" for i, v in enumerate(r))
        for r in rows
    ]
    return "\r\n".join([*header, *lines]) + "\r\n"


def made_rows(step=(0.5, 0.25), n_phases=1):
    rng = np.random.default_rng(2)
    y, x = (c.ravel() for c in np.indices(SHAPE))
    n = x.size
    euler = rng.uniform((0, 0, 0), (360, 180, 360), (n, 3))
    phase = 1 + x % n_phases
    phase[4] = 0
    euler[4] = 0
    return np.column_stack(
        (phase, x * step[1], y * step[0], x * 0 + 8, x * 0, euler, rng.uniform(size=(n, 3)))
    )


def read(tmp_path, text):
    path = tmp_path / "map.ctf"
    path.write_bytes(text.encode())
    return load_map(path)


def check(found, rows, step=(500.0, 250.0)):
    assert found.shape == SHAPE
    assert found.step == pytest.approx(step)
    np.testing.assert_array_equal(found.best_phase_ids.ravel(), rows[:, 0] - 1)
    q = Rotation.from_euler(rows[:, 5:8], degrees=True).data
    dot = np.abs((found.best_rotations.reshape(-1, 4) * q).sum(1))
    np.testing.assert_allclose(dot[rows[:, 0] > 0], 1, atol=1e-6)


def test_a_plain_file(tmp_path):
    rows = made_rows()
    found = read(tmp_path, ctf(rows))
    check(found, rows)
    assert found.warnings == ()
    assert found.phases[0].name == "Copper"
    assert found.phases[0].orix.space_group.number == 225
    np.testing.assert_allclose(found.extra["mad"].ravel(), rows[:, 8], atol=1e-4)


def test_decimal_commas_and_any_order(tmp_path):
    rows = made_rows()
    order = np.random.default_rng(3).permutation(len(rows))
    text = ctf(rows[order])
    head, tail = text.split(COLUMNS)
    found = read(
        tmp_path,
        head.replace(".5", ",5").replace(".25", ",25").replace("3.6", "3,6")
        + COLUMNS
        + tail.replace(".", ","),
    )
    check(found, rows)
    np.testing.assert_allclose(found.phases[0].orix.structure.lattice.a, 3.6)
    assert found.warnings == ("rows are not in scan order: sorted by their positions",)


def test_columns_in_another_order(tmp_path):
    rows = made_rows()
    order = [0, 1, 2, 5, 6, 7, 3, 4, 8, 9, 10]
    names = np.array(COLUMNS.split("\t"))[order]
    text = ctf(rows).split(COLUMNS)[0] + "\t".join(names) + "\n"
    text += "\n".join("\t".join(f"{v:.4f}" for v in row[order]) for row in rows)
    check(read(tmp_path, text), rows)


def test_wrong_cell_counts_are_told(tmp_path):
    rows = made_rows()
    found = read(tmp_path, ctf(rows, cells=(9, 123456789123456789)))
    check(found, rows)
    assert any("123456789123456789" in w for w in found.warnings)


ASTAR = "File created from ACOM RES results"


def test_astar_header_step_may_be_wrong(tmp_path):
    rows = made_rows((0.005, 0.005))
    found = read(tmp_path, ctf(rows, author=ASTAR, step=(0.001, 0.001)))
    check(found, rows, (5.0, 5.0))
    assert any("dummies" in w for w in found.warnings)
    assert any("the positions are used" in w for w in found.warnings)


def test_astar_rounded_positions_take_the_header(tmp_path):
    rows = made_rows((0.00192, 0.00192))
    text = ctf(
        np.column_stack((rows[:, 0], rows[:, 1:].round(4))), author=ASTAR, step=(0.00192, 0.00192)
    )
    check(read(tmp_path, text), rows, (1.92, 1.92))


def test_astar_steps_of_nm_called_um(tmp_path):
    rows = made_rows((5.0, 5.0))
    found = read(tmp_path, ctf(rows, author=ASTAR, step=(5.0, 5.0)))
    check(found, rows, (5.0, 5.0))
    assert any("read as nm" in w for w in found.warnings)


def test_radians_are_noticed(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.concatenate([made_rows() for _ in range(3)])
    rows[:, 2] += np.repeat([0, 1.5, 3.0], 15)
    rows[:, 5:8] = rng.uniform(0, 6.28, (45, 3))
    assert any("radians" in w for w in read(tmp_path, ctf(rows, cells=(9, 5))).warnings)


HEX = "3.2;3.2;5.1\t90;90;120\tZr\t9\t194"
TRIGONAL = "4.9;4.9;5.4\t90;90;120\tquartz\t7\t152"
MONOCLINIC = "5.0;6.0;7.0\t90;105;90\tmonazite\t2\t14"


def test_oblique_crystals_are_turned_to_our_axes(tmp_path):
    """X ∥ a*, Z ∥ c of the format; the laboratory direction of every lattice vector stays."""
    rows = made_rows(n_phases=4)
    copper = "3.6;3.6;3.6\t90;90;90\tCopper\t11\t225"
    found = read(tmp_path, ctf(rows, phases=(copper, HEX, TRIGONAL, MONOCLINIC)))
    assert any("Zr, quartz, monazite were turned" in w for w in found.warnings)
    file_rotations = Rotation.from_euler(rows[:, 5:8], degrees=True)
    for point, row in enumerate(rows):
        if row[0] == 0:
            continue
        phase = found.phases[int(row[0]) - 1]
        a, b, c, alpha, beta, gamma = phase.orix.structure.lattice.abcABG()
        base = cell_in_format_frame(a, b, c, *np.deg2rad((alpha, beta, gamma)))
        ours = np.asarray(phase.orix.structure.lattice.base)
        there = (~file_rotations[point] * Vector3d(base)).data
        q = Rotation(found.best_rotations.reshape(-1, 4)[point].astype(float))
        here = (~q * Vector3d(ours)).data
        np.testing.assert_allclose(here, there, atol=1e-5)


def cell_in_format_frame(a, b, c, alpha, beta, gamma):
    """Cell vectors with X ∥ a*, Z ∥ c, by the metric alone."""
    ca, cb, cg = np.cos((alpha, beta, gamma))
    c_vector = np.array([0, 0, c])
    b_vector = np.array([0, b * np.sin(alpha), b * ca])  # b ⟂ a* ∥ X
    y = a * (cg - cb * ca) / np.sin(alpha)
    z = a * cb
    a_vector = np.array([np.sqrt(a**2 - y**2 - z**2), y, z])
    return np.stack((a_vector, b_vector, c_vector))


def test_hexagonal_turn_is_thirty_degrees(tmp_path):
    found = read(tmp_path, ctf(made_rows(), phases=(HEX,)))
    turn = crystal_turn(found.phases[0])
    angle = np.rad2deg(np.arccos((np.trace(turn) - 1) / 2))
    assert angle == pytest.approx(30)
    np.testing.assert_allclose(turn[2], (0, 0, 1), atol=1e-12)


def test_astar_hexagonal_axes_are_doubted_not_turned(tmp_path):
    rows = made_rows((0.005, 0.005))
    found = read(tmp_path, ctf(rows, author=ASTAR, step=(0.005, 0.005), phases=(HEX,)))
    check(found, rows, (5.0, 5.0))
    assert any("X ∥ a" in w for w in found.warnings)


def test_monoclinic_axis_is_b(tmp_path):
    found = read(tmp_path, ctf(made_rows(), phases=(MONOCLINIC,)))
    group = found.phases[0].point_group.laue_proper_subgroup
    turn = [q for q in group.data if abs(q[0]) < 0.5]
    np.testing.assert_allclose(np.abs(turn), [[0, 0, 1, 0]], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace(COLUMNS, ""), "no line of column names"),
        (lambda t: t.split(COLUMNS)[0] + COLUMNS, "header but no rows"),
        (lambda t: t[: t.rindex("\t")], "10 of 11 columns"),
        (lambda t: t.replace("Phases\t1", "Phases\t3"), "lists 1 of 3 phases"),
        (lambda t: t.replace("\t11\t225", "\t12\t225"), "phase 1 of the header"),
        (lambda t: t.replace("3.6;3.6;3.6", "0;0;0"), "impossible cell"),
        (lambda t: t.replace("JobMode\tGrid", "ZCells\t5"), "volume"),
        (lambda t: t.replace("Euler1", "E1"), "lacks the columns euler1"),
        (lambda t: t.replace("\r\n1\t0.0000\t0.0000", "\r\n7\t0.0000\t0.0000"), "names phase 7"),
    ],
)
def test_damage_gives_one_clear_line(tmp_path, change, words):
    with pytest.raises(BadInputError, match=words) as caught:
        read(tmp_path, change(ctf(made_rows())))
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ HDF5


def test_orix_file_without_our_group(make_map, tmp_path):
    found = make_map(lost=0.1).map
    path = tmp_path / "orix.h5"
    orix_io.save(path, found.to_crystal_map())
    again = load_map(path)
    assert again.shape == found.shape
    assert again.step == found.step
    np.testing.assert_array_equal(again.indexed, found.indexed)
    np.testing.assert_array_equal(again.ambiguity, found.ambiguity)
    dot = np.abs((again.best_rotations * found.best_rotations).sum(-1))
    np.testing.assert_allclose(dot[found.indexed], 1, atol=1e-6)
    assert again.provenance.method == "imported HDF5"


def edax_h5(path, rows, n_phases=1):
    with h5py.File(path, "w") as file:
        file[" Manufacturer"] = np.array([b"EDAX"])
        data = file.create_group("Scan 1/EBSD/Data")
        for name, values in zip(
            ("Phase", "X Position", "Y Position", "CI", "IQ", "Phi1", "Phi", "Phi2"),
            (
                rows[:, 0],
                rows[:, 1],
                rows[:, 2],
                rows[:, 8],
                rows[:, 9],
                *np.deg2rad(rows[:, 5:8]).T,
            ),
            strict=True,
        ):
            data[name] = values
        header = file.create_group("Scan 1/EBSD/Header")
        for name, value in (("nRows", 3), ("nColumns", 5), ("Step X", 0.25), ("Step Y", 0.5)):
            header[name] = np.array([value])
        for i in range(n_phases):
            phase = header.create_group(f"Phase/{i + 1}")
            phase["MaterialName"] = np.array([b"Nickel"])
            phase["Symmetry"] = np.array([43])
            for name, value in zip(
                ["a", "b", "c", "alpha", "beta", "gamma"], (3.5, 3.5, 3.5, 90, 90, 90), strict=True
            ):
                phase[f"Lattice Constant {name}"] = np.array([value])


def test_edax_hdf5(tmp_path):
    rows = made_rows(n_phases=2)
    rows[4, 8] = -1
    path = tmp_path / "edax.h5"
    edax_h5(path, rows, 2)
    found = load_map(path)
    check(found, rows)
    assert [p.name for p in found.phases] == ["Nickel", "Nickel"]
    rows[:, 0] = 0
    edax_h5(path, rows)
    np.testing.assert_array_equal(
        load_map(path).best_phase_ids.ravel(), np.where(rows[:, 8] == -1, -1, 0)
    )


def test_edax_hdf5_that_lacks_something(tmp_path):
    path = tmp_path / "edax.h5"
    edax_h5(path, made_rows())
    with h5py.File(path, "a") as file:
        del file["Scan 1/EBSD/Data/Phi"]
    with pytest.raises(BadInputError, match="not laid out as EDAX"):
        load_map(path)


def test_edax_measured(shared_data):
    found = load_map(shared_data / "maps/odd_ang_ctf/EdaxAngOnly.h5")
    assert found.shape == (151, 186)
    assert found.step == (1500.0, 1500.0)
    assert found.warnings == ()
    assert found.indexed.all()


@pytest.mark.parametrize("name", ["absent.ang", "text.xyz"])
def test_no_file_or_no_map(tmp_path, name):
    (tmp_path / "text.xyz").write_text("hello")
    with pytest.raises(BadInputError):
        load_map(tmp_path / name)


def test_european_file_is_the_american_one(shared_data):
    folder = shared_data / "maps/odd_ang_ctf"
    ours, theirs = load_map(folder / "Test_European_1.ctf"), load_map(folder / "Test_US_1.ctf")
    np.testing.assert_array_equal(ours.rotations, theirs.rotations)
    assert ours.step == theirs.step == (500.0, 500.0)
    xmap = orix_io.load(folder / "Test_US_1.ctf")
    np.testing.assert_array_equal(theirs.indexed.ravel(), xmap.is_indexed)


def test_astar_maps_are_orix_ones_with_the_right_step(shared_data):
    for name, step in (("astar_g.ctf", 5.0), ("TVIPS_without_mask.ctf", 2.7)):
        path = shared_data / "astar_ctf_maps" / name
        found, xmap = load_map(path), orix_io.load(path)
        assert found.step == pytest.approx((step, step), rel=1e-6)
        np.testing.assert_array_equal(found.best_phase_ids.ravel() + 1, xmap.phase_id)
        dot = np.abs((found.best_rotations.reshape(-1, 4) * xmap.rotations.data).sum(1))
        np.testing.assert_allclose(dot, 1, atol=1e-6)
