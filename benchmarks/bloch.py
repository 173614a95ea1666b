"""Bloch waves: this package's batches beside py4DSTEM's patterns, turn by turn.

``python -m benchmarks.bloch --peer PYTHON`` with the interpreter of an environment that holds
py4DSTEM 0.14.18 (or DIFFMAP_PEER_PY4DSTEM=PYTHON).  LiNiO2, 200 kV, random orientations, as many
beams of those to 1.6 1/Å, the same ``--threads`` for both (1: more slow py4DSTEM's small matrices
down); the potential is made beforehand.  Medians over rounds; a ratio is a median of rounds too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from benchmarks.dynamical_images import crystal_file
from benchmarks.dynamical_sets import VARIABLE
from napari_diffmap.crystal.bloch import dynamical_spots, potential
from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.crystal.reflections import reflections

PHASE, VOLTAGE_KV, Q_MAX = "LiNiO2", 200.0, 1.6
BEAMS, BATCHES = (40, 80, 120), (64, 256)
ROUNDS = 7
#: Patterns of the peer in each of its turns.
TURN = 64
_SERVER = Path(__file__).parent / "peers" / "py4dstem_bloch.py"
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_COLUMNS = (
    "beams",
    "py4DSTEM, patterns/s",
    "its Bloch waves alone",
    "batch",
    "this package, patterns/s",
    "ratio",
    "to its Bloch waves alone",
)


class _Peer:
    """py4DSTEM in a process of its own."""

    def __init__(self, python: str, folder: Path, threads: int) -> None:
        rng = np.random.default_rng(5)
        job = folder / "job.npz"
        matrices = Rotation.random(TURN, random_state=5).as_matrix()
        np.savez(job, matrices=matrices, thickness=rng.uniform(100, 600, TURN))
        self._process: Any = subprocess.Popen(
            [python, str(_SERVER), str(crystal_file(PHASE, folder)), str(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | dict.fromkeys(_THREADS, str(threads)),
        )
        self._reply()

    def _reply(self) -> dict[str, float]:
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise RuntimeError(f"py4DSTEM ended: run {_SERVER} by hand to see why")

    def turn(self, beams: int) -> dict[str, float]:
        self._process.stdin.write(f"{beams}\n")
        self._process.stdin.flush()
        return self._reply()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class _Ours:
    """Batches on a device; the potential is made once."""

    def __init__(self, device: str) -> None:
        phase = load_phase(PHASE)
        self.device = device
        self._found = reflections(phase, Q_MAX)
        self._of = potential(phase, self._found, VOLTAGE_KV, device)
        rng = np.random.default_rng(6)
        q = Rotation.random(max(BATCHES), random_state=6).as_quat()[:, [3, 0, 1, 2]]
        self._rotations = torch.as_tensor(q, dtype=torch.float32, device=device)
        thickness = rng.uniform(100, 600, max(BATCHES))
        self._thickness = torch.as_tensor(thickness, dtype=torch.float32, device=device)

    def seconds(self, beams: int, batch: int) -> float:
        """Of one pattern."""
        start = time.perf_counter()
        found = dynamical_spots(
            self._of, self._found, self._rotations[:batch], self._thickness[:batch], beams=beams
        )
        float(found.intensity.sum())  # a GPU is waited for
        return (time.perf_counter() - start) / batch


def rows(python: str, threads: int, rounds: int, device: str) -> Iterator[str]:
    """The table, row by row as they come."""
    torch.set_num_threads(threads)
    yield "| " + " | ".join(_COLUMNS) + " |"
    yield "| --- " * len(_COLUMNS) + "|"
    ours = _Ours(device)
    with tempfile.TemporaryDirectory() as folder:
        peer = _Peer(python, Path(folder), threads)
        try:
            for beams in BEAMS:
                yield from _measured(beams, ours, peer, rounds)
        finally:
            peer.close()


def _measured(beams: int, ours: _Ours, peer: _Peer, rounds: int) -> Iterator[str]:
    whole: list[float] = []
    waves: list[float] = []
    mine: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    taken = 0.0
    for i in range(rounds + 1):
        reply = peer.turn(beams)
        batches = {batch: ours.seconds(beams, batch) for batch in BATCHES}
        if i == 0:  # both have been here once
            continue
        taken = reply["beams"]
        whole.append(reply["seconds"] / TURN)
        waves.append(reply["waves"] / TURN)
        for batch, seconds in batches.items():
            mine[batch].append(seconds)
    for batch, seconds in mine.items():
        ratio = statistics.median(a / b for a, b in zip(whole, seconds, strict=True))
        alone = statistics.median(a / b for a, b in zip(waves, seconds, strict=True))
        cells = (
            f"{beams} (py4DSTEM {taken:.1f})",
            f"{1 / statistics.median(whole):.0f}",
            f"{1 / statistics.median(waves):.0f}",
            str(batch),
            f"{1 / statistics.median(seconds):.0f}",
            f"{ratio:.1f} ×",
            f"{alone:.1f} ×",
        )
        yield "| " + " | ".join(cells) + " |"


def table() -> str:
    """The table, or how to get it where no peer is named."""
    python = os.environ.get(VARIABLE)
    if not python:
        return f"Set {VARIABLE} to the Python of an environment that holds py4DSTEM 0.14.18."
    return "\n".join(rows(python, 1, ROUNDS, "cpu"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    named = os.environ.get(VARIABLE, "python")
    parser.add_argument("--peer", default=named, help="interpreter that imports py4DSTEM")
    parser.add_argument("--threads", type=int, default=1, help="of each program")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--device", default="cpu", help="ours: cpu or cuda")
    arguments = parser.parse_args()
    for row in rows(arguments.peer, arguments.threads, arguments.rounds, arguments.device):
        print(row, flush=True)


if __name__ == "__main__":
    main()
