"""Raw images of dynamical patterns by an independent simulator, and how many are mapped right.

``python -m benchmarks.dynamical_sets --peer PYTHON`` with the interpreter of an
environment that holds py4DSTEM 0.14.18; the patterns are kept in ``--folder``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from orix.quaternion import Rotation
from scipy.special import expit

from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import iter_tiles

PHASES = ("LiNiO2", "NiO", "Au")
PATTERNS, SEED = 320, 7
SHAPE, PIXEL = (128, 128), 1.5 / 63
CENTER = (63.4, 64.3)
DISK = 2.5  # pixels, radius
COUNTS = (1e4, 2e5)
RIGHT_DEG = 3.0
_NUMBERS = {"Li": 3, "O": 8, "Ni": 28, "Au": 79}
_SCRIPT = Path(__file__).parent / "peers" / "py4dstem_patterns.py"


@dataclass(frozen=True, eq=False)
class DynamicalSet:
    """Images ``(n, ky, kx)`` of one phase with their true orientations ``(n, 4)``."""

    phase: CrystalPhase
    images: NDArray[np.uint16]
    rotations: NDArray[np.float64]
    thickness: NDArray[np.float64]


def simulate(name: str, folder: Path, python: str) -> Path:
    """Spot lists of a phase, by the peer; made once."""
    out = folder / f"{name}-{PATTERNS}-{SEED}.npz"
    if not out.exists():
        phase = load_phase(name)
        lengths = np.linalg.norm(phase.base, axis=1)
        unit = phase.base / lengths[:, None]
        angles = [np.degrees(np.arccos(unit[i] @ unit[j])) for i, j in ((1, 2), (0, 2), (0, 1))]
        cell = folder / f"{name}.json"
        content = {
            "xyz": phase.xyz.tolist(),
            "numbers": [_NUMBERS[element] for element in phase.elements],
            "cell": [*lengths.tolist(), *angles],
        }
        cell.write_text(json.dumps(content), encoding="utf-8")
        command = [python, str(_SCRIPT), str(cell), str(PATTERNS), str(SEED), str(out)]
        subprocess.run(command, check=True)
    return out


def draw(name: str, lists: Path) -> DynamicalSet:
    """Disks with soft rims, an inelastic background that falls off, counting noise."""
    found = np.load(lists)
    rng = np.random.default_rng([SEED, PHASES.index(name)])
    y, x = np.indices(SHAPE).astype(float)
    n = len(found["thickness"])
    images = np.empty((n, *SHAPE), dtype=np.uint16)
    for i in range(n):
        here = found["pattern"] == i
        cy = CENTER[0] + found["ky"][here] / PIXEL
        cx = CENTER[1] + found["kx"][here] / PIXEL
        share = found["intensity"][here]
        image = max(0.02, 1 - share.sum()) * _disk(y, x, CENTER)
        for spot in zip(cy, cx, share, strict=True):
            if spot[2] > 1e-6:
                image += spot[2] * _disk(y, x, spot[:2])
        q = np.hypot(y - CENTER[0], x - CENTER[1]) * PIXEL
        diffuse = np.exp(-q / rng.uniform(0.15, 0.4))
        part = rng.uniform(0.05, 0.3) * found["thickness"][i] / 600
        image = (1 - part) * image / image.sum() + part * diffuse / diffuse.sum()
        counts = np.exp(rng.uniform(*np.log(COUNTS)))
        images[i] = rng.poisson(counts * image)
    rotations = Rotation.from_matrix(found["matrices"]).data
    return DynamicalSet(load_phase(name), images, np.asarray(rotations), found["thickness"])


def _disk(
    y: NDArray[np.float64], x: NDArray[np.float64], place: tuple[float, float]
) -> NDArray[np.float64]:
    """A disk of sum 1 whose rim is about a pixel soft."""
    disk = expit((DISK - np.hypot(y - place[0], x - place[1])) / 0.3)
    return np.asarray(disk / (np.pi * DISK**2))


def measure(patterns: DynamicalSet) -> dict[str, NDArray]:
    """Map as a user does, only the spot size given by the images; patterns/s in ``speed``."""
    n = len(patterns.images)
    axes = (Axis("y", 1), Axis("x", n), Axis("ky", SHAPE[0]), Axis("kx", SHAPE[1]))
    known = Calibration(None, PIXEL, 200.0, "missing", "file", "file")
    data = da.from_array(patterns.images[None], chunks=(1, 64, *SHAPE))
    scan = Scan(data, axes, "4D-STEM", "dynamical", calibration=known)
    method = OrientationMethod(OrientationParameters(descan="none"), [patterns.phase])
    method.prepare(scan)
    start = time.perf_counter()
    tiles = [method.run(tile) for tile in iter_tiles(scan)]
    speed = n / (time.perf_counter() - start)
    found = {k: np.concatenate([t[k] for t in tiles], axis=1)[0] for k in tiles[0]}
    off = np.full(found["scores"].shape, np.inf)
    for rank in range(off.shape[1]):
        there = found["phase_ids"][:, rank] >= 0
        off[there, rank] = disorientation(
            found["rotations"][there, rank], patterns.rotations[there], patterns.phase.symmetry
        )
    return {**found, "off": off, "speed": np.array(speed)}


def table(folder: Path, python: str) -> str:
    """Shares within 3°, medians, what the reliability is worth, and speed."""
    columns = ("phase", "within 3°", "one of three", "median", "called reliable", "right of these")
    lines = ["| " + " | ".join((*columns, "patterns/s")) + " |", "| --- " * 7 + "|"]
    for name in PHASES:
        found = measure(draw(name, simulate(name, folder, python)))
        right = found["off"][:, 0] < RIGHT_DEG
        some = found["off"].min(axis=1) < RIGHT_DEG
        sure = found["reliability"] >= 0.9
        worth = f"{right[sure].mean():.0%}" if sure.any() else "–"
        lines.append(
            f"| {name} | {right.mean():.0%} | {some.mean():.0%}"
            f" | {np.median(found['off'][:, 0]):.2f}° | {sure.mean():.0%} | {worth}"
            f" | {found['speed']:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", default="python", help="interpreter that imports py4DSTEM")
    parser.add_argument("--folder", type=Path, default=Path("benchmark-data"))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(table(arguments.folder, arguments.peer))


if __name__ == "__main__":
    main()
