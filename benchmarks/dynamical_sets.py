"""Raw images of dynamical patterns: this project's matcher and its peers, in one run.

``python -m benchmarks.dynamical_sets --peer PYTHON`` with the interpreter of an
environment that holds py4DSTEM 0.14.18 (or DIFFMAP_PEER_PY4DSTEM=PYTHON); the simulated
spot lists are kept in ``--folder``.  pyxem runs in this project's own environment,
on cubic phases only: for others the frame of its answers is not verified.
The peers get the first ``--peer-patterns`` of each set, as they are slow.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray
from orix.quaternion import Rotation

from benchmarks.dynamical_images import (
    CENTER,
    DISK,
    MEANINGS,
    PHASES,
    PIXEL,
    Q_MAX,
    SHAPE,
    DynamicalSet,
    crystal_file,
    disks_alone,
    draw,
    simulate,
)
from benchmarks.peers import pyxem_match
from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import iter_tiles

RIGHT_DEG = 3.0
PEER_PATTERNS = 160
VARIABLE = "DIFFMAP_PEER_PY4DSTEM"
_MATCH = Path(__file__).parent / "peers" / "py4dstem_match.py"
_COLUMNS = (
    "matcher",
    "input",
    "phase",
    "patterns",
    "within 3°",
    "median",
    "patterns/s",
    "called reliable",
    "right of these",
    "≥ 4 spots detectable",
)


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


def peer_matches(
    cell: Path, job: dict[str, Any], folder: Path, python: str
) -> dict[str, NDArray[np.float64]]:
    """Matrices and speeds of py4DSTEM's matcher."""
    given, out = folder / "peer-job.npz", folder / "peer-answers.npz"
    np.savez(given, **job)
    subprocess.run([python, str(_MATCH), str(cell), str(given), str(out)], check=True)
    return dict(np.load(out))


def spot_job(lists: Path, n: int) -> dict[str, Any]:
    """The first ``n`` perfect spot lists: every beam on the detector, exact, none missed."""
    found = np.load(lists)
    here = (found["pattern"] < n) & (np.hypot(found["kx"], found["ky"]) < Q_MAX)
    return {"n": n, **{k: found[k][here] for k in ("pattern", "kx", "ky", "intensity")}}


def image_job(patterns: DynamicalSet, n: int) -> dict[str, Any]:
    return {"images": patterns.images[:n], "center": CENTER, "pixel": PIXEL, "disk": DISK}


def disorientations(
    matrices: NDArray[np.float64], truth: NDArray[np.float64], phase: CrystalPhase
) -> NDArray[np.float64]:
    """Degrees off the truth, infinite where there is no answer."""
    there = np.isfinite(matrices).all(axis=(1, 2))
    off = np.full(len(matrices), np.inf)
    answers = np.asarray(Rotation.from_matrix(matrices[there]).data)
    off[there] = disorientation(answers, truth[: len(matrices)][there], phase.symmetry)
    return off


def line(matcher: str, given: str, phase: str, off: NDArray[np.float64], *rest: str) -> str:
    cells = (
        matcher,
        given,
        phase,
        str(len(off)),
        f"{(off < RIGHT_DEG).mean():.0%}",
        f"{np.median(off):.2f}°",
        *rest,
    )
    return "| " + " | ".join((*cells, *["–"] * (len(_COLUMNS) - len(cells)))) + " |"


def lines(folder: Path, python: str, n: int, images: bool = False) -> Iterator[str]:
    """The table, row by row as they come: the peers, then ours."""
    yield "| " + " | ".join(_COLUMNS) + " |"
    yield "| --- " * len(_COLUMNS) + "|"
    for name in PHASES:
        yield from peer_lines(name, folder, python, n, images)
    for name in PHASES:
        for meaning in MEANINGS:
            yield our_line(name, meaning, draw(name, simulate(name, folder, python), meaning))


def peer_lines(name: str, folder: Path, python: str, n: int, images: bool) -> Iterator[str]:
    """pyxem from the disks alone, py4DSTEM from perfect lists and, if asked, from images."""
    lists, cell, phase = (
        simulate(name, folder, python),
        crystal_file(name, folder),
        load_phase(name),
    )
    truth = np.asarray(Rotation.from_matrix(np.load(lists)["matrices"]).data)
    jobs = {"perfect peak lists": spot_job(lists, n)}
    if images:
        jobs[f"raw images, counts {MEANINGS[0]}"] = image_job(draw(name, lists), n)
    for given, job in jobs.items():
        found = peer_matches(cell, job, folder, python)
        off = disorientations(found["matrices"], truth, phase)
        speed = f"{found['plain']:.1f} ({found['pair']:.1f} in two processes)"
        yield line("py4DSTEM 0.14.18", given, name, off, speed)
    if phase.point_group.laue.name not in pyxem_match.VERIFIED:
        return
    clean = disks_alone(lists, n, pyxem_match.center(SHAPE))
    matrices, rate = pyxem_match.match(clean, phase, PIXEL)
    off = disorientations(matrices, truth, phase)
    yield line("pyxem 0.21", "disks alone", name, off, f"{rate:.0f}")


def our_line(name: str, meaning: str, patterns: DynamicalSet) -> str:
    found = measure(patterns)
    right = found["off"][:, 0] < RIGHT_DEG
    sure = found["reliability"] >= 0.9
    worth = f"{right[sure].mean():.0%}" if sure.any() else "–"
    return line(
        "napari-diffmap",
        f"raw images, counts {meaning}",
        name,
        found["off"][:, 0],
        f"{found['speed']:.0f}",
        f"{sure.mean():.0%}",
        worth,
        f"{(patterns.detectable >= 4).mean():.0%}",
    )


def table(folder: Path = Path("benchmark-data")) -> str:
    """The table, or how to get it where no peer is named."""
    python = os.environ.get(VARIABLE)
    if not python:
        return f"Set {VARIABLE} to the Python of an environment that holds py4DSTEM 0.14.18."
    folder.mkdir(parents=True, exist_ok=True)
    return "\n".join(lines(folder, python, PEER_PATTERNS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    named = os.environ.get(VARIABLE, "python")
    parser.add_argument("--peer", default=named, help="interpreter that imports py4DSTEM")
    parser.add_argument("--folder", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--peer-patterns", type=int, default=PEER_PATTERNS)
    parser.add_argument(
        "--peer-images", action="store_true", help="py4DSTEM also finds its disks in the images"
    )
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    n, images = arguments.peer_patterns, arguments.peer_images
    for row in lines(arguments.folder, arguments.peer, n, images):
        print(row, flush=True)


if __name__ == "__main__":
    main()
