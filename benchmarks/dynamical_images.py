"""Raw images of dynamical patterns, drawn from the spot lists of an independent simulator.

128 × 128 pixels to 1.5 1/Å, disks of 2.5 pixels with soft rims, a diffuse background, and
counting noise.  "Counts" can mean two things, and both are drawn (`MEANINGS`): electrons in
the diffracted beams on the detector, or in the whole pattern with its direct beam.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from orix.quaternion import Rotation
from scipy.special import expit

from napari_diffmap.crystal.phases import CrystalPhase, load_phase

PHASES = ("LiNiO2", "NiO", "Au")
#: Simulated beside them, for pairs of phases that are hard to tell apart; not in the table.
OTHERS = ("LiMn2O4",)
PATTERNS, SEED = 640, 99
SHAPE, PIXEL = (128, 128), 1.5 / 63
Q_MAX = 1.5
CENTER = (63.4, 64.3)
DISK = 2.5  # pixels, radius
COUNTS = (1e4, 2e5)
#: What "counts" are: of the diffracted beams, or of all electrons.
MEANINGS = ("diffracted", "whole")
#: Most that a 16-bit camera counts in a pixel.
FULL = 65535
SNR = 4.0
#: Pixels from a disk's center beyond which it is nothing (1e-10 of its height).
_REACH = 10
_NUMBERS = {"Li": 3, "O": 8, "Mn": 25, "Ni": 28, "Au": 79}
_SCRIPT = Path(__file__).parent / "peers" / "py4dstem_patterns.py"


@dataclass(frozen=True, eq=False)
class DynamicalSet:
    """Images ``(n, ky, kx)`` of one phase with their true orientations ``(n, 4)``.

    ``detectable`` counts the spots of each pattern that stand `SNR` times above
    the counting noise of their disk, away from the direct beam: what any reader
    of the image could at best find.
    """

    phase: CrystalPhase
    images: NDArray[np.uint16]
    rotations: NDArray[np.float64]
    thickness: NDArray[np.float64]
    detectable: NDArray[np.int64]


def crystal_file(name: str, folder: Path) -> Path:
    """A phase in the words that the peer's scripts read."""
    phase = load_phase(name)
    lengths = np.linalg.norm(phase.base, axis=1)
    unit = phase.base / lengths[:, None]
    angles = [np.degrees(np.arccos(unit[i] @ unit[j])) for i, j in ((1, 2), (0, 2), (0, 1))]
    content = {
        "xyz": phase.xyz.tolist(),
        "numbers": [_NUMBERS[element] for element in phase.elements],
        "cell": [*lengths.tolist(), *angles],
        "laue": phase.point_group.laue.name,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def simulate(name: str, folder: Path, python: str) -> Path:
    """Spot lists of a phase, by the peer; made once (a quarter of an hour or so each)."""
    out = folder / f"{name}-{PATTERNS}-{SEED}.npz"
    if not out.exists():
        cell = crystal_file(name, folder)
        command = [python, str(_SCRIPT), str(cell), str(PATTERNS), str(SEED), str(out)]
        subprocess.run(command, check=True)
    return out


def draw(name: str, lists: Path, meaning: str = MEANINGS[0]) -> DynamicalSet:
    """Images as a camera would count them."""
    found = np.load(lists)
    rng = np.random.default_rng([SEED, (*PHASES, *OTHERS).index(name)])
    y, x = np.indices(SHAPE).astype(float)
    n = len(found["thickness"])
    images = np.empty((n, *SHAPE), dtype=np.uint16)
    detectable = np.zeros(n, dtype=np.int64)
    for i in range(n):
        here = found["pattern"] == i
        ky, kx, share = found["ky"][here], found["kx"][here], found["intensity"][here]
        places = np.column_stack((CENTER[0] + ky / PIXEL, CENTER[1] + kx / PIXEL))
        direct = max(0.02, 1 - share.sum())
        image = _spots(np.array([CENTER]), np.array([direct])) + _spots(places, share)
        q = np.hypot(y - CENTER[0], x - CENTER[1]) * PIXEL
        diffuse = np.exp(-q / rng.uniform(0.15, 0.4))
        part = rng.uniform(0.05, 0.3) * found["thickness"][i] / 600
        on_detector = image.sum()
        image = (1 - part) * image / on_detector + part * diffuse / diffuse.sum()
        scale = np.exp(rng.uniform(*np.log(COUNTS)))
        inside = np.hypot(ky, kx) < Q_MAX
        if meaning == "diffracted":
            scale /= (1 - part) * share[inside].sum() / on_detector
        images[i] = np.minimum(rng.poisson(scale * image), FULL)
        signal = scale * (1 - part) * share / on_detector
        away = inside & (np.hypot(ky, kx) > 2 * DISK * PIXEL) & (signal > SNR**2)
        for place, electrons in zip(places[away], signal[away], strict=True):
            disk = np.hypot(y - place[0], x - place[1]) < DISK
            detectable[i] += electrons > SNR * np.sqrt(scale * image[disk].sum())
    rotations = np.asarray(Rotation.from_matrix(found["matrices"]).data)
    return DynamicalSet(load_phase(name), images, rotations, found["thickness"], detectable)


def disks_alone(lists: Path, n: int, center: tuple[float, float]) -> NDArray[np.float64]:
    """The first ``n`` patterns without direct beam, background or noise."""
    found = np.load(lists)
    images = np.empty((n, *SHAPE))
    for i in range(n):
        here = found["pattern"] == i
        places = np.column_stack([found[k][here] / PIXEL for k in ("ky", "kx")]) + center
        images[i] = _spots(places, found["intensity"][here])
    return images


def _spots(
    places: NDArray[np.float64], share: NDArray[np.float64], least: float = 1e-6
) -> NDArray[np.float64]:
    """Disks of the given sums whose rims are about a pixel soft."""
    image = np.zeros(SHAPE)
    reach = np.arange(-_REACH, _REACH + 1)
    for place, intensity in zip(places, share, strict=True):
        rows, columns = (round(value) + reach for value in place)
        rows = rows[(rows >= 0) & (rows < SHAPE[0])]
        columns = columns[(columns >= 0) & (columns < SHAPE[1])]
        if intensity > least and len(rows) and len(columns):
            far = np.hypot(rows[:, None] - place[0], columns - place[1])
            disk = expit((DISK - far) / 0.3) / (np.pi * DISK**2)
            image[np.ix_(rows, columns)] += intensity * disk
    return image
