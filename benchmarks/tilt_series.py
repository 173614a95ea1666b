"""A crystal on a tilting stage: the goniometer knows how far the orientation turns between frames.

``python -m benchmarks.tilt_series FILE.h5 --phase Si [--calibration FILE.json] [--engine NAME]``;
the file holds a stack of patterns and a dataset ``tilt_deg``, the calibration is one that
``napari-diffmap calibrate`` wrote, the engine the templates or a model.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations
from napari_diffmap.maps.quaternions import disorientation, multiply
from napari_diffmap.methods.orientation import OrientationParameters
from napari_diffmap.scan.calibration_file import load_calibration, merged
from napari_diffmap.scan.open import open_scan

RIGHT_DEG = 3.0
#: Errors beyond this weigh no more when the axis is fitted.
_CAP_DEG = 4.0


def untilted(
    rotations: NDArray[np.floating], tilt: NDArray[np.float64], axis: float
) -> NDArray[np.float64]:
    """Orientations with the stage turned back; `axis` (radians) lies in the detector plane."""
    half = tilt / 2
    turn = np.stack(
        (np.cos(half), np.cos(axis) * np.sin(half), np.sin(axis) * np.sin(half), 0 * half), axis=1
    )
    return np.asarray(multiply(rotations, turn))


def errors(
    rotations: NDArray[np.floating], tilt: NDArray[np.float64], phase: CrystalPhase
) -> NDArray[np.float64]:
    """Degrees from the one orientation and tilt axis that explain most frames, ``(n, n_best)``."""
    first = rotations[:, 0]

    def away(x: NDArray[np.float64], q: NDArray[np.floating]) -> NDArray[np.float64]:
        angle = np.linalg.norm(x[1:])
        part = np.sinc(angle / (2 * np.pi)) / 2
        reference = multiply(start, np.r_[np.cos(angle / 2), part * x[1:]])
        crystal = untilted(q, tilt, axis + x[0])
        return disorientation(crystal, np.broadcast_to(reference, q.shape), phase.symmetry)

    best = (0, 0.0, first[0])
    for axis in np.radians(np.arange(0, 360, 3)):
        crystal = untilted(first, tilt, axis)
        for i in range(0, len(crystal), 4):
            d = disorientation(crystal, np.broadcast_to(crystal[i], crystal.shape), phase.symmetry)
            best = max(best, (int((d < _CAP_DEG).sum()), axis, crystal[i]), key=lambda b: b[0])
    _, axis, start = best
    x = np.zeros(4)
    for _ in range(4):
        simplex = x + np.vstack((np.zeros(4), 0.02 * np.eye(4)))
        x = minimize(
            lambda x: np.minimum(away(x, first), _CAP_DEG).sum(),
            x,
            method="Nelder-Mead",
            options={"maxiter": 800, "initial_simplex": simplex},
        ).x
    print(f"tilt axis {np.degrees(axis + x[0]):.1f}° from x towards y")
    return np.stack([away(x, rotations[:, k]) for k in range(rotations.shape[1])], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--phase", default="Si")
    parser.add_argument("--calibration", help="a file of `napari-diffmap calibrate`")
    parser.add_argument("--engine", default="templates", help="a model, by name or file")
    arguments = parser.parse_args()
    stack = open_scan(arguments.file)
    scan = calibrated(open_scan(arguments.file, scan_shape=(1, stack.shape[0])))
    if arguments.calibration:
        known = merged(scan.calibration, load_calibration(arguments.calibration))
        scan = dataclasses.replace(scan, calibration=known)
    # A still, thick crystal without precession: sharp in excitation error, no scan to drift;
    # reflections reach into the corners of the detector.
    parameters = OrientationParameters(
        phases=(arguments.phase,),
        engine=arguments.engine,
        sigma_excitation=0.015,
        descan="none",
        spot_threshold=6,
        spot_radius=2,
        q_max=1.9,
    )
    found = map_orientations(scan, make_method([arguments.phase], parameters)).map
    there = found.indexed[0]
    tilt = np.radians(np.asarray(stack.metadata["tilt_deg"], dtype=float))[there]
    off = errors(found.rotations[0][there].astype(float), tilt, load_phase(arguments.phase))
    reliability = found.reliability[0][there]
    print(f"{len(tilt)} of {stack.shape[0]} frames have an answer")
    print(f"some answer within {RIGHT_DEG:g}°: {(off.min(axis=1) < RIGHT_DEG).mean():.0%}")
    for name, chosen in (
        ("first answer", reliability > -1),
        ("reliability ≥ 0.5", reliability >= 0.5),
    ):
        near = off[chosen, 0][off[chosen, 0] < RIGHT_DEG]
        print(
            f"{name}: {chosen.sum()} frames, {len(near) / max(1, chosen.sum()):.0%} within"
            f" {RIGHT_DEG:g}°, median of these {np.median(near):.2f}°"
        )


if __name__ == "__main__":
    main()
