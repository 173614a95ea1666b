"""Reading .ang files that mislead: right data or one clear line."""

from __future__ import annotations

import numpy as np
import pytest
from orix import io as orix_io
from orix.quaternion import Rotation

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import Ambiguity, load_map

HEADER = """# TEM_PIXperUM          1.000000
# x-star                 0.446667
#
# Phase 1
# MaterialName    austenite
# Formula       Fe
# Symmetry              43
# LatticeConstants      3.595 3.595 3.595\t90.000 90.000 90.000
# NumberFamilies        0
# Phase 2
# MaterialName    martensite two
# Symmetry              42
# LatticeConstants      2.85 2.85 2.95 90.000 90.000 90.000
# NumberFamilies        0
# GRID: SqrGrid
# XSTEP: 0.250000
# YSTEP: 0.500000
# NCOLS_ODD: 6
# NCOLS_EVEN: 6
# NROWS: 4
#
"""
SHAPE = (4, 6)


def made_rows():
    """Rows of a small EDAX map: Euler angles, positions and the rest."""
    rng = np.random.default_rng(0)
    y, x = (c.ravel() for c in np.indices(SHAPE))
    n = x.size
    euler = rng.uniform((0, 0, 0), (2 * np.pi, np.pi, 2 * np.pi), (n, 3))
    table = np.column_stack(
        (euler, x * 0.25, y * 0.5, rng.uniform(0, 99, n), rng.uniform(0, 1, n), 1 + x % 2, y, x)
    )
    table[7, :3], table[7, 6] = 12.56637, -1
    return table.round(5)


def text_of(table, header=HEADER, sep=" ", comma=False):
    lines = [sep.join(f"{v:.5f}" if i != 7 else f"{v:.0f}" for i, v in enumerate(r)) for r in table]
    text = "\n".join(lines) + "\n"
    return header + (text.replace(".", ",") if comma else text)


def read(tmp_path, text, name="map.ang", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return load_map(path)


def check(found, table):
    assert found.shape == SHAPE
    assert found.step == (500.0, 250.0)
    assert found.step_unit == "nm"
    indexed = (table[:, 6] != -1).reshape(SHAPE)
    np.testing.assert_array_equal(found.indexed, indexed)
    q = Rotation.from_euler(table[:, :3]).data.reshape(*SHAPE, 4)
    dot = np.abs((found.best_rotations * q).sum(-1))
    np.testing.assert_allclose(dot[indexed], 1, atol=1e-6)
    ids = np.where(indexed, table[:, 7].reshape(SHAPE) - 1, -1)
    np.testing.assert_array_equal(found.best_phase_ids, ids)
    ci = table[:, 6].reshape(SHAPE)
    np.testing.assert_allclose(found.best_scores[indexed], ci[indexed], atol=1e-5)
    np.testing.assert_allclose(found.extra["image_quality"].ravel(), table[:, 5], rtol=1e-5)
    assert np.isnan(found.reliability).all()
    assert (found.ambiguity == np.where(indexed, 0, Ambiguity.NO_DATA)).all()


def test_a_plain_file(tmp_path):
    table = made_rows()
    found = read(tmp_path, text_of(table))
    check(found, table)
    assert found.warnings == ()
    assert [p.name for p in found.phases] == ["austenite", "martensite two"]
    assert [p.point_group.laue.name for p in found.phases] == ["m-3m", "4/mmm"]
    np.testing.assert_allclose(
        found.phases[1].orix.structure.lattice.abcABG()[:3], (2.85, 2.85, 2.95)
    )
    assert found.provenance.inputs[0].path.endswith("map.ang")
    assert "sample frame" in found.provenance.notes[0]


def test_rows_in_any_order(tmp_path):
    table = made_rows()
    found = read(tmp_path, text_of(np.random.default_rng(1).permutation(table)))
    check(found, table)
    assert found.warnings == ("rows are not in scan order: sorted by their positions",)


@pytest.mark.parametrize("sep", ["\t", "   ", " \t "])
def test_separators_and_decimal_commas(tmp_path, sep):
    table = made_rows()
    check(read(tmp_path, text_of(table, sep=sep)), table)
    check(read(tmp_path, text_of(table, sep=sep, comma=True)), table)


def test_line_ends_encodings_and_empty_lines(tmp_path):
    table = made_rows()
    text = text_of(table, HEADER.replace("#\n", "# OPERATOR: Ånes\n", 1))
    check(read(tmp_path, text.replace("\n", "\r\n") + "\r\n \r\n", encoding="cp1252"), table)
    check(read(tmp_path, "\ufeff" + text), table)


def test_missing_rows_are_no_data(tmp_path):
    table = made_rows()
    found = read(tmp_path, text_of(table[:15]))
    assert found.shape == (3, 6)
    assert (found.ambiguity[2, 3:] == Ambiguity.NO_DATA).all()
    assert not found.indexed[2, 3:].any()
    assert any("may be cut" in w and "4 × 6" in w for w in found.warnings)
    assert any("3 of 18 positions have no row" in w for w in found.warnings)
    holes = read(tmp_path, text_of(np.delete(table, [3, 9], axis=0)))
    assert holes.shape == SHAPE
    assert not holes.indexed.ravel()[[3, 9]].any()
    assert any("2 of 24 positions" in w for w in holes.warnings)


def test_positions_win_over_the_header(tmp_path):
    table = made_rows()
    header = HEADER.replace("XSTEP: 0.250000", "XSTEP: 0.010000").replace("NROWS: 4", "NROWS: 40")
    found = read(tmp_path, text_of(table, header))
    check(found, table)
    assert any("the positions are used" in w for w in found.warnings)
    assert any("40 × 6" in w for w in found.warnings)


def test_a_header_with_more_digits_than_the_columns(tmp_path):
    """0.00192 µm written as 0.0019, 0.0038, 0.0058 …: steps of 19 and 20."""
    table = made_rows()
    table[:, 3] = (np.arange(24) % 6 * 0.00192).round(4)
    header = HEADER.replace("XSTEP: 0.250000", "XSTEP: 0.00192")
    found = read(tmp_path, text_of(table, header))
    assert found.shape == SHAPE
    assert found.step == pytest.approx((500.0, 1.92))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: "", "is empty"),
        (lambda t: "\n".join(t.splitlines()[21:]), "has no header"),
        (lambda t: "\n".join(t.splitlines()[:21]), "header but no rows"),
        (lambda t: t[:-40], "line 45 has 5 of 10 columns"),
        (lambda t: t.replace("NumberFamilies", "x").replace("Phase", "Pha"), "lists no phase"),
        (lambda t: t + t.splitlines()[-1] + "\n", "two rows share one position"),
        (lambda t: t.replace("LatticeConstants", "Lattice"), "lattice constants"),
        (lambda t: t.replace("3.595 3.595 3.595", "0 0 0"), "impossible cell"),
        (lambda t: t[:-8] + "oops\n", "where a number belongs"),
        (lambda t: "\0\1" + t, "not a text file"),
    ],
)
def test_damage_gives_one_clear_line(tmp_path, change, words):
    text = text_of(made_rows())
    with pytest.raises(BadInputError, match=words) as caught:
        read(tmp_path, change(text))
    message = str(caught.value)
    assert "\n" not in message
    assert "map.ang" in message or "phase" in message


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (7, 9, "phase 9"),
        (7, 1.5, "whole numbers"),
        (3, np.nan, "not finite"),
        (3, 0.11, "not evenly spaced"),
        (3, 1e6, "square grid"),
        (3, 1e3, "regular grid"),
    ],
)
def test_impossible_columns(tmp_path, column, value, words):
    table = made_rows()
    table[5, column] = value
    lines = [" ".join(repr(float(v)) for v in row) for row in table]
    with pytest.raises(BadInputError, match=words):
        read(tmp_path, HEADER + "\n".join(lines))


def test_a_hexagonal_grid_is_refused_and_a_wrong_header_is_not(tmp_path):
    table = made_rows()
    header = HEADER.replace("SqrGrid", "HexGrid")
    found = read(tmp_path, text_of(table, header))
    check(found, table)
    assert any("HexGrid" in w for w in found.warnings)
    table[:, 4] *= np.sqrt(3) / 4
    table[:, 3] += 0.125 * (np.arange(24) // 6 % 2)
    with pytest.raises(BadInputError, match="hexagonal"):
        read(tmp_path, text_of(table, header))


def test_one_phase_may_be_called_zero(tmp_path):
    table = made_rows()
    table[:, 7] = 0
    one = HEADER.replace(HEADER[HEADER.index("# Phase 2") : HEADER.index("# GRID")], "")
    found = read(tmp_path, text_of(table, one))
    np.testing.assert_array_equal(found.best_phase_ids.ravel(), np.where(table[:, 6] == -1, -1, 0))
    two = read(tmp_path, text_of(table))
    assert not two.indexed.any()  # with a choice of phases, 0 is none of them


def test_degrees_are_noticed(tmp_path):
    table = made_rows()
    degrees = table.copy()
    degrees[:, :3] = np.rad2deg(table[:, :3])
    degrees[7, :3] = 12.56637
    found = read(tmp_path, text_of(degrees))
    assert any("degrees" in w for w in found.warnings)
    indexed = table[:, 6] != -1
    q = Rotation.from_euler(table[indexed, :3]).data
    dot = np.abs((found.best_rotations.reshape(-1, 4)[indexed] * q).sum(-1))
    np.testing.assert_allclose(dot, 1, atol=1e-6)


def test_a_phase_without_known_symmetry(tmp_path):
    table = made_rows()
    found = read(
        tmp_path, text_of(table, HEADER.replace("Symmetry              42", "Symmetry 99"))
    )
    assert any("no known symmetry" in w for w in found.warnings)
    assert found.indexed.sum() == 23


def test_astar_counts_in_nm(tmp_path):
    table = made_rows()[:, :9]
    table[:, 5:7] = 50, 20
    header = "# File created from ACOM RES results\n" + HEADER
    found = read(tmp_path, text_of(table, header))
    assert found.step == (0.5, 0.25)
    assert {"index", "reliability_index"} <= set(found.extra)


def test_orix_files_with_further_columns(make_map, tmp_path):
    """A file written by orix itself, with an extra property."""
    source = make_map().map.to_crystal_map()
    source.scan_unit = "um"
    path = tmp_path / "orix.ang"
    orix_io.save(path, source, confidence_index_prop="reliability", extra_prop="score")
    found = load_map(path)
    original = make_map().map
    np.testing.assert_array_equal(found.indexed, original.indexed)
    dot = np.abs((found.best_rotations * original.best_rotations).sum(-1))
    np.testing.assert_allclose(dot[original.indexed], 1, atol=1e-6)
    assert np.allclose(
        found.extra["score"][original.indexed], original.best_scores[original.indexed], atol=1e-4
    )


# --------------------------------------------------------------- measured


def test_measured_map_is_orix_one(shared_data):
    path = shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang"
    found, xmap = load_map(path), orix_io.load(path, autogen_names=False)
    assert found.shape == xmap.shape == (100, 117)
    assert found.warnings == ()
    np.testing.assert_array_equal(found.best_phase_ids.ravel() + 1, xmap.phase_id)
    dot = np.abs((found.best_rotations.reshape(-1, 4) * xmap.rotations.data).sum(1))
    np.testing.assert_allclose(dot, 1, atol=1e-6)
    np.testing.assert_allclose(found.best_scores.ravel(), xmap.prop["dp"], atol=1e-6)
    assert found.step == (1500.0, 1500.0)


def test_shuffled_rows_of_the_measured_map_are_put_right(shared_data):
    whole = load_map(shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang")
    found = load_map(shared_data / "broken/ang_rows_shuffled.ang")
    assert found.shape == (10, 117)
    np.testing.assert_array_equal(found.best_rotations, whole.best_rotations[:10])
    np.testing.assert_array_equal(found.best_phase_ids, whole.best_phase_ids[:10])
    assert any("not in scan order" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("name", "words"),
    [("ang_cut_mid_row.ang", "line 2959 has 4 of 8"), ("ang_no_header.ang", "has no header")],
)
def test_broken_measured_files(shared_data, name, words):
    with pytest.raises(BadInputError, match=words):
        load_map(shared_data / "broken" / name)


def test_every_map_file_gives_data_or_one_line(shared_data):
    """Walk all maps and all broken .ang files."""
    shapes = {
        "sdss_ferrite_austenite.ang": (100, 117),
        "Out_Of_Order.ang": (201, 189),
        "EdaxAngOnly.h5": (151, 186),
        "Test_1.ang": (4, 40),
        "Test_2.ang": (4, 40),
        "Test_3.ang": (4, 40),
        "GridMissing.ang": (4, 40),
        "HexHeader.ang": (4, 40),
        "MissingHeader_1.ang": (4, 40),
        "ShortFile.ang": (3, 40),
        "Test_US_1.ctf": (5, 40),
        "Test_US_2.ctf": (5, 40),
        "Test_European_1.ctf": (5, 40),
        "Corrupted_XCells.ctf": (1, 2),
        "ZeroXYCells.ctf": (1, 2),
        "ShortFile.ctf": (1, 2),
        "ang_rows_shuffled.ang": (10, 117),
        "200625ResultsAusteniteNoLin.ctf": (200, 260),
        "astar_g.ctf": (200, 260),
        "TVIPS_without_mask.ctf": (59, 111),
    }
    short = {"ShortFile.ang", "ShortFile.ctf", "Corrupted_XCells.ctf", "ZeroXYCells.ctf"}
    refused = {
        "ang_cut_mid_row.ang": "columns",
        "ang_no_header.ang": "no header",
        "Test_European_2.ctf": "volume",
        "Test_HeaderCache-1.ang": "no rows",
        "Test_HeaderCache-2.ang": "no rows",
        "Out_Of_Order_Correct.tiff": "no orientation map",
    }
    seen = set()
    folders = ("maps", "astar_ctf_maps")
    files = [p for f in folders for p in sorted((shared_data / f).rglob("*"))]
    for path in [*files, *sorted((shared_data / "broken").glob("ang_*"))]:
        if path.is_dir() or path.suffix == ".md":
            continue
        seen.add(path.name)
        if path.name in refused:
            with pytest.raises(BadInputError, match=refused[path.name]) as caught:
                load_map(path)
            assert "\n" not in str(caught.value)
            continue
        found = load_map(path)
        if path.name in shapes:
            assert found.shape == shapes[path.name], path.name
        if path.name in short:
            assert any("may be cut" in w for w in found.warnings), path.name
    assert set(shapes) | set(refused) <= seen
