"""Phases: bundled and measured CIFs load right, or fail in one clear line."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from napari_diffmap.crystal import symmetry as sym
from napari_diffmap.crystal.phases import COLORS, bundled_phases, load_phase, load_phases
from napari_diffmap.crystal.simulate import rotation_matrices
from napari_diffmap.errors import PhaseError

#: Independent facts: atoms in the cell, shortest distance (Å), point group.
BUNDLED = {
    "Al": (4, 4.0496 / np.sqrt(2), "m-3m"),
    "Au": (4, 4.0786 / np.sqrt(2), "m-3m"),
    "Fe-bcc": (2, 2.8665 * np.sqrt(3) / 2, "m-3m"),
    "Fe-fcc": (4, 3.6468 / np.sqrt(2), "m-3m"),
    "LiMn2O4": (56, 8.245 * np.sqrt(3) * (0.261 - 0.125), "m-3m"),
    "LiNiO2": (12, 1.975, "-3m"),
    "NiO": (8, 4.178 / 2, "m-3m"),
    "Si": (8, 5.43102 * np.sqrt(3) / 4, "m-3m"),
    "WS2": (6, 2.405, "6/mmm"),
}
ORDER = {"m-3m": 24, "-3m": 6, "6/mmm": 12}

SPINEL = """data_spinel
_chemical_formula_sum 'Li Mn2 O4'
_cell_formula_units_Z 8
_cell_length_a 8.245(1)
_cell_length_b 8.245(1)
_cell_length_c 8.245(1)
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F d -3 m :2'
_symmetry_Int_Tables_number 227
loop_
_symmetry_equiv_pos_as_xyz
{operators}
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Li1 Li 0.125 0.125 0.125
Mn1 Mn 0.5 0.5 0.5
O1 O 0.2625 0.2625 0.2625
"""

SIMPLE = """data_test
{head}
_cell_length_a {a}
_cell_length_b 4.0
_cell_length_c 4.0
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
{group}
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{atoms}
"""


def silicon_operators() -> str:
    """The bundled silicon file lists origin choice 2, as spinels need."""
    text = (Path(load_phase("Si").source or "")).read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if re.match(r"^'[-xyz+/0-9,]+'$", line))


def write(folder: Path, text: str, name: str = "test.cif") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def simple(atoms: str = "Na1 0 0 0 1", a: str = "4.0", group: str = "", head: str = "") -> str:
    return SIMPLE.format(atoms=atoms, a=a, group=group, head=head)


def test_bundled_phases_are_right() -> None:
    assert set(bundled_phases()) == set(BUNDLED)
    for name, (atoms, distance, group) in BUNDLED.items():
        phase = load_phase(name)
        assert len(phase.elements) == atoms, name
        assert phase.shortest_distance == pytest.approx(distance, abs=0.003), name
        assert phase.point_group.name == group
        assert len(phase.symmetry) == ORDER[group]
        assert not phase.warnings
        assert "Source:" in phase.source.read_text(encoding="utf-8")


def test_names_are_found_whatever_their_case() -> None:
    assert load_phase("linio2").name == "LiNiO2"
    with pytest.raises(PhaseError, match="give a CIF file or one of"):
        load_phase("unobtainium")


def test_phases_get_their_own_colours_and_names() -> None:
    phases = load_phases(["NiO", "LiNiO2", "NiO"])
    assert [p.color for p in phases] == list(COLORS[:3])
    assert len({p.name for p in phases}) == 3


def test_cell_frame_is_orix_frame() -> None:
    from orix.vector import Miller

    for name in ("LiNiO2", "WS2"):
        phase = load_phase(name)
        assert phase.base[0, 1] == pytest.approx(0)
        assert phase.base[0, 2] == pytest.approx(0)
        theirs = Miller(hkl=[[1, 0, 0], [0, 1, 2], [0, 0, 3]], phase=phase.orix).data
        ours = np.array([[1, 0, 0], [0, 1, 2], [0, 0, 3]]) @ phase.reciprocal
        np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_structure_agrees_with_diffpy_where_diffpy_is_right() -> None:
    from diffpy.structure.parsers import p_cif

    for name in ("LiNiO2", "WS2", "NiO"):
        phase = load_phase(name)
        theirs = p_cif.P_cif().parseFile(str(phase.source))
        assert sorted(a.element for a in theirs) == sorted(phase.elements)
        for atom in theirs:
            near = phase.xyz - atom.xyz
            near -= np.round(near)
            assert np.linalg.norm(near @ phase.base, axis=1).min() < 1e-3
        assert len(phase.structure) == len(theirs)


def test_symmetry_leaves_the_crystal_as_it_is() -> None:
    import torch

    from napari_diffmap.crystal.reflections import reflections

    for name in ("LiNiO2", "WS2", "Si"):
        phase = load_phase(name)
        found = reflections(phase, 1.0)
        for matrix in rotation_matrices(torch.as_tensor(phase.symmetry)).numpy():
            turned = found.g @ matrix.T
            gaps = np.linalg.norm(turned[:, None] - found.g[None], axis=2)
            assert gaps.min(axis=1).max() < 1e-6
            partner = gaps.argmin(axis=1)
            np.testing.assert_allclose(
                found.amplitude2[partner], found.amplitude2, rtol=1e-6, atol=1e-9
            )


def test_spinel_in_origin_choice_two_comes_out_right(tmp_path: Path) -> None:
    path = write(tmp_path, SPINEL.format(operators=silicon_operators()))
    phase = load_phase(path)
    counts = {e: phase.elements.count(e) for e in set(phase.elements)}
    assert counts == {"Li": 8, "Mn": 16, "O": 32}
    assert phase.shortest_distance == pytest.approx(1.96, abs=0.05)
    assert not phase.warnings


def test_measured_cifs_load_or_say_why(shared_data: Path) -> None:
    files = [
        *sorted((shared_data / "cif").rglob("*.cif")),
        *sorted((shared_data / "cathode_particle").glob("*.cif")),
        *sorted((shared_data / "austenite_nbed").glob("*.cif")),
        *sorted((shared_data / "broken").glob("*.cif")),
    ]
    assert len(files) > 50
    failed = {}
    for path in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                phase = load_phase(path)
        except PhaseError as error:
            failed[path.name] = str(error)
            continue
        assert len(phase.elements) > 0
        assert phase.shortest_distance > 1.0, path.name
        assert np.linalg.norm(phase.symmetry, axis=1) == pytest.approx(1)
    assert set(failed) == {
        "amorphous_carbon.cif",
        "cif_decimal_comma.cif",
        "cif_empty.cif",
        "cif_no_atoms.cif",
    }
    assert not any("\n" in line for line in failed.values())
    assert "decimal comma" in failed["cif_decimal_comma.cif"]


def test_measured_spinels_and_layers(shared_data: Path) -> None:
    folder = shared_data / "cathode_particle"
    spinel = load_phase(folder / "LiMn2O4_Fd-3m_origin2.cif")
    expanded = load_phase(folder / "LiMn2O4_P1.cif")
    assert spinel.elements.count("O") == 32
    assert spinel.shortest_distance == pytest.approx(1.94, abs=0.01)
    assert expanded.point_group.name == spinel.point_group.name == "m-3m"
    assert any("without symmetry" in line for line in expanded.warnings)
    magnetite = load_phase(shared_data / "cif" / "mtex" / "Magnetite.cif")
    assert magnetite.shortest_distance == pytest.approx(1.89, abs=0.01)
    lithium_rich = load_phase(folder / "Li2MnO3.cif")
    # Unique axis b: the two-fold axis lies along y, where orix's own 2/m puts it along z.
    assert len(lithium_rich.symmetry) == 2
    np.testing.assert_allclose(np.abs(lithium_rich.symmetry[-1]), [0, 0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(
        np.abs(lithium_rich.point_group.laue_proper_subgroup.data[-1]), [0, 0, 1, 0], atol=1e-6
    )


def test_primitive_cell_is_set_on_conventional_axes(tmp_path: Path) -> None:
    a = 5.43102 / np.sqrt(2)
    text = f"""data_Si
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {a}
_cell_angle_alpha 60
_cell_angle_beta 60
_cell_angle_gamma 60
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Si1 0 0 0
Si2 0.25 0.25 0.25
"""
    phase = load_phase(write(tmp_path, text))
    assert phase.cell == pytest.approx((5.43102,) * 3 + (90,) * 3, abs=1e-3)
    assert len(phase.elements) == 8
    assert phase.point_group.name == "m-3m"
    assert phase.shortest_distance == pytest.approx(2.352, abs=1e-3)
    assert any("conventional" in line for line in phase.warnings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("hello", "not a CIF"),
        ("data_x\n_cell_length_a 3\n", "lists no atoms"),
        (simple(a="4,05"), "decimal comma"),
        (simple(a="four"), "not a number"),
        (simple(a="0.2"), "impossible"),
        (simple(atoms="Na1 0 0 0 1\nCl1 0.05 0 0 1"), "0.20 Å apart"),
        (simple(atoms="Na1 0 0 0 7"), "occupancy"),
        (simple(atoms="Zz1 0 0 0 1"), "not an element"),
        (simple(atoms="Na1 ? ? ? 1"), "no atoms with a position"),
        (simple(head="_chemical_formula_sum 'Na Cl'"), "the file says"),
        (
            simple(group="loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'x,y,q'"),
            "cannot be read",
        ),
        (
            simple(a="6.0", group="loop_\n_symmetry_equiv_pos_as_xyz\n'x,y,z'\n'y,x,z'"),
            "does not fit",
        ),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PhaseError, match=re.escape(message)) as caught:
        load_phase(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(PhaseError, match="does not exist"):
        load_phase(tmp_path / "none.cif")
    with pytest.raises(PhaseError, match="folder"):
        load_phase(tmp_path)


def test_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.cif"
    path.write_bytes(bytes(range(256)) * 20)
    with pytest.raises(PhaseError, match="not a CIF"):
        load_phase(path)


def test_partial_sites_may_share_a_place(tmp_path: Path) -> None:
    phase = load_phase(write(tmp_path, simple(atoms="Fe1 0 0 0 0.5\nNi1 0 0 0 0.5")))
    assert phase.formula == "FeNi"
    assert list(phase.occupancy) == [0.5, 0.5]


def test_unknown_space_group_reads_as_p1_with_a_warning(tmp_path: Path) -> None:
    phase = load_phase(
        write(tmp_path, simple(a="5.0", group="_symmetry_space_group_name_H-M 'X q z'"))
    )
    assert any("unknown space group" in line for line in phase.warnings)


def test_named_space_group_without_operators(tmp_path: Path) -> None:
    phase = load_phase(write(tmp_path, simple(group="_symmetry_space_group_name_H-M 'F m -3 m'")))
    assert len(phase.elements) == 4
    assert phase.space_group_number == 225


def test_quotes_comments_and_text_fields(tmp_path: Path) -> None:
    text = """# a comment
data_x
_publ_section_title
;
 loop_ _atom_site_fract_x data_y
;
_chemical_name 'it''s "quoted"'
""" + simple().split("\n", 1)[1]
    phase = load_phase(write(tmp_path, text))
    assert phase.elements == ("Na",)


def test_found_operators_match_the_listed_ones() -> None:
    for name in ("LiNiO2", "WS2", "Si"):
        phase = load_phase(name)
        kinds = np.unique(phase.elements, return_inverse=True)[1]
        found = sym.find_operators(phase.base, phase.xyz, kinds)
        rotations = sym.cartesian_rotations(found, phase.base)
        assert sym.orix_point_group(rotations)[0].name == phase.point_group.name
