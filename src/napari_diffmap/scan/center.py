"""Finding the direct beam."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.scan.scan import Scan


def mean_pattern(scan: Scan, max_patterns: int = 256) -> NDArray[np.float64]:
    """Mean of patterns spread evenly over the scan, ``(ky, kx)``.

    Parameters
    ----------
    scan
        A 4D-STEM scan, a pattern stack or a single pattern.
    max_patterns
        At most so many are read, on a regular grid.

    Raises
    ------
    BadInputError
        If the scan has no patterns, or none was recorded.
    """
    if scan.kind == "pattern":
        return np.asarray(scan.data.compute(), dtype=np.float64)
    if scan.kind not in ("4D-STEM", "pattern stack"):
        raise BadInputError(f"{scan.in_words} has no patterns to average")
    grid = scan.shape[:-2]
    step = max(1, int(np.ceil((np.prod(grid) / max_patterns) ** (1 / len(grid)))))
    picks = tuple(slice(min(step // 2, n - 1), None, step) for n in grid)
    frames = np.asarray(scan.data[picks].compute()).reshape(-1, *scan.shape[-2:])
    if scan.missing is not None:
        frames = frames[~scan.missing[picks].ravel()]
    if not len(frames):
        raise BadInputError(f"{scan.name}: none of the sampled positions holds a frame")
    mean: NDArray[np.float64] = frames.astype(np.float64).mean(axis=0)
    return mean


def find_direct_beam(pattern: NDArray[np.floating]) -> tuple[float, float, float]:
    """Position and radius of the direct beam in a (mean) pattern.

    The brightest compact blob after hot pixels are removed; its edge is where
    the intensity falls to half between the blob's top and the median around it.

    Parameters
    ----------
    pattern
        ``(ky, kx)``.

    Returns
    -------
    cy, cx, radius
        In detector pixels; pixel centres are at integers.

    Raises
    ------
    CalibrationError
        If the pattern is flat or empty.
    """
    from scipy import ndimage

    image = np.nan_to_num(np.asarray(pattern, dtype=np.float64), posinf=0.0, neginf=0.0)
    clean = ndimage.median_filter(image, size=3)
    smooth = ndimage.gaussian_filter(clean, 1.0)
    top = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    floor = float(np.median(clean))
    height = float(smooth[top]) - floor
    if not height > 0:
        raise CalibrationError("no direct beam found: the pattern is flat; give the centre by hand")
    labels, _ = ndimage.label(smooth > floor + 0.5 * height)
    blob = labels == labels[top]
    weight = np.where(ndimage.binary_dilation(blob), np.clip(clean - floor, 0, None), 0.0)
    if not weight.sum() > 0:
        raise CalibrationError("no direct beam found: give the centre by hand")
    cy, cx = ndimage.center_of_mass(weight)
    radius = float(np.sqrt(blob.sum() / np.pi))
    return float(cy), float(cx), radius
