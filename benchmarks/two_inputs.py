"""The same scan as patterns and as a list of peaks: do the maps agree?

``python -m benchmarks.two_inputs PATTERNS PEAKS --phase A.cif --phase B.cif --voltage KV``
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal.phases import CrystalPhase, load_phases
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations
from napari_diffmap.maps.ambiguity import AMBIGUITY
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import OrientationParameters
from napari_diffmap.scan.open import open_scan

SAME_DEG = 3.0


def mapped(path: str, phases: list[str], voltage: float) -> tuple[OrientationMap, float]:
    """The map and its patterns/s."""
    scan = open_scan(path)
    known = scan.calibration.with_voltage(voltage, "entered")
    scan = calibrated(dataclasses.replace(scan, calibration=known))
    run = map_orientations(scan, make_method(phases, OrientationParameters(phases=tuple(phases))))
    if run.map is None:
        raise run.result.error or RuntimeError(f"{path}: no map")
    return run.map, run.result.done.sum() / run.result.seconds


def same(
    one: OrientationMap, other: OrientationMap, place: int, phases: Sequence[CrystalPhase]
) -> NDArray[np.bool_]:
    """Where the first answer of one is the other's answer at `place`, ``(y, x)``."""
    agree = np.zeros(one.reliability.shape, dtype=bool)
    for i, phase in enumerate(phases):
        here = (one.phase_ids[..., 0] == i) & (other.phase_ids[..., place] == i)
        if here.any():
            first = one.rotations[here, 0].astype(float)
            second = other.rotations[here, place].astype(float)
            agree[here] = disorientation(first, second, phase.symmetry) < SAME_DEG
    return agree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns")
    parser.add_argument("peaks")
    parser.add_argument("--phase", action="append", required=True)
    parser.add_argument("--voltage", type=float, required=True)
    arguments = parser.parse_args()
    maps = []
    for path in (arguments.patterns, arguments.peaks):
        found, speed = mapped(path, arguments.phase, arguments.voltage)
        maps.append(found)
        there = found.indexed
        sure = there & (found.reliability >= 0.5)
        shares = {
            phase.name: f"{(found.phase_ids[..., 0][sure] == i).mean():.0%}"
            for i, phase in enumerate(found.phases)
        }
        doubt = {
            AMBIGUITY[int(code)]: f"{(found.ambiguity[there] == code).mean():.0%}"
            for code in np.unique(found.ambiguity[there])
        }
        print(f"{path}: {there.sum()} answers, {speed:.0f} patterns/s, {sure.sum()} likely")
        print(f"  of the likely: {shares}; causes of doubt: {doubt}")
    one, other = maps
    both = one.indexed & other.indexed
    likely = both & (np.minimum(one.reliability, other.reliability) >= 0.5)
    phases = load_phases(arguments.phase)
    first, any_ = same(one, other, 0, phases), np.zeros_like(both)
    for place in range(other.phase_ids.shape[2]):
        any_ |= same(one, other, place, phases)
    for name, chosen in (("both answered", both), ("both likely", likely)):
        print(
            f"{name}: {chosen.sum()}, the same answer {first[chosen].mean():.0%},"
            f" among the other's answers {any_[chosen].mean():.0%}"
        )


if __name__ == "__main__":
    main()
