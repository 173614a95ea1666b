"""Calibration against known truth: shifted, elliptic, noisy patterns of simulated scans.

``python -m benchmarks.calibration``.  Every scan has random orientations of one phase,
a beam that walks over the scan and jitters, an ellipse of up to 3 %, a pixel size that
the scan states wrong by up to a factor of 1.6 either way, a diffuse background and
counting noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import spots
from napari_diffmap.methods.calibration import CalibrationParameters, fit_calibration
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

PHASES = ("Au", "LiNiO2", "Si")
DOSES = (1e4, 5e4, 2e5)
SIZE = 128
_SPOT = 1.2
_BEAM = 1.5


@dataclass(frozen=True)
class Geometry:
    """True geometry of one simulated scan."""

    pixel_size: float
    stated: float
    calibration: Calibration
    jitter: float


@dataclass(frozen=True)
class Errors:
    """Fitted less true: centre (px), pixel size (%), ellipse (% of its ratio)."""

    center: float
    pixel_size: float
    ellipse: float
    refused: bool


def draw_geometry(rng: np.random.Generator) -> Geometry:
    """A plausible wrong geometry."""
    pixel = float(rng.uniform(0.017, 0.023))
    middle = (SIZE - 1) / 2 + rng.uniform(-3, 3, 2)
    plane = rng.normal(0, 0.08, (2, 2))
    truth = Calibration(
        center=(float(middle[0]), float(middle[1])),
        descan=tuple((float(y), float(x)) for y, x in plane),
        ellipse=(1 + float(rng.uniform(0, 0.03)), float(rng.uniform(0, 180))),
    )
    factor = float(np.exp(rng.uniform(-np.log(1.6), np.log(1.6))))
    return Geometry(pixel, pixel * factor, truth, float(rng.uniform(0.05, 0.3)))


def make_scan(
    rng: np.random.Generator, name: str, dose: float, truth: Geometry, side: int = 12
) -> Scan:
    """A scan of ``side × side`` random orientations of one phase."""
    reach = 0.55 * SIZE * truth.pixel_size
    rotations = rng.normal(size=(side * side, 4))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    found = spots(reflections(load_phase(name), reach), rotations, 200.0, 0.02)
    back = np.linalg.inv(truth.calibration.undistortion).T
    images = np.empty((side * side, SIZE, SIZE), dtype=np.uint16)
    for i in range(side * side):
        y, x = divmod(i, side)
        beam = truth.calibration.centers(y, x, (side, side)) + rng.normal(0, truth.jitter, 2)
        k = np.stack((found.ky[i].numpy(), found.kx[i].numpy()), axis=1)
        counts = np.sqrt(found.intensity[i].numpy().astype(float))
        counts *= np.exp(rng.normal(0, 0.5, counts.shape)) * 0.4 * dose / counts.sum()
        expected = _drawn(k / truth.pixel_size @ back + beam, counts)
        expected += _background(beam, truth.pixel_size, dose)
        images[i] = np.minimum(rng.poisson(expected), 65535)
    stated = Calibration(None, truth.stated, 200.0, "missing", "file", "file")
    axes = (Axis("y", side), Axis("x", side), Axis("ky", SIZE), Axis("kx", SIZE))
    data = da.from_array(images.reshape(side, side, SIZE, SIZE), chunks=(1, side, SIZE, SIZE))
    return Scan(data, axes, "4D-STEM", f"simulated {name}", calibration=stated)


def _drawn(places: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    bright = counts > 0.05
    pixel = np.arange(SIZE)
    rows, columns = (
        np.exp(-0.5 * ((pixel - places[bright, i, None]) / _SPOT) ** 2) for i in (0, 1)
    )
    peak = counts[bright] / (2 * np.pi * _SPOT**2)
    return np.asarray(np.einsum("s,sy,sx->yx", peak, rows, columns))


def _background(beam: NDArray[np.float64], pixel: float, dose: float) -> NDArray[np.float64]:
    place = np.arange(SIZE)
    r = np.hypot(place[:, None] - beam[0], place - beam[1])
    diffuse = np.exp(-r * pixel / 0.3)
    direct = np.exp(-0.5 * (r / _BEAM) ** 2) / (2 * np.pi * _BEAM**2)
    return np.asarray(0.3 * dose * (diffuse / diffuse.sum() + direct))


def errors_of(scan: Scan, name: str, truth: Geometry) -> Errors:
    """Fit a scan and compare."""
    fitted = fit_calibration(
        scan, CalibrationParameters(), ("center", "pixel-size", "ellipse"), load_phase(name)
    )
    found, true = fitted.calibration, truth.calibration
    if len(fitted.usable) < 3 or found.center is None or found.pixel_size is None:
        return Errors(np.nan, np.nan, np.nan, True)
    y, x = np.indices(scan.shape[:2])
    off = found.centers(y, x, scan.shape) - true.centers(y, x, scan.shape)
    return Errors(
        float(np.linalg.norm(off, axis=-1).max()),
        100 * abs(found.pixel_size / truth.pixel_size - 1),
        100 * abs(_shear(found) - _shear(true)),
        False,
    )


def _shear(calibration: Calibration) -> complex:
    ratio, angle = calibration.ellipse or (1.0, 0.0)
    return complex(np.log(ratio) * np.exp(2j * np.radians(angle)))


def table(scans: int = 6) -> str:
    """Median and worst errors of every phase and dose as a Markdown table."""
    lines = [
        "| phase | electrons a pattern | centre (px) | pixel size (%) | ellipse (%) | refused |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, dose in product(PHASES, DOSES):
        every = []
        for seed in range(scans):
            rng = np.random.default_rng((seed, int(dose), PHASES.index(name)))
            truth = draw_geometry(rng)
            every.append(errors_of(make_scan(rng, name, dose, truth), name, truth))
        good = [e for e in every if not e.refused]
        cells = [
            f"{np.median(values):.3f}, worst {max(values):.3f}" if values else "–"
            for values in (
                [e.center for e in good],
                [e.pixel_size for e in good],
                [e.ellipse for e in good],
            )
        ]
        lines.append(
            f"| {name} | {dose:.0e} | {' | '.join(cells)} | {len(every) - len(good)} of {scans} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    import sys

    sys.stdout.write(table() + "\n")
