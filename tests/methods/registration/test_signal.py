"""What stands at any place of a pattern: shifted beams, ellipses, seams and shadows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from napari_diffmap.methods.orientation.frames import undistorted
from napari_diffmap.methods.registration.signal import SpotSignal, shaded_blocks
from napari_diffmap.methods.registration.spots import Detector, PeakBatch, SpotFinder

SIZE, PIXEL = 128, 0.02
CENTERS = ((63.5, 63.5), (58.2, 70.9), (71.4, 60.3))


def drawn(seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Counted patterns ``(3, ky, kx)`` of the same spots about three centres; their places."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(-42, 42, (16, 2))
    places = places[np.hypot(*places.T) > 10]
    y, x = np.indices((SIZE, SIZE))
    images = []
    for cy, cx in CENTERS:
        r = np.hypot(y - cy, x - cx)
        expected = 6 * np.exp(-r / 30) + 2 + 3000 * np.exp(-0.5 * (r / 1.5) ** 2)
        for dy, dx in places:
            expected += 60 * np.exp(-0.5 * ((y - cy - dy) ** 2 + (x - cx - dx) ** 2) / 1.4**2)
        images.append(rng.poisson(expected))
    return np.array(images, dtype=np.float32), places * PIXEL


def find(images: np.ndarray, bad: np.ndarray | None = None) -> PeakBatch:
    detector = Detector((SIZE, SIZE), PIXEL, 0.1, 1.2, 1.4, 4.0, bad=bad, quantum=1.0)
    return SpotFinder(detector).find(torch.from_numpy(images.copy()), torch.tensor(CENTERS))


def signal_of(peaks: PeakBatch) -> SpotSignal:
    assert peaks.signal is not None
    return peaks.signal


def at(peaks: PeakBatch, places: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    ky, kx = torch.as_tensor(places.T, dtype=torch.float32).expand(len(peaks), 2, -1).unbind(1)
    return signal_of(peaks).at(kx, ky)


def test_spots_stand_out_wherever_the_beam_is() -> None:
    images, places = drawn()
    peaks = find(images)
    z, noise = at(peaks, places)
    assert (z > 8).all()
    assert torch.isfinite(noise).all()
    # Turned by 35° there are others.
    angle = np.deg2rad(35)
    turn = np.array(((np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))))
    between = places @ turn
    gap = np.linalg.norm(between[:, None] - places[None], axis=-1).min(axis=1)
    z, _ = at(peaks, between[gap > 0.2])
    assert z.abs().max() < 5


def test_signal_at_a_spot_is_the_spots_own() -> None:
    peaks = find(drawn()[0])
    z, noise = signal_of(peaks).at(peaks.kx, peaks.ky)
    there = peaks.intensity > 0
    assert peaks.noise is not None
    # A spot near the edge of a ring may be read in the next.
    same = torch.isclose(noise, peaks.noise)[there]
    assert same.float().mean() > 0.8
    torch.testing.assert_close(
        (z * noise)[there][same], peaks.intensity[there][same], rtol=0.05, atol=0.1
    )


def test_ellipse_is_followed() -> None:
    """Undistorted spots and places read what they read before."""
    images, _ = drawn()
    peaks = find(images)
    matrix = np.array(((1.04, 0.03), (-0.02, 0.97)))
    straight = undistorted(peaks, SimpleNamespace(distorted=True, matrix=matrix))  # type: ignore[arg-type]
    moved = torch.hypot(straight.kx - peaks.kx, straight.ky - peaks.ky)
    assert moved.max() > 1.5 * PIXEL
    before = signal_of(peaks).at(peaks.kx, peaks.ky)
    after = signal_of(straight).at(straight.kx, straight.ky)
    there = peaks.intensity > 0
    # A place on the edge between two pixels may round to the other.
    same = torch.isclose(before[0], after[0], rtol=1e-3)[there]
    assert same.float().mean() > 0.98


def test_outside_the_detector_nothing_is_known() -> None:
    peaks = find(drawn()[0])
    far = np.array([[1.5, 0.0], [0.0, -1.6], [5.0, 5.0]])
    z, noise = at(peaks, far)
    assert (z == 0).all()
    assert torch.isinf(noise).all()


def test_seams_are_blind_and_single_bad_pixels_are_not() -> None:
    images, _ = drawn()
    bad = np.zeros((SIZE, SIZE), dtype=bool)
    bad[30:35] = True
    bad[90, 90] = True
    images[:, bad] = 0
    signal = signal_of(find(images, bad))
    rows = torch.tensor([32.0, 90.0, 50.0])
    columns = torch.tensor([90.0, 90.0, 90.0])
    centers = torch.tensor(CENTERS)
    ky = (rows - centers[:, :1]) * PIXEL
    kx = (columns - centers[:, 1:]) * PIXEL
    _, noise = signal.at(kx, ky)
    assert torch.isinf(noise).tolist() == [[True, False, False]] * 3


def test_shadow_hides_what_lies_behind_it() -> None:
    images, places = drawn()
    images[1, :, 90:] = 0
    peaks = find(images)
    z, noise = at(peaks, places)
    column = places[:, 1] / PIXEL + CENTERS[1][1]
    behind, before = torch.from_numpy(column > 97), torch.from_numpy(column < 80)
    assert behind.any()
    assert before.any()
    assert torch.isinf(noise[1, behind]).all()
    assert (z[1, behind] == 0).all()
    assert torch.isfinite(noise[1, before]).all()
    assert (z[1, before] > 8).all()
    # The other patterns are whole.
    assert torch.isfinite(noise[::2]).all()


def test_chance_shades_nothing() -> None:
    """Even faint patterns: a block with few counts is no shadow."""
    y, x = np.indices((SIZE, SIZE))
    r = np.hypot(y - 63.5, x - 63.5)
    for height in (0.02, 0.3, 5.0):
        expected = np.repeat(height * np.exp(-r / 25)[None], 3, axis=0)
        images = torch.from_numpy(np.random.default_rng(5).poisson(expected).astype(np.float32))
        assert shaded_blocks(images, torch.full((3, 2), 63.5), 8).float().mean() < 0.003


def test_taken_and_joined_again() -> None:
    peaks = find(drawn()[0])
    pieces = [signal_of(peaks.take(torch.tensor([i]))) for i in range(3)]
    again = SpotSignal.joined(pieces)
    for one, two in zip(
        signal_of(peaks).at(peaks.kx, peaks.ky), again.at(peaks.kx, peaks.ky), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 4, 5)])
def test_places_of_any_shape(shape: Any) -> None:
    signal = signal_of(find(drawn()[0]))
    z, noise = signal.at(torch.full(shape, 0.3), torch.full(shape, -0.2))
    assert z.shape == noise.shape == shape
