"""Geometry: seams told from rows of spots, beams followed, peak lists, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.methods.orientation.geometry import (
    find_geometry,
    largest_circle,
)
from napari_diffmap.methods.orientation.parameters import OrientationParameters
from napari_diffmap.methods.registration.bad_pixels import bad_lines
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.peaks import PeakTable
from napari_diffmap.scan.sampling import sample_patterns


@pytest.mark.parametrize("turn", [0.0, np.pi / 4])
@pytest.mark.parametrize("background", [0.4, 1.0])
def test_rows_of_spots_are_no_seams(bench: Any, turn: float, background: float) -> None:
    """A crystal that fills the scan, its rows of spots along the detector's lines."""
    phase = load_phase("NiO")
    images = bench.draw(phase, bench.along(phase, (0, 0, 1), [turn] * 64))
    mean = bench.counted(images, background=background).mean(axis=0).astype(np.float32)
    assert bad_lines(mean, 0, 64).tolist() == []
    assert bad_lines(mean, 1, 64).tolist() == []


@pytest.mark.parametrize("factor", [0.5, 1.6, 3.0])
def test_seams_are_found_among_spots(bench: Any, factor: float) -> None:
    images = bench.draw(load_phase("LiNiO2"), bench.random_rotations(64, 5))
    frames = bench.counted(images, background=4.0) + 1.0
    frames[:, :, 50] *= factor
    frames[:, 81] *= factor
    mean = frames.mean(axis=0).astype(np.float32)
    assert bad_lines(mean, 0, 64).tolist() == [50]
    assert bad_lines(mean, 1, 64).tolist() == [81]


def test_drift_from_pattern_to_pattern_is_followed(bench: Any) -> None:
    """Each pattern's own beam, where no plane describes the drift."""
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(24, 12)
    shifts = np.random.default_rng(3).integers(-3, 4, (24, 2))
    images = bench.counted(bench.draw(phase, q))
    moved = np.stack(
        [np.roll(image, shift, (0, 1)) for image, shift in zip(images, shifts, strict=True)]
    )
    share = {}
    for descan in ("pattern", "none"):
        _, found = bench.run(bench.as_scan(moved), [phase], descan=descan)
        share[descan] = (bench.off(found, q, phase) < 1.5).mean()
    assert share["pattern"] > 0.9
    assert share["none"] < 0.5


def table(lists: list[np.ndarray], *, calibrated: bool = True) -> PeakTable:
    """Peaks ``(n, 3)`` ky, kx, intensity of positions in one row."""
    offsets = np.cumsum([0] + [len(peaks) for peaks in lists])
    ky, kx, intensity = np.concatenate(lists).T.astype(np.float32)
    return PeakTable((1, len(lists)), offsets, ky, kx, intensity, calibrated)


def test_calibrated_peaks_need_no_pixel_size(bench: Any) -> None:
    rng = np.random.default_rng(0)
    peaks = table([np.column_stack((rng.uniform(-0.9, 0.9, (40, 2)), np.ones(40)))] * 2)
    scan = bench.as_scan(
        np.zeros((2, 64, 64)), peaks=peaks, calibration=Calibration(None, None, 80)
    )
    found = find_geometry(scan, OrientationParameters())
    assert found.voltage_kv == 80
    assert found.q_max == pytest.approx(np.hypot(peaks.ky, peaks.kx).max(), rel=0.05)
    with pytest.raises(CalibrationError, match="voltage"):
        find_geometry(replace(scan, calibration=Calibration()), OrientationParameters())
    with pytest.raises(CalibrationError, match="the peaks reach"):
        find_geometry(scan, OrientationParameters(q_min=2.0))
    none = table([np.zeros((0, 3))] * 2)
    with pytest.raises(BadInputError, match="no peaks"):
        find_geometry(replace(scan, peaks=none), OrientationParameters())


def test_scan_without_patterns_is_refused(bench: Any) -> None:
    from napari_diffmap.scan.axes import Axis

    scan = bench.as_scan(np.ones((1, 32, 32)))
    stack = replace(
        scan,
        data=scan.data[0],
        kind="pattern stack",
        axes=(Axis("frame", 1), *scan.axes[2:]),
    )
    with pytest.raises(BadInputError, match="pattern stack, and orientations need patterns"):
        find_geometry(stack, OrientationParameters())


def test_missing_and_empty_frames_are_not_sampled(bench: Any) -> None:
    frames = np.random.default_rng(0).poisson(3, (6, 32, 32)).astype(np.float32)
    frames[1] = 0
    frames[2] = np.nan
    missing = np.array([[False, False, False, True, False, False]])
    taken, places = sample_patterns(bench.as_scan(frames, missing=missing))
    assert places[:, 1].tolist() == [0, 4, 5]
    assert np.isfinite(taken).all()


def test_largest_circle_stays_on_the_detector() -> None:
    assert largest_circle((128, 100), np.array([60.0, 40.0])) == 40
    assert largest_circle((128, 100), np.array([60.0, 70.0])) == 29
