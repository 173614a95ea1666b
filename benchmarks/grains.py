"""Grains of a map of a million pixels: boundaries, grains, tables, gradients, laws, in seconds.

``python -m benchmarks.grains [--rounds N]``; Voronoi grains of a cubic and a hexagonal phase in
equal parts, a third of them twins of a neighbour, 0.3° of scatter; few large grains and many
small ones.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from napari_diffmap.maps import (
    OrientationMap,
    boundary_properties,
    classify_laws,
    csl_laws,
    find_boundaries,
    find_grains,
    find_pairs,
    grain_properties,
    grod,
    hexagonal_twins,
    kam,
    merge_by_laws,
    save_table,
)
from napari_diffmap.maps.phases import file_phase
from napari_diffmap.maps.quaternions import multiply

EDGE, ROUNDS = 1000, 3
#: Seeds of the two maps.
COUNTS = (500, 20_000)
SCATTER_DEG = 0.3
PHASES = (
    file_phase("Cu", (3.61, 3.61, 3.61, 90, 90, 90), "m-3m", 0),
    file_phase("Mg", (3.209, 3.209, 5.211, 90, 90, 120), "6/mmm", 1),
)


def make_map(seeds: int) -> OrientationMap:
    """A map whose grains and twins are known."""
    rng = np.random.default_rng(seeds)
    places = rng.uniform(0, EDGE, (seeds, 2))
    tree = cKDTree(places)
    pixels = np.stack(np.indices((EDGE, EDGE)), axis=-1).reshape(-1, 2)
    grain = tree.query(pixels)[1].reshape(EDGE, EDGE)
    phase = (np.arange(seeds) // 2) % 2
    main = rng.normal(size=(seeds, 4))
    main /= np.linalg.norm(main, axis=1, keepdims=True)
    nearest = tree.query(places, k=2)[1][:, 1]
    laws = (csl_laws(3)[0], hexagonal_twins(PHASES[1])[0])
    for i in np.flatnonzero(rng.uniform(size=seeds) < 1 / 3):
        phase[i] = phase[nearest[i]]
        main[i] = multiply(laws[phase[i]].rotation, main[nearest[i]])
    small = np.ones((EDGE, EDGE, 4))
    small[..., 1:] = rng.normal(size=(EDGE, EDGE, 3)) * np.deg2rad(SCATTER_DEG) / 2
    small /= np.linalg.norm(small, axis=-1, keepdims=True)
    ones = np.ones((EDGE, EDGE), dtype=np.float32)
    return OrientationMap(
        rotations=multiply(small, main[grain])[:, :, None],
        scores=ones[..., None],
        phase_ids=phase[grain][..., None],
        reliability=ones,
        ambiguity=np.zeros((EDGE, EDGE)),
        phases=PHASES,
        step=(2.0, 2.0),
        step_unit="nm",
    )


def measure(found: OrientationMap, folder: Path) -> tuple[dict[str, float], dict[str, Any]]:
    """Seconds of every step, and what came out."""
    seconds: dict[str, float] = {}

    def timed(name: str, call: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = call()
        seconds[name] = time.perf_counter() - start
        return result

    edges = timed("boundaries", lambda: find_boundaries(found))
    grains = timed("grains", lambda: find_grains(found, boundaries=edges, min_size=3))
    pairs = timed("neighbours", lambda: find_pairs(found, grains))
    local = timed("KAM, order 1", lambda: kam(found, grains=grains, boundaries=edges))
    timed("KAM, order 2", lambda: kam(found, order=2, grains=grains, boundaries=edges))
    deviation = timed("GROD", lambda: grod(found, grains))
    properties = timed(
        "grain properties",
        lambda: grain_properties(found, grains, pairs=pairs, kam=local, grod=deviation),
    )
    laws = timed("laws (19 and 5)", lambda: classify_laws(found, edges, grains=grains))
    table = timed(
        "boundary properties",
        lambda: boundary_properties(found, grains, edges, pairs=pairs, laws=laws),
    )
    merged = timed("merged twins", lambda: merge_by_laws(grains, pairs, laws))

    def save() -> None:
        for name, columns in (("grains", properties.columns()), ("edges", table.columns())):
            for suffix in (".csv", ".parquet"):
                save_table(columns, folder / f"{name}{suffix}")

    timed("tables written", save)
    seconds["all"] = sum(seconds.values()) - seconds["KAM, order 2"]
    found_out = {"grains": len(grains), "pairs": len(pairs), "parents": len(merged.grains)}
    return seconds, found_out


def table(rounds: int = ROUNDS) -> str:
    """A row a step, a column a map; medians."""
    heads, columns = [], []
    with TemporaryDirectory() as folder:
        for count in COUNTS:
            found = make_map(count)
            runs = [measure(found, Path(folder)) for _ in range(rounds)]
            out = runs[0][1]
            heads.append(
                f"{out['grains']} grains, {out['pairs']} boundaries, {out['parents']} parents"
            )
            columns.append({n: statistics.median(run[0][n] for run in runs) for n in runs[0][0]})
    lines = [f"| {EDGE} × {EDGE} pixels | " + " | ".join(heads) + " |", "| --- | --- | --- |"]
    for name in columns[0]:
        cells = " | ".join(f"{column[name]:.2f} s" for column in columns)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(table(parser.parse_args().rounds))
