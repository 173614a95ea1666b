"""Spectra as the window draws them: what is plotted, references scaled to it, energy windows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.spectra.density import normalised

if TYPE_CHECKING:
    from napari_diffmap.methods.spectra.density import Normalisation
    from napari_diffmap.methods.spectra.references import Reference

Quantity = Literal["counts", "OD"]
ImageOf = Literal["energy", "window", "difference"]
Span = tuple[float, float]
#: What can be plotted, in the order of the form, with the words for it.
QUANTITIES: dict[Quantity, str] = {"counts": "counts", "OD": "optical density"}
NORMALISATIONS: tuple[Normalisation, ...] = ("none", "pre-edge", "area", "post-edge")
IMAGES: dict[ImageOf, str] = {
    "energy": "one energy",
    "window": "mean of a window",
    "difference": "window A − window B",
}
#: The spectrum under the mouse, and those that were held: Okabe–Ito colours, each with a marker
#: of its own.
CURRENT_COLOR = "#FFFFFF"
HELD_COLORS = ("#E69F00", "#009E73", "#CC79A7", "#F0E442", "#56B4E9", "#D55E00")
HELD_MARKERS = ("s", "^", "D", "v", "P", "X")
#: Strokes and gaps of the references, in line widths.
REFERENCE_DASHES: tuple[tuple[float, ...], ...] = (
    (6, 3),
    (2, 2),
    (8, 2, 2, 2),
    (10, 4),
    (4, 2, 1, 2, 1, 2),
    (1, 1.5),
)
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Look:
    """How a stack is looked at.

    Attributes
    ----------
    quantity
        What spectra and image show.
    normalisation
        How spectra of optical density are brought to one scale.
    edge
        Where the edge begins and ends, eV.
    image
        What the sample shows.
    spans
        Energy windows A and B, eV.
    whole_labels
        The spectrum is the mean of the label under the position, where there is one.
    """

    quantity: Quantity = "counts"
    normalisation: Normalisation = "none"
    edge: Span = (0.0, 0.0)
    image: ImageOf = "energy"
    spans: tuple[Span, Span] = ((0.0, 0.0), (0.0, 0.0))
    whole_labels: bool = False


@dataclass(frozen=True, eq=False)
class Measured:
    """The spectrum of a position or of several.

    Attributes
    ----------
    name
        Of what it is the spectrum.
    position
        Row and column that stand for it.
    mask
        ``(Y, X)``; None: the single position.
    counts, od
        ``(E,)``; `od` is None as long as I0 is not known.
    """

    name: str
    position: tuple[int, int]
    mask: NDArray[np.bool_] | None
    counts: NDArray[np.float64]
    od: NDArray[np.float64] | None


@dataclass(frozen=True, eq=False)
class Curve:
    """A line of the plot, told from others by dashes or markers as well as by its colour.

    Attributes
    ----------
    name, color
        For the legend.
    energies, values
        ``(n,)``, eV and what is plotted.
    dashes
        Strokes and gaps in line widths; empty: solid.
    marker
        Of the points; empty: none.
    """

    name: str
    color: str
    energies: NDArray[np.float64]
    values: NDArray[np.float64]
    dashes: tuple[float, ...] = ()
    marker: str = ""


def default_edge(energies: NDArray[np.float64]) -> Span:
    """The lowest tenth of the range lies below the edge, the highest fifth above it, eV."""
    low, high = float(np.min(energies)), float(np.max(energies))
    return low + 0.1 * (high - low), high - 0.2 * (high - low)


def default_spans(energies: NDArray[np.float64]) -> tuple[Span, Span]:
    """A window in the middle of the range, and one below the edge, eV."""
    low, high = float(np.min(energies)), float(np.max(energies))
    size, middle = high - low, (low + high) / 2
    return (middle - 0.05 * size, middle + 0.05 * size), (low, low + 0.1 * size)


def inside(energies: NDArray[np.float64], span: Span) -> NDArray[np.bool_]:
    """Which energies ``(E,)`` lie in a window; the nearest one where none does."""
    low, high = min(span), max(span)
    chosen: NDArray[np.bool_] = (energies >= low) & (energies <= high)
    if not chosen.any():
        chosen[int(np.argmin(np.abs(energies - (low + high) / 2)))] = True
    return chosen


def brought_to_scale(
    values: NDArray[np.float64], energies: NDArray[np.float64], look: Look
) -> NDArray[np.float64]:
    """A spectrum ``(E,)`` of optical density, normalised as is asked for.

    NaN where too little of it is known, or where nothing rises over the pre-edge line: to divide
    by that would turn it upside down.
    """
    if look.normalisation == "none":
        return values
    low, high = look.edge
    parts = [energies <= low, *([energies >= high] if look.normalisation == "post-edge" else [])]
    known = np.isfinite(values)
    if not known.any() or any(part.any() and not known[part].any() for part in parts):
        return np.full_like(values, np.nan)
    if look.normalisation != "pre-edge":
        over = normalised(values, energies, "pre-edge", look.edge)
        behind = energies >= high if look.normalisation == "post-edge" else known
        behind = behind & known if (behind & known).any() else known
        if over[behind].mean() <= 0:
            return np.full_like(values, np.nan)
    return normalised(values, energies, look.normalisation, look.edge)


def scaled_reference(
    reference: Reference,
    energies: NDArray[np.float64],
    od: NDArray[np.float64],
    look: Look,
    incident: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """A reference in the plot of a spectrum: energies and values, scaled to it by least squares.

    Parameters
    ----------
    reference
        The spectrum of a phase.
    energies, od
        ``(E,)`` eV and optical density of what it is compared with.
    look
        What is plotted.  An offset is fitted as well where it is not normalised.
    incident
        I0 ``(E,)``.

    Returns
    -------
    tuple or None
        None where the two share fewer than two energies.
    """
    # One step beyond the range: the line should not end before the points do.
    inner = (reference.energies >= energies[0]) & (reference.energies <= energies[-1])
    if inner.sum() < 2:
        return None
    x, y = reference.energies[inner], reference.values[inner]
    spectrum = od
    if look.quantity == "OD":
        spectrum = brought_to_scale(od, energies, look)
        y = brought_to_scale(y, x, look)
    at = np.interp(energies, x, y, left=np.nan, right=np.nan)
    known = np.isfinite(spectrum) & np.isfinite(at)
    if known.sum() < 2:
        return None
    free = look.quantity == "counts" or look.normalisation == "none"
    design = np.stack([at[known], np.ones(known.sum()) if free else np.zeros(known.sum())], axis=1)
    scale, offset = np.linalg.lstsq(design, spectrum[known], rcond=None)[0]
    if scale <= 0:  # it does not look like it at all: no mirrored curve is drawn
        scale, offset = 0.0, float(spectrum[known].mean()) if free else 0.0
    fitted = scale * y + offset
    if look.quantity == "counts":
        fitted = np.interp(x, energies, incident) * np.exp(-fitted)
    return x, fitted


def is_color(text: str) -> bool:
    """Whether a text is a colour ``#RRGGBB``."""
    return _HEX.fullmatch(text) is not None
