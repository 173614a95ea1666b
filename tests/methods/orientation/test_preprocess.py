"""Spots are found where they are, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import spots
from napari_diffmap.methods.orientation.geometry import find_geometry
from napari_diffmap.methods.orientation.parameters import OrientationParameters
from napari_diffmap.methods.registration.bad_pixels import bad_lines, find_bad_pixels
from napari_diffmap.methods.registration.spot_size import measure_spot_sigma
from napari_diffmap.methods.registration.spots import Detector, SpotFinder, smallest_step
from napari_diffmap.scan.beam import beam_positions
from napari_diffmap.scan.descan import fit_descan


def finder(bench: Any, **changes: Any) -> SpotFinder:
    fields = {
        "shape": bench.shape,
        "pixel_size": bench.pixel,
        "q_min": 0.1,
        "q_max": 1.38,
        "spot_sigma": 1.0,
        "threshold": 3.5,
        "quantum": 1.0,
        **changes,
    }
    return SpotFinder(Detector(**fields))


def find(bench: Any, images: np.ndarray, **changes: Any) -> Any:
    centers = torch.tensor([bench.center]).expand(len(images), 2)
    return finder(bench, **changes).find(torch.as_tensor(images.astype(np.float32)), centers)


def test_clear_spots_are_where_the_simulator_put_them(bench: Any) -> None:
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(12, 3)
    images = bench.counted(bench.draw(phase, q))
    peaks = find(bench, images)
    simulated = spots(reflections(phase, 1.42), q, 200.0, 0.012)
    hits, offsets, missed = 0, [], 0
    for i in range(12):
        level = torch.sqrt(simulated.intensity[i])
        level = 4000 * level / level.sum()
        radius = torch.hypot(simulated.kx[i], simulated.ky[i])
        strong = (level > 80) & (radius > 0.15) & (radius < 1.3)
        clear = peaks.clear[i]
        gaps = torch.hypot(
            peaks.kx[i][clear][:, None] - simulated.kx[i][level > 8],
            peaks.ky[i][clear][:, None] - simulated.ky[i][level > 8],
        )
        hits += int((gaps.min(dim=1).values < 0.03).sum())
        back = (
            torch.hypot(
                simulated.kx[i][strong][:, None] - peaks.kx[i][clear],
                simulated.ky[i][strong][:, None] - peaks.ky[i][clear],
            )
            .min(dim=1)
            .values
        )
        offsets.append(back)
        missed += int((back > 0.03).sum())
    offset = torch.cat(offsets)
    assert missed <= 0.04 * len(offset)
    # A fifth of a pixel.
    assert float(offset.median()) < 0.2 * bench.pixel
    assert hits > 0.85 * int(peaks.clear.sum())


@pytest.mark.parametrize("background", [0.0, 0.1, 1.0, 20.0])
def test_noise_alone_gives_next_to_no_clear_spots(bench: Any, background: float) -> None:
    """From a few electrons in a pattern, where noise is anything but normal, to many."""
    images = bench.counted(np.zeros((32, *bench.shape)), background=background)
    assert float(find(bench, images).count.float().mean()) < 0.2


@pytest.mark.parametrize("background", [0.02, 0.3, 30.0])
def test_significance_is_that_of_normal_noise(bench: Any, background: float) -> None:
    """Of counting noise alone 1 maximum in some hundred reaches 3.5 times the noise."""
    flat = np.full((32, *bench.shape), background)
    images = np.random.default_rng(1).poisson(flat)
    few = find(bench, images, threshold=3.5, q_max=1.3)
    # About 500 independent places in reach; one in 4000 lies beyond 3.5 sigma.
    assert float((few.intensity > 0).sum(dim=1).float().mean()) < 12


def test_values_without_a_quantum_are_scaled_freely(bench: Any) -> None:
    """Float patterns in any unit have the same spots."""
    q = bench.random_rotations(4, 9)
    images = bench.counted(bench.draw(load_phase("LiNiO2"), q), background=20.0)
    a = find(bench, images, quantum=0.0)
    b = find(bench, images * 1e-4, quantum=0.0)
    assert torch.equal(a.clear.sum(dim=1), b.clear.sum(dim=1))


@pytest.mark.parametrize("kind", ["flat", "zero", "ramp"])
def test_featureless_patterns_are_survived(bench: Any, kind: str) -> None:
    image = {
        "flat": np.full(bench.shape, 100.0),
        "zero": np.zeros(bench.shape),
        "ramp": np.add.outer(np.arange(128.0), np.arange(128.0)),
    }[kind]
    assert int(find(bench, image[None]).count[0]) <= 2


def test_single_hot_pixel_is_no_spot(bench: Any) -> None:
    images = bench.counted(np.zeros((1, *bench.shape)), background=0.2)
    images[0, 30, 90] = 500
    peaks = find(bench, images)
    gaps = torch.hypot(
        peaks.ky[0] / bench.pixel + bench.center[0] - 30,
        peaks.kx[0] / bench.pixel + bench.center[1] - 90,
    )
    assert not (peaks.clear[0] & (gaps < 3)).any()


def test_bad_pixels_and_seams_are_found_and_filled(bench: Any) -> None:
    q = bench.random_rotations(40, 5)
    images = bench.counted(bench.draw(load_phase("LiNiO2"), q), background=4.0).astype(np.float32)
    images += 2
    images[:, 20, 33] = 900
    images[:, 70, 80] = 0
    images[:, :, 50] *= 1.6
    bad = find_bad_pixels(images)
    assert bad is not None
    assert bad[20, 33]
    assert bad[70, 80]
    assert bad[:, 50].all()
    assert bad.sum() < 140
    cleaned = finder(bench, bad=bad).clean(torch.as_tensor(images)).numpy()
    assert cleaned[:, 20, 33].max() < 60
    seam = cleaned[:, 80:, 50].mean() / cleaned[:, 80:, 47:54].mean()
    assert seam == pytest.approx(1.0, abs=0.1)


def test_clean_pattern_has_no_bad_pixels(bench: Any) -> None:
    q = bench.random_rotations(60, 6)
    images = bench.counted(bench.draw(load_phase("NiO"), q)).astype(np.float32)
    bad = find_bad_pixels(images)
    assert bad is None or bad.sum() < 4
    assert len(bad_lines(images.mean(axis=0), 0, 60)) == 0


def test_still_crystal_keeps_its_spots(bench: Any) -> None:
    """Bragg spots that stay where they are in every pattern are no hot pixels."""
    q = np.repeat(bench.random_rotations(1, 7), 30, axis=0)
    images = bench.counted(bench.draw(load_phase("LiNiO2"), q)).astype(np.float32)
    bad = find_bad_pixels(images)
    assert bad is None or bad.sum() < 3


@pytest.mark.parametrize(("sigma", "spot"), [(0.0, False), (0.4, True), (0.6, True)])
def test_warm_pixel_is_told_from_a_sharp_spot(sigma: float, spot: bool) -> None:
    """On a bright background, at 2.5 times its level, in every pattern."""
    fine = np.zeros((32 * 9, 32 * 9))
    fine[15 * 9 + 4, 17 * 9 + 4] = 3000
    # A pixel integrates over its area.
    binned = gaussian_filter(fine, 9 * sigma).reshape(32, 9, 32, 9).sum(axis=(1, 3))
    y = np.arange(32)[:, None]
    images = np.random.default_rng(4).poisson(1500 + 20 * y + binned, (40, 32, 32))
    bad = find_bad_pixels(images.astype(np.float32))
    found = [] if bad is None else np.argwhere(bad).tolist()
    assert found == ([] if spot else [[15, 17]])


@pytest.mark.parametrize("sigma", [0.95, 2.5])
def test_spot_size_is_measured(bench: Any, sigma: float) -> None:
    from napari_diffmap.crystal.simulate import Spots, render

    found = spots(reflections(load_phase("LiNiO2"), 1.4), bench.random_rotations(20, 8), 200, 0.012)
    level = torch.sqrt(found.intensity)
    level = 20_000 * level / level.sum(dim=1, keepdim=True)
    image = render(
        Spots(found.kx, found.ky, found.excitation, level),
        bench.shape,
        bench.center,
        bench.pixel,
        sigma,
    )
    images = bench.counted(image.numpy()).astype(np.float32)
    detector = Detector(bench.shape, bench.pixel, 0.15, 1.38, 1.5, 5.0)
    centers = np.tile(bench.center, (20, 1))
    assert measure_spot_sigma(images, centers, detector) == pytest.approx(sigma, rel=0.35)


def test_drift_plane_shrugs_off_bragg_disks() -> None:
    rng = np.random.default_rng(0)
    grid = np.meshgrid(np.arange(12.0), np.arange(14.0), indexing="ij")
    places = np.stack(grid, axis=-1).reshape(-1, 2)
    truth = np.array([[60.0, 64.0], [0.1, -0.05], [0.02, 0.2]])
    positions = truth[0] + places @ truth[1:] + rng.normal(0, 0.05, (len(places), 2))
    positions[rng.choice(len(places), 30, replace=False)] += (9, -12)
    positions[3] = np.nan
    fit = fit_descan(positions, places, (12, 14))
    middle = truth[0] + np.array([5.5, 6.5]) @ truth[1:]
    assert fit.order == 1
    np.testing.assert_allclose(fit.center, middle, atol=0.05)
    np.testing.assert_allclose(fit.coefficients, truth[1:], atol=0.01)
    assert fit.inlier_share == pytest.approx(137 / 168, abs=0.03)


def test_beam_positions_are_subpixel(bench: Any) -> None:
    images = bench.counted(np.zeros((5, *bench.shape))).astype(np.float32)
    found = beam_positions(images, np.tile((60.0, 60.0), (5, 1)), 1.5)
    np.testing.assert_allclose(found, np.tile(bench.center, (5, 1)), atol=0.1)


def test_geometry_says_what_is_missing(bench: Any) -> None:
    from napari_diffmap.errors import BadInputError, CalibrationError
    from napari_diffmap.scan.calibration import Calibration

    images = bench.counted(bench.draw(load_phase("NiO"), bench.random_rotations(4, 1)))
    scan = bench.as_scan(images)
    good = find_geometry(scan, OrientationParameters())
    assert good.q_max == pytest.approx(63.3 * bench.pixel, rel=0.03)
    np.testing.assert_allclose(good.plane[0], bench.center, atol=0.3)
    with pytest.raises(CalibrationError, match="voltage"):
        find_geometry(scan.with_calibration(Calibration(pixel_size=0.02)), OrientationParameters())
    with pytest.raises(CalibrationError, match="pixel size"):
        find_geometry(scan.with_calibration(Calibration(voltage_kv=200)), OrientationParameters())
    with pytest.raises(CalibrationError, match="inner limit"):
        find_geometry(scan, OrientationParameters(q_min=3.0))
    with pytest.raises(BadInputError, match="holds a pattern"):
        find_geometry(bench.as_scan(np.zeros_like(images)), OrientationParameters())


def test_entered_centre_is_kept(bench: Any) -> None:
    images = bench.counted(bench.draw(load_phase("NiO"), bench.random_rotations(4, 1)))
    found = find_geometry(bench.as_scan(images), OrientationParameters(center=(62.0, 65.0)))
    np.testing.assert_allclose(found.centers(slice(0, 1), slice(0, 4)).mean((0, 1)), (62, 65))


def test_counts_are_told_from_other_numbers() -> None:
    """Counts written as floats, with a gain or averaged, are counts still."""
    counts = np.random.default_rng(1).poisson(3.0, (6, 32, 32)).astype(np.float32)
    half = np.dtype(np.float32)
    assert smallest_step(np.dtype(np.uint16), counts) == 1
    assert smallest_step(half, counts) == 1
    assert smallest_step(half, 0.25 * counts) == 0.25
    assert smallest_step(half, np.float32(0.37) * counts) == pytest.approx(0.37)
    noisy = counts + np.random.default_rng(2).normal(0, 0.1, counts.shape).astype(np.float32)
    for other in (noisy, np.abs(noisy), counts - 1, np.zeros_like(counts), np.ones_like(counts)):
        assert smallest_step(half, other) == 0
