"""Rotation between scan and detector against phases whose gradient is known."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.rotation import deflection, fit_rotation
from napari_diffmap.scan.scan import Scan


def field(rotation: float, *, swap: bool, noise: float, seed: int = 0) -> NDArray[np.float64]:
    """Deflection towards atom-like hills as a turned (and transposed) detector sees it."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((40, 50))
    phase = np.zeros((40, 50))
    for cy, cx in rng.uniform((0, 0), (40, 50), (12, 2)):
        phase += np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * 2.5**2))
    gy, gx = np.gradient(phase)
    t = np.radians(rotation)
    # v_detector = R(t) v_scan, the angle counted from x towards y
    shift = np.stack((np.sin(t) * gx + np.cos(t) * gy, np.cos(t) * gx - np.sin(t) * gy), axis=-1)
    if swap:
        shift = shift[..., ::-1]
    return shift + rng.normal(0, noise, shift.shape) + 0.05 * y[..., None] + 3


@pytest.mark.parametrize("rotation", [0.0, 30.0, -75.0, 140.0, -170.0])
@pytest.mark.parametrize("swap", [False, True])
def test_rotation_handedness_and_half_turn_are_found(rotation: float, swap: bool) -> None:
    fit = fit_rotation(field(rotation, swap=swap, noise=0.03))
    assert not fit.problem
    assert fit.transposed is swap
    assert fit.half_turn
    off = (fit.rotation_deg - rotation + 180) % 360 - 180
    assert abs(off) < 2.0
    assert abs(off) < 4 * fit.error_deg + 0.5
    assert fit.curl < 0.15
    found = fit.applied_to(Calibration())
    assert (found.rotation_origin, found.transposed) == ("measured", swap)


def test_noise_tells_no_rotation() -> None:
    for seed in range(5):
        fit = fit_rotation(np.random.default_rng(seed).normal(size=(24, 24, 2)))
        assert fit.problem
        with pytest.raises(CalibrationError, match="rotation"):
            fit.applied_to(Calibration())


def test_a_symmetric_phase_leaves_the_half_turn_open() -> None:
    y, x = np.indices((40, 40))
    gy, gx = np.gradient(np.sin(x / 3) * np.sin(y / 4))
    fit = fit_rotation(np.stack((gy, gx), axis=-1))
    assert not fit.problem
    assert abs((fit.rotation_deg + 90) % 180 - 90) < 2
    assert not fit.half_turn
    assert "180° more" in fit.in_words()


def test_a_small_scan_is_refused() -> None:
    with pytest.raises(CalibrationError, match="8 × 8"):
        fit_rotation(np.zeros((2, 2, 2)))
    with pytest.raises(CalibrationError, match="no counts"):
        fit_rotation(np.full((9, 9, 2), np.nan))


def test_deflection_is_the_centre_of_mass() -> None:
    counts = np.zeros((3, 4, 16, 20), np.uint16)
    for i, j in np.ndindex(3, 4):
        counts[i, j, 5 + i, 8 + j] = 7
    axes = (Axis("y", 3), Axis("x", 4), Axis("ky", 16), Axis("kx", 20))
    missing = np.zeros((3, 4), bool)
    missing[1, 1] = True
    scan = Scan(da.from_array(counts, chunks=2), axes, "4D-STEM", "points", missing=missing)
    found = deflection(scan, (5.0, 8.0))
    assert np.isnan(found[1, 1]).all()
    assert found[2, 3] == pytest.approx((2.0, 3.0))
