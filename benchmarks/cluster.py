"""What the pipeline itself costs a piece, in this process and on worker processes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from napari_diffmap.jobs import cluster
from napari_diffmap.jobs.cluster import connected
from napari_diffmap.jobs.pipeline import run_method
from napari_diffmap.methods.method import MapSpec
from napari_diffmap.scan.open import open_scan

SHAPE = (64, 256, 32, 32)
#: Patterns of a piece, so that there are many.
PIECE = 16


class Nothing:
    """A method that costs nothing."""

    name = "nothing"
    Parameters = BaseModel

    def maps(self) -> tuple[MapSpec, ...]:
        return (MapSpec("zero", "float32", "", np.nan),)

    def prepare(self, scan: Any, device: str = "cpu", progress: Any = None) -> None:
        pass

    def run(self, tile: Any) -> dict[str, np.ndarray]:
        return {"zero": np.zeros(tile.missing.shape, dtype=np.float32)}


def table() -> str:
    """Milliseconds a piece."""
    lines = ["| workers | pieces | a piece |", "| --- | --- | --- |"]
    pieces = SHAPE[0] * SHAPE[1] // PIECE
    was, cluster._PIECE_PATTERNS = cluster._PIECE_PATTERNS, PIECE
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "scan.npy"
            np.save(path, np.zeros(SHAPE, dtype=np.uint8))
            scan = open_scan(path, kind="4D-STEM")
            for workers in (2, 4, 8):
                with connected(f"local:{workers}") as executor:
                    run_method(scan, Nothing(), executor=executor)
                    start = time.perf_counter()
                    result = run_method(scan, Nothing(), executor=executor)
                    seconds = time.perf_counter() - start
                    assert result.complete
                lines.append(f"| {workers} | {pieces} | {1e3 * seconds / pieces:.1f} ms |")
    finally:
        cluster._PIECE_PATTERNS = was
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
