"""Simulated polycrystals with twin lamellae and known truth: does the neighbourhood choose right?

Run with ``python -m benchmarks.twinned_scans``; prints the table of ``docs/accuracy.md``.
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
from napari_diffmap.jobs.pipeline import run_method
from napari_diffmap.maps.quaternions import disorientation, multiply
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters, resolve
from napari_diffmap.methods.orientation.zones import zone_rotations
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

#: Edge of the square scans, positions.
EDGE = 32
_GRAINS = 9
#: Low-index zones that grains lie near, where a half turn about the beam hardly shows.
_ZONES = ((0, 0, 1), (1, 0, 0), (1, 1, 0), (1, 1, 1), (2, 1, 0), (1, 1, 2))
#: Spread of orientations within a grain, radians.
_BENT = 0.004


@dataclass(frozen=True, eq=False)
class Twinned:
    """A scan, its library and its truth ``(y, x)``: rotations, grain, whether in a lamella."""

    scan: Scan
    library: tuple[CrystalPhase, ...]
    rotation: NDArray[np.float64]
    phase: NDArray[np.int64]
    grain: NDArray[np.int64]
    lamella: NDArray[np.bool_]


def make_twinned(seed: int, index: int) -> tuple[Twinned, Conditions]:
    """Voronoi grains, two of three near a zone axis, a third of them with a twin lamella.

    Lamellae are three to five positions wide and turned by 180° about the beam, or about a
    lattice direction (growth twins).  Conditions as `simulated_scans.draw_conditions` draws them,
    with at least 800 diffracted electrons.
    """
    rng = np.random.default_rng(seed * 1000 + index)
    c = draw_conditions(rng, index)
    while c.dose < 800:
        c = draw_conditions(rng, index)
    library = load_phases(c.library)
    y, x = np.mgrid[:EDGE, :EDGE].astype(float)
    seeds = rng.uniform(0, EDGE, (_GRAINS, 2))
    grain = np.argmin((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2, -1)
    lamella = np.zeros((EDGE, EDGE), dtype=bool)
    rotation = np.zeros((EDGE, EDGE, 4))
    phase = np.zeros((EDGE, EDGE), dtype=np.int64)
    for g in range(_GRAINS):
        here = grain == g
        name = str(rng.choice(c.made_of))
        number = c.library.index(name)
        q = _orientation(rng, library[number], near_zone=g % 3 != 0)
        phase[here] = number
        rotation[here] = q
        if g % 3 == 1:
            angle, width = rng.uniform(0, np.pi), rng.uniform(3, 5)
            across = (y - seeds[g, 0]) * np.sin(angle) + (x - seeds[g, 1]) * np.cos(angle)
            band = here & (np.abs(across) < width / 2)
            lamella |= band
            rotation[band] = _twin(rng, library[number], q)
    bend = rng.normal(0, _BENT, (EDGE, EDGE, 3))
    small = np.concatenate((np.ones((EDGE, EDGE, 1)), bend / 2), axis=-1)
    small /= np.linalg.norm(small, axis=-1, keepdims=True)
    rotation = multiply(rotation.reshape(-1, 4), small.reshape(-1, 4)).reshape(rotation.shape)
    center = SIZE / 2 - 0.5 + rng.normal(0, 0.6, 2)
    images = np.empty((EDGE, EDGE, SIZE, SIZE), dtype=np.uint16)
    floor = _background(c, center, carbon=False)
    for i in np.ndindex(EDGE, EDGE):
        name = c.library[phase[i]]
        expected = floor + _crystal(rng, c, name, rotation[i], center)
        images[i] = np.minimum(rng.poisson(expected), 65535)
    calibration = Calibration(
        center=None,
        pixel_size=c.pixel_size * (1 + c.scale_error),
        voltage_kv=c.voltage_kv,
        pixel_size_origin="file",
        voltage_origin="file",
    )
    axes = (Axis("y", EDGE), Axis("x", EDGE), Axis("ky", SIZE), Axis("kx", SIZE))
    data = da.from_array(images, chunks=(2, EDGE, SIZE, SIZE))
    scan = Scan(data, axes, "4D-STEM", "twinned", calibration=calibration)
    return Twinned(scan, library, rotation, phase, grain, lamella), c


def _orientation(
    rng: np.random.Generator, phase: CrystalPhase, *, near_zone: bool
) -> NDArray[np.float64]:
    if not near_zone:
        return _random_rotation(rng)
    direction = np.asarray(_ZONES[rng.integers(len(_ZONES))]) @ phase.base
    direction = direction / np.linalg.norm(direction)
    zone = zone_rotations(direction[None])[0]
    turn, tilt = rng.uniform(0, 2 * np.pi), rng.normal(0, np.deg2rad(1.5), 2)
    about_beam = np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])
    small = np.array([1, tilt[0] / 2, tilt[1] / 2, 0])
    q = multiply(multiply(zone[None], about_beam[None]), small[None] / np.linalg.norm(small))[0]
    return np.asarray(q)


def _twin(
    rng: np.random.Generator, phase: CrystalPhase, q: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turned by 180° about the beam, or about a low-index lattice direction."""
    if rng.random() < 0.5:
        return np.asarray(multiply(q[None], np.array([[0.0, 0, 0, 1]]))[0])
    direction = np.asarray(_ZONES[rng.integers(len(_ZONES))]) @ phase.base
    direction = direction / np.linalg.norm(direction)
    return np.asarray(multiply(np.array([[0.0, *direction]]), q[None])[0])


def right(
    made: Twinned, rotations: NDArray[np.float32], phases: NDArray[np.int16]
) -> NDArray[np.bool_]:
    """Whether answers ``(y, x, 4)`` are within 3° of the truth, phase right, ``(y, x)``."""
    out = np.zeros(made.phase.shape, dtype=bool)
    for i, phase in enumerate(made.library):
        here = (phases == i) & (made.phase == i)
        out[here] = disorientation(rotations[here], made.rotation[here], phase.symmetry) <= 3
    return out


def measure(made: Twinned) -> dict[str, float]:
    """Shares right before and after, and what became of the answers that were exchanged."""
    method = OrientationMethod(OrientationParameters(), made.library)
    run = run_method(made.scan, method)
    out = resolve(run.maps, made.library, method.parameters.reliability_threshold)
    before = right(made, run.maps["rotations"][:, :, 0], run.maps["phase_ids"][:, :, 0])
    after = right(made, out["rotations"][:, :, 0], out["phase_ids"][:, :, 0])
    changed = out["resolved"] > 0
    return {
        "before": float(before.mean()),
        "after": float(after.mean()),
        "changed": int(changed.sum()),
        "became right": int((changed & after & ~before).sum()),
        "became wrong": int((changed & before & ~after).sum()),
        "wrong in lamellae": int((changed & before & ~after & made.lamella).sum()),
    }


def main() -> None:
    """Measure and print."""
    total: dict[str, float] = {}
    for seed, index in ((3, 0), (3, 1), (3, 2), (3, 5), (3, 6), (3, 8), (3, 12), (4, 0), (4, 2)):
        made, conditions = make_twinned(seed, index)
        found = measure(made)
        kind = "Bloch wave" if conditions.dynamical else "kinematic"
        words = ", ".join(f"{name} {value:.3g}" for name, value in found.items())
        sys.stdout.write(f"{' + '.join(conditions.library)}, {kind}: {words}\n")
        total = {name: total.get(name, 0) + value for name, value in found.items()}
    sys.stdout.write(f"all: {total}\n")


if __name__ == "__main__":
    main()
