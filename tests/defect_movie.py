"""A small movie of WS2 whose defects are known, and a finder that tells them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.lattice import Lattice, find_lattice
from napari_diffmap.methods.defects.monolayers import MONOLAYERS
from napari_diffmap.methods.defects.simulated import lattice_sites, render
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import Scan

FRAMES, SIZE, PIXEL_NM, FRAME_S = 10, 192, 0.035, 2.0
SPACING = MONOLAYERS["WS2"].spacing_nm / PIXEL_NM


@dataclass
class Made:
    """Frames ``(T, Y, X)``, and the true place, sublattice, ratio and name of each defect.

    The places are ``(T, d, 2)``: two of the vacancies hop to a neighbouring site.
    """

    frames: NDArray[np.float32]
    places: NDArray[np.float64]
    sublattice: NDArray[np.int8]
    ratio: NDArray[np.float32]
    names: tuple[str, ...]
    lattices: dict[int, Lattice] = field(default_factory=dict)

    def scan(self, *, calibrated: bool = True, source: Path | None = None) -> Scan:
        return self.scan_of(self.frames, calibrated, source)

    def lattice(self, image: NDArray[np.float32], number: int) -> Lattice | None:
        """Of a frame; found once."""
        if number not in self.lattices:
            self.lattices[number] = find_lattice(image, SPACING)
        return self.lattices[number]

    def finder(self, seed: int = 1) -> Told:
        return Told(self, seed)

    def scan_of(
        self, frames: NDArray[np.float32], calibrated: bool = True, source: Path | None = None
    ) -> Scan:
        size = {"scale": PIXEL_NM, "unit": "nm"} if calibrated else {}
        time = {"scale": FRAME_S, "unit": "s"} if calibrated else {}
        n, rows, columns = frames.shape
        axes = (
            Axis("time", n, **time),  # type: ignore[arg-type]
            Axis("y", rows, **size),  # type: ignore[arg-type]
            Axis("x", columns, **size),  # type: ignore[arg-type]
        )
        data = da.from_array(frames, chunks=(1, rows, columns))
        return Scan(data, axes, "image series", "movie", source)


def make_movie(seed: int = 0, peak: float = 300.0) -> Made:
    rng = np.random.default_rng(seed)
    layer = MONOLAYERS["WS2"]
    sites, kind = lattice_sites((SIZE, SIZE), SPACING, 0.2, np.array([3.0, 5.0]), 8)
    inside = ((sites > 16) & (sites < SIZE - 17)).all(axis=1)
    weak = _apart(rng, sites, np.flatnonzero(inside & (kind == 1)), 4)
    strong = _apart(rng, sites, np.flatnonzero(inside & (kind == 0)), 3)
    where = np.tile(np.concatenate((weak, strong)), (FRAMES, 1))
    for d in (0, 1):  # these two hop, once each
        gaps = np.hypot(*(sites - sites[where[0, d]]).T)
        gaps[kind != 1] = np.inf
        where[4 + d :, d] = np.argsort(gaps)[1]
    ratios = np.where(np.arange(7) < 4, layer.ratio(1, "S"), layer.ratio(0, "Mo"))
    frames = []
    for chosen in where:
        amplitude = np.array(layer.amplitudes)[kind].copy()
        amplitude[chosen] *= ratios
        expected = peak * (render((SIZE, SIZE), sites, amplitude, 2.0) + 0.1)
        frames.append(rng.poisson(expected))
    names = ("V_S",) * 4 + ("Mo",) * 3
    return Made(
        np.stack(frames).astype(np.float32), sites[where], kind[where[0]],
        ratios.astype(np.float32), names,
    )  # fmt: skip


def _apart(rng: Any, sites: Any, candidates: Any, count: int) -> Any:
    """Some sites, none a neighbour of another of them."""
    found: list[int] = []
    for one in rng.permutation(candidates):
        if all(np.hypot(*(sites[one] - sites[other])) > 2.5 * SPACING for other in found):
            found.append(int(one))
    return np.array(found[:count])


class Told:
    """A finder that knows the truth, less a little of noise; the last defect flickers."""

    def __init__(self, made: Made, seed: int = 1) -> None:
        self.made, self.seed = made, seed
        self.seen: list[int] = []

    def prepare(self, movie: Any, pixel_size_nm: float | None, control: Any) -> None:
        self.pixel = pixel_size_nm

    def frame(self, image: NDArray[np.float32], number: int) -> Any:
        self.seen.append(number)
        made = self.made
        rng = np.random.default_rng((self.seed, number))
        n = len(made.names)
        there = np.arange(n) != n - 1 if number % 3 else np.ones(n, dtype=bool)
        finds = Finds(
            np.full(n, number),
            made.places[number] + rng.normal(0, 0.15, (n, 2)),
            rng.uniform(0.85, 1, n),
            made.sublattice,
            made.ratio + rng.normal(0, 0.02, n),
            np.full(n, 0.15),
        ).take(there)  # fmt: skip
        lattice = made.lattice(image, number)
        return SimpleNamespace(finds=finds, lattice=lattice, probability_map=None, note="")
