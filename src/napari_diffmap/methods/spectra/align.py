"""Shifts between the frames of a stack, to fractions of a pixel, and their removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.method import Report

#: Parts of a pixel that are told apart.
_PARTS = 20
#: A frame is aligned to the running mean of those around it in this many passes.
_PASSES = 2


def find_shifts(
    stack: NDArray[Any],
    *,
    gradient: bool = True,
    progress: Report | None = None,
    check: Callable[[], object] | None = None,
) -> NDArray[np.float64]:
    """How far each frame lies from the first, by phase correlation.

    Neighbouring energies look alike while a pre-edge and a white line do not, so each frame is
    compared with the mean of those already aligned next to it; a second pass compares with the
    mean of all.  (Guizar-Sicairos et al. 2008, *Opt. Lett.* 33, 156, through scikit-image.)

    Parameters
    ----------
    stack
        Frames ``(E, Y, X)``, NaN where nothing was measured.
    gradient
        Compare the gradients: they change less with energy than the contrast does.
    progress
        Told frames done.
    check
        Called between frames; may raise.

    Returns
    -------
    ndarray
        ``(E, 2)`` rows and columns by which each frame is to be moved; their median is 0.

    Raises
    ------
    BadInputError
        If frames are too small to be compared.
    """
    from skimage.registration import phase_cross_correlation

    if stack.ndim != 3 or min(stack.shape[1:]) < 8:
        raise BadInputError(f"frames of {stack.shape[1:]} pixels are too small to be aligned")
    frames = [_prepared(frame, gradient) for frame in stack]
    n = len(frames)
    shifts = np.zeros((n, 2))
    around = 3
    for turn in range(_PASSES):
        moved = [_moved(frame, shift) for frame, shift in zip(frames, shifts, strict=True)]
        for i in range(n):
            if check is not None:
                check()
            if turn == 0:
                if i == 0:
                    continue
                target = np.mean(moved[max(0, i - around) : i], axis=0)
            else:
                target = (np.sum(moved, axis=0) - moved[i]) / max(n - 1, 1)
            found, _, _ = phase_cross_correlation(
                target, frames[i], upsample_factor=_PARTS, normalization=None
            )
            shifts[i] = found
            moved[i] = _moved(frames[i], shifts[i])
            if progress is not None:
                progress(turn * n + i + 1, _PASSES * n, "aligning frames")
    return shifts - np.median(shifts, axis=0)


def _prepared(frame: NDArray[Any], gradient: bool) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_gradient_magnitude

    values = np.asarray(frame, dtype=np.float64)
    known = np.isfinite(values)
    values = np.where(known, values, np.median(values[known]) if known.any() else 0.0)
    if gradient:
        values = gaussian_gradient_magnitude(values, 1.0)
    values = values - values.mean()
    # A window: the borders of a frame do not move with the sample.
    window = np.outer(*(np.hanning(size + 2)[1:-1] for size in values.shape))
    size = float(np.linalg.norm(values))
    return np.asarray(values * window / (size or 1.0))


def _moved(frame: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import shift as move

    return np.asarray(move(frame, shift, order=1, mode="constant"))


def aligned(stack: NDArray[Any], shifts: NDArray[np.float64]) -> NDArray[np.float32]:
    """The frames moved (cubic splines); NaN where nothing was measured.

    Parameters
    ----------
    stack
        ``(E, Y, X)``.
    shifts
        ``(E, 2)``, as `find_shifts` gives them.

    Raises
    ------
    BadInputError
        If there is not one shift for each frame.
    """
    from scipy.ndimage import shift as move

    if shifts.shape != (len(stack), 2):
        raise BadInputError(f"{len(stack)} frames need as many shifts, not {shifts.shape}")
    done = np.empty(stack.shape, dtype=np.float32)
    for i, shift in enumerate(shifts):
        frame = np.asarray(stack[i], dtype=np.float64)
        if not shift.any():
            done[i] = frame
            continue
        known = np.isfinite(frame)
        filled = np.where(known, frame, 0)
        there = move(known.astype(np.float64), shift, order=1, mode="constant")
        values = move(filled, shift, order=3, mode="nearest")
        done[i] = np.where(there > 0.999, values, np.nan)
    return done
