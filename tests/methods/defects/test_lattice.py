"""The lattice of an image, against simulated ones whose sites are known."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform, gaussian_filter
from scipy.spatial import cKDTree

from napari_diffmap.methods.defects.lattice import (
    Lattice,
    NoLatticeError,
    find_lattice,
    follow_lattice,
)
from napari_diffmap.methods.defects.simulated import Simulated, simulate


@cache
def scene(material: str = "WS2", pixel_nm: float = 0.03, distortion: float = 0.0) -> Simulated:
    carbon = material == "graphene"
    return simulate(
        np.random.default_rng(5),
        material,
        size=256,
        pixel_nm=pixel_nm,
        peak=60,
        vacancies=8,
        dopants=5,
        dopant="Si" if carbon else "Cr",
        distortion=distortion,
    )


def apart(lattice: Lattice, some: Simulated) -> tuple[float, float]:
    """Root mean square distance of sites along each axis (px), share of the right sublattice."""
    sites = lattice.sites(4)
    gap, nearest = cKDTree(some.sites).query(sites.places)
    right = (some.sublattice[nearest] == sites.sublattice).mean()
    return float(np.sqrt((gap**2).mean() / 2)), float(right)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("material", "pixel_nm"), [("WS2", 0.03), ("MoS2", 0.02), ("WSe2", 0.04)])
def test_sites_are_where_they_were_put(material: str, pixel_nm: float, known: bool) -> None:
    some = scene(material, pixel_nm)
    lattice = find_lattice(some.image, 1.04 * some.spacing if known else None)
    off, right = apart(lattice, some)
    assert off < 0.01 * some.spacing
    assert right == 1
    assert lattice.hexagonal
    assert lattice.spacing == pytest.approx(some.spacing, rel=0.003)
    assert lattice.bond == pytest.approx(some.spacing / np.sqrt(3), rel=0.02)


def test_a_distorted_scan_is_followed() -> None:
    some = scene("WS2", 0.03, 2.0)
    assert apart(find_lattice(some.image), some)[0] < 0.12


def test_distortion_beyond_half_a_cell_is_followed() -> None:
    some = simulate(np.random.default_rng(1), "WSe2", pixel_nm=0.05, peak=60, distortion=2.0)
    lattice = find_lattice(some.image)
    assert apart(lattice, some)[0] < 0.15


def test_a_sheared_lattice_is_one() -> None:
    some = scene()
    shear = np.array([[1.0, 0.06], [-0.05, 1.03]])
    image = affine_transform(some.image, shear, order=3, mode="nearest")[8:-24, 8:-24]
    lattice = find_lattice(image, some.spacing)
    # A place p of the new image shows what lay at shear · p.
    there = (lattice.sites(20).places + 8) @ shear.T
    inner = ((there > 10) & (there < 245)).all(axis=1)
    assert np.percentile(cKDTree(some.sites).query(there[inner])[0], 95) < 0.3


def test_graphene_has_two_equal_sublattices_and_a_hollow() -> None:
    some = scene("graphene", 0.015)
    lattice = find_lattice(some.image, some.spacing)
    assert lattice.brightness.min() > 0.5 * lattice.brightness.max()
    off, _ = apart(lattice, some)
    assert off < 0.01 * some.spacing


@pytest.mark.parametrize("peak", [50.0, 1e6])
def test_a_honeycomb_is_not_taken_for_the_lattice_of_all_its_places(peak: float) -> None:
    """Its second ring outshines the first, without noise by far."""
    some = simulate(
        np.random.default_rng(2), "graphene", size=384, pixel_nm=0.008, probe_nm=0.05, peak=peak,
        vacancies=0, dopants=0, dopant="Si",
    )  # fmt: skip
    assert find_lattice(some.image).spacing == pytest.approx(some.spacing, rel=0.01)


@pytest.mark.parametrize("width", [0.0, 2.5])
def test_noise_has_no_lattice(width: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.poisson(3, (256, 256)).astype(float)
    if width:
        image += 10 * gaussian_filter(rng.normal(size=image.shape), width)
    with pytest.raises(NoLatticeError, match="check the pixel size"):
        find_lattice(image, 31.5)


def test_an_empty_frame_has_no_lattice() -> None:
    with pytest.raises(NoLatticeError):
        find_lattice(np.full((64, 64), np.nan))


@settings(max_examples=6, deadline=None)
@given(st.floats(0.01, 1e5), st.floats(-1e3, 1e3), st.integers(-30, 30), st.integers(-30, 30))
def test_units_and_place_do_not_matter(scale: float, offset: float, down: int, right: int) -> None:
    some = scene()
    moved = np.roll(some.image, (down, right), (0, 1)) * scale + offset
    part = (slice(32, 224), slice(32, 224))
    before, after = find_lattice(some.image[part]), find_lattice(moved[part])
    # Where the sites of the one lie in the other.
    _, _, gap = after.nearest(before.sites(40).places + np.array((down, right)))
    assert np.median(gap) < 0.15


def test_the_next_frame_begins_from_this_one() -> None:
    some = scene()
    start = find_lattice(some.image)
    moved = np.roll(some.image, (3, -2), (0, 1))
    lattice = follow_lattice(moved, start)
    _, kind, gap = lattice.nearest(start.sites(12).places + np.array((3, -2)))
    assert np.median(gap) < 0.1
    assert (kind == start.sites(12).sublattice).mean() > 0.99
