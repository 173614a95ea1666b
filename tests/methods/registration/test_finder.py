"""The knob means what it says; centres, intensities and widths are those simulated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from napari_diffmap.methods.registration.background import (
    at_radius,
    measure_noise,
    radial_background,
)
from napari_diffmap.methods.registration.finder import FoundSpots, PeakFinder
from napari_diffmap.methods.registration.fit import NoiseModel, fit_spots
from napari_diffmap.methods.registration.significance import false_spots, threshold_for
from napari_diffmap.methods.registration.spots import Detector

SIZE = 128


def finder(
    images: np.ndarray, sigma: float, expected: float, *, inner: float = 6.0, counts: bool = True
) -> PeakFinder:
    shape = (images.shape[1], images.shape[2])
    detector = Detector(shape, 1.0, inner, 1e9, sigma, 5.0, quantum=float(counts))
    noise = measure_noise(images.astype(np.float32), counts)
    made = PeakFinder(detector, expected, 150, noise)
    some = torch.as_tensor(images[:24].astype(np.float32))
    center = torch.tensor([[(n - 1) / 2 for n in shape]]).expand(len(some), 2)
    made.excess = made.measure_excess(some, center)
    return made


def measure(images: np.ndarray, *args: Any, **kwargs: Any) -> FoundSpots:
    made = finder(images, *args, **kwargs)
    center = torch.tensor([[(n - 1) / 2 for n in images.shape[1:]]]).expand(len(images), 2)
    return made.measure(torch.as_tensor(images.astype(np.float32)), center)


def noise_patterns(kind: str, level: float, falling: bool, n: int = 100) -> np.ndarray:
    rng = np.random.default_rng(4)
    y, x = np.indices((SIZE, SIZE)) - (SIZE - 1) / 2
    ground = 10 * np.exp(-np.hypot(y, x) / 14) + 0.3 if falling else np.ones((SIZE, SIZE))
    expected = np.broadcast_to(level * ground, (n, SIZE, SIZE))
    if kind == "counts":
        return rng.poisson(expected).astype(np.float32)
    return (100 * expected + level * rng.normal(size=expected.shape)).astype(np.float32)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize(
    ("kind", "level", "falling", "least"),
    [
        # The emptier the pattern the fewer counts there are to choose a threshold from:
        # then the rule errs on the careful side.
        ("counts", 0.05, False, 0.15),
        ("counts", 0.05, True, 0.15),
        ("counts", 0.4, False, 0.15),
        ("counts", 2.0, False, 0.4),
        ("counts", 2.0, True, 0.3),
        ("counts", 30.0, False, 0.5),
        ("counts", 30.0, True, 0.4),
        ("normal", 1.0, False, 0.5),
        ("normal", 1.0, True, 0.15),
    ],
)
def test_noise_gives_as_many_spots_as_the_knob_says(
    kind: str, level: float, falling: bool, least: float, sigma: float
) -> None:
    images = noise_patterns(kind, level, falling)
    rate = len(measure(images, sigma, 1.0, counts=kind == "counts")) / len(images)
    assert least < rate < 1.5


def test_a_tenth_of_the_false_spots_is_a_tenth() -> None:
    images = noise_patterns("counts", 30.0, True, 300)
    rate = len(measure(images, 1.0, 0.1)) / len(images)
    assert 0.03 < rate < 0.2


def test_the_threshold_rises_as_fewer_false_spots_are_accepted() -> None:
    levels = [threshold_for(n, 5000.0) for n in (10, 1, 0.1, 0.01, 0.001)]
    assert levels == sorted(levels)
    for n, level in zip((1, 0.1, 0.01), levels[1:], strict=False):
        assert false_spots(level, 5000.0) == pytest.approx(n, rel=1e-6)
    assert threshold_for(1e9, 5000.0) == 2.0


@pytest.mark.parametrize(
    ("dose", "error", "precision", "recall"),
    # Median errors of the best of the methods compared before: 0.25, 0.126, 0.058 pixels.
    [(0.2, 0.25, 0.995, 0.80), (1.0, 0.126, 0.995, 0.95), (5.0, 0.0585, 0.995, 0.99)],
)
def test_centres_intensities_and_widths(
    dose: float, error: float, precision: float, recall: float, bench: Any
) -> None:
    images, truth = bench.scene(16, dose)
    found = measure(images, 1.5, 0.1, inner=16.0)
    gaps, volumes, widths, false, hits = [], [], [], 0, 0
    for i, (places, heights) in enumerate(truth):
        mine = (found.which == i).numpy()
        at = np.stack((found.ky.numpy()[mine], found.kx.numpy()[mine]), axis=1)
        a, b, wrong = bench.match(at, places)
        false, hits = false + wrong, hits + len(a)
        gaps += list(np.hypot(*(at[a] - places[b]).T))
        volumes += list(found.intensity.numpy()[mine][a] / (dose * heights[b] * 2 * np.pi * 1.5**2))
        widths += list(found.width.numpy()[mine][a])
    assert np.median(gaps) <= error
    assert hits / (hits + false) >= precision
    assert hits / (25 * len(truth)) >= recall
    assert np.median(volumes) == pytest.approx(1.0, abs=0.03)
    assert np.median(widths) == pytest.approx(1.5, abs=0.05)


def test_the_fit_reaches_the_bound_of_counting_statistics() -> None:
    """A lone bright spot without background: sigma / sqrt(counts) along each axis."""
    rng = np.random.default_rng(0)
    y, x = np.indices((21, 21))
    places = 10 + rng.uniform(-0.5, 0.5, (600, 2))
    height, sigma = 40.0, 1.4
    square = (y - places[:, :1, None]) ** 2 + (x - places[:, 1:, None]) ** 2
    counts = rng.poisson(height * np.exp(-0.5 * square / sigma**2)).astype(np.float32)
    which = torch.arange(600)
    ten = torch.full((600,), 10)
    fitted = fit_spots(torch.as_tensor(counts), which, ten, ten, sigma, NoiseModel(1.0, 0.0))
    off = np.stack((fitted.y.numpy(), fitted.x.numpy()), axis=1) - places
    bound = sigma / np.sqrt(2 * np.pi * sigma**2 * height)
    assert np.abs(off.mean(axis=0)).max() < 4 * bound / np.sqrt(600), "biased"
    assert off.std() < 1.3 * bound


def test_a_slope_does_not_draw_a_spot_along() -> None:
    y, x = np.indices((41, 41)).astype(np.float32)
    spot = 30 * np.exp(-0.5 * ((y - 20.3) ** 2 + (x - 19.6) ** 2) / 2.5**2)
    image = torch.as_tensor((spot + 60 + 2.0 * (y - 20))[None])
    at = torch.tensor([0]), torch.tensor([20]), torch.tensor([20])
    noise = NoiseModel(1.0, 0.0)
    plain = fit_spots(image, *at, 2.5, noise)
    known = fit_spots(image, *at, 2.5, noise, (torch.tensor([2.0]), torch.tensor([0.0])))
    assert abs(float(known.y) - 20.3) < 0.01
    assert abs(float(known.x) - 19.6) < 0.01
    assert abs(float(plain.y) - 20.3) > 0.1, "the slope is worth correcting"


def test_prominence_is_height_and_ends_at_a_saddle() -> None:
    y, x = np.indices((SIZE, SIZE)).astype(np.float32)

    def spot(cy: float, cx: float, height: float) -> np.ndarray:
        return height * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / 1.5**2)

    lone = spot(30, 30, 200.0)
    pair = spot(80, 80, 200.0) + spot(80, 86, 120.0)
    image = np.random.default_rng(0).poisson(lone + pair + 5).astype(np.float32)[None]
    found = measure(image, 1.5, 0.1)
    by_place = {
        (round(float(a)), round(float(b))): i
        for i, (a, b) in enumerate(zip(found.ky, found.kx, strict=True))
    }
    alone = float(found.prominence[by_place[30, 30]])
    small = next(i for (a, b), i in by_place.items() if a == 80 and b in (85, 86, 87))
    assert alone == pytest.approx(200, rel=0.1)
    assert float(found.prominence[small]) < 0.7 * 120


@pytest.mark.parametrize(("gain", "readout"), [(1.0, 0.0), (7.0, 0.0), (0.0, 3.0), (2.5, 10.0)])
def test_gain_and_readout_are_measured(gain: float, readout: float) -> None:
    rng = np.random.default_rng(1)
    y, x = np.indices((SIZE, SIZE)) - 63.5
    mean = 40 * np.exp(-np.hypot(y, x) / 30) + 1
    counts = rng.poisson(np.broadcast_to(mean, (20, SIZE, SIZE)))
    images = gain * counts if gain else np.broadcast_to(mean, counts.shape)
    images = images + readout * rng.normal(size=counts.shape)
    found = measure_noise(images.astype(np.float32), False)
    assert found.gain == pytest.approx(gain, rel=0.1, abs=0.3)
    assert found.readout == pytest.approx(readout, rel=0.1, abs=2.0)


def test_the_radial_background_ignores_spots() -> None:
    y, x = np.indices((SIZE, SIZE)) - 63.5
    r = np.hypot(y, x)
    image = 50 * np.exp(-r / 25) + 3
    spotted = image + 400 * np.exp(-0.5 * ((y - 20) ** 2 + (x - 20) ** 2) / 1.5**2)
    center = torch.tensor([[63.5, 63.5]])
    noisy = np.random.default_rng(0).poisson(spotted).astype(np.float32)
    profile = radial_background(torch.as_tensor(noisy[None]), center, NoiseModel(1.0, 0.0))
    radius = torch.tensor([10.3, 28.4, 45.0])
    level, slope = at_radius(profile, torch.zeros(3, dtype=torch.long), radius)
    truth = 50 * np.exp(-radius.numpy() / 25) + 3
    np.testing.assert_allclose(level.numpy(), truth, rtol=0.08)
    np.testing.assert_allclose(slope.numpy(), -2 * np.exp(-radius.numpy() / 25), atol=0.6)


def test_the_most_significant_are_kept() -> None:
    y, x = np.indices((SIZE, SIZE)).astype(np.float32)
    image = np.full((SIZE, SIZE), 4.0)
    heights = np.linspace(60, 300, 9)
    for i, height in enumerate(heights):
        image += height * np.exp(-0.5 * ((y - 15 - 12 * i) ** 2 + (x - 30) ** 2) / 1.5**2)
    image = np.random.default_rng(0).poisson(image)[None].astype(np.float32)
    made = finder(image, 1.5, 0.1)
    every = made.measure(torch.as_tensor(image), torch.tensor([[63.5, 63.5]]))
    made.most = 3
    found = made.measure(torch.as_tensor(image), torch.tensor([[63.5, 63.5]]))
    assert len(every) == 9
    assert sorted(found.snr.tolist()) == sorted(every.snr.tolist())[-3:]


@pytest.mark.parametrize("kind", ["flat", "zero", "one"])
def test_featureless_patterns_have_no_spots(kind: str) -> None:
    image = np.zeros((2, SIZE, SIZE), np.float32) + (100.0 if kind == "flat" else 0.0)
    if kind == "one":
        image[:, 40, 40] = 1.0
    assert len(measure(image, 1.0, 0.1)) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_the_gpu_finds_the_same(bench: Any) -> None:
    images, _ = bench.scene(4, 1.0)
    made = finder(images, 1.5, 0.1, inner=16.0)
    there = PeakFinder(made.detector, 0.1, 150, made.noise, "cuda")
    x, c = torch.as_tensor(images.astype(np.float32)), torch.full((4, 2), 127.5)
    here = made.measure(x, c)
    other = there.measure(x.cuda(), c.cuda()).cpu()
    assert len(here) == len(other)
    torch.testing.assert_close(here.ky, other.ky, atol=0.01, rtol=0)
    torch.testing.assert_close(here.intensity, other.intensity, atol=1.0, rtol=0.01)
