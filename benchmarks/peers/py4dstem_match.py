"""Orientations by py4DSTEM's own matching; run in an environment of its own.

``python py4dstem_match.py CRYSTAL.json JOB.npz OUT.npz``, both files of
``benchmarks.dynamical_sets``.  The job holds spot lists (``pattern``, ``kx``, ``ky``,
``intensity``, ``n``) or, in their place, ``images`` with ``center``, ``pixel`` and ``disk``:
then py4DSTEM finds the disks itself.  Written are the matrices ``(n, 3, 3)`` in our frame
(see ``py4dstem_patterns``), NaN where it gives no answer, and two speeds: of its plain
loop, and of two such loops side by side.

A 2° zone step, else the defaults of 0.14.18.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import sys
import time

import numpy as np
import py4DSTEM
from numpy.typing import NDArray

VOLTAGE = 200e3
Q_MAX = 1.5
STEP_DEG = 2.0
#: Zone axes that the Laue group leaves, as (corners, fibre axis, fibre angles).
ZONES = {
    "m-3m": (np.array([[0, 0, 1], [0, 1, 1], [1, 1, 1]]), None, None),
    "-3m": ("fiber", [0, 0, 1], [90, 60]),
}
OURS = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
#: Patterns that time the plain loop.
TIMED = 20
#: A disk at least, of the brightest peak, which is the direct beam.  Of 0.002, 5e-4 and 2e-4
#: the last put most of another set of Au right (60 to 80 patterns); lower was not tried.
LEAST = 2e-4


def plan(cell: dict) -> py4DSTEM.process.diffraction.Crystal:
    crystal = py4DSTEM.process.diffraction.Crystal(
        np.array(cell["xyz"]), np.array(cell["numbers"]), np.array(cell["cell"])
    )
    corners, axis, angles = ZONES[cell["laue"]]
    with contextlib.redirect_stdout(io.StringIO()):
        crystal.setup_diffraction(VOLTAGE)
        crystal.calculate_structure_factors(Q_MAX)
        crystal.orientation_plan(
            zone_axis_range=corners,
            fiber_axis=axis,
            fiber_angles=angles,
            angle_step_zone_axis=STEP_DEG,
            angle_step_in_plane=STEP_DEG,
            accel_voltage=VOLTAGE,
            progress_bar=False,
        )
    return crystal


def point_list(x: NDArray, y: NDArray, intensity: NDArray) -> py4DSTEM.PointList:
    kind = [("qx", float), ("qy", float), ("intensity", float)]
    return py4DSTEM.PointList(np.array(list(zip(x, y, intensity, strict=True)), dtype=kind))


def listed(job: dict) -> list[py4DSTEM.PointList]:
    """The lists as given; our y is its x."""
    lists = []
    for i in range(int(job["n"])):
        here = job["pattern"] == i
        lists.append(point_list(job["ky"][here], job["kx"][here], job["intensity"][here]))
    return lists


def detected(job: dict) -> list[py4DSTEM.PointList]:
    """Disks that py4DSTEM finds with the exact probe, its sigmoid kernel, the beam left out."""
    images, disk, pixel = job["images"].astype(float), float(job["disk"]), float(job["pixel"])
    middle = np.array(images.shape[1:]) // 2
    x, y = np.indices(images.shape[1:])
    probe = py4DSTEM.Probe(1.0 * (np.hypot(x - middle[0], y - middle[1]) < disk + 0.25))
    probe.get_kernel(mode="sigmoid", origin=tuple(middle), radii=(0.5 * disk, 3 * disk))
    found = py4DSTEM.braggvectors.find_Bragg_disks(
        images,
        probe.kernel,
        sigma_cc=1,
        minRelativeIntensity=LEAST,
        minPeakSpacing=2 * disk,
        edgeBoundary=2,
    )
    lists = []
    for points in found:
        x, y = (
            (points.data[k] - c) * pixel for k, c in zip(("qx", "qy"), job["center"], strict=True)
        )
        keep = (np.hypot(x, y) > 2 * disk * pixel) & (np.hypot(x, y) < Q_MAX)
        lists.append(point_list(x[keep], y[keep], points.data["intensity"][keep]))
    return lists


def match(points: py4DSTEM.PointList) -> NDArray[np.float64]:
    with contextlib.redirect_stdout(io.StringIO()):
        answer = CRYSTAL.match_single_pattern(points)
    # A pattern of too few peaks comes back without any correlation.
    return answer.matrix[0] @ OURS if answer.corr[0] > 0 else np.full((3, 3), np.nan)


def part(job: dict) -> list[NDArray[np.float64]]:
    """Matrices of one process's share."""
    lists = detected(job) if "images" in job else listed(job)
    return [match(points) for points in lists]


def share(job: dict, first: int, last: int) -> dict:
    """Patterns ``first`` to ``last`` of a job."""
    if "images" in job:
        return {**job, "images": job["images"][first:last]}
    here = (job["pattern"] >= first) & (job["pattern"] < last)
    some = {k: job[k][here] for k in ("kx", "ky", "intensity")}
    return {**some, "pattern": job["pattern"][here] - first, "n": last - first}


def main() -> None:
    global CRYSTAL  # what two forked loops share
    with open(sys.argv[1], encoding="utf-8") as file:
        CRYSTAL = plan(json.load(file))
    job = dict(np.load(sys.argv[2]))
    n = len(job["images"]) if "images" in job else int(job["n"])
    start = time.perf_counter()
    part(share(job, 0, TIMED))
    plain = TIMED / (time.perf_counter() - start)
    halves = [share(job, 0, n // 2), share(job, n // 2, n)]
    start = time.perf_counter()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        matrices = np.concatenate(pool.map(part, halves))
    pair = n / (time.perf_counter() - start)
    np.savez(sys.argv[3], matrices=matrices, plain=plain, pair=pair)


if __name__ == "__main__":
    main()
