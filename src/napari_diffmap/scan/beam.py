"""Position of the direct beam in every pattern: by its own weight, or by inversion."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.center import find_direct_beam

BeamMethod = Literal["direct", "inversion"]

#: Patterns correlated at once.
_BATCH = 32


def beam_positions(
    frames: NDArray[np.float32],
    centers: NDArray[np.float64],
    radius: float,
    bad: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Centre of mass of the direct beam of each pattern near a first guess.

    Parameters
    ----------
    frames
        ``(n, ky, kx)``.
    centers
        ``(n, 2)`` first guess, pixels.
    radius
        Radius of the beam, pixels.
    bad
        Pixels to leave out.

    Returns
    -------
    ndarray (n, 2)
        NaN where there is no beam.
    """
    from scipy import ndimage

    found = np.full((len(frames), 2), np.nan)
    reach = int(np.ceil(max(4.0, 2.5 * radius)))
    for i, frame in enumerate(frames):
        image = frame
        guess = centers[i].copy()
        if bad is not None:
            image = np.where(bad, ndimage.median_filter(frame, 3), frame)
        for _ in range(3):
            y0, x0 = (round(float(v)) for v in guess)
            ys = slice(max(0, y0 - reach), min(image.shape[0], y0 + reach + 1))
            xs = slice(max(0, x0 - reach), min(image.shape[1], x0 + reach + 1))
            window = image[ys, xs]
            if window.size < 9:
                break
            weight = np.clip(window - 0.25 * float(window.max()), 0, None)
            if not weight.sum() > 0:
                break
            wy, wx = ndimage.center_of_mass(weight)
            guess = np.array((ys.start + wy, xs.start + wx))
            found[i] = guess
    return found


def inversion_centers(
    frames: NDArray[np.floating],
    center: tuple[float, float] | NDArray[np.float64],
    reach: float,
    bad: NDArray[np.bool_] | None = None,
    stop: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """The point about which each pattern is most nearly the same when inverted.

    Friedel pairs, disks and the diffuse background all lie symmetric about the
    direct beam, so this holds where the beam is saturated or behind a stop.  The
    pattern is correlated with its inverse, normalised by what both hold where they
    overlap (a masked autocorrelation about every candidate at once, by FFT).

    Parameters
    ----------
    frames
        ``(n, ky, kx)``.
    center
        First guess, pixels.
    reach
        How far from the guess is looked, pixels.  Keep it below half the distance
        of the nearest spot: every midpoint of two spots is nearly a centre too.
    bad, stop
        Hot or dead pixels, and pixels behind a beam stop, ``(ky, kx)``; both are
        left out.

    Returns
    -------
    ndarray (n, 2)
        NaN where a pattern is flat.
    """
    from scipy import fft

    n, height, width = frames.shape
    use = np.ones((height, width), dtype=np.float32)
    for mask in (bad, stop):
        if mask is not None:
            use[mask] = 0
    size = (fft.next_fast_len(2 * height, real=True), fft.next_fast_len(2 * width, real=True))
    window, origin = _doubled_window(center, reach, (height, width))
    of_mask = fft.rfft2(use, size)
    found = np.full((n, 2), np.nan)
    for start in range(0, n, _BATCH):
        part = np.clip(np.asarray(frames[start : start + _BATCH], dtype=np.float32), 0, None)
        # The root levels counting noise and keeps one disk from outshining the rest.
        flat = np.sqrt(part) * use
        flat -= (flat.sum((1, 2)) / use.sum())[:, None, None] * use
        of_flat = fft.rfft2(flat, size)
        both = fft.irfft2(of_flat * of_flat, size)[:, *window]
        energy = fft.irfft2(fft.rfft2(flat * flat, size) * of_mask, size)[:, *window]
        floor = 1e-3 * float(energy.max()) + 1e-12
        found[start : start + _BATCH] = _peaks(both / np.maximum(energy, floor), origin) / 2
    return found


def _doubled_window(
    center: tuple[float, float] | NDArray[np.float64], reach: float, shape: tuple[int, int]
) -> tuple[tuple[slice, slice], NDArray[np.float64]]:
    """Where twice the centre is sought in the autocorrelation, and its first index."""
    cuts = []
    for c, size in zip(center, shape, strict=True):
        low = max(1, round(2 * (float(c) - reach)))
        high = min(2 * size - 3, round(2 * (float(c) + reach)))
        if high - low < 2:
            raise CalibrationError(
                f"a centre of {float(c):g} lies off the detector: give (row, column) in pixels"
            )
        cuts.append(slice(low, high + 1))
    return (cuts[0], cuts[1]), np.array([cut.start for cut in cuts], dtype=np.float64)


def _peaks(maps: NDArray[np.floating], origin: NDArray[np.float64]) -> NDArray[np.float64]:
    """Place of the maximum of each map to a fraction of a pixel, by parabolas."""
    found = np.full((len(maps), 2), np.nan)
    for i, one in enumerate(maps):
        if not np.ptp(one) > 0:
            continue
        y, x = np.unravel_index(int(np.argmax(one)), one.shape)
        place = np.array((y, x), dtype=np.float64)
        for axis, (line, at) in enumerate(((one[:, x], y), (one[y, :], x))):
            if 0 < at < len(line) - 1:
                before, middle, after = (float(v) for v in line[at - 1 : at + 2])
                bend = before - 2 * middle + after
                place[axis] += 0.5 * (before - after) / bend if bend < 0 else 0.0
        found[i] = origin + place
    return found


def symmetry_center(
    mean: NDArray[np.floating],
    guess: tuple[float, float] | None = None,
    stop: NDArray[np.bool_] | None = None,
) -> tuple[float, float]:
    """Centre of a mean pattern by inversion: for a beam that is saturated or hidden.

    Parameters
    ----------
    mean
        ``(ky, kx)`` mean pattern; its diffuse background is symmetric about the beam.
    guess
        First guess; the middle of the detector without one.
    stop
        Pixels behind a beam stop.

    Raises
    ------
    CalibrationError
        If the pattern is flat.
    """
    shape = np.array(mean.shape)
    middle = tuple((shape - 1) / 2) if guess is None else guess
    reach = float(shape.min()) / (4 if guess is None else 8)
    found = inversion_centers(mean[None], middle, reach, stop=stop)[0]
    if not np.isfinite(found).all():
        raise CalibrationError("no centre of symmetry: the mean pattern is flat")
    return float(found[0]), float(found[1])


def find_stop(mean: NDArray[np.floating]) -> NDArray[np.bool_] | None:
    """Pixels behind a beam stop or a gap of the detector; None when there are none.

    They are dark in the mean pattern while the ring around the same distance from
    the middle is not: connected regions of at least 12 pixels with less than a
    tenth of the median of their surroundings.
    """
    from scipy import ndimage

    image = np.asarray(mean, dtype=np.float64)
    around = ndimage.median_filter(image, size=max(9, min(image.shape) // 8))
    level = np.median(image)
    dark = (image < 0.1 * np.maximum(around, level)) | (image <= 0)
    labels, count = ndimage.label(dark)
    if not count or level <= 0:
        return None
    sizes = ndimage.sum_labels(dark, labels, np.arange(1, count + 1))
    stop: NDArray[np.bool_] = np.isin(labels, 1 + np.flatnonzero(sizes >= 12))
    return stop if stop.any() and stop.mean() < 0.5 else None


def measure_beams(
    frames: NDArray[np.float32],
    center: tuple[float, float] | None = None,
    method: Literal["auto", "direct", "inversion"] = "auto",
    bad: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], float, BeamMethod]:
    """Direct beam of every pattern.

    Parameters
    ----------
    frames
        ``(n, ky, kx)``.
    center
        First guess, pixels; measured on the mean pattern without one.
    method
        ``direct``: centre of mass of the beam; ``inversion``: the centre of
        symmetry of each pattern; ``auto``: direct, and inversion where the direct
        beam of most patterns is nowhere near one common place.
    bad
        Hot and dead pixels.

    Returns
    -------
    positions, radius, method
        ``(n, 2)`` pixels, NaN where there is none; radius of the beam in pixels;
        what was used.

    Raises
    ------
    CalibrationError
        If no beam is found.
    """
    mean = frames.mean(axis=0, dtype=np.float64)
    if method != "inversion":
        try:
            cy, cx, radius = find_direct_beam(mean)
        except CalibrationError:
            if method == "direct":
                raise
        else:
            off = center is not None and np.hypot(cy - center[0], cx - center[1]) > 4 * radius + 8
            # The brightest blob is no beam where a stop covers it.
            guess = center if off and center is not None else (cy, cx)
            radius = 1.5 if off else radius
            found = beam_positions(frames, np.tile(guess, (len(frames), 1)), radius, bad)
            away = np.linalg.norm(found - np.nanmedian(found, axis=0), axis=1)
            if method == "direct" or np.nanmedian(away) < max(3.0, 1.5 * radius):
                return found, radius, "direct"
    stop = find_stop(mean)
    middle = symmetry_center(mean, center, stop)
    reach = max(3.0, min(mean.shape) / 24)
    return inversion_centers(frames, middle, reach, bad, stop), 1.5, "inversion"
