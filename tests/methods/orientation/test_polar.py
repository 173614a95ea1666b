"""Polar patterns: a turn is a shift, rings share a peak, the correlation finds the angle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.methods.orientation.library import TemplateLibrary, build_library
from napari_diffmap.methods.orientation.match import correlate
from napari_diffmap.methods.orientation.polar import PolarGrid, peak_spectra, phase_table

GRID = PolarGrid(0.1, 1.3, 24, 90)
WIDTH = 0.04


def spectra(
    q: np.ndarray, theta: np.ndarray, amplitude: np.ndarray, grid: PolarGrid = GRID
) -> torch.Tensor:
    q, theta, amplitude = (torch.as_tensor(v, dtype=torch.float32) for v in (q, theta, amplitude))
    return peak_spectra(grid, q, theta, amplitude, phase_table(grid))


def polar(q: np.ndarray, theta: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """The polar pattern itself, ``(b, rings, angles)``."""
    return torch.fft.irfft(spectra(q, theta, amplitude), n=GRID.angles, dim=-1).numpy()


def scattered(seed: int, b: int = 2, p: int = 9) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    # Half a grid angle is a whole number of steps of the phase table: 1440 / 90 = 16.
    theta = rng.integers(0, 1440, (b, p)) * 2 * np.pi / 1440
    return rng.uniform(0.14, 1.25, (b, p)), theta, rng.uniform(0.1, 1, (b, p))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(-200, 200))
def test_turned_pattern_is_shifted_cyclically(seed: int, steps: int) -> None:
    q, theta, amplitude = scattered(seed)
    turned = polar(q, theta + steps * 2 * np.pi / GRID.angles, amplitude)
    np.testing.assert_allclose(
        turned, np.roll(polar(q, theta, amplitude), steps, axis=2), atol=1e-4
    )


@pytest.mark.parametrize(("kx", "ky", "quarter"), [(1, 0, 0), (0, 1, 1), (-1, 0, 2), (0, -1, 3)])
def test_angle_runs_from_x_to_y(kx: int, ky: int, quarter: int) -> None:
    grid = PolarGrid(0.1, 1.3, 24, 88)
    terms = spectra(
        np.full((1, 1), 0.7), np.arctan2([[float(ky)]], [[float(kx)]]), np.ones((1, 1)), grid
    )
    rows = torch.fft.irfft(terms, n=grid.angles, dim=-1)[0].sum(dim=0)
    assert int(rows.argmax()) == quarter * grid.angles // 4


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1251, 1.2749), st.floats(-3, 3), st.floats(0.1, 5))
def test_peak_is_shared_by_the_two_rings_about_it(q: float, theta: float, height: float) -> None:
    terms = spectra(np.array([[q]]), np.array([[theta]]), np.array([[height]]))[0]
    share = terms[:, 0].real.numpy()
    assert (share > 1e-4 * height).sum() <= 2
    # Its height and its radius are kept.
    np.testing.assert_allclose(share.sum(), height, rtol=1e-4)
    np.testing.assert_allclose((share * GRID.radii).sum() / share.sum(), q, atol=1e-4)
    # Every Fourier term has the modulus of a point.
    np.testing.assert_allclose(terms.abs().sum(dim=0).numpy(), height, rtol=1e-3)


@pytest.mark.parametrize("q", [0.0, 0.05, 1.34, 30.0])
def test_peaks_beyond_the_limits_are_not_drawn(q: float) -> None:
    terms = spectra(np.array([[q]]), np.array([[0.3]]), np.ones((1, 1)))
    assert float(terms.abs().max()) == 0


def test_patterns_of_a_batch_do_not_mix() -> None:
    q, theta, amplitude = scattered(4, b=3)
    amplitude[1] = 0
    together = spectra(q, theta, amplitude)
    assert float(together[1].abs().max()) == 0
    for i in (0, 2):
        alone = spectra(q[i : i + 1], theta[i : i + 1], amplitude[i : i + 1])
        torch.testing.assert_close(together[i], alone[0])


def test_rings_are_evenly_spaced_within_the_limits() -> None:
    radii = GRID.radii
    assert len(radii) == GRID.rings
    np.testing.assert_allclose(np.diff(radii), GRID.ring_step)
    np.testing.assert_allclose(radii[0] - GRID.q_min, GRID.q_max - radii[-1])
    assert GRID.frequencies == len(np.fft.rfft(np.zeros(GRID.angles)))


# ---------------------------------------------------------- the correlation


@pytest.fixture(scope="module")
def library() -> TemplateLibrary:
    return build_library(
        load_phase("LiNiO2"),
        GRID,
        voltage_kv=200,
        sigma=0.02,
        zone_step_deg=6,
        intensity_power=0.25,
    )


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("steps", [0, 7, 44, 83])
def test_correlation_finds_zone_angle_and_mirror(
    library: TemplateLibrary, mirrored: bool, steps: int
) -> None:
    """Each template, mirrored in y or not and then turned, is found again."""
    chosen = torch.arange(0, len(library), 5)
    theta = library.theta[chosen] * (-1 if mirrored else 1) + steps * 2 * np.pi / GRID.angles
    amplitude = library.amplitude[chosen]
    terms = peak_spectra(GRID, library.q[chosen], theta, amplitude, phase_table(GRID))
    found = correlate(terms, amplitude.norm(dim=1), library, GRID, WIDTH)
    own = found.score[torch.arange(len(chosen)), chosen, int(mirrored)]
    # No other template, mirrored or not, is better by more than the sampling.
    assert (own > 0.985 * found.score.flatten(1).amax(dim=1)).all()
    angle = found.angle[torch.arange(len(chosen)), chosen, int(mirrored)]
    # A pattern with rotational symmetry may be found at an equivalent angle.
    asymmetric = found.score.flatten(1).topk(2, dim=1).values
    alone = asymmetric[:, 1] < 0.97 * asymmetric[:, 0]
    assert alone.sum() >= 3
    assert (angle[alone] == steps).all()


def test_templates_in_chunks_correlate_alike(library: TemplateLibrary) -> None:
    q, theta, amplitude = scattered(9)
    terms, norm = spectra(q, theta, amplitude), torch.ones(2)
    one = correlate(terms, norm, library, GRID, WIDTH)
    many = correlate(terms, norm, library, GRID, WIDTH, chunk=7)
    assert one.score.shape == (2, len(library), 2)
    torch.testing.assert_close(one.score, many.score, rtol=1e-4, atol=1e-5)
    assert (one.angle == many.angle).float().mean() > 0.99
