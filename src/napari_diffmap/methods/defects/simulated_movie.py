"""A simulated movie of Mo-doped WS2: vacancies that hop, complexes that switch, and their truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.monolayers import MONOLAYERS
from napari_diffmap.methods.defects.simulated import lattice_sites, render, smooth_field

#: What a molybdenum atom and the sulphur vacancies beside it make together.
COMPLEXES: Final = ("Mo on W", "Mo on W + S vacancy", "Mo on W + 2 S vacancy")
#: Probability from frame to frame, rows are where it comes from.
SWITCHING: Final = np.array([[0.86, 0.12, 0.02], [0.15, 0.75, 0.10], [0.05, 0.25, 0.70]])


@dataclass(frozen=True, eq=False)
class SimulatedMovie:
    """A simulated movie.

    Attributes
    ----------
    frames
        ``(T, Y, X)`` uint16 counts.
    pixel_size_nm, frame_time_s
        Calibration.
    frame, places, names, track
        Defects of all frames: ``(n,)``, ``(n, 2)`` y, x in pixels, and of each the number of the
        thing that it is in all frames.
    shifts
        ``(T, 2)`` where the sample lies in each frame, against the first, pixels.
    diffusion_nm2_s
        Of the free vacancies.
    hop_rate
        Hops of a vacancy a second.
    states
        ``(T, complexes)`` index into `COMPLEXES`.
    switching
        ``(3, 3)`` probability from frame to frame.
    """

    frames: NDArray[np.uint16]
    pixel_size_nm: float
    frame_time_s: float
    frame: NDArray[np.int64]
    places: NDArray[np.float64]
    names: tuple[str, ...]
    track: NDArray[np.int64]
    shifts: NDArray[np.float64]
    diffusion_nm2_s: float
    hop_rate: float
    states: NDArray[np.int64]
    switching: NDArray[np.float64] = field(default_factory=lambda: SWITCHING.copy())


def movie(
    seed: int = 0,
    *,
    frames: int = 40,
    size: int = 256,
    vacancies: int = 10,
    molybdenum: int = 6,
    complexes: int = 6,
    peak: float = 200.0,
    pixel_nm: float = 0.03,
    probe_nm: float = 0.06,
    frame_time_s: float = 2.25,
    hop: float = 0.08,
    drift: float = 0.25,
) -> SimulatedMovie:
    """A movie of Mo-doped WS2.

    Parameters
    ----------
    seed
        Of the random numbers.
    frames, size
        How many, and pixels a side.
    vacancies, molybdenum, complexes
        Sulphur vacancies that hop, molybdenum atoms that stay as they are, and such that gain and
        lose vacancies beside them.
    peak
        Counts at the middle of a tungsten atom.
    pixel_nm, probe_nm, frame_time_s
        Pixel, standard deviation of the probe, time from frame to frame.
    hop
        Probability that a vacancy hops to one of the six nearest sites from frame to frame.
    drift
        Pixels the sample drifts from frame to frame, about.
    """
    rng = np.random.default_rng(seed)
    layer = MONOLAYERS["WS2"]
    spacing, sigma = layer.spacing_nm / pixel_nm, probe_nm / pixel_nm
    shifts = _drift(rng, frames, drift)
    margin = 5 * spacing + float(np.abs(shifts).max())
    origin = np.full(2, size / 2) + rng.uniform(-3, 3, 2)
    sites, kind = lattice_sites((size, size), spacing, rng.uniform(0, np.pi / 3), origin, margin)
    rim = 2.5 * spacing
    inner = np.asarray(((sites > rim) & (sites < size - rim)).all(axis=1))
    near = _Near(sites, kind, spacing)
    metals = _apart(
        rng, sites, np.flatnonzero(inner & (kind == 0)), molybdenum + complexes, spacing
    )
    switching, still = metals[:complexes], metals[complexes:]
    # A vacancy that hops keeps away from molybdenum: complexes are of their own making.
    taken = set(near.sulphur(metals, 1.3 * spacing))
    free = [i for i in np.flatnonzero(inner & (kind == 1)) if i not in taken]
    walkers = list(_apart(rng, sites, np.array(free), vacancies, spacing))
    states = _states(rng, frames, complexes)
    beside = [near.sulphur([metal], 0.7 * spacing) for metal in switching]
    pristine = np.array(layer.amplitudes)[kind]
    vacant, doped = layer.ratio(1, "S"), layer.ratio(0, "Mo")
    ground = 0.1 + 0.2 * smooth_field(rng, (size, size))
    images = np.zeros((frames, size, size), dtype=np.uint16)
    rows: list[tuple[int, float, float, str, int]] = []
    hops = 0
    for t in range(frames):
        if t:
            for k in range(len(walkers)):
                if rng.random() < hop:
                    hops += 1
                    walkers[k] = _hop(rng, near, walkers, k, taken, inner)
        ratios = np.ones(len(sites))
        seen: list[tuple[int, str, int]] = []
        for k, site in enumerate(walkers):
            ratios[site] = vacant
            seen.append((site, "S vacancy", k))
        for k, site in enumerate(still):
            ratios[site] = doped
            seen.append((int(site), "Mo on W", vacancies + k))
        for k, site in enumerate(switching):
            ratios[site] = doped
            seen.append((int(site), COMPLEXES[states[t, k]], vacancies + len(still) + k))
            for lost in beside[k][: states[t, k]]:
                ratios[lost] = vacant
                seen.append((lost, "S vacancy", -1))
        places = sites + shifts[t]
        image = peak * (render((size, size), places, pristine * ratios, sigma) + ground)
        images[t] = rng.poisson(image)
        rows += [(t, *(sites[i] + shifts[t]), name, track) for i, name, track in seen]
    area = layer.spacing_nm**2
    return SimulatedMovie(
        images,
        pixel_nm,
        frame_time_s,
        np.array([row[0] for row in rows]),
        np.array([row[1:3] for row in rows]),
        tuple(row[3] for row in rows),
        np.array([row[4] for row in rows]),
        shifts,
        hop / frame_time_s * area / 4,
        hop / frame_time_s,
        states,
    )


def _drift(rng: np.random.Generator, frames: int, drift: float) -> NDArray[np.float64]:
    """A steady drift that wanders a little."""
    turn = rng.uniform(0, 2 * np.pi)
    steps = drift * (
        np.array([np.sin(turn), np.cos(turn)]) + rng.normal(scale=0.4, size=(frames, 2))
    )
    steps[0] = 0
    return np.cumsum(steps, axis=0)


class _Near:
    """Neighbours of sites."""

    def __init__(self, sites: NDArray[np.float64], kind: NDArray[np.int8], spacing: float) -> None:
        from scipy.spatial import cKDTree

        self.sites, self.spacing = sites, spacing
        self.weak = np.flatnonzero(kind == 1)
        self._tree = cKDTree(sites[self.weak])

    def sulphur(self, of: NDArray[np.int64] | list[int], reach: float) -> list[int]:
        """Sites of the weaker sublattice within a distance of any of some sites."""
        found = self._tree.query_ball_point(self.sites[np.asarray(of, dtype=int)], reach)
        return sorted({int(self.weak[i]) for some in found for i in some})


def _apart(
    rng: np.random.Generator,
    sites: NDArray[np.float64],
    among: NDArray[np.int64],
    count: int,
    spacing: float,
) -> NDArray[np.int64]:
    """Some sites at random, at least three lattice constants apart where there is room."""
    chosen: list[int] = []
    for i in rng.permutation(among):
        if len(chosen) == count:
            break
        if all(np.hypot(*(sites[i] - sites[j])) > 3 * spacing for j in chosen):
            chosen.append(int(i))
    rest = [int(i) for i in among if int(i) not in chosen]
    return np.array(chosen + rest[: count - len(chosen)], dtype=np.int64)


def _hop(
    rng: np.random.Generator,
    near: _Near,
    walkers: list[int],
    k: int,
    taken: set[int],
    inner: NDArray[np.bool_],
) -> int:
    """Where a vacancy hops: to one of its six neighbours, unless something is there."""
    there = [i for i in near.sulphur([walkers[k]], 1.1 * near.spacing) if i != walkers[k]]
    to = int(rng.choice(there))
    return walkers[k] if to in taken or to in walkers or not inner[to] else to


def _states(rng: np.random.Generator, frames: int, complexes: int) -> NDArray[np.int64]:
    """A Markov chain each, begun in its stationary state."""
    values, vectors = np.linalg.eig(SWITCHING.T)
    still = np.real(vectors[:, int(np.argmax(np.real(values)))])
    states = np.zeros((frames, complexes), dtype=np.int64)
    if not complexes:
        return states
    states[0] = rng.choice(3, complexes, p=still / still.sum())
    for t in range(1, frames):
        for k in range(complexes):
            states[t, k] = rng.choice(3, p=SWITCHING[states[t - 1, k]])
    return states
