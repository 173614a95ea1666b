"""Dynamical patterns by py4DSTEM, an independent simulator; run in an environment of its own.

``python py4dstem_patterns.py CRYSTAL.json N SEED OUT.npz``, where the crystal is what
``benchmarks.dynamical_sets`` wrote.  Bloch waves with absorption, 200 kV, random
orientations, 100–600 Å; spot lists to 1.6 1/Å.

Frames: py4DSTEM's x runs down the rows, its y along the columns, and its beam along −z
(k0 = −z / λ).  So the axes of ours are its y, x and −z.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time

import numpy as np
import py4DSTEM
from scipy.spatial.transform import Rotation

VOLTAGE = 200e3
Q_MAX = 1.6
#: Beams within this of the Ewald sphere, 1/Å, take part; at most so many.
S_MAX, MOST_BEAMS = 0.08, 120
OURS = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])


def main() -> None:
    path, number, seed, out = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    with open(path, encoding="utf-8") as file:
        cell = json.load(file)
    rng = np.random.default_rng(seed)
    crystal = py4DSTEM.process.diffraction.Crystal(
        np.array(cell["xyz"]), np.array(cell["numbers"]), np.array(cell["cell"])
    )
    with contextlib.redirect_stdout(io.StringIO()):
        crystal.setup_diffraction(VOLTAGE)
        crystal.calculate_dynamical_structure_factors(
            VOLTAGE, "WK-CP", k_max=2 * Q_MAX, thermal_sigma=0.08, tol_structure_factor=1e-4
        )
    matrices = Rotation.random(number, random_state=rng.integers(1 << 31)).as_matrix()
    thickness = rng.uniform(100, 600, number)
    rows, start = [], time.perf_counter()
    for i, (ours, t) in enumerate(zip(matrices, thickness, strict=True)):
        theirs = ours @ OURS  # OURS is its own inverse
        width = S_MAX
        while True:
            beams = crystal.generate_diffraction_pattern(
                orientation_matrix=theirs,
                sigma_excitation_error=width,
                tol_excitation_error_mult=1,
                tol_intensity=0,
                k_max=Q_MAX,
            )
            if len(beams.data) <= MOST_BEAMS:
                break
            width *= 0.9
        found = crystal.generate_dynamical_diffraction_pattern(
            beams, t, zone_axis_cartesian=theirs[:, 2]
        ).data
        spot = (found["h"] != 0) | (found["k"] != 0) | (found["l"] != 0)
        for row in found[spot]:
            rows.append((i, row["qy"], row["qx"], row["intensity"]))
    seconds = time.perf_counter() - start
    print(f"{number / seconds:.2f} patterns/s")
    table = np.array(rows)
    np.savez_compressed(
        out,
        pattern=table[:, 0].astype(np.int32),
        kx=table[:, 1],
        ky=table[:, 2],
        intensity=table[:, 3],
        matrices=matrices,
        thickness=thickness,
        patterns_per_second=number / seconds,
    )


if __name__ == "__main__":
    main()
