"""Bloch waves by py4DSTEM on demand, timed; run in an environment of its own.

``python py4dstem_bloch.py CRYSTAL.json JOB.npz``: the crystal as for ``py4dstem_patterns``, the
job ``matrices`` ``(n, 3, 3)`` and ``thickness`` ``(n,)``.  Each line of input is a number of beams;
the reply is a JSON object with the seconds of all patterns (``seconds``), of their Bloch waves
alone, the list of beams given (``waves``), and the beams that took part in the mean.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time

import numpy as np
import py4DSTEM
from numpy.typing import NDArray

VOLTAGE = 200e3
Q_MAX = 1.6
#: See ``py4dstem_patterns``.
OURS = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])


def kinematic(
    crystal: py4DSTEM.process.diffraction.Crystal, matrix: NDArray, width: float
) -> py4DSTEM.PointList:
    return crystal.generate_diffraction_pattern(
        orientation_matrix=matrix,
        sigma_excitation_error=width,
        tol_excitation_error_mult=1,
        tol_intensity=0,
        k_max=Q_MAX,
    )


def width_for(crystal: py4DSTEM.process.diffraction.Crystal, matrix: NDArray, beams: int) -> float:
    """Excitation error within which about so many beams lie, the direct one apart."""
    low, high = 1e-4, 2.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        count = len(kinematic(crystal, matrix, middle).data) - 1
        if count == beams:
            return middle
        low, high = (middle, high) if count < beams else (low, middle)
    return low


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        cell = json.load(file)
    job = np.load(sys.argv[2])
    matrices, thickness = job["matrices"] @ OURS, job["thickness"]
    crystal = py4DSTEM.process.diffraction.Crystal(
        np.array(cell["xyz"]), np.array(cell["numbers"]), np.array(cell["cell"])
    )
    with contextlib.redirect_stdout(io.StringIO()):
        crystal.setup_diffraction(VOLTAGE)
        crystal.calculate_dynamical_structure_factors(
            VOLTAGE, "WK-CP", k_max=2 * Q_MAX, thermal_sigma=0.08, tol_structure_factor=1e-4
        )
    widths: dict[int, list[float]] = {}
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        beams = int(line)
        if beams not in widths:
            widths[beams] = [width_for(crystal, matrix, beams) for matrix in matrices]
        waves, part = 0.0, []
        start = time.perf_counter()
        for matrix, width, t in zip(matrices, widths[beams], thickness, strict=True):
            found = kinematic(crystal, matrix, width)
            between = time.perf_counter()
            crystal.generate_dynamical_diffraction_pattern(
                found, t, zone_axis_cartesian=matrix[:, 2]
            )
            waves += time.perf_counter() - between
            part.append(len(found.data) - 1)
        seconds = time.perf_counter() - start
        reply = {"seconds": seconds, "waves": waves, "beams": float(np.mean(part))}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
