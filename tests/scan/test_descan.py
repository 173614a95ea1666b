"""The beam of every pattern, and its walk, among Bragg disks, stops and saturation."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.beam import find_stop, inversion_centers, measure_beams, symmetry_center
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.descan import fit_descan

SHAPE = (14, 16)


def positions(walk: tuple[tuple[float, float], ...], noise: float, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    places = np.argwhere(np.ones(SHAPE)).astype(float)
    truth = Calibration((60.0, 66.0), descan=walk or None)
    beams = truth.centers(places[:, 0], places[:, 1], SHAPE)
    return beams + rng.normal(0, noise, beams.shape), places, rng


@pytest.mark.parametrize(
    ("walk", "order"),
    [
        ((), 0),
        (((0.1, -0.3), (0.2, 0.05)), 1),
        (((0.1, 0.0), (0.0, 0.1), (0.03, 0.0), (0.0, 0.02), (-0.02, 0.02)), 2),
    ],
)
@pytest.mark.parametrize("wrong", [0.0, 0.35])
def test_the_order_is_found_among_outliers(
    walk: tuple[tuple[float, float], ...], order: int, wrong: float
) -> None:
    beams, places, rng = positions(walk, 0.1)
    bad = rng.random(len(beams)) < wrong
    beams[bad] += (9.0, -7.0)  # one and the same Bragg disk
    beams[3] = np.nan
    fit = fit_descan(beams, places, SHAPE)
    assert fit.order == order
    assert fit.center == pytest.approx((60.0, 66.0), abs=0.05)
    np.testing.assert_allclose(fit.coefficients, np.reshape(walk, (-1, 2)), atol=0.01)
    assert not fit.inliers[bad].any()
    assert fit.inlier_share == pytest.approx(1 - bad.mean(), abs=0.05)
    assert fit.rms == pytest.approx(0.1 * np.sqrt(2), rel=0.2)


def test_an_order_can_be_asked_for() -> None:
    beams, places, _ = positions(((0.1, -0.3), (0.2, 0.05)), 0.1)
    assert fit_descan(beams, places, SHAPE, 0).order == 0
    assert fit_descan(beams, places, SHAPE, 2).order == 2
    with pytest.raises(CalibrationError, match="order 3"):
        fit_descan(beams, places, SHAPE, 3)


def test_one_line_of_positions_leaves_the_other_direction_alone() -> None:
    rng = np.random.default_rng(0)
    places = np.stack((np.zeros(40), np.arange(40.0)), axis=1)
    beams = np.array((50.0, 51.0)) + places[:, 1:] * (0.1, 0.05) + rng.normal(0, 0.05, (40, 2))
    fit = fit_descan(beams, places, (1, 40))
    np.testing.assert_allclose(fit.coefficients, [[0, 0], [0.1, 0.05]], atol=0.01)


def test_beams_all_over_the_place_are_refused() -> None:
    rng = np.random.default_rng(0)
    _, places, _ = positions((), 0.1)
    with pytest.raises(CalibrationError, match="inversion or give the centre"):
        fit_descan(rng.uniform(0, 128, (len(places), 2)), places, SHAPE)
    with pytest.raises(CalibrationError, match="no pattern has a direct beam"):
        fit_descan(np.full((len(places), 2), np.nan), places, SHAPE)


def test_the_residual_map_lies_on_the_scan() -> None:
    beams, places, _ = positions((), 0.1)
    beams[5] += (4.0, 3.0)
    image = fit_descan(beams, places, SHAPE).residual_map(SHAPE)
    assert image.shape == SHAPE
    assert image[0, 5] == pytest.approx(5.0, abs=0.5)
    assert np.nanmedian(image) < 0.3


def patterns(
    centers: NDArray[np.float64], *, saturate: float = 0.0, stop: bool = False, seed: int = 0
) -> NDArray[np.float32]:
    """Friedel pairs of uneven strength on a background, counted."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:96, :96]
    frames = []
    for cy, cx in centers:
        r = np.hypot(y - cy, x - cx)
        image = 30 * np.exp(-r / 20) + 4000 * np.exp(-0.5 * (r / 2) ** 2)
        for _ in range(8):
            g = rng.uniform(-38, 38, 2)
            for sign in (1, -1):
                spot = np.exp(-0.5 * ((y - cy - sign * g[0]) ** 2 + (x - cx - sign * g[1]) ** 2))
                image += rng.uniform(50, 200) * spot
        counts = rng.poisson(image).astype(np.float32)
        if saturate:
            counts = np.minimum(counts, saturate)
        if stop:
            counts[:52, 40:56] = 0
        frames.append(counts)
    return np.stack(frames)


def centers(n: int, seed: int = 3) -> NDArray[np.float64]:
    return np.array((47.2, 48.6)) + np.random.default_rng(seed).normal(0, 0.5, (n, 2))


def test_inversion_finds_a_beam_behind_a_stop() -> None:
    truth = centers(12)
    frames = patterns(truth, stop=True)
    stop = find_stop(frames.mean(axis=0))
    assert stop is not None
    assert stop[10, 48]
    assert not stop[70, 48]
    found, _, method = measure_beams(frames, method="inversion")
    assert method == "inversion"
    np.testing.assert_allclose(np.median(found - truth, axis=0), 0, atol=0.15)
    assert np.median(np.linalg.norm(found - truth, axis=1)) < 0.3


def test_a_saturated_beam_is_centred_either_way() -> None:
    truth = centers(8)
    frames = patterns(truth, saturate=300)
    for method in ("direct", "inversion"):
        found, _, _ = measure_beams(frames, method=method)
        assert np.abs(np.median(found - truth, axis=0)).max() < 0.15, method


def test_a_mean_pattern_has_a_centre_of_symmetry() -> None:
    truth = centers(30)
    mean = patterns(truth, stop=True).mean(axis=0)
    found = symmetry_center(mean, stop=find_stop(mean))
    assert found == pytest.approx(truth.mean(axis=0), abs=0.3)


def test_flat_patterns_have_none() -> None:
    found = inversion_centers(np.ones((2, 32, 32), np.float32), (16, 16), 4)
    assert np.isnan(found).all()
    with pytest.raises(CalibrationError):
        symmetry_center(np.ones((32, 32)))
    with pytest.raises(CalibrationError, match="off the detector"):
        inversion_centers(np.ones((2, 32, 32), np.float32), (500, 16), 4)
