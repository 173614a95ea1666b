"""Where a frame of an atomic lattice lies on a mean image: peaks of their correlation, weighed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.mean_image import MeanImage

#: What the evidence of one frame can be worth at most, in units of log-probability: frames of a
#: sample that changes are no independent witnesses.
_MOST_EVIDENCE: Final = 20.0
#: A frame in which the sample is weaker than this part of its mean shows it hardly at all: the
#: beam was off, or the field is another one.
_LEAST_SHARE: Final = 0.2
#: How likely a step is falls with its length over this part of the lattice spacing at most, and
#: at least; the steps seen last decide between them.
_STEP: Final = (0.12, 0.30)


@dataclass(frozen=True)
class Match:
    """Where a frame lies: its shift in pixels, and how surely (0 to 1); 0 where nothing is seen."""

    shift: NDArray[np.float64]
    quality: float


class Matcher:
    """Finds where a frame lies on a mean image.

    Parameters
    ----------
    samples
        Some frames ``(Y, X)`` of the movie, from which lattice and noise are measured.
    reach_px
        Longest step that is looked for; four lattice spacings where it is None.

    Attributes
    ----------
    spacing
        Shortest lattice vector in pixels; None where there is no lattice.
    """

    def __init__(
        self, samples: Sequence[NDArray[np.float32]], reach_px: float | None = None
    ) -> None:
        from scipy.signal.windows import tukey

        rows, columns = samples[0].shape
        self._window = np.outer(tukey(rows, 0.5), tukey(columns, 0.5)).astype(np.float32)
        self._overlap = _correlation(self._window, self._window)
        self._fy = np.fft.fftfreq(rows)[:, None]
        self._fx = np.fft.rfftfreq(columns)[None, :]
        self._filter = self._slow().astype(np.float32)
        power: Any = 0.0
        for frame in samples:
            power = power + np.abs(self._transform(frame, None)) ** 2 / len(samples)
        floor = float(np.median(power)) / math.log(2)
        self.spacing = _spacing(np.maximum(power - floor, 0), (rows, columns))
        self._floor = floor
        sharp = 0.08 * (self.spacing or 8.0)
        radius2 = self._fy**2 + self._fx**2
        self._filter *= np.exp(-2 * (math.pi * sharp) ** 2 * radius2).astype(np.float32)
        widest = min(rows, columns) / 4
        reach = 4 * self.spacing if self.spacing else widest
        if reach_px is not None:
            reach = reach_px
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
    ) -> Match:
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
        reference = self._transform(image, known)
        product = self._transform(frame, known) * np.conj(reference)
        surface = self._around(product)
        peaks, heights = _peaks(surface, self.spacing)
        least = _LEAST_SHARE * self._signal(reference, float(weight.max()))
        if not len(peaks) or not np.ptp(frame) > 0 or not heights.max() > max(least, 0):
            return Match(np.asarray(expected[-1], dtype=np.float64), 0.0)
        places = at + peaks - self._reach
        evidence = _evidence(heights)
        miss = np.min([np.hypot(*(places - e).T) for e in expected], axis=0)
        score = evidence - 2 * np.log1p((miss / scale) ** 2 / 2)
        best = int(np.argmax(score))
        rivals = np.exp(np.clip(np.delete(score, best) - score[best], -50, 0)).sum()
        rough = peaks[best] - self._reach
        fine = self._refined(product, rough, 0.02 if exact else 0.1)
        return Match(at + fine, float(1 / (1 + rivals)))

    def _around(self, product: NDArray[Any]) -> NDArray[np.float64]:
        """Correlation within reach, as if frames overlapped everywhere."""
        from scipy.fft import irfft2

        shape = self._window.shape
        full = irfft2(product, s=shape)
        span = np.arange(-self._reach, self._reach + 1)
        index = np.ix_(span % shape[0], span % shape[1])
        overlap = self._overlap[index] / self._overlap[0, 0]
        return np.asarray(full[index] / np.maximum(overlap, 0.05), dtype=np.float64)

    def _signal(self, reference: NDArray[Any], frames: float) -> float:
        """What the correlation with a frame like the mean comes to: the mean's own, less noise."""
        rows, columns = self._window.shape
        noise = self._floor * float((self._filter**2).sum()) / max(frames, 1.0)
        own = float((np.abs(reference) ** 2).sum())
        return float(2 * (own - noise) / (rows * columns))

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
    places, heights = _local_maxima(surface)
    far = np.hypot(*(places - reach).T) if len(places) else np.zeros(0)
    keep = far > 2.5
    places, heights, far = places[keep], heights[keep], far[keep]
    if not len(far) or heights.max() < 0.1 * top:
        return None
    return float(far[heights > 0.7 * heights.max()].min())


def _local_maxima(
    surface: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    from scipy.ndimage import maximum_filter

    found = (surface == maximum_filter(surface, 5)) & (surface > 0)
    found[[0, -1]] = False
    found[:, [0, -1]] = False
    places = np.argwhere(found)
    return places, surface[tuple(places.T)]
