"""Pole figures: where poles lie, densities that are known, regions back to pixels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from orix.crystal_map import Phase
from orix.quaternion import Orientation
from orix.vector import Miller

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.color_key import color_key
from napari_diffmap.maps.colors import DIRECTIONS
from napari_diffmap.maps.phases import MapPhase
from napari_diffmap.maps.texture.pole_figure import (
    Density,
    inverse_pole_figure,
    pole_figure,
    sector_border,
)
from napari_diffmap.maps.texture.poles import (
    PROJECTIONS,
    Circle,
    Lasso,
    Projection,
    crystal_directions,
    crystal_poles,
    directions_inside,
    lab_poles,
    poles_inside,
    project,
    read_indices,
    sector_points,
    unproject,
    usual_poles,
)


def phase(space_group: int, *cell: float) -> MapPhase:
    from diffpy.structure import Lattice, Structure

    structure = Structure(lattice=Lattice(*cell))
    made = Phase(name=f"sg{space_group}", space_group=space_group, structure=structure)
    return MapPhase(made.name, "#0072B2", made)


CUBIC = phase(225, 4, 4, 4, 90, 90, 90)
HEXAGONAL = phase(194, 3.2, 3.2, 5.2, 90, 90, 120)
PHASES = [
    CUBIC,
    HEXAGONAL,
    phase(166, 3, 3, 14, 90, 90, 120),
    phase(136, 4.6, 4.6, 3, 90, 90, 90),
    phase(62, 5, 6, 7, 90, 90, 90),
    phase(14, 5, 6, 7, 90, 99, 90),
    phase(2, 5, 6, 7, 80, 85, 95),
]


def random_rotations(n: int, seed: int = 0) -> NDArray[np.float64]:
    q = np.random.default_rng(seed).normal(size=(n, 4))
    return q / np.linalg.norm(q, axis=1, keepdims=True)


def places(density: Density) -> NDArray[np.float64]:
    """Plot coordinates of every pixel."""
    n = len(density.picture)
    left, top, side = density.box
    at = (np.arange(n) + 0.5) / n * side
    return np.stack(np.meshgrid(left + at, top + at), axis=-1)


def brightest(density: Density) -> NDArray[np.float64]:
    row, column = np.unravel_index(np.nanargmax(density.picture), density.picture.shape)
    return unproject(places(density)[row, column], density.projection)


def degrees(one: NDArray[Any], two: NDArray[Any]) -> NDArray[np.float64]:
    """Angle between axes."""
    return np.rad2deg(np.arccos(np.clip(np.abs(np.asarray(one) @ np.asarray(two).T), 0, 1)))


# -------------------------------------------------------------------- indices
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("111", ("plane", (1, 1, 1))),
        ("{10-10}", ("plane", (1, 0, -1, 0))),
        ("(1 0 -1 2)", ("plane", (1, 0, -1, 2))),
        ("[0,0,12]", ("direction", (0, 0, 12))),
        ("<-110>", ("direction", (-1, 1, 0))),
    ],
)
def test_indices_are_read_as_the_field_writes_them(text: str, wanted: Any) -> None:
    assert read_indices(text) == wanted


@pytest.mark.parametrize("text", ["", "abc", "11", "000", "1010", "1 2 x", "12345"])
def test_what_is_no_index_is_refused(text: str) -> None:
    with pytest.raises(BadInputError, match=r"indices"):
        read_indices(text)


def test_four_indices_need_a_hexagonal_lattice() -> None:
    with pytest.raises(BadInputError, match="hexagonal"):
        crystal_poles(CUBIC, "{10-10}")


@pytest.mark.parametrize("given", PHASES, ids=lambda p: p.point_group.name)
@pytest.mark.parametrize("indices", [(1, 0, 0), (0, 0, 1), (1, 2, 3)])
@pytest.mark.parametrize("kind", ["plane", "direction"])
def test_families_are_those_of_orix(given: MapPhase, indices: Any, kind: str) -> None:
    text = "".join(map(str, indices))
    ours = crystal_poles(given, text if kind == "plane" else f"[{text}]")
    name = "hkl" if kind == "plane" else "uvw"
    laue = Phase(point_group=given.point_group.laue, structure=given.orix.structure)
    theirs = Miller(phase=laue, **{name: [indices]}).symmetrise(unique=True).unit.data
    assert np.isclose(np.abs(theirs @ ours.T).max(axis=1), 1).all()
    assert np.isclose(np.abs(theirs @ ours.T).max(axis=0), 1).all()
    assert 2 * len(ours) == len(theirs)


def test_usual_poles_can_all_be_drawn() -> None:
    for given in PHASES:
        for text in usual_poles(given):
            assert len(crystal_poles(given, text))


# ---------------------------------------------------------------- directions
def test_laboratory_directions_are_those_of_orix() -> None:
    q = random_rotations(50)
    poles = crystal_poles(HEXAGONAL, "{10-11}")
    (_, ours), *rest = list(lab_poles(q, poles))
    assert not rest
    theirs = (~Orientation(q)).outer(Miller(xyz=poles, phase=HEXAGONAL.orix)).data
    theirs = theirs * np.where(theirs[..., 2:] < 0, -1, 1)
    flat = np.isclose(theirs[..., 2], 0, atol=1e-5)
    assert np.allclose(ours[~flat], theirs[~flat], atol=1e-5)
    assert (ours[..., 2] >= 0).all()


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_projections_come_back(projection: Projection) -> None:
    v = random_rotations(200)[:, :3]
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    v[:, 2] = np.abs(v[:, 2])
    flat = project(v, projection)
    assert (np.hypot(*flat.T) <= 1 + 1e-9).all()
    assert np.allclose(unproject(flat, projection), v)


# ------------------------------------------------------------------ densities
@pytest.mark.parametrize("projection", PROJECTIONS)
def test_an_even_distribution_has_density_one_everywhere(projection: Projection) -> None:
    q = random_rotations(200_000)
    density = pole_figure(q, crystal_poles(CUBIC, "123"), projection=projection, half_width=10)
    assert 0.97 < density.lowest <= density.highest < 1.03
    r = np.hypot(*np.moveaxis(places(density), -1, 0))
    assert (np.isfinite(density.picture) == (r <= 1)).all()


@pytest.mark.parametrize("given", PHASES, ids=lambda p: p.point_group.name)
def test_an_even_distribution_has_an_even_inverse_pole_figure(given: MapPhase) -> None:
    q = random_rotations(150_000)
    for direction in DIRECTIONS.values():
        density = inverse_pole_figure(q, given, direction, half_width=12)
        assert 0.93 < density.lowest <= density.highest < 1.07


def test_one_crystal_has_its_poles_where_they_are() -> None:
    """Turned by 30° about the beam, and tilted: ⟨100⟩ of a cube crystal."""
    poles = crystal_poles(CUBIC, "{001}")
    turned = np.deg2rad(30)
    q = np.array([[np.cos(turned / 2), 0, 0, np.sin(turned / 2)]])
    density = pole_figure(q, poles, half_width=5, size=301)
    # Orientation: laboratory to crystal, so the crystal's axes are turned back.
    expected = np.array(
        [[np.cos(turned), -np.sin(turned), 0], [np.sin(turned), np.cos(turned), 0], [0, 0, 1]]
    )
    assert degrees(brightest(density), expected).min() < 1.5
    shown = unproject(places(density), "stereographic")[np.isfinite(density.picture)]
    values = density.picture[np.isfinite(density.picture)]
    near = degrees(shown, expected).min(axis=1)
    assert values[near > 20].max() < 0.01 * density.highest
    for pole in expected:
        assert values[degrees(shown, pole[None])[:, 0] < 1].max() > 0.9 * density.highest
    # At the half width from the beam the density is half of that at the beam.
    at = degrees(shown, expected[2:])[:, 0]
    assert values[np.abs(at - 5) < 0.4].mean() == pytest.approx(0.5 * values[at < 1].max(), rel=0.1)


def test_the_mean_of_a_density_is_one() -> None:
    q = random_rotations(3, seed=5)
    density = pole_figure(
        q, crystal_poles(HEXAGONAL, "{0001}"), projection="equal area", half_width=9
    )
    assert np.nanmean(density.picture) == pytest.approx(1, abs=0.02)


def test_x_is_right_and_y_is_down() -> None:
    """A c axis close to the sample's Y is drawn at the bottom."""
    tilt = np.deg2rad(80)  # crystal c to laboratory (0, sin, cos)
    q = np.array([[np.cos(tilt / 2), np.sin(tilt / 2), 0, 0]])
    (_, v), *_ = lab_poles(q, crystal_poles(HEXAGONAL, "0001"))
    assert np.allclose(v[0, 0], (0, np.sin(tilt), np.cos(tilt)), atol=1e-6)
    density = pole_figure(q, crystal_poles(HEXAGONAL, "0001"), half_width=5)
    row, _ = np.unravel_index(np.nanargmax(density.picture), density.picture.shape)
    assert row > 0.85 * len(density.picture)


def test_an_inverse_pole_figure_of_one_crystal() -> None:
    q = random_rotations(1, seed=3)
    density = inverse_pole_figure(q, CUBIC, DIRECTIONS["y"], half_width=5, size=301)
    key = color_key(CUBIC.point_group)
    place = sector_points(crystal_directions(q, DIRECTIONS["y"]), key, "stereographic")[0]
    row, column = np.unravel_index(np.nanargmax(density.picture), density.picture.shape)
    assert np.hypot(*(places(density)[row, column] - place)) < 0.02
    theirs = Orientation(q, symmetry=CUBIC.point_group) * Miller(
        xyz=[DIRECTIONS["y"]], phase=CUBIC.orix
    )
    inside = theirs.in_fundamental_sector().unit.data[0]
    assert np.allclose(project(inside, "stereographic") * (1, -1), place, atol=1e-5)


def test_the_sector_border_encloses_the_figure() -> None:
    from matplotlib.path import Path

    density = inverse_pole_figure(random_rotations(10), CUBIC, DIRECTIONS["z"], half_width=10)
    border = Path(sector_border(color_key(CUBIC.point_group), "stereographic"))
    shown = np.isfinite(density.picture)
    assert (border.contains_points(places(density)[shown])).mean() > 0.97


def test_no_orientations_and_wrong_widths_are_refused() -> None:
    poles = crystal_poles(CUBIC, "001")
    with pytest.raises(BadInputError, match="no orientations"):
        pole_figure(np.zeros((0, 4)), poles)
    with pytest.raises(BadInputError, match="half width"):
        pole_figure(random_rotations(1), poles, half_width=1)


# -------------------------------------------------------------------- regions
def test_a_circle_holds_what_is_within_its_angle_also_beyond_the_rim() -> None:
    q = random_rotations(2000)
    poles = crystal_poles(CUBIC, "{111}")
    center = np.array((np.sin(1.5), 0, np.cos(1.5)))  # 4° from the rim
    circle = Circle((float(center[0]), 0.0, float(center[2])), 12)
    (_, v), *_ = lab_poles(q, poles)
    expected = (degrees(v.reshape(-1, 3), center[None]) <= 12).reshape(v.shape[:2]).any(axis=1)
    assert (poles_inside(q, poles, circle, "stereographic") == expected).all()
    assert len(circle.outline("equal area")) >= 2
    assert len(Circle((0.0, 0.0, 1.0), 12).outline("equal area")) == 1


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_a_lasso_about_the_centre_is_a_circle(projection: Projection) -> None:
    q = random_rotations(4000)
    poles = crystal_poles(CUBIC, "{001}")
    circle = Circle((0.0, 0.0, 1.0), 25)
    (line,) = circle.outline(projection)
    lasso = Lasso(tuple((float(x), float(y)) for x, y in line))
    one = poles_inside(q, poles, circle, projection)
    two = poles_inside(q, poles, lasso, projection)
    assert (one == two).mean() > 0.999


def test_regions_of_the_sector() -> None:
    q = random_rotations(5000)
    key = color_key(CUBIC.point_group)
    crystal = crystal_directions(q, DIRECTIONS["z"])
    corner = np.ones(3) / np.sqrt(3)
    circle = Circle((float(corner[0]),) * 3, 10)
    expected = degrees(crystal, crystal_poles(CUBIC, "111")).min(axis=1) <= 10
    assert (directions_inside(crystal, key, circle, "stereographic") == expected).mean() > 0.9995
    left, top = sector_border(key, "stereographic").min(axis=0) - 0.1
    everything = Lasso(((left, top), (1.0, top), (1.0, 1.0), (left, 1.0)))
    assert directions_inside(crystal, key, everything, "stereographic").all()


def test_a_phase_needs_only_what_maps_need() -> None:
    bare = SimpleNamespace(name="Au", color="#000000", orix=CUBIC.orix)
    bare.point_group = CUBIC.point_group
    assert len(crystal_poles(bare, "111")) == 4
