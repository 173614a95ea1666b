"""Regions drawn on the sample, as masks of scan positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def region_mask(vertices: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Scan positions inside a drawn outline.

    Parameters
    ----------
    vertices
        ``(n, 2)`` corners in scan pixels; pixel centres are at integers.
    shape
        Scan shape ``(rows, columns)``.

    Returns
    -------
    ndarray
        ``(rows, columns)`` bool.  An outline too small to hold a pixel centre
        selects the pixel it is drawn in; one beside the scan selects none.
    """
    from napari_diffmap.scan.detectors import Polygon

    corners = tuple((float(y), float(x)) for y, x in np.asarray(vertices))
    mask = Polygon(corners).mask(shape)
    if not mask.any():
        y, x = np.rint(np.mean(np.asarray(vertices), axis=0)).astype(int)
        if 0 <= y < shape[0] and 0 <= x < shape[1]:
            mask[y, x] = True
    return mask
