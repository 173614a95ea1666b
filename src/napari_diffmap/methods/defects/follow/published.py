"""The estimators of the original work (Maksov et al. 2019), under their names, with their faults.

They are here so that published figures can be made again and compared; `diffusion` and
`transitions` are what to use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_diffmap.errors import BadInputError

Floats = NDArray[np.float64]
#: Half the side of the box around a hot spot, pixels.
HOT_SPOT_PX: Final = 25.0


@dataclass(frozen=True)
class VarianceDiffusion:
    """Diffusion coefficient from the spread of a track.

    Attributes
    ----------
    D_nm2_s
        ``(var x + var y) / (4 N dt)``.
    bias
        What it is of the true D on average, for a free walk seen without noise.
    warning
        What is wrong with it.
    """

    D_nm2_s: float
    bias: float
    warning: str


def variance_diffusion(places_nm: Floats, frame_time_s: float) -> VarianceDiffusion:
    """D = (var x + var y) / (4 N dt) of N places, as published.

    Of a free walk it gives (N² - 1)/(6 N²) of D, about a sixth; of a defect that is confined or
    at rest it gives the spread of places over the time watched, which is no diffusion.

    Parameters
    ----------
    places_nm
        ``(N, 2)`` y and x in nm.
    frame_time_s
        Time from frame to frame.

    Raises
    ------
    BadInputError
        If there is no place, or no time.
    """
    n = len(places_nm)
    if n == 0 or not frame_time_s > 0:
        raise BadInputError("the variance of a track needs places and a frame time above 0")
    spread = float(np.var(places_nm, axis=0).sum())
    bias = (n**2 - 1) / (6 * n**2)
    warning = (
        f"the published estimator gives {bias:.3f} of D for a free walk, and the spread of places"
        " where a defect is confined or at rest: not to be compared with other coefficients"
    )
    return VarianceDiffusion(spread / (4 * n * frame_time_s), bias, warning)


@dataclass(frozen=True, eq=False)
class TraceMatrix:
    """Transition matrix averaged over traces.

    Attributes
    ----------
    probability
        ``(k, k)`` mean of the matrices of the traces.
    traces
        ``(n, k, k)`` counts of each trace, rows divided by their sum; rows without a count are 0.
    warning
        What is wrong with it.
    """

    probability: Floats
    traces: Floats
    warning: str


def per_trace_matrix(traces: Sequence[ArrayLike], k: int) -> TraceMatrix:
    """Transition matrix as published: each trace's counts row by row, averaged over traces.

    Labels of a trace follow each other as if frame by frame: missing frames are passed over, and
    two labels of one frame count as a transition.  A class that a trace never shows counts as a
    row of zeros there, so that rows may sum to less than 1.

    Parameters
    ----------
    traces
        Classes of each trace in the order of frames.
    k
        Number of classes.

    Raises
    ------
    BadInputError
        If no trace has two labels.
    """
    matrices = []
    for trace in traces:
        label = np.asarray(trace, dtype=np.int64)
        if len(label) < 2:
            continue
        counts = np.zeros((k, k))
        np.add.at(counts, (label[:-1], label[1:]), 1)
        matrices.append(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    if not matrices:
        raise BadInputError("a transition matrix needs a trace of two labels at least")
    every = np.stack(matrices)
    return TraceMatrix(
        every.mean(axis=0),
        every,
        "the published estimator weighs a trace of two labels as much as one of a hundred, and"
        " takes frames on both sides of a gap for neighbours: no interval, biased where traces"
        " are short",
    )


def hot_spot_trajectory(
    frames: ArrayLike, places_px: Floats, centre_px: tuple[float, float], half: float = HOT_SPOT_PX
) -> NDArray[np.int64]:
    """Finds within a box around a hot spot, as published in place of linking.

    Two finds of one frame may be among them; a defect that leaves the box is lost, one that comes
    in is taken for the first.

    Parameters
    ----------
    frames
        ``(n,)`` frame of each find.
    places_px
        ``(n, 2)`` y and x.
    centre_px
        Hot spot, y and x.
    half
        Half the side of the box.

    Returns
    -------
    ndarray
        ``(m,)`` the finds, in the order of frames.
    """
    beside = np.abs(np.asarray(places_px) - np.asarray(centre_px))
    inside = np.flatnonzero(np.all(beside <= half, axis=1))
    return inside[np.argsort(np.asarray(frames)[inside], kind="stable")]
