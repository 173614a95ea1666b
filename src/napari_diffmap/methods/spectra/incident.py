"""What came in: the incident spectrum I0 from a region, the brightest pixels or a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.references import read_sampled

#: Pixels that the histogram may take as empty at least.
_FEWEST_EMPTY = 12


@dataclass(frozen=True, eq=False)
class Incident:
    """Where the incident spectrum comes from; without any of these, from the histogram.

    Attributes
    ----------
    region
        Rows and columns ``(y0, x0, y1, x1)``, the last ones excluded.
    mask
        ``(Y, X)``: empty pixels, drawn by hand.
    file
        Text of two columns: energy, counts.
    already_density
        The stack holds optical density: nothing is divided.
    """

    region: tuple[int, int, int, int] | None = None
    mask: NDArray[np.bool_] | None = None
    file: Path | None = None
    already_density: bool = False

    def describe(self) -> str:
        """In words, for the record."""
        if self.already_density:
            return "the stack holds optical density"
        if self.file is not None:
            return f"file {self.file}"
        if self.mask is not None:
            return f"drawn region of {int(self.mask.sum())} pixels"
        if self.region is not None:
            return "region " + ",".join(str(n) for n in self.region)
        return "brightest pixels (histogram)"

    def spectrum(self, stack: NDArray[Any], energies: NDArray[np.float64]) -> NDArray[np.float64]:
        """I0 ``(E,)`` of a stack of counts ``(E, Y, X)``.

        Raises
        ------
        BadInputError
            If the region lies outside or is empty, or the file does not cover the energies.
        """
        if self.already_density:
            return np.ones(len(energies))
        if self.file is not None:
            return read_incident(self.file, energies)
        if self.mask is not None:
            return incident_of_region(stack, self.mask)
        if self.region is not None:
            return incident_of_region(stack, region_mask(self.region, stack.shape[1:]))
        return incident_of_histogram(stack)[0]


def region_mask(region: tuple[int, int, int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Mask ``(Y, X)`` of rows and columns ``(y0, x0, y1, x1)``, the last ones excluded.

    Raises
    ------
    BadInputError
        If no pixel of the map lies in it.
    """
    y0, x0, y1, x1 = region
    mask = np.zeros(shape[:2], dtype=bool)
    if min(region) >= 0:
        mask[y0:y1, x0:x1] = True
    if not mask.any():
        raise BadInputError(
            f"I0 region {y0},{x0},{y1},{x1} holds no pixel of {shape[0]} × {shape[1]}: give first"
            " row, first column, last row, last column (the last ones excluded)"
        )
    return mask


def incident_of_region(stack: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean counts of a region ``(Y, X)`` at each energy ``(E,)``; NaN where none is known.

    Raises
    ------
    BadInputError
        If there is no such pixel, or nothing was counted there.
    """
    if mask.shape != stack.shape[1:] or not mask.any():
        raise BadInputError("draw a region beside the sample first: I0 is measured there")
    inside = np.asarray(stack[:, mask], dtype=np.float64)
    known = np.isfinite(inside)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, inside, 0).sum(axis=1) / known.sum(axis=1)
    if not (mean > 0).any():
        raise BadInputError("nothing was counted in the I0 region: choose one beside the sample")
    return np.where(mean > 0, mean, np.nan)


def incident_of_histogram(
    stack: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """I0 from the brightest population of pixels, and which pixels those are.

    Pixels beside the sample transmit everything: they are the uppermost mode of the histogram of
    the mean image.  Its mode is found between the 50th and the last percentile, and pixels within
    the width of its upper flank are taken.

    Parameters
    ----------
    stack
        Counts ``(E, Y, X)``.

    Returns
    -------
    incident, empty
        ``(E,)`` and ``(Y, X)``.

    Raises
    ------
    BadInputError
        If nothing was counted.
    """
    with np.errstate(invalid="ignore"):
        known = np.isfinite(stack)
        total = np.where(known, stack, 0).sum(axis=0, dtype=np.float64)
        mean = total / np.maximum(known.sum(axis=0), 1)
    positive = mean[mean > 0]
    if positive.size < 2:
        raise BadInputError("the stack holds no counts: is it an optical density already?")
    values = np.log(positive)
    top = np.quantile(values, 0.995)
    middle = _upper_mode(values)
    width = max(float(top - middle), 1e-4)
    empty = (mean > 0) & (np.log(np.where(mean > 0, mean, 1.0)) >= middle - width)
    if empty.sum() < _FEWEST_EMPTY:
        empty = mean >= np.quantile(positive, 0.95)
    return incident_of_region(stack, empty), empty


def _upper_mode(values: NDArray[np.float64]) -> float:
    """The highest mode of a histogram that holds at least a twentieth of its tallest."""
    from scipy.ndimage import gaussian_filter1d

    low, high = np.quantile(values, (0.01, 0.999))
    if high - low < 1e-9:
        return float(high)
    counts, edges = np.histogram(values, bins=128, range=(low, high))
    smooth = gaussian_filter1d(counts.astype(np.float64), 2.0, mode="constant")
    inner = smooth[1:-1]
    peaks = np.flatnonzero((inner >= smooth[:-2]) & (inner > smooth[2:])) + 1
    peaks = peaks[smooth[peaks] >= 0.05 * smooth.max()]
    place = int(peaks[-1]) if len(peaks) else int(np.argmax(smooth))
    return float((edges[place] + edges[place + 1]) / 2)


def read_incident(path: str | Path, energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """I0 of a text file (energy, counts), linearly between its energies.

    Raises
    ------
    BadInputError
        If it cannot be read, or does not reach over the energies of the scan.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise BadInputError(f"I0 file {path} does not exist: check the path")
    incident = read_sampled(path, path.stem, np.asarray(energies, dtype=np.float64))
    if not np.isfinite(incident).all() or (incident <= 0).any():
        raise BadInputError(
            f"{path.name}: I0 must be positive and reach over the scan's"
            f" {np.min(energies):.6g} to {np.max(energies):.6g} eV"
        )
    return incident


def read_mask(path: str | Path, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels that are taken out ``(Y, X)``: not zero in a TIFF or .npy, marked in a text grid.

    A text grid has a character a pixel, a blank where the pixel is kept (``.msk``).

    Raises
    ------
    BadInputError
        If it cannot be read, or has another shape than the map.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise BadInputError(f"mask {path} does not exist: check the path")
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            from tifffile import imread

            mask = np.asarray(imread(path)) != 0
        elif path.suffix.lower() == ".npy":
            mask = np.load(path, allow_pickle=False) != 0
        else:
            lines = path.read_text("latin-1").splitlines()
            mask = np.array([[c not in " 0." for c in line.ljust(shape[1])] for line in lines])
    except (OSError, ValueError) as error:
        raise BadInputError(f"{path.name}: cannot be read as a mask ({error})") from error
    if mask.shape != tuple(shape[:2]):
        raise BadInputError(
            f"{path.name}: the mask has {' × '.join(map(str, mask.shape))} pixels, the map"
            f" {shape[0]} × {shape[1]}"
        )
    return np.asarray(mask, dtype=bool)
