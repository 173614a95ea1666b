"""Templates: against the Ewald construction by hand, their spectra against a drawn pattern."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from orix.quaternion import Rotation

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.methods.orientation.library import (
    TemplateLibrary,
    build_library,
    friedel_partners,
    parts,
    relative_heights,
    template_spectra,
)
from napari_diffmap.methods.orientation.polar import PolarGrid

GRID = PolarGrid(0.1, 1.3, 24, 256)
SIGMA = 0.02
#: de Broglie wavelength at 200 kV, Å (tabulated).
WAVELENGTH = 0.0250793


@pytest.fixture(scope="module", params=["LiNiO2", "Si", "WS2"])
def library(request: pytest.FixtureRequest) -> TemplateLibrary:
    return made(request.param)


def made(name: str, **changes: Any) -> TemplateLibrary:
    settings = {"voltage_kv": 200, "sigma": SIGMA, "zone_step_deg": 5, "intensity_power": 0.25}
    return build_library(load_phase(name), GRID, **{**settings, **changes})


def ewald(library: TemplateLibrary, zone: int) -> tuple[np.ndarray, np.ndarray]:
    """Spots ``k`` of one zone and their heights, by hand in float64."""
    found = reflections(library.phase, GRID.q_max)
    k = found.g @ np.asarray(Rotation(library.rotations[zone]).to_matrix())[0]
    # Distance of k from the Ewald sphere, along the direction to its centre (0, 0, -1/λ).
    s = 1 / WAVELENGTH - np.linalg.norm(k + np.array([0, 0, 1 / WAVELENGTH]), axis=1)
    height = (found.amplitude2 / found.amplitude2.max()) ** 0.25 * np.exp(-0.5 * (s / SIGMA) ** 2)
    q = np.hypot(k[:, 0], k[:, 1])
    return k, np.where((q > GRID.q_min) & (q < GRID.q_max), height, 0.0)


def test_spots_are_those_of_the_ewald_construction(library: TemplateLibrary) -> None:
    """Every spot of a template is one of the crystal, none of the strong ones is left out."""
    for zone in range(0, len(library), 11):
        k, height = ewald(library, zone)
        used = library.amplitude[zone] > 0
        q, theta = library.q[zone][used].numpy(), library.theta[zone][used].numpy()
        x, y = q * np.cos(theta), q * np.sin(theta)
        gaps = np.hypot(x[:, None] - k[:, 0], y[:, None] - k[:, 1])
        # g of different zones may fall on one place: the nearest in height too.
        unlike = np.abs(library.amplitude[zone][used].numpy()[:, None] - height)
        assert (np.hypot(gaps, 0.1 * unlike).min(axis=1) < 1e-3).all()
        # Those at the very limit of 0.01 may fall on either side.
        assert int(used.sum()) <= min((height > 0.0099).sum(), 128)
        assert int(used.sum()) >= min((height > 0.0101).sum(), 128)
        np.testing.assert_allclose(
            np.sort(library.amplitude[zone][used].numpy())[::-1][:20],
            np.sort(height)[::-1][: min(20, int(used.sum()))],
            atol=5e-3,
        )


def test_beam_is_along_the_zone(library: TemplateLibrary) -> None:
    seen = np.asarray(Rotation(library.rotations).to_matrix()) @ (0, 0, 1)
    np.testing.assert_allclose(seen, library.zones, atol=1e-9)


def test_narrow_width_leaves_fewer_spots() -> None:
    few, many = (
        (made("LiNiO2", sigma=sigma).amplitude > 0).sum(dim=1).float().mean()
        for sigma in (0.005, 0.03)
    )
    assert few < 0.6 * many


def drawn(library: TemplateLibrary, zone: int, width: float) -> np.ndarray:
    """A template drawn on the polar grid, ``(rings, angles)``: Gaussians of `width`."""
    step = 2 * np.pi / GRID.angles
    angle = np.arange(GRID.angles) * step
    image = np.zeros((GRID.rings, GRID.angles))
    for q, theta, height in zip(
        *(getattr(library, n)[zone].numpy() for n in ("q", "theta", "amplitude")), strict=True
    ):
        away = (angle - theta + np.pi) % (2 * np.pi) - np.pi
        radial = np.exp(-0.5 * ((GRID.radii - q) / width) ** 2)
        image += height * radial[:, None] * np.exp(-0.5 * (away * max(q, 1e-3) / width) ** 2)
    return image


def test_spectra_are_those_of_the_drawn_templates(library: TemplateLibrary) -> None:
    width = 0.05
    made = template_spectra(library, slice(3, 9), GRID, width)
    assert made.shape == (GRID.frequencies, GRID.rings, 12)
    for i in range(6):
        terms = np.fft.rfft(drawn(library, 3 + i, width), axis=1)
        ours = (made[..., i] + 1j * made[..., 6 + i]).numpy().T
        scale = (terms.conj() * ours).sum().real / (np.abs(terms) ** 2).sum()
        assert scale > 0
        assert np.abs(ours - scale * terms).max() < 2e-3 * np.abs(ours).max()


def test_spectra_have_unit_norm(library: TemplateLibrary) -> None:
    """By area: a ring counts by its radius (relative to the innermost)."""
    both = template_spectra(library, slice(0, 10), GRID, 0.05).numpy()
    power = both[..., :10] ** 2 + both[..., 10:] ** 2
    power[1:] *= 2
    norm = (power * (GRID.radii / GRID.radii[0])[None, :, None]).sum(axis=(0, 1))
    np.testing.assert_allclose(norm, 1, rtol=1e-4)


@pytest.mark.parametrize("name", ["LiNiO2", "WS2", "Si"])
def test_friedel_partner_is_minus_g(name: str) -> None:
    found = reflections(load_phase(name), 1.2)
    partner = friedel_partners(found)
    np.testing.assert_array_equal(found.hkl[partner], -found.hkl)
    np.testing.assert_allclose(found.g[partner], -found.g, atol=1e-12)
    np.testing.assert_array_equal(partner[partner], np.arange(len(found)))


def test_heights_are_intensities_to_a_power() -> None:
    found = reflections(load_phase("LiNiO2"), 1.2)
    np.testing.assert_allclose(relative_heights(found, 0), 1)
    whole = relative_heights(found, 1)
    assert whole.max() == 1
    np.testing.assert_allclose(whole * found.amplitude2.max(), found.amplitude2)
    np.testing.assert_allclose(relative_heights(found, 0.5) ** 2, whole)


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_parts_cover_the_library_once(library: TemplateLibrary, size: int) -> None:
    covered = [i for part in parts(library, size) for i in range(part.start, part.stop)]
    assert covered == list(range(len(library)))
    assert max(part.stop - part.start for part in parts(library, size)) <= size


def test_unused_places_weigh_nothing(library: TemplateLibrary) -> None:
    """Padding changes no spectrum."""
    n, used = library.amplitude.shape
    wide = TemplateLibrary(
        **{
            **{name: getattr(library, name) for name in library.__dataclass_fields__},
            **{
                name: torch.nn.functional.pad(getattr(library, name), (0, 5))
                for name in ("q", "theta", "amplitude")
            },
        }
    )
    assert wide.q.shape == (n, used + 5)
    torch.testing.assert_close(
        template_spectra(wide, slice(0, 4), GRID, 0.05),
        template_spectra(library, slice(0, 4), GRID, 0.05),
    )
