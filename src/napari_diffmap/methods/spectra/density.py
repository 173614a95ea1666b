"""Optical density of a stack, and which of its pixels can be read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

#: Optical density above which detector background and higher harmonics bend a spectrum.
SATURATION = 2.2
Normalisation = Literal["none", "pre-edge", "area", "post-edge"]


@dataclass(frozen=True, eq=False)
class Density:
    """Optical densities with the noise that they carry.

    Attributes
    ----------
    energies
        ``(E,)`` eV.
    od
        ``(E, Y, X)`` float32, -ln(I/I0); NaN where nothing was counted.
    incident
        ``(E,)`` I0 in counts; ones where the stack held densities.
    counting
        Whether `incident` is in photons, so that the noise is known: var(OD) = 1/I.
    thickness
        ``(Y, X)`` mean OD over all energies, the surroundings taken off.
    particle
        ``(Y, X)`` True on the sample.
    saturated
        ``(Y, X)`` True where OD exceeds what the detector tells apart, or the user masked it.
    dark
        ``(Y, X)`` True where fewer than two energies are known.
    """

    energies: NDArray[np.float64]
    od: NDArray[np.float32]
    incident: NDArray[np.float64]
    counting: bool
    thickness: NDArray[np.float32]
    particle: NDArray[np.bool_]
    saturated: NDArray[np.bool_]
    dark: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.od.shape[1:]
        return int(rows), int(columns)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """``(Y, X)``: on the sample and neither dark nor saturated."""
        mask: NDArray[np.bool_] = self.particle & ~self.dark & ~self.saturated
        return mask

    def at_energies(self, chosen: NDArray[np.intp]) -> Density:
        """The same at some energies only; masks stay."""
        return replace(
            self,
            energies=self.energies[chosen],
            od=self.od[chosen],
            incident=self.incident[chosen],
        )

    def pixels(self, mask: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """OD ``(P, E)`` of some pixels, 0 where unknown, and its weights 1/var(OD).

        The variance of OD = -ln(I/I0) with Poisson counts is 1/I; I0, measured on many pixels,
        adds nothing.  Without counts the weights are relative.
        """
        od = np.ascontiguousarray(self.od[:, mask].T)
        known = np.isfinite(od)
        od = np.where(known, od, 0).astype(np.float32)
        incident = np.nan_to_num(self.incident).astype(np.float32)
        weights = np.exp(-np.clip(od, -1, 6)) * incident[None] * known
        return od, weights.astype(np.float32)


def optical_density(
    stack: NDArray[Any],
    energies: NDArray[np.float64],
    incident: NDArray[np.float64] | None,
    *,
    saturation: float = SATURATION,
    threshold: float | None = None,
    masked: NDArray[np.bool_] | None = None,
    counting: bool | None = None,
) -> Density:
    """OD = -ln(I/I0) with masks of what can be read.

    Parameters
    ----------
    stack
        Counts ``(E, Y, X)``, NaN where a pixel was not measured; densities without `incident`.
    energies
        ``(E,)`` eV.
    incident
        I0 ``(E,)``; None: the stack holds optical densities.
    saturation
        Pixels whose OD exceeds it anywhere are not read.
    threshold
        Mean OD from which on a pixel belongs to the sample; None: Otsu's threshold.
    masked
        ``(Y, X)`` pixels that the user takes out, such as thick parts.
    counting
        Whether the stack holds photons; None: if it holds whole numbers.

    Raises
    ------
    BadInputError
        If shapes do not fit or no energy is known.
    """
    if stack.ndim != 3 or len(energies) != stack.shape[0]:
        raise BadInputError(
            f"a stack (energy, y, x) of {len(energies)} energies is needed, not {stack.shape}"
        )
    if incident is None:
        od = np.asarray(stack, dtype=np.float32)
        incident, photons = np.ones(len(energies)), False
    else:
        if incident.shape != energies.shape:
            raise BadInputError(f"I0 has {len(incident)} energies, the stack {len(energies)}")
        with np.errstate(divide="ignore", invalid="ignore"):
            od = -np.log(np.asarray(stack, np.float32) / incident.astype(np.float32)[:, None, None])
        # Nothing counted is no density: the pixel is darker than can be told.
        photons = _photons(stack) if counting is None else counting
    od = np.where(np.isfinite(od), od, np.nan).astype(np.float32)
    known = np.isfinite(od)
    if known.sum(axis=0).max(initial=0) < 2:
        raise BadInputError("no pixel has two energies: nothing can be told apart")
    dark = known.sum(axis=0) < 2
    nothing = (np.asarray(stack) <= 0).any(axis=0) & ~dark if photons else np.zeros_like(dark)
    with np.errstate(invalid="ignore"):
        highest = np.where(known, od, -np.inf).max(axis=0)
    saturated = (highest > saturation) | nothing
    if masked is not None:
        saturated = saturated | masked
    thickness = _thickness(od, known)
    # What the user took out says nothing of where the rest begins.
    out = dark if masked is None else dark | masked
    particle = _particle(thickness, out if not out.all() else dark, threshold) & ~dark
    return Density(
        np.asarray(energies, dtype=np.float64),
        od,
        np.asarray(incident, dtype=np.float64),
        bool(photons),
        thickness,
        particle,
        saturated & ~dark,
        dark,
    )


def _photons(stack: NDArray[Any]) -> bool:
    """Whether the numbers are counts: whole, and not all below 1."""
    if stack.dtype.kind in "iu":
        return True
    some = np.asarray(stack[:: max(1, len(stack) // 4), ::3, ::3], dtype=np.float64)
    some = some[np.isfinite(some)]
    return bool(len(some) and some.max() > 1 and np.array_equal(some, np.rint(some)))


def _thickness(od: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean OD above that of the surroundings ``(Y, X)``.

    Each energy's own mean level is taken off first, so that a pixel that lacks some energies
    is not thought thinner or thicker for that.
    """
    filled = np.where(known, od, 0)
    count = np.maximum(known.sum(axis=(1, 2)), 1)
    level = filled.sum(axis=(1, 2), dtype=np.float64) / count
    away = np.where(known, od - level[:, None, None].astype(np.float32), 0).sum(axis=0)
    mean = away / np.maximum(known.sum(axis=0), 1) + float(level.mean())
    return np.asarray(mean, dtype=np.float32)


def _particle(
    thickness: NDArray[np.float32], out: NDArray[np.bool_], threshold: float | None
) -> NDArray[np.bool_]:
    if threshold is None:
        threshold = particle_threshold(thickness[~out])
    mask: NDArray[np.bool_] = thickness >= threshold
    return mask


def particle_threshold(thickness: NDArray[np.float32]) -> float:
    """Mean OD between surroundings and sample.

    Where the surroundings are a population of their own, the lowest mode of the histogram, the
    sample begins five of its standard deviations above (from its lower flank, which no sample
    reaches); Otsu's threshold elsewhere, and where that is lower.
    """
    from scipy.ndimage import gaussian_filter1d
    from skimage.filters import threshold_otsu

    values = np.clip(thickness, *np.quantile(thickness, (0.0005, 0.995)))
    if np.ptp(values) <= 0:
        return float(values.min())
    otsu = float(threshold_otsu(values))
    counts, edges = np.histogram(values, bins=256)
    smooth = gaussian_filter1d(counts.astype(np.float64), 1.5, mode="constant")
    padded = np.pad(smooth, 1)
    peaks = np.flatnonzero((smooth >= padded[:-2]) & (smooth > padded[2:]))
    peaks = peaks[smooth[peaks] >= 0.2 * smooth.max()]
    mode = float((edges[peaks[0]] + edges[peaks[0] + 1]) / 2)
    flank = mode - values[values < mode]
    # The median of the absolute value of a normal deviate is 0.6745 standard deviations.
    width = float(np.median(flank)) / 0.6745 if len(flank) > 8 else np.inf
    return min(otsu, mode + 5 * width)


def normalised(
    spectra: NDArray[Any],
    energies: NDArray[np.float64],
    how: Normalisation,
    edge: tuple[float, float] | None = None,
) -> NDArray[np.float64]:
    """Spectra ``(E, …)`` brought to one scale.

    Parameters
    ----------
    spectra
        Optical densities; NaN is left out.
    energies
        ``(E,)`` eV.
    how
        ``pre-edge``: a line through the energies below the edge is taken off.  ``area`` and
        ``post-edge`` also divide by the mean over all energies, or over those above the edge.
    edge
        Where the edge begins and ends, eV; None: the lowest tenth of the range lies below it, the
        highest fifth above.
    """
    values = np.asarray(spectra, dtype=np.float64)
    if how == "none":
        return values
    low, high = edge or _edge(energies)
    before, after = energies <= low, energies >= high
    line = _line_below(values, energies, before)
    values = values - line
    if how == "pre-edge":
        return values
    chosen = after if how == "post-edge" and after.any() else np.ones(len(energies), dtype=bool)
    with np.errstate(invalid="ignore", divide="ignore"):
        size = np.nanmean(values[chosen], axis=0)
        # What does not rise above its pre-edge would be turned upside down.
        return np.where(size > 1e-9, values / size, np.nan)


def _edge(energies: NDArray[np.float64]) -> tuple[float, float]:
    low, high = float(np.min(energies)), float(np.max(energies))
    return low + 0.1 * (high - low), high - 0.2 * (high - low)


def _line_below(
    values: NDArray[np.float64], energies: NDArray[np.float64], before: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The line through the energies below the edge, at every energy; a level for only one."""
    n = int(before.sum())
    if n == 0:
        return np.zeros_like(values)
    middle = energies[before].mean()
    away = (energies - middle).reshape(-1, *(1,) * (values.ndim - 1))
    level = np.nanmean(values[before], axis=0)
    if n < 3:
        return np.broadcast_to(level, values.shape).copy()
    slope = np.nansum(values[before] * away[before], axis=0) / np.sum(away[before] ** 2)
    return np.asarray(level + slope * away, dtype=np.float64)
