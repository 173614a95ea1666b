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
from napari_diffmap.methods.defects.mean_image import MeanImage
from napari_diffmap.methods.method import Report

Frames = Callable[[int], NDArray[Any]]

#: Frames of more pixels a side are binned for the measurement.
_LARGEST: Final = 1024
_SMALLEST: Final = 32
#: Frames from which lattice and noise are measured.
_FIRST: Final = 8
#: Turns in which each frame is compared with the mean of all others.
_TURNS: Final = 2
#: What the evidence of one frame can be worth at most, in units of log-probability: frames of a
#: sample that changes are no independent witnesses.
_MOST_EVIDENCE: Final = 20.0
#: How likely a step is falls with its length over this part of the lattice spacing at most, and
#: at least; the steps seen last decide between them.
_STEP: Final = (0.12, 0.30)
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
        ``(T,)`` from 0 to 1: how surely a frame lies here and not a lattice vector away.
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
    read = _Reader(frames, len(frames) if n_frames is None else n_frames)
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

    matcher = _Matcher(read, reach_px)
    shifts = np.zeros((n, 2))
    quality = np.ones(n)
    if n > 1:
        mean = _followed(read, matcher, shifts, quality, tell)
        for _ in range(turns - 1):
            _settled(read, matcher, mean, shifts, quality, tell)
    else:
        mean = MeanImage(read.shape)
        mean.add(read(0), shifts[0])
    before = np.mean([read(i) for i in range(n)], axis=0, dtype=np.float64)
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
    matcher: _Matcher,
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
        surprise.append(miss)
        mean.add(read(t), shifts[t])
        tell("following the drift")
    return mean


def _settled(
    read: _Reader,
    matcher: _Matcher,
    mean: MeanImage,
    shifts: NDArray[np.float64],
    quality: NDArray[np.float64],
    tell: Callable[[str], None],
) -> None:
    """Compare each frame with the mean of all others and place it anew, in place."""
    for t in range(len(shifts)):
        frame = read(t)
        mean.add(frame, shifts[t], -1.0)
        beside = [shifts[i] for i in (t - 1, t + 1) if 0 <= i < len(shifts)]
        # Between its neighbours, or where it is: both are likely.
        expected = (shifts[t], np.mean(beside, axis=0))
        found = matcher.match(
            frame, mean, shifts[t], expected=expected, scale=matcher.step([]), exact=True
        )
        shifts[t], quality[t] = found.shift, found.quality
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
        self.binned = max(1, math.ceil(max(first.shape) / _LARGEST))
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


@dataclass(frozen=True)
class _Match:
    shift: NDArray[np.float64]
    quality: float


class _Matcher:
    """Finds where a frame lies on a mean image."""

    def __init__(self, read: _Reader, reach_px: float | None) -> None:
        from scipy.signal.windows import tukey

        rows, columns = read.shape
        self._window = np.outer(tukey(rows, 0.5), tukey(columns, 0.5)).astype(np.float32)
        self._overlap = _correlation(self._window, self._window)
        self._fy = np.fft.fftfreq(rows)[:, None]
        self._fx = np.fft.rfftfreq(columns)[None, :]
        self._filter = self._slow().astype(np.float32)
        power: Any = 0.0
        picked = np.unique(np.linspace(0, read.count - 1, _FIRST).astype(int))
        for number in picked:
            power = power + np.abs(self._transform(read(int(number)), None)) ** 2 / len(picked)
        floor = float(np.median(power)) / math.log(2)
        self.spacing = _spacing(np.maximum(power - floor, 0), read.shape)
        sharp = 0.08 * (self.spacing or 8.0)
        radius2 = self._fy**2 + self._fx**2
        self._filter *= np.exp(-2 * (math.pi * sharp) ** 2 * radius2).astype(np.float32)
        widest = min(read.shape) / 4
        reach = 4 * self.spacing if self.spacing else widest
        if reach_px is not None:
            reach = reach_px / read.binned
        self._reach = int(min(max(reach, 4), 2 * widest - 2))

    def _slow(self) -> NDArray[np.float64]:
        """Shades of the whole field belong to the microscope: they do not move."""
        rows, columns = self._window.shape
        radius2 = (self._fy * rows) ** 2 + (self._fx * columns) ** 2
        return np.asarray(1 - np.exp(-radius2 / (2 * 2.0**2)))

    def step(self, surprise: list[float]) -> float:
        """How long an unexpected step may be, in pixels, after those seen last."""
        spacing = self.spacing or min(self._window.shape) / 10
        seen = 1.5 * float(np.median(surprise[-15:])) if len(surprise) > 4 else math.inf
        return float(np.clip(seen, _STEP[0] * spacing, _STEP[1] * spacing))

    def _transform(self, image: NDArray[Any], known: NDArray[Any] | None) -> NDArray[Any]:
        """Fourier transform of an image without its mean, in the window."""
        from scipy.fft import rfft2

        window = self._window if known is None else self._window * known
        total = float(window.sum()) or 1.0
        level = float((image * window).sum()) / total
        return np.asarray(rfft2((image - np.float32(level)) * window) * self._filter)

    def match(
        self,
        frame: NDArray[np.float32],
        mean: MeanImage,
        near: NDArray[np.float64],
        *,
        expected: tuple[NDArray[np.float64], ...],
        scale: float,
        exact: bool = False,
    ) -> _Match:
        """Where a frame lies.

        Parameters
        ----------
        frame
            ``(Y, X)``.
        mean
            What it is compared with.
        near
            Shift around which it is looked for.
        expected
            Shifts that would surprise least.
        scale
            How far from those a shift may lie, in pixels.
        exact
            To a fiftieth of a pixel rather than a tenth.
        """
        at = np.round(near)
        image, weight = mean.window(at)
        known = None if weight.min() > 0.5 else (weight > 0.5).astype(np.float32)
        product = self._transform(frame, known) * np.conj(self._transform(image, known))
        surface = self._around(product)
        peaks, heights = _peaks(surface, self.spacing)
        if not len(peaks) or not np.isfinite(heights).all() or heights.max() <= 0:
            return _Match(np.asarray(expected[-1], dtype=np.float64), 0.0)
        places = at + peaks - self._reach
        evidence = _evidence(heights)
        miss = np.min([np.hypot(*(places - e).T) for e in expected], axis=0)
        score = evidence - 2 * np.log1p((miss / scale) ** 2 / 2)
        best = int(np.argmax(score))
        rivals = np.exp(np.clip(np.delete(score, best) - score[best], -50, 0)).sum()
        rough = peaks[best] - self._reach
        fine = self._refined(product, rough, 0.02 if exact else 0.1)
        return _Match(at + fine, float(1 / (1 + rivals)))

    def _around(self, product: NDArray[Any]) -> NDArray[np.float64]:
        """Correlation within reach, as if frames overlapped everywhere."""
        from scipy.fft import irfft2

        shape = self._window.shape
        full = irfft2(product, s=shape)
        span = np.arange(-self._reach, self._reach + 1)
        index = np.ix_(span % shape[0], span % shape[1])
        overlap = self._overlap[index] / self._overlap[0, 0]
        return np.asarray(full[index] / np.maximum(overlap, 0.05), dtype=np.float64)

    def _refined(
        self, product: NDArray[Any], at: NDArray[np.float64], part: float
    ) -> NDArray[np.float64]:
        """The top of a peak, from the Fourier transform itself, finer and finer."""
        shape = self._window.shape
        both = np.full(product.shape[1], 2.0)  # the other half of the plane
        both[0] = 1.0
        if shape[1] % 2 == 0:
            both[-1] = 1.0
        weighted = (product * both).astype(np.complex64)
        place = np.asarray(at, dtype=np.float64)
        for step in (0.25, part):
            grid = np.arange(-5, 6) * step
            ys, xs = place[0] + grid, place[1] + grid
            rows = np.exp(2j * math.pi * ys[:, None] * self._fy[:, 0]).astype(np.complex64)
            columns = np.exp(2j * math.pi * self._fx[0][:, None] * xs).astype(np.complex64)
            values = ((rows @ weighted) @ columns).real
            top = np.unravel_index(int(np.argmax(values)), values.shape)
            place = np.array([ys[top[0]], xs[top[1]]])
            place += step * _parabola(values, top)
        return place


def _parabola(values: NDArray[Any], top: tuple[Any, ...]) -> NDArray[np.float64]:
    """Top of the parabolas through a highest value and its neighbours, in steps."""
    offset = np.zeros(2)
    for axis in (0, 1):
        i = int(top[axis])
        if 0 < i < values.shape[axis] - 1:
            line = values[:, top[1]] if axis == 0 else values[top[0]]
            low, middle, high = (float(v) for v in line[i - 1 : i + 2])
            bend = low - 2 * middle + high
            offset[axis] = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return offset


def _correlation(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    from scipy.fft import irfft2, rfft2

    return np.asarray(irfft2(rfft2(a) * np.conj(rfft2(b)), s=a.shape), dtype=np.float64)


def _evidence(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the heights of peaks say in log-probability, judged by their own scatter."""
    if len(heights) < 5:
        return np.where(heights >= heights.max(), _MOST_EVIDENCE, 0.0)
    middle = float(np.median(heights))
    scatter = 1.4826 * float(np.median(np.abs(heights - middle)))
    above = np.clip(heights - middle, 0, None) / max(scatter, 1e-9 * abs(middle), 1e-30)
    return np.asarray(np.minimum(0.5 * above**2, _MOST_EVIDENCE))


def _peaks(
    surface: NDArray[np.float64], spacing: float | None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Local maxima that can be the place, and their heights between pixels."""
    from scipy.ndimage import maximum_filter

    radius = max(1, int(0.3 * (spacing or 4)))
    highest = maximum_filter(surface, 2 * radius + 1)
    inner = np.zeros(surface.shape, dtype=bool)
    inner[1:-1, 1:-1] = True
    # Atoms on each other's sublattice give lower peaks, which are no lattice vectors.
    low = float(np.median(surface))
    tall = surface > low + 0.7 * (float(surface.max()) - low)
    places = np.argwhere((surface == highest) & inner & tall)
    heights = []
    for y, x in places:
        part = surface[y - 1 : y + 2, x - 1 : x + 2]
        offset = _parabola(part, (1, 1))
        slope = np.array([part[2, 1] - part[0, 1], part[1, 2] - part[1, 0]]) / 2
        heights.append(float(surface[y, x] + 0.5 * slope @ offset))
    return places, np.asarray(heights)


def _spacing(power: NDArray[Any], shape: tuple[int, int]) -> float | None:
    """Shortest lattice vector in pixels, from the power spectrum without its noise."""
    from scipy.fft import irfft2

    surface = np.fft.fftshift(irfft2(power, s=shape))
    reach = min(shape) // 4
    cy, cx = shape[0] // 2, shape[1] // 2
    surface = surface[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1].astype(np.float64)
    top = float(surface[reach, reach])
    if not top > 0:
        return None
    places, heights = _local_maxima(surface, reach)
    far = np.hypot(*(places - reach).T) if len(places) else np.zeros(0)
    keep = far > 2.5
    places, heights, far = places[keep], heights[keep], far[keep]
    if not len(far) or heights.max() < 0.1 * top:
        return None
    return float(far[heights > 0.7 * heights.max()].min())


def _local_maxima(
    surface: NDArray[np.float64], reach: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    from scipy.ndimage import maximum_filter

    found = (surface == maximum_filter(surface, 5)) & (surface > 0)
    found[[0, -1]] = False
    found[:, [0, -1]] = False
    places = np.argwhere(found)
    del reach
    return places, surface[tuple(places.T)]


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
                f"the sample moves by up to {longest / spacing:.2g} lattice spacings between frames:"
                " steps of more than half a spacing cannot be told from smaller ones by the"
                " lattice alone"
            )
    return tuple(lines)
