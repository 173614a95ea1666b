"""Shifts between frames that are known come back, and the frames with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.ndimage import shift as move
from scipy.special import expit

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.methods.spectra.align import aligned, find_shifts


def scene(y: np.ndarray, x: np.ndarray, soft: float = 0.6) -> np.ndarray:
    """Three lobed particles with edges `soft` pixels wide, known anywhere."""
    od = np.zeros(np.broadcast(y, x).shape)
    for cy, cx, radius, height in ((22, 20, 9, 1.0), (40, 40, 11, 1.3), (46, 16, 6, 0.8)):
        angle = np.arctan2(y - cy, x - cx)
        away = np.hypot(y - cy, x - cx)
        lobes = 1.2 * np.cos(3 * angle) * np.minimum(away / 4, 1) ** 3
        od += height * expit((radius - away - lobes) / soft)
    return od


def drifting(
    counts: float, n: int = 10, seed: int = 0, soft: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of a scene that moves by fractions of a pixel, and where each frame lies."""
    rng = np.random.default_rng(seed)
    places = np.cumsum(rng.normal(0, 0.6, (n, 2)), axis=0)
    contrast = np.interp(np.linspace(0, 1, n), [0, 0.3, 0.5, 1], [0.15, 0.9, 0.4, 0.6])
    y, x = np.mgrid[:64, :64].astype(float)
    frames = [
        rng.poisson(counts * np.exp(-k * scene(y - a, x - b, soft)))
        for k, (a, b) in zip(contrast, places, strict=True)
    ]
    return np.array(frames), places


@pytest.mark.parametrize("soft", [0.6, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_shifts_that_are_known_come_back(soft: float, seed: int) -> None:
    stack, places = drifting(20000, seed=seed, soft=soft)
    wanted = np.median(places, axis=0) - places
    assert np.abs(find_shifts(stack) - wanted).max() < 0.1
    density = -np.log(stack / 20000)
    assert np.abs(find_shifts(density, density=True) - wanted).max() < 0.1


@pytest.mark.parametrize("seed", range(4))
def test_shifts_of_noisier_frames(seed: int) -> None:
    """Photons alone leave 0.03 pixels in the frame of least contrast, 0.15 in OD."""
    stack, places = drifting(2000, seed=seed)
    away = np.abs(find_shifts(stack) - (np.median(places, axis=0) - places))
    assert away[1:].max() < 0.1
    assert away[0].max() < 0.2


def test_particles_of_several_phases_are_aligned(bench: Any) -> None:
    """Their parts change their contrast each in its own way."""
    one = bench.simulated(12, 2000)
    rng = np.random.default_rng(0)
    places = np.cumsum(rng.normal(0, 0.6, (12, 2)), axis=0)
    curves = np.stack([r.at(one.energies) for r in one.references])
    clean = np.einsum("yxk,ke->eyx", one.truth.fractions.astype(float), curves)
    clean *= one.truth.thickness
    stack = [
        rng.poisson(5000 * np.exp(-move(gaussian_filter(od, 0.8), place, order=5)))
        for od, place in zip(clean, places, strict=True)
    ]
    wanted = np.median(places, axis=0) - places
    found = find_shifts(np.array(stack))
    assert np.sqrt(((found - wanted) ** 2).mean()) < 0.05
    assert np.abs(found - wanted).max() < 0.15


def test_a_stack_without_drift_stays() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64].astype(float)
    stack = rng.poisson(2000 * np.exp(-0.7 * scene(y, x)), (6, 64, 64))
    assert np.abs(find_shifts(stack)).max() <= 0.1


def test_moved_frames_are_those_that_did_not_drift() -> None:
    y, x = np.mgrid[:64, :64].astype(float)
    shifts = np.array([[0.0, 0.0], [1.3, -0.7], [-2.5, 0.4]])
    stack = np.stack([np.sin((y + a) / 5) * np.cos((x + b) / 4) for a, b in shifts])
    found = aligned(stack, shifts)
    assert np.isnan(found[2, -2:]).all(), "what the frame did not see is unknown"
    for moved in found[1:]:
        inner = np.isfinite(moved[10:-10, 10:-10])
        assert inner.all()
        np.testing.assert_allclose(moved[10:-10, 10:-10], found[0][10:-10, 10:-10], atol=2e-3)
    np.testing.assert_array_equal(found[0], stack[0].astype(np.float32))


def test_unknown_pixels_do_not_spread() -> None:
    y, x = np.mgrid[:32, :32].astype(float)
    stack = np.stack([scene(y, x)] * 2)
    stack[1, 10, 10] = np.nan
    found = aligned(stack, np.array([[0, 0], [0.5, 0]]))
    missing = np.argwhere(~np.isfinite(found[1, 2:-2, 2:-2])) + 2
    assert len(missing)
    assert np.abs(missing - [10, 10]).max() <= 2


def test_frames_too_small_and_shifts_too_few_are_refused() -> None:
    with pytest.raises(BadInputError, match="too small"):
        find_shifts(np.ones((3, 6, 64)))
    with pytest.raises(BadInputError, match="as many shifts"):
        aligned(np.ones((3, 8, 8)), np.zeros((2, 2)))


def test_progress_and_a_stop() -> None:
    stack, _ = drifting(2000, 4)
    said: list[tuple[int, int]] = []
    find_shifts(stack, progress=lambda done, total, _: said.append((done, total)))
    assert said[-1][0] == said[-1][1]
    assert [done for done, _ in said] == sorted(done for done, _ in said)

    def stop() -> Any:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        find_shifts(stack, check=stop)
