"""Drift of the sample through a movie of an atomic lattice, to a fraction of a pixel.

A lattice looks the same when it moves by one of its vectors, so the correlation of two frames
has a peak at every lattice vector and noise decides which is the highest.  Three things tell the
right one.  Whatever is not periodic (defects, edges, contamination) makes its peak a little
higher: each frame is therefore compared with the mean of all those placed so far, in which
noise is low, and how much higher a peak stands is weighed against the scatter of the others.
Drift is steady: a small step from the last frame, or one like the last steps, is likelier than
a step to the next lattice vector.  And places are consistent: at the end each frame is compared
with the mean of all the others, and moves where most of them agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.drift_match import Matcher
from napari_diffmap.methods.defects.mean_image import MeanImage
from napari_diffmap.methods.method import Report

Frames = Callable[[int], NDArray[Any]]

#: Frames of more pixels a side are binned for the measurement.
_LARGEST: Final = 1024
_SMALLEST: Final = 32
#: Pixels that a lattice spacing keeps when frames are binned.
_FEWEST: Final = 5
#: Frames from which lattice and noise are measured.
_FIRST: Final = 8
#: Turns in which each frame is compared with the mean of all others.
_TURNS: Final = 2
#: Below this quality a place is doubtful.
_DOUBTFUL: Final = 0.5
#: Bytes of frames that are kept in memory rather than read for each turn.
_KEPT: Final = 512 << 20


@dataclass(frozen=True, eq=False)
class Drift:
    """Where the sample lies in each frame.

    Attributes
    ----------
    shifts
        ``(T, 2)`` float64: y and x in pixels by which the sample has moved since frame 0; what lies
        at ``p`` in frame 0 lies at ``p + shifts[t]`` in frame ``t``.
    quality
        ``(T,)`` from 0 to 1: how surely a frame lies here and not a lattice vector away; 0 where
        the sample is not seen in it, and its place is that between its neighbours.
    before, after
        ``(Y, X)`` float32: the mean of all frames as they are, and moved back onto frame 0; NaN
        where no frame reaches.
    warnings
        Lines for the user.
    """

    shifts: NDArray[np.float64]
    quality: NDArray[np.float64]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    warnings: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.shifts)

    def in_words(self, pixel_size_nm: float | None = None) -> str:
        """One sentence: how far the sample moves in all, and from frame to frame.

        Parameters
        ----------
        pixel_size_nm
            Lengths are in nm where it is given, else in pixels.
        """
        factor, unit = (pixel_size_nm, "nm") if pixel_size_nm else (1.0, "pixels")
        if len(self) < 2:
            return "one frame: no drift"
        far = np.hypot(*(self.shifts - self.shifts[0]).T) * factor
        steps = np.hypot(*np.diff(self.shifts, axis=0).T) * factor
        return (
            f"the sample moves by up to {far.max():.3g} {unit} in {len(self)} frames,"
            f" {np.median(steps):.2g} {unit} from frame to frame (at most {steps.max():.2g})"
        )


def preview(drift: Drift) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean images before and after the frames are moved back, to be looked at."""
    return drift.before, drift.after


def aligned(frame: NDArray[Any], shift: Any, order: int = 1) -> NDArray[np.float32]:
    """A frame moved back onto frame 0.

    Parameters
    ----------
    frame
        ``(Y, X)``.
    shift
        Its row of `Drift.shifts`.
    order
        Of the splines: 0 takes the nearest pixel, 1 is linear, 3 keeps atoms sharpest.

    Returns
    -------
    ndarray
        ``(Y, X)`` float32, NaN where the frame does not reach.
    """
    from scipy.ndimage import shift as move

    dy, dx = (float(v) for v in shift)
    values = np.asarray(frame, dtype=np.float32)
    if not (dy or dx):
        return values.copy()
    moved = np.asarray(move(values, (-dy, -dx), order=order, mode="nearest"), dtype=np.float32)
    for axis, by in ((0, dy), (1, dx)):
        at = np.arange(values.shape[axis]) + by
        outside = (at < 0) | (at > values.shape[axis] - 1)
        moved[(outside, slice(None)) if axis == 0 else (slice(None), outside)] = np.nan
    return moved


def measure_drift(
    frames: Frames | Any,
    n_frames: int | None = None,
    *,
    reach_px: float | None = None,
    progress: Report | None = None,
    check: Callable[[], object] | None = None,
) -> Drift:
    """The drift of a movie.

    Parameters
    ----------
    frames
        A function from number to frame ``(Y, X)``, or an array ``(T, Y, X)``, lazy or not.
    n_frames
        How many; the length of the array where it is None.
    reach_px
        Longest step between frames that is looked for; four lattice spacings where it is None.
    progress
        Told frames done.
    check
        Called between frames; may raise.

    Raises
    ------
    BadInputError
        If frames are too small, or differ in size.
    """
    if n_frames is None:
        if callable(frames):
            raise BadInputError("a function that reads frames needs their number")
        n_frames = len(frames)
    read = _Reader(frames, n_frames)
    n = read.count
    turns = 0 if n < 2 else 1 + (_TURNS if n > 2 else 1)
    done = 0

    def tell(what: str) -> None:
        nonlocal done
        done += 1
        if check is not None:
            check()
        if progress is not None:
            progress(done, max(1, turns * n), what)

    picked = np.unique(np.linspace(0, n - 1, _FIRST).astype(int))
    reach = None if reach_px is None else reach_px / read.binned
    matcher = Matcher([read(int(i)) for i in picked], reach)
    shifts = np.zeros((n, 2))
    quality = np.ones(n)
    if n > 1:
        mean = _followed(read, matcher, shifts, quality, tell)
        for _ in range(turns - 1):
            _settled(read, matcher, mean, shifts, quality, tell)
    else:
        mean = MeanImage(read.shape)
        mean.add(read(0), shifts[0])
    before = np.zeros(read.shape)
    for i in range(n):
        before += read(i) / n
    after, weight = mean.window(shifts[0])
    after = np.where(weight > 0.5, after, np.nan)
    shifts = shifts - shifts[0]
    return Drift(
        shifts * read.binned,
        quality,
        read.full(before),
        read.full(after),
        _warnings(shifts, quality, matcher.spacing),
    )


def _followed(
    read: _Reader,
    matcher: Matcher,
    shifts: NDArray[np.float64],
    quality: NDArray[np.float64],
    tell: Callable[[str], None],
) -> MeanImage:
    """Place one frame after the other on the mean of those before it, in place."""
    mean = MeanImage(read.shape)
    mean.add(read(0), shifts[0])
    tell("following the drift")
    surprise: list[float] = []
    for t in range(1, len(shifts)):
        steps = np.diff(shifts[max(0, t - 6) : t], axis=0)
        velocity = np.median(steps, axis=0) if len(steps) > 1 else np.zeros(2)
        found = matcher.match(
            read(t),
            mean,
            shifts[t - 1],
            expected=(shifts[t - 1], shifts[t - 1] + velocity),
            scale=matcher.step(surprise),
        )
        shifts[t], quality[t] = found.shift, found.quality
        miss = min(
            float(np.hypot(*(found.shift - at))) for at in (shifts[t - 1], shifts[t - 1] + velocity)
        )
        if quality[t] > 0:
            surprise.append(miss)
            mean.add(read(t), shifts[t])
        tell("following the drift")
    return mean


def _settled(
    read: _Reader,
    matcher: Matcher,
    mean: MeanImage,
    shifts: NDArray[np.float64],
    quality: NDArray[np.float64],
    tell: Callable[[str], None],
) -> None:
    """Compare each frame with the mean of all others and place it anew, in place."""
    for t in range(len(shifts)):
        frame = read(t)
        if quality[t] > 0:
            mean.add(frame, shifts[t], -1.0)
        beside = [shifts[i] for i in (t - 1, t + 1) if 0 <= i < len(shifts)]
        # Between its neighbours, or where it is: both are likely.
        expected = (shifts[t], np.mean(beside, axis=0))
        found = matcher.match(
            frame, mean, shifts[t], expected=expected, scale=matcher.step([]), exact=True
        )
        shifts[t], quality[t] = found.shift, found.quality
        if quality[t] > 0:
            mean.add(frame, shifts[t])
        tell("comparing each frame with all others")


class _Reader:
    """Frames as float32, binned where they are large, kept where there is room."""

    def __init__(self, frames: Frames | Any, count: int) -> None:
        self._frames = frames
        self.count = int(count)
        if self.count < 1:
            raise BadInputError("a movie without frames has no drift")
        self._kept: dict[int, NDArray[np.float32]] = {}
        first = self._raw(0)
        if first.ndim != 2 or min(first.shape) < _SMALLEST:
            raise BadInputError(
                f"frames of {first.shape} pixels are too small to follow a drift:"
                f" {_SMALLEST} a side are needed"
            )
        self._size = first.shape
        self.binned = _bins(first)
        self.shape = (first.shape[0] // self.binned, first.shape[1] // self.binned)
        self._keep = 4 * self.shape[0] * self.shape[1] * self.count <= _KEPT

    def _raw(self, number: int) -> NDArray[Any]:
        frame = self._frames(number) if callable(self._frames) else self._frames[number]
        return np.asarray(frame)

    def __call__(self, number: int) -> NDArray[np.float32]:
        if number in self._kept:
            return self._kept[number]
        raw = self._raw(number)
        if raw.shape != self._size:
            raise BadInputError(
                f"frame {number} is {raw.shape} pixels, the first {self._size}:"
                " frames of a movie have one size"
            )
        frame = raw.astype(np.float32)
        bad = ~np.isfinite(frame)
        if bad.any():
            frame[bad] = np.median(frame[~bad]) if not bad.all() else 0.0
        b, (rows, columns) = self.binned, self.shape
        if b > 1:
            frame = frame[: rows * b, : columns * b].reshape(rows, b, columns, b).mean((1, 3))
        if self._keep:
            self._kept[number] = frame
        return frame

    def full(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """An image in pixels of the file."""
        big = np.repeat(np.repeat(image, self.binned, axis=0), self.binned, axis=1)
        pad = [(0, size - have) for size, have in zip(self._size, big.shape, strict=True)]
        return np.pad(big, pad, constant_values=np.nan).astype(np.float32)


def _bins(frame: NDArray[Any]) -> int:
    """Pixels that are taken together along each side; the lattice stays well resolved."""
    wanted: int = math.ceil(max(frame.shape) / _LARGEST)
    if wanted < 2:
        return 1
    middle = tuple(slice(max(0, (n - _LARGEST) // 2), (n + _LARGEST) // 2) for n in frame.shape)
    spacing: float | None = Matcher([np.nan_to_num(frame[middle].astype(np.float32))]).spacing
    if spacing is None:
        return wanted
    return int(max(1, min(wanted, spacing // _FEWEST)))


def _warnings(
    shifts: NDArray[np.float64], quality: NDArray[np.float64], spacing: float | None
) -> tuple[str, ...]:
    lines = []
    doubtful = np.flatnonzero(quality < _DOUBTFUL)
    if len(doubtful):
        first = ", ".join(str(int(t)) for t in doubtful[:5])
        more = f" and {len(doubtful) - 5} more" if len(doubtful) > 5 else ""
        lines.append(
            f"the place of frame {first}{more} is not sure: it may be a lattice vector off"
        )
    if spacing is not None and len(shifts) > 1:
        longest = float(np.hypot(*np.diff(shifts, axis=0).T).max())
        if longest > 0.5 * spacing:
            lines.append(
                f"the sample moves by up to {longest / spacing:.2g} lattice spacings between"
                " frames: steps of more than half a spacing cannot be told from smaller ones by the"
                " lattice alone"
            )
    return tuple(lines)
