"""Coincidence and twin laws by lattice arithmetic, orix and the literature; edges and merging."""

from __future__ import annotations

from itertools import combinations_with_replacement, product
from math import gcd

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.quaternion import Misorientation, Orientation, Rotation
from orix.quaternion.symmetry import Oh
from orix.vector import Miller

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import (
    OrientationMap,
    TwinLaw,
    boundary_properties,
    classify_laws,
    csl_laws,
    find_boundaries,
    find_grains,
    find_pairs,
    hexagonal_twins,
    load_map,
    merge_by_laws,
    standard_laws,
    twin_law,
    twin_law_axis,
)
from napari_diffmap.maps.boundaries.twin_laws import smallest_angle
from napari_diffmap.maps.phases import file_phase
from napari_diffmap.maps.quaternions import laue_operators

LAWS = {law.name: law for law in csl_laws()}
#: Disorientation angle and axis: Grimmer, Bollmann & Warrington (1974), table 1.
PUBLISHED = {
    "Σ3": (60.0, (1, 1, 1)),
    "Σ5": (36.87, (1, 0, 0)),
    "Σ7": (38.21, (1, 1, 1)),
    "Σ9": (38.94, (1, 1, 0)),
    "Σ11": (50.48, (1, 1, 0)),
    "Σ13a": (22.62, (1, 0, 0)),
    "Σ13b": (27.80, (1, 1, 1)),
    "Σ15": (48.19, (2, 1, 0)),
    "Σ17a": (28.07, (1, 0, 0)),
    "Σ17b": (61.93, (2, 2, 1)),
    "Σ19a": (26.53, (1, 1, 0)),
    "Σ19b": (46.83, (1, 1, 1)),
    "Σ21a": (21.79, (1, 1, 1)),
    "Σ21b": (44.42, (2, 1, 1)),
    "Σ23": (40.46, (3, 1, 1)),
    "Σ25a": (16.26, (1, 0, 0)),
    "Σ25b": (51.68, (3, 3, 1)),
    "Σ27a": (31.59, (1, 1, 0)),
    "Σ27b": (35.43, (2, 1, 0)),
}
MG = file_phase("Mg", (3.209, 3.209, 5.211, 90, 90, 120), "6/mmm", 0)
TI = file_phase("Ti", (2.951, 2.951, 4.683, 90, 90, 120), "6/mmm", 0)
RUTILE = file_phase("rutile", (4.594, 4.594, 2.959, 90, 90, 90), "4/mmm", 0)
MONOCLINIC = file_phase("m", (5.0, 6.0, 3.0, 90, 109, 90), "2/m", 0)
CU = file_phase("Cu", (3.61, 3.61, 3.61, 90, 90, 90), "m-3m", 0)
PYRITE = file_phase("pyrite", (5.42, 5.42, 5.42, 90, 90, 90), "m-3", 1)


def sigma_of(law):
    return int(law.name[1:].rstrip("ab"))


def angle_between(one, two):
    cosine = np.abs(np.sum(np.asarray(one) * np.asarray(two), axis=-1))
    return np.rad2deg(2 * np.arccos(np.minimum(cosine, 1)))


def rotated(q, axis, degrees):
    return (Rotation.from_axes_angles(axis, np.deg2rad(degrees)) * Rotation(q)).data[0]


def columns_of(phases, *columns, rows=3, width=2):
    """A map of stripes: each one orientation (quaternion) of a phase, some columns wide."""
    q = np.repeat([np.asarray(c[0], float) / np.linalg.norm(c[0]) for c in columns], width, axis=0)
    ids = np.repeat([c[1] for c in columns], width)
    shape = (rows, len(ids))
    return OrientationMap(
        rotations=np.broadcast_to(q[None, :, None], (*shape, 1, 4)),
        scores=np.ones((*shape, 1)),
        phase_ids=np.broadcast_to(ids[None, :, None], (*shape, 1)),
        reliability=np.ones(shape),
        ambiguity=np.zeros(shape),
        phases=phases,
        step=(2.0, 1.0),
        step_unit="nm",
    )


def laws_of(found, **options):
    return classify_laws(found, find_boundaries(found), **options)


# ------------------------------------------------------------ coincidence


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_coincidence_index_by_counting_lattice_points(law):
    """Of the Σ³ points of a cube of edge Σ, the rotated lattice holds Σ², and no multiple less."""
    sigma = sigma_of(law)
    matrix = Rotation(law.rotation).to_matrix()[0]
    whole = np.rint(sigma * matrix).astype(int)
    np.testing.assert_allclose(sigma * matrix, whole, atol=1e-9)
    assert np.gcd.reduce(np.append(whole.ravel(), sigma)) == 1
    points = np.stack(np.meshgrid(*[np.arange(sigma)] * 3, indexing="ij"), -1).reshape(-1, 3)
    coincide = ((points @ whole) % sigma == 0).all(axis=1)  # R⁻¹ p is whole
    assert coincide.sum() == sigma**2


@pytest.mark.parametrize("name", PUBLISHED)
def test_angles_and_axes_are_the_published_ones_in_orix(name):
    angle, axis = PUBLISHED[name]
    law = LAWS[name]
    assert law.angle(CU) == pytest.approx(angle, abs=0.006)
    reduced = Misorientation(law.rotation, symmetry=(Oh, Oh)).reduce()
    assert np.rad2deg(reduced.angle[0]) == pytest.approx(angle, abs=0.006)
    found = np.sort(np.abs(reduced.axis.data[0]))[::-1]
    np.testing.assert_allclose(found, np.array(axis) / np.linalg.norm(axis), atol=1e-4)


def test_no_coincidence_up_to_27_is_left_out():
    """Every whole quaternion of norm Σ, 2 Σ or 4 Σ is one of the laws."""
    operators = laue_operators(CU)
    classes: dict[int, set[float]] = {}
    for a, (b, c, d) in product(range(11), combinations_with_replacement(range(11), 3)):
        norm = a * a + b * b + c * c + d * d
        sigma = norm
        while sigma and sigma % 2 == 0:
            sigma //= 2
        if not 3 <= sigma <= 27 or gcd(a, b, c, d) != 1 or norm > 4 * sigma:
            continue
        angle = smallest_angle(np.array((a, b, c, d)) / np.sqrt(norm), operators)
        classes.setdefault(sigma, set()).add(round(angle, 2))
    mine: dict[int, set[float]] = {}
    for law in LAWS.values():
        mine.setdefault(sigma_of(law), set()).add(round(law.angle(CU), 2))
    assert mine == classes


def test_tolerances_and_choice():
    for law in csl_laws():
        assert law.tolerance_deg == pytest.approx(15 / np.sqrt(sigma_of(law)))
        assert law.twin == (law.name == "Σ3")
    strict = csl_laws(9, criterion="palumbo-aust")
    assert [law.name for law in strict] == ["Σ3", "Σ5", "Σ7", "Σ9"]
    assert strict[0].tolerance_deg == pytest.approx(6.005, abs=1e-3)
    for wrong in ({"max_sigma": 2}, {"max_sigma": 29}, {"criterion": "mine"}):
        with pytest.raises(BadInputError, match="coincidence laws"):
            csl_laws(**wrong)


@pytest.mark.parametrize(("name", "variants"), [("Σ3", 96), ("Σ5", 144), ("Σ7", 192)])
def test_random_boundaries_follow_laws_as_often_as_their_volume(name, variants):
    """Share of random misorientations: variants × volume of a ball of that angle in SO(3).

    1.76 % of Σ3, as Warrington & Boon, *Acta Metall.* 23 (1975) 599 found.
    """
    law = LAWS[name]
    assert len(law.variants(CU)) == variants
    ball = np.deg2rad(law.tolerance_deg)
    expected = variants * (ball - np.sin(ball)) / np.pi
    rng = np.random.default_rng(0)
    q = rng.normal(size=(160, 151, 1, 4))
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    ones = np.ones(q.shape[:2])
    found = OrientationMap(
        rotations=q,
        scores=ones[..., None],
        phase_ids=0 * ones[..., None],
        reliability=ones,
        ambiguity=0 * ones,
        phases=(CU,),
    )
    laws = classify_laws(found, find_boundaries(found), {0: [law]}, minimum=0.5)
    total = 160 * 150 + 159 * 151
    share = laws.lengths[0] / total
    assert share == pytest.approx(expected, abs=4 * np.sqrt(expected / total))


# ------------------------------------------------------------------ twins


@pytest.mark.parametrize(
    ("phase", "published"),
    [
        (MG, (86.3, 34.2, 63.3, 56.1, 64.0)),
        (TI, (85.0, 35.0, 64.4, 57.2, None)),
    ],
    ids=("Mg", "Ti"),
)
def test_hexagonal_twins(phase, published):
    """Angles from the literature (Mg, Ti) and from the tilt of the plane: 2 φ or 180° - 2 φ."""
    laws = hexagonal_twins(phase)
    names = ["{10-12}", "{11-21}", "{11-22}", "{10-11}", "{10-13}"]
    assert [law.name for law in laws] == names
    a, _, c = np.linalg.norm(phase.orix.structure.lattice.base, axis=1)
    tilts = [2 * c / np.sqrt(3) / a / n for n in (2, 1, 3)] + [2 * c / a / n for n in (1, 2)]
    tilt = np.rad2deg(np.arctan([tilts[0], tilts[3], tilts[4], tilts[1], tilts[2]]))
    exact = np.where(tilt > 45, 180 - 2 * tilt, 2 * tilt)
    for law, angle, said in zip(laws, exact, published, strict=True):
        assert law.angle(phase) == pytest.approx(angle, abs=1e-6)
        assert said is None or law.angle(phase) == pytest.approx(said, abs=0.4)
        assert law.twin
    axis = Misorientation(laws[0].rotation, symmetry=(phase.point_group,) * 2).reduce().axis
    # ⟨11-20⟩: a lattice direction a of the basal plane.
    assert abs(axis.data[0] @ (0, 0, 1)) < 1e-6
    azimuth = np.rad2deg(np.arctan2(axis.data[0, 1], axis.data[0, 0])) % 60
    assert min(azimuth, 60 - azimuth) < 1e-4


@pytest.mark.parametrize("phase", [RUTILE, MONOCLINIC, MG], ids=lambda phase: phase.name)
@pytest.mark.parametrize("indices", [(1, 0, 1), (2, -1, 3), (1, 1, 1)])
def test_half_turns_about_the_directions_of_orix(phase, indices):
    plane = Miller(hkl=indices, phase=phase.orix).unit.data[0]
    direction = Miller(uvw=indices, phase=phase.orix).unit.data[0]
    np.testing.assert_allclose(twin_law(phase, indices).rotation[1:], plane, atol=1e-9)
    np.testing.assert_allclose(twin_law_axis(phase, indices).rotation[1:], direction, atol=1e-9)


def test_laws_of_the_textbooks():
    # Rutile elbow: {101}, c axes at 114.4° (Deer, Howie & Zussman).
    assert 180 - twin_law(RUTILE, (1, 0, 1)).angle(RUTILE) == pytest.approx(114.4, abs=0.1)
    # Of a monoclinic crystal, (100) and [001] are one law.
    one, two = twin_law(MONOCLINIC, (1, 0, 0)), twin_law_axis(MONOCLINIC, (0, 0, 1))
    gap = angle_between(one.variants(MONOCLINIC)[:, None], two.variants(MONOCLINIC)[None])
    assert gap.min() < 1e-5
    # Σ3 is the half turn about {111} and about <112>.
    sigma3 = LAWS["Σ3"].variants(CU)
    for law in (twin_law(CU, (1, 1, -1)), twin_law_axis(CU, (1, 1, 2))):
        assert angle_between(sigma3, law.rotation).min() < 1e-5
    # The iron cross of pyrite is no symmetry of m-3, and one of m-3m.
    assert twin_law(PYRITE, (1, 1, 0)).angle(PYRITE) == pytest.approx(90)
    with pytest.raises(BadInputError, match="symmetry of the crystal"):
        twin_law(CU, (1, 1, 0))


def test_four_indices():
    three, four = twin_law(MG, (1, 0, 2)), twin_law(MG, (1, 0, -1, 2))
    np.testing.assert_allclose(three.rotation, four.rotation)
    assert four.name == "{10-12}"
    three, four = twin_law_axis(MG, (1, 1, 1)), twin_law_axis(MG, (1, 1, -2, 3))
    np.testing.assert_allclose(three.rotation, four.rotation)
    assert twin_law(MG, (1, 0, 2), name="tension", tolerance_deg=3).name == "tension"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: twin_law(MG, (0, 0, 0)), "whole numbers"),
        (lambda: twin_law(MG, (1, 0.5, 0)), "whole numbers"),
        (lambda: twin_law(MG, (1, np.nan, 0)), "whole numbers"),
        (lambda: twin_law(MG, (1, 0)), "whole numbers"),
        (lambda: twin_law_axis(MG, (1, 1, 1, 3)), "add up to 0"),
        (lambda: twin_law(MG, (0, 0, 1)), "symmetry of the crystal"),
        (lambda: TwinLaw("x", np.zeros(4)), "quaternion"),
        (lambda: TwinLaw("x", np.ones(3)), "quaternion"),
        (lambda: TwinLaw("x", np.ones(4), 0), "tolerance"),
        (lambda: TwinLaw("x", np.ones(4), 31), "tolerance"),
    ],
)
def test_laws_that_cannot_be(make, says):
    with pytest.raises(BadInputError, match=says):
        make()


def test_standard_laws(make_phase):
    assert len(standard_laws(CU)) == len(standard_laws(PYRITE)) == 19
    assert [law.name for law in standard_laws(MG)] == [law.name for law in hexagonal_twins(MG)]
    layered = file_phase("WS2", (3.16, 3.16, 12.3, 90, 90, 120), "6/mmm", 0)
    assert standard_laws(layered) == ()
    assert standard_laws(make_phase("-3m")) == ()
    assert standard_laws(CU, criterion="palumbo-aust")[0].tolerance_deg < 7


# ------------------------------------------------------------------ edges

quaternions = st.integers(0, 2**32 - 1).map(
    lambda seed: (lambda q: q / np.linalg.norm(q))(np.random.default_rng(seed).normal(size=4))
)
CASES = [(CU, csl_laws()[0]), (CU, csl_laws()[8]), (MG, hexagonal_twins(MG)[0])]
CASES += [(RUTILE, twin_law(RUTILE, (1, 0, 1))), (MONOCLINIC, twin_law(MONOCLINIC, (1, 0, 1)))]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CASES), quaternions, quaternions, quaternions, st.floats(0, 0.95), st.data())
def test_laws_are_the_same_for_any_variant_side_and_sample(case, first, axis, turn, off, data):
    """Symmetry on both sides, the other side first, and the sample turned as a whole."""
    phase, law = case
    operators = laue_operators(phase)
    choose = st.integers(0, len(operators) - 1)
    one, two = (operators[data.draw(choose)] for _ in range(2))
    wanted = off * law.tolerance_deg
    second = rotated((Rotation(law.rotation) * Rotation(first)).data[0], axis[:3], wanted)
    whole = Rotation(turn)
    sides = [
        ((Rotation(s) * Rotation(q) * whole).data[0], 0) for s, q in ((one, first), (two, second))
    ]
    for pair in (sides, sides[::-1]):
        found = columns_of((phase,), *pair)
        laws = laws_of(found, laws_by_phase={0: [law]}, minimum=1.0)
        np.testing.assert_array_equal(laws.law_x, np.tile([0, 1, 0], (3, 1)))
        assert not laws.law_y.any()
        # Another variant may be nearer still, never farther.
        assert laws.deviation_x[0, 1] <= wanted + 1e-3
        # Brute force with orix: every variant of the law and of its inverse.
        turned = (Rotation(pair[1][0]) * ~Rotation(pair[0][0])).data
        both = Rotation(np.stack((law.rotation, (~Rotation(law.rotation)).data[0])))
        every = Rotation(operators).outer(both).outer(Rotation(operators)).data.reshape(-1, 4)
        assert laws.deviation_x[0, 1] == pytest.approx(angle_between(every, turned).min(), abs=2e-3)


def test_deviation_tolerance_and_lengths():
    sigma3 = LAWS["Σ3"].rotation
    here = (1, 0, 0, 0)
    off = [0.0, 4.0, 8.5, 9.0]
    stripes = [(here, 0)]
    for angle in off:  # a change of axis: each boundary is apart from Σ3 by that angle
        base = stripes[-1][0]
        second = (Rotation(sigma3) * Rotation(base)).data[0]
        stripes.append((rotated(second, (3, 1, -2), angle), 0))
    found = columns_of((CU,), *stripes)
    laws = laws_of(found, laws_by_phase={0: [LAWS["Σ3"]]})
    np.testing.assert_array_equal(laws.law_x[0, 1::2], [1, 1, 1, 0])
    np.testing.assert_allclose(laws.deviation_x[0, 1:6:2], off[:3], atol=1e-3)
    assert np.isnan(laws.deviation_x[0, 0])
    assert laws.lengths[0] == 3 * 3 * 2.0
    assert laws.phase_lengths[0] == 4 * 3 * 2.0
    assert laws.fractions[0] == laws.twin_fraction() == laws.twin_fraction(0) == 0.75
    assert laws.unit == "nm"
    assert len(laws.line_segments(1)) == 3
    assert len(laws.polylines(1)) == 3
    table = {column.name: column.values.tolist() for column in laws.columns()}
    assert table["law"] == ["Σ3"]
    assert table["share"] == [0.75]


def test_of_several_laws_the_nearest_by_its_tolerance():
    """4° from Σ3 is nearer to it than to Σ5, which a wider tolerance would reach too."""
    here = (1, 0, 0, 0)
    laws = csl_laws()
    for law in laws:
        found = columns_of((CU,), (here, 0), (law.rotation, 0))
        done = laws_of(found)
        names = [entry.name for entry in done.legend]
        assert names[done.law_x[0, 1] - 1] == law.name
        assert done.deviation_x[0, 1] < 1e-3
        assert done.twin_fraction() == float(law.twin)


def test_coincidence_of_a_crystal_with_less_symmetry_than_its_lattice():
    """In m-3, Σ3 turned by 90° about an axis is another twin, of the same lattices."""
    quarter = Rotation.from_axes_angles((0, 0, 1), np.pi / 2)
    for turn in (Rotation(LAWS["Σ3"].rotation), quarter * Rotation(LAWS["Σ3"].rotation)):
        found = columns_of((CU, PYRITE), ((1, 0, 0, 0), 1), (turn.data[0], 1))
        laws = laws_of(found)
        assert {entry.phase for entry in laws.legend} == {1}
        assert laws.legend[laws.law_x[0, 1] - 1].name == "Σ3"
    iron_cross = twin_law(PYRITE, (1, 1, 0))
    found = columns_of((CU, PYRITE), ((1, 0, 0, 0), 1), (quarter.data[0], 1))
    assert laws_of(found, laws_by_phase={1: [iron_cross]}).law_x[0, 1] == 1


def test_each_phase_has_its_own_laws():
    mg = hexagonal_twins(MG)[0]
    found = columns_of(
        (CU, MG),
        ((1, 0, 0, 0), 0), (LAWS["Σ3"].rotation, 0),
        ((1, 0, 0, 0), 1), (mg.rotation, 1),
    )  # fmt: skip
    laws = laws_of(found)
    assert len(laws.legend) == 19 + 5
    assert [entry.code for entry in laws.legend] == list(range(1, 25))
    twins = laws.law_x[0, 1::2]
    assert [laws.legend[code - 1].name if code else "" for code in twins] == ["Σ3", "", "{10-12}"]
    assert laws.twin_fraction() == laws.twin_fraction(0) == laws.twin_fraction(1) == 1.0
    only = laws_of(found, laws_by_phase={1: [mg]})
    assert only.twin_fraction() == 1.0
    assert np.isnan(only.twin_fraction(0))


def test_what_a_half_turn_would_undo():
    """Beam along [111]: the Σ3 twin shows the same pattern."""
    lab = Rotation.from_align_vectors([[1, 1, 1], [1, -1, 0]], [[0, 0, 1], [1, 0, 0]])
    twin = Rotation(LAWS["Σ3"].rotation) * lab
    other = twin_law(CU, (1, 1, -1))  # about an axis across the beam
    plain = Rotation(other.rotation) * lab
    found = columns_of((CU,), (lab.data[0], 0), (twin.data[0], 0))
    laws = laws_of(found)
    assert laws.lengths[0] == laws.vanishing[0] == 6.0
    found = columns_of((CU,), (lab.data[0], 0), (plain.data[0], 0))
    laws = laws_of(found)
    assert laws.lengths[0] == 6.0
    assert laws.vanishing[0] == 0.0


def test_minimum_and_grains():
    here = (1, 0, 0, 0)
    found = columns_of((CU,), (here, 0), (LAWS["Σ25a"].rotation, 0), (LAWS["Σ3"].rotation, 0))
    edges = find_boundaries(found, high=20.0)
    assert classify_laws(found, edges).law_x[0, 1] == 0
    assert classify_laws(found, edges, minimum=10.0).law_x[0, 1] == 16
    grains = find_grains(found, boundaries=edges, min_size=7)
    assert len(grains) == 0
    nothing = classify_laws(found, edges, grains=grains)
    assert not nothing.law_x.any()
    assert np.isnan(nothing.twin_fraction())
    assert np.isnan(nothing.fractions).all()


@pytest.mark.parametrize(
    ("laws", "says"),
    [
        ({3: []}, "no phase 3"),
        ({0: [TwinLaw("tiny", np.array([1, 0.01, 0, 0]))]}, "below that"),
    ],
)
def test_laws_that_do_not_fit(laws, says):
    found = columns_of((CU,), ((1, 0, 0, 0), 0), (LAWS["Σ3"].rotation, 0))
    with pytest.raises(BadInputError, match=says):
        laws_of(found, laws_by_phase=laws)
    with pytest.raises(BadInputError, match="find them again"):
        classify_laws(found, find_boundaries(columns_of((CU,), ((1, 0, 0, 0), 0))))


# ---------------------------------------------------------------- merging


@pytest.fixture
def lamellae():
    """Parent, twin, parent, a second twin, then a grain of its own and nothing known."""
    base = np.array((0.31, 0.22, -0.57, 0.73))
    base /= np.linalg.norm(base)
    first = (Rotation(LAWS["Σ3"].rotation) * Rotation(base)).data[0]
    second = (Rotation(twin_law(CU, (1, 1, -1)).rotation) * Rotation(first)).data[0]
    stranger = rotated(base, (1, 2, 5), 31.0)
    return columns_of(
        (CU,), (base, 0), (base, 0), (first, 0), (base, 0), (stranger, 0), (second, 0), (first, 0)
    )


def test_twins_are_merged_into_their_parent(lamellae):
    grains = find_grains(lamellae)
    edges = find_boundaries(lamellae)
    pairs = find_pairs(lamellae, grains)
    laws = classify_laws(lamellae, edges)
    merged = merge_by_laws(grains, pairs, laws)
    assert len(grains) == 6
    np.testing.assert_array_equal(merged.parent_of, [1, 1, 1, 2, 3, 3])
    np.testing.assert_array_equal(merged.members, [3, 1, 2])
    assert merged.codes == (1,)
    parents = merged.grains
    np.testing.assert_array_equal(parents.sizes, np.bincount(parents.labels.ravel())[1:])
    for i in range(3):
        mask = parents.labels == i + 1
        np.testing.assert_allclose(parents.centroids[i], np.argwhere(mask).mean(axis=0))
    # The first lamella is the widest.
    np.testing.assert_allclose(parents.mean_rotations[0], grains.mean_rotations[0])
    table = boundary_properties(lamellae, grains, edges, pairs=pairs, laws=laws)
    columns = {column.name: column.values.tolist() for column in table.columns()}
    assert columns["law"] == ["Σ3", "Σ3", "", "", "Σ3"]
    np.testing.assert_allclose(columns["mean_disorientation"][:2], 60, atol=1e-3)
    assert table.law_share[0] == 1.0
    assert table.deviation[0] < 1e-3


def test_what_is_merged_across_can_be_chosen(lamellae):
    grains = find_grains(lamellae)
    pairs = find_pairs(lamellae, grains)
    laws = classify_laws(lamellae, find_boundaries(lamellae))
    by_name = merge_by_laws(grains, pairs, laws, across=("Σ3", "Σ9"))
    assert by_name.codes == (1, 4)
    by_code = merge_by_laws(grains, pairs, laws, across=(4,))
    np.testing.assert_array_equal(by_code.parent_of, np.arange(1, 7))
    with pytest.raises(BadInputError, match="there is no law 'Σ99' here: the laws are Σ3, Σ5"):
        merge_by_laws(grains, pairs, laws, across=("Σ99",))
    for share in (0, 1.5):
        with pytest.raises(BadInputError, match="share"):
            merge_by_laws(grains, pairs, laws, share=share)
    with pytest.raises(BadInputError, match="other grains"):
        merge_by_laws(find_grains(lamellae, min_size=10), pairs, laws)


def test_the_share_of_the_shared_length_decides():
    """Half of the rows twin, half another grain's orientation on the right of one left grain."""
    q = np.zeros((4, 4, 1, 4))
    q[..., 0] = 1.0
    twin = LAWS["Σ3"].rotation
    q[:3, 2:, 0] = twin
    q[3, 2:, 0] = rotated(twin, (0, 1, 3), 9.5)  # too far from the law, near to its neighbours
    ones = np.ones((4, 4))
    found = OrientationMap(
        rotations=q,
        scores=ones[..., None],
        phase_ids=0 * ones[..., None],
        reliability=ones,
        ambiguity=0 * ones,
        phases=(CU,),
    )
    grains = find_grains(found, threshold=10)
    assert len(grains) == 2
    pairs, laws = find_pairs(found, grains), laws_of(found, laws_by_phase={0: [LAWS["Σ3"]]})
    assert len(merge_by_laws(grains, pairs, laws, share=0.75).grains) == 1
    assert len(merge_by_laws(grains, pairs, laws, share=0.8).grains) == 2


def test_no_grains_merge_into_none():
    found = columns_of((CU,), ((1, 0, 0, 0), -1))
    grains = find_grains(found)
    merged = merge_by_laws(grains, find_pairs(found, grains), laws_of(found))
    assert len(merged.grains) == 0
    assert merged.parent_of.shape == (0,)


# --------------------------------------------------------------- measured


def test_measured_nickel_is_full_of_twins(shared_data):
    """Nickel: about half of the boundary is Σ3, and closely so; orix agrees."""
    found = load_map(shared_data / "maps/odd_ang_ctf/EdaxAngOnly.h5")
    edges = find_boundaries(found)
    grains = find_grains(found, boundaries=edges, min_size=3)
    laws = classify_laws(found, edges, grains=grains)
    assert 0.4 < laws.twin_fraction() < 0.6
    # Chance alone would give 1.8 %, spread over the tolerance; twins are exact.
    on_twins = laws.deviation_x[laws.law_x == 1]
    assert np.median(on_twins) < 1.5
    y, x = (places[::20] for places in np.nonzero(laws.law_x == 1))
    left, right = (
        Orientation(found.best_rotations[y, x + i].astype(float), symmetry=Oh) for i in (0, 1)
    )
    angle = np.rad2deg(left.angle_with(right))
    assert np.abs(angle - 60).max() < 8.7
    merged = merge_by_laws(grains, find_pairs(found, grains), laws)
    assert 80 < len(merged.grains) < 160 < 250 < len(grains) < 400


def test_measured_austenite_twins_and_ferrite_does_not(shared_data):
    found = load_map(shared_data / "maps/duplex_steel_ang/sdss_ferrite_austenite.ang")
    edges = find_boundaries(found)
    laws = classify_laws(found, edges, grains=find_grains(found, boundaries=edges, min_size=3))
    assert 0.55 < laws.twin_fraction(0) < 0.8
    assert laws.twin_fraction(1) < 0.15
