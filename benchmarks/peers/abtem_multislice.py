"""Beams over thickness by abTEM's multislice; run in an environment of its own.

``python abtem_multislice.py FOLDER OUT.npz``, where the folder holds ``LiNiO2.json`` and
``Au.json`` of ``benchmarks.dynamical_images.crystal_file``; made with abTEM 1.0.11 for
``tests/crystal/test_bloch_multislice.py``.  A plane wave of 200 kV through a crystal seen along a
zone axis, as it is and tilted: scattering factors of Lobato & Van Dyck (2014), Debye–Waller
factors of the mean motion, no absorption.  An atom's whole potential lies in one slice.

Frames: abTEM's x, y and z (along the beam) are right-handed and are taken as ours.  Tilting the
beam is turning the crystal the other way; what is written is the rotation from the beam's
frame to the crystal.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import abtem
import numpy as np
from abtem.parametrizations import LobatoParametrization
from ase import Atoms
from ase.data import chemical_symbols

VOLTAGE = 200e3
#: Mean-square motion as B in Å²; the phases' own files say the same.
B_ISO = {"Li": 1.0, "O": 0.6, "Ni": 0.3, "Ga": 0.6, "As": 0.6, "Au": 0.62}
#: Phase, laboratory axes x and z in the crystal's Cartesian frame, box x, y, z as multiples of
#: cell lengths, points on x and y, slices in the box.
CASES = {
    # [100]: x along c*, so the layers are seen edge-on.
    "LiNiO2": (((0, 0, 1), (1, 0, 0)), ((1, "c"), (3**0.5, "a"), (1, "a")), (480, 168), 4),
    # [110]: x along c; without a centre of inversion, so (002) and (00-2) are not alike.
    "GaAs": (((0, 0, 1), (1, 1, 0)), ((1, "a"), (0.5**0.5, "a"), (0.5**0.5, "a")), (192, 136), 4),
    # [110]: x along c; heavy.
    "Au": (((0, 0, 1), (1, 1, 0)), ((1, "a"), (0.5**0.5, "a"), (0.5**0.5, "a")), (144, 104), 4),
}
#: Zincblende, a = 5.6533 Å: gallium at the origin, arsenic at a quarter of the diagonal.
_FACES = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
GAAS = {
    "xyz": [*_FACES, *(tuple(v + 0.25 for v in place) for place in _FACES)],
    "numbers": [31] * 4 + [33] * 4,
    "cell": [5.6533] * 3 + [90.0] * 3,
}
#: Beam tilts towards x and y, mrad.
TILTS = ((0.0, 0.0), (4.0, -2.5), (-9.0, 14.0))
#: About this thick at most, and about so many thicknesses, Å.
THICKEST, STEPS = 400.0, 40
BEAMS, Q_MAX = 12, 1.5


def base_of(cell: list[float]) -> np.ndarray:
    """Rows a, b, c with e1 along a and e3 along c*."""
    lengths, (ca, cb, cg) = cell[:3], np.cos(np.radians(cell[3:]))
    sg = np.sqrt(1 - cg**2)
    c = np.array([cb, (ca - cb * cg) / sg, 0])
    c[2] = np.sqrt(1 - c @ c)
    return np.array([[1, 0, 0], [cg, sg, 0], c]) * np.array(lengths)[:, None]


def boxed(cell: dict, lab: np.ndarray, box: np.ndarray) -> Atoms:
    """The crystal's atoms in a box along the laboratory's axes, which must repeat it."""
    base = base_of(cell["cell"])
    shifts = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 3, indexing="ij"), -1).reshape(-1, 3)
    places = (np.array(cell["xyz"])[:, None] + shifts) @ base @ lab.T
    numbers = np.repeat(cell["numbers"], len(shifts))
    share = (places.reshape(-1, 3) + 1e-6) / box
    inside = ((share >= 0) & (share < 1)).all(axis=1)
    expected = len(cell["numbers"]) * np.prod(box) / abs(np.linalg.det(base))
    if abs(inside.sum() - expected) > 1e-3:
        raise ValueError(f"{inside.sum()} atoms in a box that should hold {expected:.3f}")
    places = np.maximum(places.reshape(-1, 3)[inside], 0)
    return Atoms(numbers[inside], positions=places, cell=box, pbc=True)


def rotation(lab: np.ndarray, tilt: tuple[float, float]) -> np.ndarray:
    """From the frame of a tilted beam to the crystal; turned about the axis across the tilt."""
    beam = np.array([*np.tan(np.array(tilt) / 1e3), 1.0])
    beam /= np.linalg.norm(beam)
    axis = np.cross([0, 0, 1], beam)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + skew + skew @ skew / (1 + beam[2])
    return lab.T @ turn


def case(name: str, cell: dict) -> dict[str, np.ndarray]:
    (x, z), sides, points, slices = CASES[name]
    lab = np.array([x, np.cross(z, x), z], dtype=float)
    lab /= np.linalg.norm(lab, axis=1, keepdims=True)
    lengths = dict(zip("abc", cell["cell"], strict=False))
    box = np.array([times * lengths[side] for times, side in sides])
    atoms = boxed(cell, lab, box)
    symbols = {chemical_symbols[n] for n in cell["numbers"]}
    motion = {s: float(np.sqrt(B_ISO[s] / 8) / np.pi) for s in symbols}
    cells = round(THICKEST / box[2])
    every = max(1, cells // STEPS)
    cells -= cells % every
    print(f"{name}: {len(atoms)} atoms in {box.round(3)} Å, {cells} of them along the beam")
    potential = abtem.Potential(
        atoms * (1, 1, cells),
        gpts=points,
        slice_thickness=box[2] / slices,
        parametrization=LobatoParametrization(sigmas=motion),
        projection="infinite",
        exit_planes=every * slices,
    )
    waves = [
        abtem.PlaneWave(energy=VOLTAGE, tilt=tilt).multislice(potential, lazy=False).array
        for tilt in TILTS
    ]
    power = np.abs(np.fft.fft2(np.array(waves)) / np.prod(points)) ** 2
    thickness = np.arange(power.shape[1]) * every * box[2]
    # Reflections of the zeroth Laue zone, whose places on the box's net are whole.
    base = base_of(cell["cell"])
    hkl = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 3, indexing="ij"), -1).reshape(-1, 3)
    k = hkl @ np.linalg.inv(base).T @ lab.T
    hkl = hkl[(np.abs(k[:, 2]) < 1e-9) & (np.linalg.norm(k, axis=1) < Q_MAX)]
    place = np.round(hkl @ np.linalg.inv(base).T @ lab.T * box)[:, :2].astype(int)
    beams = power[:, :, place[:, 0], place[:, 1]]
    direct = np.flatnonzero(~hkl.any(axis=1))[0]
    strength = beams.mean(axis=(0, 1))
    strength[direct] = np.inf
    first = np.argsort(-strength, kind="stable")[: BEAMS + 1]
    return {
        "hkl": hkl[first].astype(np.int16),
        "rotations": np.array([rotation(lab, tilt) for tilt in TILTS]),
        "thickness": thickness,
        "intensity": beams[..., first].astype(np.float32),
    }


def main() -> None:
    folder, out = Path(sys.argv[1]), sys.argv[2]
    abtem.config.set({"precision": "float64"})
    found = {}
    for name in CASES:
        cell = GAAS
        if name != "GaAs":
            cell = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for key, value in case(name, cell).items():
            found[f"{name}-{key}"] = value
    np.savez_compressed(out, **found)


if __name__ == "__main__":
    main()
