"""Ellipse, transposition and scan rotation: matched undistorted, answered in the scan's frame."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from orix.quaternion import Orientation, Rotation

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import Spots, render, spots
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import (
    OrientationMethod,
    OrientationParameters,
    assemble,
    describe_pixel,
)
from napari_diffmap.methods.orientation.frames import in_detector_frame, in_scan_frame
from napari_diffmap.methods.orientation.geometry import Geometry, find_geometry
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.calibration_file import from_record
from napari_diffmap.viewer.reopen import calibration_of

PHASE = "NiO"


def geometry(**parts: Any) -> Geometry:
    calibration = Calibration((63.0, 64.0), 0.02, 200.0, **parts)
    return Geometry(calibration, (9, 11), False, 1.5, 200.0, 0.02, 0.1, 1.2, 1.0)


def seen(bench: Any, rotations: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Counts of crystals given in the *scan's* frame on a distorted, turned detector."""
    angle = np.radians(calibration.rotation_deg or 0.0)
    found = spots(reflections(load_phase(PHASE), 1.42), rotations, 200.0, 0.012)
    kx, ky = found.kx.numpy().astype(float), found.ky.numpy().astype(float)
    # The scan's x axis points at the angle on the detector.
    dx = np.cos(angle) * kx - np.sin(angle) * ky
    dy = np.sin(angle) * kx + np.cos(angle) * ky
    back = np.linalg.inv(calibration.undistortion)
    py, px = np.einsum("ij,jnm->inm", back, np.stack((dy, dx)))
    level = torch.sqrt(found.intensity)
    level = 4000 * level / level.sum(dim=1, keepdim=True)
    turned = Spots(torch.as_tensor(px), torch.as_tensor(py), found.excitation, level.double())
    image = render(turned, bench.shape, bench.center, bench.pixel, 0.95, cutoff=2e-3)
    return np.asarray(bench.counted(image.numpy()))


CASES = [
    {"ellipse": (1.05, 25.0)},
    {"rotation_deg": 37.0},
    {"rotation_deg": -120.0, "ellipse": (1.04, 100.0)},
    {"rotation_deg": 20.0, "transposed": True, "ellipse": (1.03, 60.0)},
]


@pytest.mark.parametrize("parts", CASES, ids=["ellipse", "turned", "both", "transposed"])
def test_maps_are_in_the_frame_of_the_scan(bench: Any, parts: dict[str, Any]) -> None:
    phase = load_phase(PHASE)
    truth = bench.random_rotations(24, 5)
    known = Calibration(bench.center, bench.pixel, 200.0, "file", "file", "file", **parts)
    patterns = seen(bench, truth, known)
    right = bench.as_scan(patterns, calibration=known)
    _, found = bench.run(right, [phase])
    off = disorientation(found["rotations"][:, 0], truth, phase.symmetry)
    good = found["reliability"] > 0.5
    assert good.sum() >= 12
    assert np.median(off[good]) < 1.0
    assert (off[good] < 3).mean() > 0.85
    # Without what was calibrated the answers are worse, or lie in another frame.
    plain = Calibration(bench.center, bench.pixel, 200.0, "file", "file", "file")
    _, other = bench.run(bench.as_scan(patterns, calibration=plain), [phase])
    wrong = disorientation(other["rotations"][:, 0], truth, phase.symmetry)
    assert np.median(wrong) > 2 * np.median(off)


@pytest.mark.parametrize("parts", CASES, ids=["ellipse", "turned", "both", "transposed"])
def test_predicted_spots_lie_on_the_measured_ones(bench: Any, parts: dict[str, Any]) -> None:
    """From the map's rotation, in the scan's frame, back to detector pixels."""
    phase = load_phase(PHASE)
    truth = bench.along(phase, (0, 0, 1), [0.3])
    known = Calibration(bench.center, bench.pixel, 200.0, "file", "file", "file", **parts)
    pattern = seen(bench, truth, known)[0].astype(float)
    scan = bench.as_scan(pattern[None], calibration=known)
    method = OrientationMethod(OrientationParameters(sigma_excitation=0.012), [phase])
    method.prepare(scan)
    (answer,) = describe_pixel(scan, method, truth, [0], position=(0, 0))
    bright = answer.spots.intensity > 0.2
    y, x = np.round([answer.spots.ky[bright], answer.spots.kx[bright]]).astype(int)
    inside = (y > 1) & (x > 1) & (y < 126) & (x < 126)
    assert inside.sum() >= 6
    for i, j in zip(y[inside], x[inside], strict=True):
        window = pattern[i - 1 : i + 2, j - 1 : j + 2]
        assert window.max() > 8 * np.median(pattern) + 10
    assert answer.zone_axis in {(0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 0, -1)}


def test_ipf_x_is_the_crystal_direction_along_the_scans_x() -> None:
    """Analytic: a crystal aligned with the detector, under a scan turned by 30°."""
    aligned = np.array([[1.0, 0, 0, 0]])
    turned = in_scan_frame(aligned, geometry(rotation_deg=30.0))
    along_x = Orientation(turned) * Rotation.identity()
    crystal = (along_x.to_matrix()[0]) @ (1, 0, 0)
    half = np.radians(30.0)
    np.testing.assert_allclose(crystal, (np.cos(half), np.sin(half), 0), atol=1e-12)


def test_both_ways_cancel(bench: Any) -> None:
    q = bench.random_rotations(7, 1)
    place = geometry(rotation_deg=-77.0)
    np.testing.assert_allclose(in_detector_frame(in_scan_frame(q, place), place), q, atol=1e-12)
    assert in_scan_frame(q, geometry()) is q


def test_a_calibrated_peak_list_is_turned_but_not_distorted_again(bench: Any) -> None:
    from napari_diffmap.scan.peaks import PeakTable

    q = np.linspace(0.2, 1.0, 40)
    peaks = PeakTable((1, 1), np.array([0, 40]), q, -q, np.ones(40), calibrated=True)
    known = Calibration(bench.center, 0.02, 200.0, ellipse=(1.05, 3.0)).with_rotation(
        25.0, "entered", transposed=True
    )
    scan = bench.as_scan(np.zeros((1, 1, *bench.shape)), calibration=known, peaks=peaks)
    used = find_geometry(scan, OrientationParameters())
    assert used.rotation_deg == 25.0
    assert not used.distorted


def test_reciprocal_vectors_go_to_pixels_and_back() -> None:
    place = geometry(ellipse=(1.03, 50.0), rotation_deg=10.0, transposed=True)
    k = np.array([[0.3, -0.1], [0.0, 0.5]])
    pixels = place.to_pixels(k, (63.0, 64.0))
    back = (pixels - (63.0, 64.0)) @ place.matrix.T * place.pixel_size
    np.testing.assert_allclose(back, k, atol=1e-12)


def test_a_descan_of_the_calibration_is_used_as_it_is(bench: Any) -> None:
    descan = ((0.3, 0.0), (0.0, -0.2), (0.01, 0.0), (0.0, 0.02), (0.0, 0.0))
    place = geometry(descan=descan)
    grid = place.centers(slice(0, 9), slice(0, 11))
    assert grid[4, 5] == pytest.approx((63.0, 64.0))
    y, x = np.mgrid[:9, :11]
    terms = np.stack((np.ones_like(y), y, x, y * y, y * x, x * x), axis=-1)
    np.testing.assert_allclose(terms @ place.plane, grid, atol=1e-9)
    images = bench.counted(np.zeros((30, *bench.shape)))
    known = Calibration((60.0, 61.0), bench.pixel, 200.0, descan=((0, 0), (0, 0.1)))
    used = find_geometry(bench.as_scan(images, calibration=known), OrientationParameters())
    assert used.centers(slice(0, 1), slice(29, 30))[0, 0] == pytest.approx((60.0, 62.45))
    off = find_geometry(
        bench.as_scan(images, calibration=known), OrientationParameters(descan="none")
    )
    assert off.centers(slice(0, 1), slice(29, 30))[0, 0] == pytest.approx((60.0, 61.0))


def test_a_map_brings_its_calibration_back(bench: Any) -> None:
    phase = load_phase(PHASE)
    known = Calibration(
        bench.center, bench.pixel, 200.0, "file", "file", "file", ellipse=(1.02, 10.0)
    ).with_rotation(15.0, "entered")
    known = replace(known, ellipse_origin="measured")
    scan = bench.as_scan(seen(bench, bench.random_rotations(4, 2), known), calibration=known)
    method, arrays = bench.run(scan, [phase])
    found = assemble(scan, {k: v[None] for k, v in arrays.items()}, method)
    record = found.provenance.parameters["used"]["calibration"]
    assert from_record(record).ellipse == pytest.approx((1.02, 10.0))
    back = calibration_of(found, Calibration())
    assert back.ellipse == pytest.approx((1.02, 10.0))
    assert back.rotation_deg == 15.0
    assert back.pixel_size == pytest.approx(bench.pixel)
    assert back.center == pytest.approx(bench.center, abs=0.4)
