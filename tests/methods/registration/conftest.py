"""Simulated patterns with known spots, shared by the registration tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan


def scene(
    n: int,
    dose: float,
    *,
    seed: int = 1,
    size: int = 256,
    sigma: float = 1.5,
    spots: int = 25,
    apart: float = 8.0,
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Counted patterns of spots of height 8 to 120 (times `dose`) on a diffuse background.

    Heights are log-uniform, places are random, `apart` pixels at least; the direct beam is
    500 high.  Returns patterns ``(n, size, size)`` and each one's places and heights.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size))
    middle = (size - 1) / 2
    r = np.hypot(y - middle, x - middle)
    ground = 30 * np.exp(-r / 35) + 2 + 500 * np.exp(-0.5 * (r / 3) ** 2)
    images, truth = [], []
    for _ in range(n):
        places: list[np.ndarray] = []
        while len(places) < spots:
            place = rng.uniform(12, size - 13, 2)
            if np.hypot(*(place - middle)) < 18:
                continue
            if all(np.hypot(*(place - other)) > apart for other in places):
                places.append(place)
        heights = np.exp(rng.uniform(np.log(8), np.log(120), spots))
        image = ground.copy()
        for place, height in zip(places, heights, strict=True):
            square = (y - place[0]) ** 2 + (x - place[1]) ** 2
            image += height * np.exp(-0.5 * square / sigma**2)
        images.append(rng.poisson(image * dose))
        truth.append((np.array(places), heights))
    return np.array(images).astype(np.uint16), truth


def as_scan(patterns: np.ndarray, calibration: Calibration | None = None, **changes: Any) -> Scan:
    """Patterns ``(y, x, ky, kx)`` as a scan with steps of 2 nm."""
    axes = (
        Axis("y", patterns.shape[0], 2.0, 0.0, "nm"),
        Axis("x", patterns.shape[1], 2.0, 0.0, "nm"),
        Axis("ky", patterns.shape[2]),
        Axis("kx", patterns.shape[3]),
    )
    data = da.from_array(patterns, chunks=(1, 8, *patterns.shape[2:]))
    fields = {"name": "simulated", "kind": "4D-STEM", **changes}
    return Scan(data, axes, calibration=calibration or Calibration(), **fields)


def match(
    found: np.ndarray, truth: np.ndarray, within: float = 2.0
) -> tuple[np.ndarray, np.ndarray, int]:
    """Pairs of nearest places: indices found, indices true, and how many found are false."""
    gaps = np.hypot(*(found[:, None] - truth[None]).transpose(2, 0, 1))
    a, b = [], []
    for j in range(len(truth)):
        if len(found) and gaps[:, j].min() < within and int(gaps[:, j].argmin()) not in a:
            a.append(int(gaps[:, j].argmin()))
            b.append(j)
    return np.array(a, int), np.array(b, int), len(found) - len(a)


def crystal_scan(
    shape: tuple[int, int] = (6, 7), *, size: int = 64, dose: float = 60.0, seed: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Two crystals side by side: patterns ``(y, x, ky, kx)`` uint16 and which crystal is where."""
    rng = np.random.default_rng(seed)
    y, x = np.indices((size, size))
    middle = (size - 1) / 2
    r = np.hypot(y - middle, x - middle)
    base = 200 * np.exp(-0.5 * (r / 1.5) ** 2) + 1.0
    expected = []
    for angle in (0.1, 0.6):
        image = base.copy()
        for h in range(-2, 3):
            for k in range(-2, 3):
                if h or k:
                    cy = middle + 11.3 * (h * np.cos(angle) + k * np.sin(angle))
                    cx = middle + 11.3 * (-h * np.sin(angle) + k * np.cos(angle))
                    image += dose * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / 1.2**2)
        expected.append(image)
    which = np.zeros(shape, dtype=int)
    which[:, shape[1] // 2 :] = 1
    return rng.poisson(np.array(expected)[which]).astype(np.uint16), which


@pytest.fixture
def bench() -> SimpleNamespace:
    return SimpleNamespace(scene=scene, as_scan=as_scan, match=match, crystal_scan=crystal_scan)
