"""Rings of a fine polycrystal, seen through an ellipse."""

from __future__ import annotations

import numpy as np
import pytest

from napari_diffmap.scan.calibration import undistortion_matrix
from napari_diffmap.scan.known_phase import fit_known_phase
from napari_diffmap.scan.rings import ring_points
from napari_diffmap.scan.shell_model import Shells

PIXEL, CENTER, ELLIPSE = 0.018, (63.4, 65.1), (1.02, 70.0)
SQUARES = np.array([3, 4, 8, 11, 12, 16, 19, 20, 24, 27, 32, 35, 36, 40, 43, 44, 48.0])
WEIGHT = np.array([8, 6, 12, 24, 8, 6, 24, 24, 24, 32, 12, 48, 30, 24, 24, 24, 8.0])


def gold(reach: float = 5.0) -> Shells:
    more = np.arange(51, int((reach * 4.08) ** 2))
    squares = np.concatenate((SQUARES, more))
    weight = np.concatenate((WEIGHT, np.full(len(more), 20.0)))
    lengths = np.sqrt(squares) / 4.08
    return Shells(lengths, weight / lengths * np.exp(-lengths))


def ring_patterns(n: int = 12, dose: float = 40.0, seed: int = 0) -> tuple:
    rng = np.random.default_rng(seed)
    matrix = undistortion_matrix(*ELLIPSE)
    centers = np.array(CENTER) + rng.normal(0, 0.4, (n, 2))
    frames = []
    for cy, cx in centers:
        y, x = np.mgrid[:128, :128]
        flat = np.stack((y - cy, x - cx), axis=-1) @ matrix.T
        r = np.linalg.norm(flat, axis=-1)
        image = dose * np.exp(-r / 18) + 5000 * np.exp(-0.5 * (r / 2) ** 2) + 0.5
        for square, weight in zip(SQUARES, WEIGHT, strict=True):
            at = np.sqrt(square) / 4.08 / PIXEL
            image += dose * weight / at**1.5 * np.exp(-0.5 * ((r - at) / 1.1) ** 2)
        frames.append(rng.poisson(image).astype(np.float32))
    return np.stack(frames), centers


def test_rings_give_pixel_size_and_ellipse() -> None:
    frames, centers = ring_patterns()
    points = ring_points(frames, centers, 8.0)
    assert len(points) > 100
    fit = fit_known_phase(points, gold(), 0.7 * PIXEL)
    assert not fit.problem
    assert fit.pixel_size == pytest.approx(PIXEL, rel=0.004)
    assert fit.ellipse[0] == pytest.approx(ELLIPSE[0], abs=0.004)
    assert fit.ellipse[1] == pytest.approx(ELLIPSE[1], abs=8)


def test_a_smooth_halo_has_no_rings() -> None:
    y, x = np.mgrid[:128, :128]
    image = 200 * np.exp(-np.hypot(y - 63, x - 64) / 20) + 1
    frames = np.random.default_rng(0).poisson(image, (8, 128, 128)).astype(np.float32)
    points = ring_points(frames, np.tile((63.0, 64.0), (8, 1)), 8.0)
    assert len(points) < 25
