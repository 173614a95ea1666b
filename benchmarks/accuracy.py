"""Orientation maps against simulated truth, on scans the reliability was not fitted to."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulated_scans import Conditions, Truth, draw_conditions, make_scan
from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import iter_tiles

#: Not the seed of `fit_reliability`.
SEED = 77
RIGHT_DEG = 3.0
SCANS, PATTERNS = 4, 96
#: Which mixture of `simulated_scans` each row of the table draws.
CASES = (("LiNiO2", 1), ("LiNiO2 + NiO", 0), ("Fe bcc + fcc", 3), ("WS2", 4), ("Si", 5), ("Au", 6))
#: Diffracted electrons per pattern.
DOSE = 4000.0


@dataclass(frozen=True)
class Outcome:
    """Of the single crystals: phase right, error in degrees, reliability; and the seconds."""

    phase_right: NDArray[np.bool_]
    error: NDArray[np.float64]
    reliability: NDArray[np.float64]
    seconds: float

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.phase_right & (self.error < RIGHT_DEG)


def measure(scan: Scan, truth: Truth, library: tuple[CrystalPhase, ...]) -> Outcome:
    """Map as a user does: every setting as it comes, the centre unknown."""
    method = OrientationMethod(OrientationParameters(), library)
    method.prepare(scan)
    start = time.perf_counter()
    tiles = [method.run(tile) for tile in iter_tiles(scan)]
    seconds = time.perf_counter() - start
    found = {
        name: np.concatenate([tile[name].reshape(-1, *tile[name].shape[2:]) for tile in tiles])
        for name in ("rotations", "phase_ids", "reliability")
    }
    chosen = (truth.phase >= 0) & (truth.share == 0)
    phase, true_phase = found["phase_ids"][chosen, 0], truth.phase[chosen]
    rotation, true_rotation = found["rotations"][chosen, 0], truth.rotation[chosen]
    error = np.full(len(phase), np.inf)
    for i, crystal in enumerate(library):
        here = (phase == i) & (true_phase == i)
        if here.any():
            error[here] = disorientation(rotation[here], true_rotation[here], crystal.symmetry)
    return Outcome(phase == true_phase, error, found["reliability"][chosen], seconds)


def conditions_of(index: int, rng: np.random.Generator, *, dynamical: bool) -> Conditions:
    """Drawn conditions at a moderate dose and 200 kV."""
    drawn = draw_conditions(rng, index)
    return dataclasses.replace(drawn, dynamical=dynamical, dose=DOSE, voltage_kv=200.0)


def table() -> str:
    """Shares right, medians of the right ones, what the reliability is worth, and speed."""
    columns = (
        "library",
        "intensities",
        "right",
        "phase right",
        "median error",
        "called reliable (≥ 0.9)",
        "of these right",
        "patterns/s",
    )
    lines = [
        f"{SCANS} scans of {PATTERNS} patterns a row; single crystals within {RIGHT_DEG:g}°.\n",
        "| " + " | ".join(columns) + " |",
        "| --- " * len(columns) + "|",
    ]
    for name, index in CASES:
        for dynamical in (False, True):
            outcomes = []
            for i in range(SCANS):
                rng = np.random.default_rng([SEED, index, dynamical, i])
                outcomes.append(
                    measure(
                        *make_scan(rng, conditions_of(index, rng, dynamical=dynamical), PATTERNS)
                    )
                )
            lines.append(
                f"| {name} | {'Bloch wave' if dynamical else 'kinematic'} | " + _row(outcomes)
            )
    return "\n".join(lines)


def _row(outcomes: list[Outcome]) -> str:
    right = np.concatenate([one.right for one in outcomes])
    phase = np.concatenate([one.phase_right for one in outcomes])
    error = np.concatenate([one.error for one in outcomes])
    sure = np.concatenate([one.reliability for one in outcomes]) >= 0.9
    speed = PATTERNS / np.median([one.seconds for one in outcomes])
    certain = f"{right[sure].mean():.0%}" if sure.any() else "–"
    return (
        f"{right.mean():.0%} | {phase.mean():.0%} | {np.median(error[right]):.2f}°"
        f" | {sure.mean():.0%} | {certain} | {speed:.0f} |"
    )


if __name__ == "__main__":
    print(table())
