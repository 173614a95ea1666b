"""A simulated STXM stack of NaxV2(PO4)2F3 particles, with truth.

Five references like the V L2,3 and O K edges of NaxV2(PO4)2F3 (x = 3, 2.4, 2, 1 and below 1):
made from Voigt-like peaks that move up by most of an electronvolt for each electron of
vanadium and change their shape, so that neighbours correlate at 0.98-0.99 as measured ones do.
They are no measurement.  Particles consist of grains (Voronoi cells); between grains of unlike x
lies a transition layer.  Counts are Poisson.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.references import Reference, colored

if TYPE_CHECKING:
    from napari_diffmap.scan.scan import Scan

#: Sodium contents of the references; the last stands for "below 1".
CONTENTS = (3.0, 2.4, 2.0, 1.0, 0.5)
#: Energies of the finest reference and of the full stack, eV.
_RANGE = (508.0, 548.0)


@dataclass(frozen=True, eq=False)
class Truth:
    """What was simulated.

    Attributes
    ----------
    labels
        ``(Y, X)`` int16 reference with the largest share, from 0; -1 beside the particles.
    fractions
        ``(Y, X, 5)`` float32 shares of the references, 0 beside the particles.
    thickness
        ``(Y, X)`` float32 factor of the references' optical density.
    """

    labels: NDArray[np.int16]
    fractions: NDArray[np.float32]
    thickness: NDArray[np.float32]

    @property
    def pure(self) -> NDArray[np.bool_]:
        """``(Y, X)``: one reference makes up 98 % and more."""
        mask: NDArray[np.bool_] = self.fractions.max(axis=-1) >= 0.98
        return mask & (self.labels >= 0)

    @property
    def mixed(self) -> NDArray[np.bool_]:
        """``(Y, X)``: no reference makes up 85 %."""
        mask: NDArray[np.bool_] = self.fractions.max(axis=-1) < 0.85
        return mask & (self.labels >= 0)

    @property
    def composition(self) -> NDArray[np.float32]:
        """``(Y, X)`` x; NaN beside the particles."""
        x = self.fractions @ np.array(CONTENTS, dtype=np.float32)
        return np.where(self.labels >= 0, x, np.nan).astype(np.float32)


def _peak(energies: NDArray[np.float64], at: float, width: float) -> NDArray[np.float64]:
    """Half Gaussian, half Lorentzian of full width `width` eV."""
    u = (energies - at) / width
    value: NDArray[np.float64] = 0.5 * np.exp(-4 * np.log(2) * u**2) + 0.5 / (1 + 4 * u**2)
    return value


def _absorption(energies: NDArray[np.float64], x: float) -> NDArray[np.float64]:
    """Optical density of unit thickness for a sodium content x of 0 to 3."""
    charge = (3 - x) / 2  # electrons taken from a vanadium atom, 0 to 1.5
    shift = 0.85 * charge
    curve = 0.12 + 0.06 / (1 + np.exp(-(energies - 516.0 - shift) / 0.8))
    curve += 0.05 / (1 + np.exp(-(energies - 523.0 - shift) / 0.8))
    curve += 0.24 / (1 + np.exp(-(energies - 535.0) / 1.2))
    # V L3: a main line with two shoulders whose weights follow the valence.
    curve += (0.62 - 0.05 * charge) * _peak(energies, 517.4 + shift, 2.3)
    curve += 0.20 * (1 - 0.35 * charge) * _peak(energies, 515.4 + 0.6 * shift, 1.5)
    curve += 0.10 * charge * _peak(energies, 519.0 + shift, 1.6)
    # V L2.
    curve += (0.40 + 0.02 * charge) * _peak(energies, 524.0 + shift, 2.8)
    # O K: the pre-edge (V 3d) grows as the band empties, the main edge stays.
    curve += (0.08 + 0.13 * charge) * _peak(energies, 530.3 - 0.2 * charge, 1.7)
    curve += 0.30 * _peak(energies, 537.5, 4.0) + 0.12 * _peak(energies, 541.5, 5.0)
    return np.asarray(curve, dtype=np.float64)


def simulated_references() -> tuple[Reference, ...]:
    """The five references on a fine grid, named by their sodium content."""
    energies = np.arange(_RANGE[0] - 1, _RANGE[1] + 1.001, 0.1)
    names = [f"Na{x:g}" for x in CONTENTS[:-1]] + ["Na<1"]
    return colored(
        [
            Reference(name, energies, _absorption(energies, x), composition=x, source="simulated")
            for name, x in zip(names, CONTENTS, strict=True)
        ]
    )


def simulated_energies(n: int) -> NDArray[np.float64]:
    """Energies ``(n,)`` eV as a beamline would choose them: dense over the edges.

    Raises
    ------
    BadInputError
        For fewer than two.
    """
    if n < 2:
        raise BadInputError("a stack needs two energies at least")
    # Spread evenly by a density that is high over V L3, V L2 and the O K pre-edge.
    fine = np.linspace(*_RANGE, 4001)
    density = 0.12 + 2.0 * _peak(fine, 517.5, 4.5) + _peak(fine, 524.3, 4.0)
    density += 0.7 * _peak(fine, 530.3, 2.5)
    share = np.cumsum(density)
    share = (share - share[0]) / (share[-1] - share[0])
    return np.asarray(np.interp(np.linspace(0, 1, n), share, fine).round(2), dtype=np.float64)


def simulated_truth(shape: tuple[int, int] = (128, 128), seed: int = 0) -> Truth:
    """Particles of several grains on an empty support.

    Parameters
    ----------
    shape
        Rows and columns.
    seed
        Of the random numbers.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    rows, columns = shape
    y, x = np.mgrid[:rows, :columns].astype(np.float64)
    particles = np.zeros(shape, dtype=np.int64)
    thickness = np.zeros(shape)
    for number, (cy, cx, radius) in enumerate(_places(rng, rows, columns), 1):
        angle = np.arctan2(y - cy, x - cx)
        outline = radius * (1 + 0.12 * np.cos(3 * angle + rng.uniform(0, 6.3)))
        away = np.hypot(y - cy, x - cx) / outline
        inside = (away < 1) & (particles == 0)
        particles[inside] = number
        thickness[inside] = (0.7 + 1.3 * np.sqrt(1 - away[inside] ** 2)) * rng.uniform(0.8, 1.1)
    seeds = rng.uniform((0, 0), shape, (max(6, rows * columns // 450), 2))
    phases = rng.integers(0, len(CONTENTS), (particles.max() + 1, len(seeds)))
    # Grains of a particle differ by one step in x, as a reaction front leaves them.
    base = rng.integers(0, len(CONTENTS), particles.max() + 1)
    phases = np.clip(base[:, None] + phases % 3 - 1, 0, len(CONTENTS) - 1)
    nearest = np.argmin((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2, -1)
    sharp = phases[particles, nearest]
    fractions = np.stack(
        [
            gaussian_filter(((sharp == k) & (particles > 0)).astype(np.float64), 1.2)
            for k in range(len(CONTENTS))
        ],
        axis=-1,
    )
    fractions /= np.maximum(fractions.sum(axis=-1, keepdims=True), 1e-12)
    fractions[particles == 0] = 0
    labels = np.where(particles > 0, fractions.argmax(axis=-1), -1)
    return Truth(
        labels.astype(np.int16), fractions.astype(np.float32), thickness.astype(np.float32)
    )


def _places(
    rng: np.random.Generator, rows: int, columns: int
) -> Sequence[tuple[float, float, float]]:
    """Centres and radii of particles that do not touch the border."""
    size = min(rows, columns)
    found: list[tuple[float, float, float]] = []
    for _ in range(400):
        radius = rng.uniform(0.13, 0.2) * size
        cy, cx = (rng.uniform(radius * 1.15, n - radius * 1.15) for n in (rows, columns))
        if all(np.hypot(cy - a, cx - b) > 1.15 * (radius + c) for a, b, c in found):
            found.append((cy, cx, radius))
    return found


def simulated_counts(
    truth: Truth,
    energies: NDArray[np.float64],
    counts: float,
    seed: int = 0,
    references: Sequence[Reference] | None = None,
) -> NDArray[np.uint32]:
    """Photons ``(E, Y, X)`` behind the sample.

    Parameters
    ----------
    truth
        What is where.
    energies
        ``(E,)`` eV.
    counts
        Photons a pixel and energy beside the sample, on average; I0 falls by a tenth over the
        range, and dips at the O K edge of the beamline's mirrors.
    seed
        Of the noise.
    references
        Others than `simulated_references`, in their order.
    """
    rng = np.random.default_rng((seed, 7))
    curves = np.stack([r.at(energies) for r in references or simulated_references()])
    u = (energies - energies.mean()) / max(float(np.ptp(energies)), 1.0)
    incident = counts * (1 - 0.1 * u - 0.05 * _peak(energies, 532.0, 3.0))
    od = np.einsum("yxk,ke->eyx", truth.fractions.astype(np.float64), curves) * truth.thickness
    return np.asarray(rng.poisson(incident[:, None, None] * np.exp(-od)), dtype=np.uint32)


def simulated_scan(
    n_energies: int = 12,
    counts: float = 2000.0,
    shape: tuple[int, int] = (128, 128),
    seed: int = 0,
) -> tuple[Scan, Truth]:
    """The stack as a scan with 30 nm pixels, and its truth.

    Parameters
    ----------
    n_energies, counts, shape, seed
        See `simulated_energies`, `simulated_counts` and `simulated_truth`.
    """
    import dask.array as da

    from napari_diffmap.scan.axes import Axis
    from napari_diffmap.scan.scan import Scan

    truth = simulated_truth(shape, seed)
    energies = simulated_energies(n_energies)
    stack = simulated_counts(truth, energies, counts, seed)
    axes = (
        Axis(
            "energy",
            n_energies,
            float(np.ptp(energies)) / (n_energies - 1),
            float(energies[0]),
            "eV",
            tuple(energies.tolist()),
        ),
        Axis("y", shape[0], 30.0, 0.0, "nm"),
        Axis("x", shape[1], 30.0, 0.0, "nm"),
    )
    scan = Scan(
        da.from_array(stack, chunks=(1, *shape)),
        axes,
        "STXM",
        f"NaxV2(PO4)2F3 particles, {n_energies} energies",
        format="simulated",
        metadata={"counts": counts, "seed": seed},
    )
    return scan, truth
