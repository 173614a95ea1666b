"""Shifts between the frames of a stack, to fractions of a pixel, and their removal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.method import Report

#: Parts of a pixel that are told apart.
_PARTS = 50
#: First each frame against those before it, then against all others.
_PASSES = 4


def find_shifts(
    stack: NDArray[Any],
    *,
    gradient: bool = True,
    density: bool = False,
    progress: Report | None = None,
    check: Callable[[], object] | None = None,
) -> NDArray[np.float64]:
    """How far each frame lies from the first, by phase correlation.

    Neighbouring energies look alike while a pre-edge and a white line do not, so each frame is
    compared with the mean of those already aligned next to it; further passes compare with the
    mean of all others.  What is compared is optical density, in which a sample keeps its shape
    while its contrast changes, and each time the frame as moved so far: the window that hides
    the borders stands still, and would hold the frame back.  (Guizar-Sicairos et al. 2008, *Opt.
    Lett.* 33, 156, through scikit-image.)

    Parameters
    ----------
    stack
        Frames ``(E, Y, X)``, NaN where nothing was measured.
    gradient
        Compare the gradients: they change less with energy than the contrast does.
    density
        The stack holds optical density already, not counts.
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
    frames = [_prepared(frame if density else _density(frame), gradient) for frame in stack]
    window = np.outer(*(np.hanning(size + 2)[1:-1] for size in stack.shape[1:]))
    n = len(frames)
    shifts = np.zeros((n, 2))
    if n < 2:
        return shifts
    moved = list(frames)
    around = 3
    for turn in range(_PASSES):
        for i in range(n):
            if check is not None:
                check()
            if turn == 0 and i > 0:
                target = np.mean(moved[max(0, i - around) : i], axis=0)
                shifts[i] = shifts[i - 1]
                moved[i] = _moved(frames[i], shifts[i])
            elif turn > 0:
                target = (np.sum(moved, axis=0) - moved[i]) / (n - 1)
            if turn > 0 or i > 0:
                shifts[i] += phase_cross_correlation(
                    target * window,
                    moved[i] * window,
                    upsample_factor=_PARTS,
                    normalization=None,
                )[0]
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
    size = float(np.linalg.norm(values))
    return np.asarray(values / (size or 1.0))


def _density(frame: NDArray[Any]) -> NDArray[np.float64]:
    """-ln of counts; where nothing was counted, that of half the fewest."""
    values = np.asarray(frame, dtype=np.float64)
    some = values[values > 0]
    if not some.size:
        return np.zeros(values.shape)
    return np.asarray(-np.log(np.maximum(values, 0.5 * some.min())))


def _moved(frame: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import shift as move

    return np.asarray(move(frame, shift, order=3, mode="nearest")) if shift.any() else frame


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
