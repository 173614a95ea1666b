"""Some patterns of a scan, with the positions they come from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan.scan import Scan

#: Patterns looked at before a run.
SAMPLED = 256


def sample_patterns(
    scan: Scan, most: int = SAMPLED
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Patterns spread over the scan, ``(n, ky, kx)``, and their positions ``(n, 2)``.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    most
        At most about so many are read, on a regular grid.

    Raises
    ------
    BadInputError
        If none of them holds a frame.
    """
    ny, nx = scan.shape[:2]
    step = max(1, int(np.ceil(np.sqrt(ny * nx / most))))
    steps = [step, step]
    for i, n in enumerate((ny, nx)):
        if n < step:  # a line of patterns is sampled along the line alone
            steps[1 - i] = max(1, int(np.ceil(ny * nx / most / n)))
            steps[i] = 1
    rows, columns = (
        slice(min(steps[0] // 2, ny - 1), None, steps[0]),
        slice(min(steps[1] // 2, nx - 1), None, steps[1]),
    )
    frames = np.asarray(scan.data[rows, columns].compute()).reshape(-1, *scan.shape[-2:])
    if np.iscomplexobj(frames):
        frames = np.abs(frames)
    y, x = np.meshgrid(np.arange(ny)[rows], np.arange(nx)[columns], indexing="ij")
    places = np.stack((y.ravel(), x.ravel()), axis=1).astype(np.float64)
    frames = np.nan_to_num(frames.astype(np.float32), posinf=0.0, neginf=0.0)
    good = frames.max(axis=(1, 2)) > frames.min(axis=(1, 2))
    if scan.missing is not None:
        good &= ~scan.missing[rows, columns].ravel()
    if not good.any():
        raise BadInputError(f"{scan.name}: none of the sampled positions holds a pattern")
    return frames[good], places[good]
