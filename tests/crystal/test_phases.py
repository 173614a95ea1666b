"""Phases from CIF: right crystals, or one line that says why not."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from napari_diffmap.crystal.phases import bundled_phases, load_phase, load_phases
from napari_diffmap.errors import PhaseError

#: Atoms of the conventional cell, shortest distance in Å from the published cell
#: (diamond: a √3/4, fcc: a/√2, bcc: a √3/2, rock salt: a/2), proper Laue rotations.
BUNDLED = {
    "Al": ({"Al": 4}, 2.863, 24),
    "Au": ({"Au": 4}, 2.884, 24),
    "Fe-bcc": ({"Fe": 2}, 2.482, 24),
    "Fe-fcc": ({"Fe": 4}, 2.58, 24),
    "LiNiO2": ({"Li": 3, "Ni": 3, "O": 6}, 1.96, 6),
    "NiO": ({"Ni": 4, "O": 4}, 2.088, 24),
    "Si": ({"Si": 8}, 2.352, 24),
    "WS2": ({"W": 2, "S": 4}, 2.41, 12),
}

SPINEL = """data_spinel
_cell_length_a 8.245
_cell_length_b 8.245
_cell_length_c 8.245
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F d -3 m :2'
_chemical_formula_sum 'Li Mn2 O4'
_cell_formula_units_Z 8
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
O1 O 0.2632 0.2632 0.2632
"""


def counts(phase) -> dict[str, int]:
    return dict(Counter(phase.elements))


def test_every_bundled_phase_is_checked_here():
    assert set(bundled_phases()) == set(BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_phase_is_the_published_crystal(name):
    atoms, shortest, rotations = BUNDLED[name]
    phase = load_phase(name)
    assert counts(phase) == atoms
    assert phase.shortest_distance == pytest.approx(shortest, rel=0.02)
    assert len(phase.symmetry) == rotations
    assert phase.warnings == ()
    assert phase.orix.point_group is not None


def test_frame_is_orix_frame():
    from orix.crystal_map import Phase

    phase = load_phase("LiNiO2")
    a, _, c = phase.base
    np.testing.assert_allclose(a / np.linalg.norm(a), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(c / np.linalg.norm(c), [0, 0, 1], atol=1e-12)
    assert isinstance(phase.orix, Phase)
    np.testing.assert_allclose(phase.orix.structure.lattice.base, phase.base, atol=1e-9)


def test_spinel_in_origin_choice_two_comes_out_right(tmp_path):
    """The trap: readers that ignore the file's operators put atoms 0.26 Å apart."""
    from diffpy.structure.spacegroups import GetSpaceGroup

    group = GetSpaceGroup(227)
    shift = np.full(3, 1 / 8)
    lines = []
    for op in group.iter_symops():
        # Choice 1 (diffpy) to choice 2: the origin moves by (1/8, 1/8, 1/8).
        t = np.mod(op.t + op.R @ shift - shift, 1)
        rows = []
        for row, move in zip(op.R, t, strict=True):
            text = "".join(
                f"{'+' if v > 0 else '-'}{n}" for v, n in zip(row, "xyz", strict=True) if v
            )
            rows.append(text + (f"+{round(move * 8)}/8" if round(move * 8) else ""))
        lines.append("'" + ",".join(rows) + "'")
    path = tmp_path / "spinel.cif"
    path.write_text(SPINEL.format(operators="\n".join(lines)))
    phase = load_phase(path)
    assert counts(phase) == {"Li": 8, "Mn": 16, "O": 32}
    assert phase.shortest_distance == pytest.approx(1.96, abs=0.03)
    assert len(phase.symmetry) == 24


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("data_x\n_cell_length_a 4\n", ""),
        ("this is no CIF at all", ""),
    ],
)
def test_a_file_that_is_no_crystal_is_refused(tmp_path, text, says):
    path = tmp_path / "bad.cif"
    path.write_text(text)
    with pytest.raises(PhaseError, match=r"bad\.cif") as caught:
        load_phase(path)
    assert "\n" not in str(caught.value)
    assert says in str(caught.value)


def test_atoms_inside_one_another_are_refused(tmp_path):
    path = tmp_path / "spinel.cif"
    path.write_text(SPINEL.format(operators="'x,y,z'\n'x+1/40,y,z'"))
    with pytest.raises(PhaseError, match=r"apart|fit"):
        load_phase(path)


def test_unknown_names_list_what_there_is():
    with pytest.raises(PhaseError, match="LiNiO2"):
        load_phase("Unobtainium")
    with pytest.raises(PhaseError, match="does not exist"):
        load_phase("nowhere/none.cif")


def test_several_phases_get_names_and_colours_of_their_own():
    phases = load_phases(["Al", "Al", "Au"])
    assert len({p.name for p in phases}) == 3
    assert len({p.color for p in phases}) == 3


def test_every_measured_cif_is_right_or_refused_in_one_line(shared_data, recwarn):
    files = sorted(shared_data.glob("**/*.cif"))
    assert len(files) > 50
    loaded, refused = {}, {}
    for path in files:
        try:
            loaded[path.name] = load_phase(path)
        except PhaseError as error:
            refused[path.name] = str(error)
    assert all(name in line and "\n" not in line for name, line in refused.items())
    assert len(loaded) > 5 * len(refused)
    assert len(recwarn) == 0
    for name, phase in loaded.items():
        assert phase.shortest_distance > 0.6, name
    assert counts(loaded["LiMn2O4_Fd-3m_origin2.cif"]) == {"Li": 8, "Mn": 16, "O": 32}
    assert loaded["LiMn2O4_Fd-3m_origin2.cif"].shortest_distance == pytest.approx(1.94, abs=0.02)
    assert len(loaded["LiMn2O4_P1.cif"].symmetry) == 24
    for name in ("cif_decimal_comma.cif", "cif_empty.cif", "cif_no_atoms.cif"):
        assert name not in loaded or loaded[name].cell[0] > 2.5
