"""How many crystals a pattern shows: simulated mixtures of one, two and three against the answer.

Run with ``python -m benchmarks.mixtures``; prints the tables of ``docs/accuracy.md``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from benchmarks.simulated_scans import (
    SIZE,
    Conditions,
    _background,
    _crystal,
    _random_rotation,
    draw_conditions,
)
from napari_diffmap.crystal.phases import CrystalPhase, load_phases
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import iter_tiles

MOST = 3


@dataclass(frozen=True, eq=False)
class Mixtures:
    """Patterns of known crystals: ``(n,)`` counts, ``(n, 3)`` phases (-1: none), rotations."""

    scan: Scan
    library: tuple[CrystalPhase, ...]
    count: NDArray[np.int64]
    phase: NDArray[np.int64]
    rotation: NDArray[np.float64]


def make_mixtures(seed: int, index: int, patterns: int) -> tuple[Mixtures, Conditions]:
    """One, two and three crystals in turn, under conditions drawn at random.

    The second of two makes 25 to 50 % of the diffracted intensity; shares of three are drawn
    from a Dirichlet distribution (6, 6, 6).
    """
    rng = np.random.default_rng(seed * 1000 + index)
    c = draw_conditions(rng, index)
    library = load_phases(c.library)
    center = SIZE / 2 - 0.5 + rng.normal(0, 0.6, 2)
    images = np.empty((1, patterns, SIZE, SIZE), dtype=np.uint16)
    count = np.arange(patterns) % MOST + 1
    phase = np.full((patterns, MOST), -1)
    rotation = np.tile([1.0, 0, 0, 0], (patterns, MOST, 1))
    for i in range(patterns):
        expected = _background(c, center, carbon=False)
        for j, share in enumerate(_shares(rng, int(count[i]))):
            name, rotation[i, j] = str(rng.choice(c.made_of)), _random_rotation(rng)
            expected = expected + share * _crystal(rng, c, name, rotation[i, j], center)
            phase[i, j] = c.library.index(name)
        images[0, i] = np.minimum(rng.poisson(expected), 65535)
    calibration = Calibration(
        center=None,
        pixel_size=c.pixel_size * (1 + c.scale_error),
        voltage_kv=c.voltage_kv,
        pixel_size_origin="file",
        voltage_origin="file",
    )
    axes = (Axis("y", 1), Axis("x", patterns), Axis("ky", SIZE), Axis("kx", SIZE))
    data = da.from_array(images, chunks=(1, 64, SIZE, SIZE))
    scan = Scan(data, axes, "4D-STEM", "mixtures", calibration=calibration)
    return Mixtures(scan, library, count, phase, rotation), c


def _shares(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    if count == 1:
        return np.ones(1)
    if count == 2:
        weaker = rng.uniform(0.25, 0.5)
        return np.array([1 - weaker, weaker])
    return np.sort(rng.dirichlet([6.0] * count))[::-1]


def judge(made: Mixtures) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Confusion of counts ``(4, 4)``, and (right, all) orientations at the crystals' places."""
    method = OrientationMethod(OrientationParameters(), made.library)
    method.prepare(made.scan)
    found = [method.run(tile) for tile in iter_tiles(made.scan)]
    counted = np.concatenate([tile["crystals"] for tile in found], axis=1)[0]
    rotations = np.concatenate([tile["rotations"] for tile in found], axis=1)[0]
    phases = np.concatenate([tile["phase_ids"] for tile in found], axis=1)[0]
    confusion = np.zeros((MOST + 1, MOST + 1), dtype=np.int64)
    np.add.at(confusion, (made.count, counted), 1)
    places = np.zeros((MOST, 2), dtype=np.int64)
    for i, crystals in enumerate(counted):
        for place in range(int(crystals)):
            places[place] += (_is_there(made, i, phases[i, place], rotations[i, place]), 1)
    return confusion, places


def _is_there(made: Mixtures, i: int, phase: int, rotation: NDArray[np.float32]) -> bool:
    same = np.flatnonzero(made.phase[i] == phase)
    if not len(same):
        return False
    operators = made.library[phase].symmetry
    off = disorientation(np.repeat(rotation[None], len(same), 0), made.rotation[i, same], operators)
    return bool(off.min() <= 3)


def main(patterns: int = 96) -> None:
    """Measure and print."""
    write = sys.stdout.write
    total = {kind: np.zeros((MOST + 1, MOST + 1), dtype=np.int64) for kind in (True, False)}
    places = np.zeros((MOST, 2), dtype=np.int64)
    for index in range(16):
        made, conditions = make_mixtures(21, index, patterns)
        confusion, placed = judge(made)
        total[conditions.dose >= 2000] += confusion
        places += placed
        name = " + ".join(conditions.library)
        write(f"{name}, {conditions.dose:.0f} electrons: {confusion[1:].tolist()}\n")
    for bright, table in total.items():
        write(f"\n{'from' if bright else 'below'} 2000 electrons: rows true, columns counted\n")
        for crystals in range(1, MOST + 1):
            shares = table[crystals] / max(1, table[crystals].sum())
            write(f"| {crystals} | " + " | ".join(f"{100 * s:.1f} %" for s in shares) + " |\n")
    for place, (right_ones, every) in enumerate(places):
        write(
            f"crystal {place + 1}: {right_ones} of {every} within 3 degrees of one that is there\n"
        )


if __name__ == "__main__":
    main()
