"""The direct beam is found under noise, hot pixels and strong reflections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.calibration import Calibration, electron_wavelength
from napari_diffmap.scan.center import find_direct_beam


@settings(deadline=None, max_examples=40)
@given(cy=st.floats(30, 98), cx=st.floats(30, 98), r=st.floats(2.5, 12), seed=st.integers(0, 999))
def test_centre_within_a_fifth_of_a_pixel(cy, cx, r, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:128, :128]
    distance = np.hypot(y - cy, x - cx)
    image = 400 / (1 + np.exp((distance - r) * 2)) + 20 * np.exp(-distance / 30)
    image += 120 * np.exp(-(((y - cy - 20) ** 2 + (x - cx - 8) ** 2) / (2 * 2.0**2)))
    image = rng.poisson(image).astype(float)
    image[rng.integers(0, 128, 5), rng.integers(0, 128, 5)] = 60000
    found_y, found_x, radius = find_direct_beam(image)
    assert abs(found_y - cy) < 0.2
    assert abs(found_x - cx) < 0.2
    assert abs(radius - r) < 1.5


def test_flat_pattern_is_refused():
    with pytest.raises(CalibrationError, match="by hand"):
        find_direct_beam(np.zeros((16, 16)))


def test_wavelength_against_tabulated_values():
    # De Graef (2003), table 2.2
    for kv, angstrom in ((100, 0.037014), (200, 0.025079), (300, 0.019687)):
        assert electron_wavelength(kv) == pytest.approx(angstrom, abs=2e-6)


@pytest.mark.parametrize("value", [0, -1, 5000, 200000])
def test_impossible_voltage(value):
    with pytest.raises(CalibrationError, match="kV"):
        Calibration(voltage_kv=value)


def test_summary_names_what_is_missing():
    assert Calibration().missing() == ("centre", "pixel size", "voltage")
    full = Calibration((1, 2), 0.01, 200, "measured", "entered", "file")
    assert full.complete
    assert "measured" in full.summary()
