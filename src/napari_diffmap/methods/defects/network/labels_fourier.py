"""Labels from one image by its Fourier transform: the published generator, and a mended radius.

Maksov et al., npj Comput. Mater. 5, 12 (2019) label the first frame of a movie themselves: all low
frequencies are cut out of it, what that takes away is scaled to 0–1, and what is below 0.25 or
above 0.75 is a defect.  Known faults, which this module keeps where it repeats them:

- Image minus high-pass is exactly the low-pass image, so a label says that the surroundings are
  dark or bright on the scale of the cut.  Heavy dopants are seen; a vacancy of one of two light
  atoms hardly is.
- The cut is a share of the image (1/10 of its side), whatever the lattice: it is right where the
  first Bragg ring lies just beyond it.  `radius_below_bragg` measures it.
- A slow background (contamination, thickness) moves whole regions over the thresholds.
- The scale is that of the darkest and the brightest pixel: one hot spot moves every label.
- 1024 patches of one frame overlap by 97 %; a random split of them validates on what was learnt.
  `patches` therefore is for repeating the publication; `training` splits in space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

#: Published numbers: the radius is the side over this; labels are below and above these; windows.
MASK_RATIO: Final = 10.0
LOW, HIGH = 0.25, 0.75
SIZE, STRIDE = 256, 8
#: The automatic radius as a share of the first Bragg ring.
BELOW_BRAGG: Final = 0.9


@dataclass(frozen=True, eq=False)
class FourierLabels:
    """Labels of an image.

    Attributes
    ----------
    lacking, excess
        ``(Y, X)`` bool: below the lower and above the upper threshold.
    difference
        ``(Y, X)`` float64, 0–1: the low-pass image on its own scale.
    radius
        Of the cut, cycles per pixel.
    """

    lacking: NDArray[np.bool_]
    excess: NDArray[np.bool_]
    difference: NDArray[np.float64]
    radius: float

    @property
    def defect(self) -> NDArray[np.bool_]:
        """``(Y, X)``: the published mask, one class."""
        return self.lacking | self.excess

    @property
    def marks(self) -> NDArray[np.float32]:
        """``(2, Y, X)`` float32 as networks learn them."""
        return np.stack((self.lacking, self.excess)).astype(np.float32)


def high_pass(image: NDArray[np.floating], radius: float) -> NDArray[np.float64]:
    """An image without its frequencies below a radius.

    Parameters
    ----------
    image
        ``(Y, X)``, finite.
    radius
        Cycles per pixel.
    """
    values = np.asarray(image, dtype=np.float64)
    low = _frequencies(values.shape) < radius
    return np.asarray(np.fft.ifft2(np.where(low, 0, np.fft.fft2(values))).real)


def fourier_labels(
    image: NDArray[np.floating],
    maskratio: float = MASK_RATIO,
    *,
    low: float = LOW,
    high: float = HIGH,
    radius: float | None = None,
) -> FourierLabels:
    """Labels as published.

    Parameters
    ----------
    image
        ``(Y, X)``, finite.
    maskratio
        Side of the image over the radius of the cut, both in pixels of the transform.
    low, high
        Thresholds on the difference.
    radius
        In cycles per pixel, instead of `maskratio`: see `radius_below_bragg`.

    Raises
    ------
    BadInputError
        If the image is flat, or the cut is beyond what its pixels can show.
    """
    values = np.asarray(image, dtype=np.float64)
    radius = 1 / maskratio if radius is None else radius
    if not 0 < radius < 0.5:
        raise BadInputError(f"a cut at {radius:.3g} cycles per pixel is outside 0–0.5")
    difference = np.abs(values - high_pass(values, radius))
    span = float(np.ptp(difference))
    if not span > 0:
        raise BadInputError("the image is flat: nothing in it can be labelled")
    difference = (difference - difference.min()) / span
    return FourierLabels(difference < low, difference > high, difference, radius)


def radius_below_bragg(image: NDArray[np.floating], spacing: float | None = None) -> float:
    """Cut just inside the first Bragg ring, cycles per pixel.

    Parameters
    ----------
    image
        ``(Y, X)``, finite.
    spacing
        Lattice constant a of a hexagonal lattice in pixels, where it is known; by default the
        ring is found in the mean of the transform over angles.
    """
    if spacing is not None:
        return float(BELOW_BRAGG * 2 / (np.sqrt(3) * spacing))
    values = np.asarray(image, dtype=np.float64)
    window = np.outer(*(np.hanning(n) for n in values.shape))
    power = np.abs(np.fft.fft2((values - values.mean()) * window)) ** 2
    ring = _frequencies(values.shape)
    side = min(values.shape)
    number = np.rint(ring * side).astype(int).ravel()
    count = np.bincount(number)
    level = np.log(np.bincount(number, power.ravel()) / np.maximum(count, 1) + 1e-300)
    # Rings of 3 to 33 pixels; each against what is usual a little farther in and out.
    rings = np.arange(max(2, round(side / 33)), round(side / 3))
    wide = np.array([np.median(level[max(1, r - r // 3 - 3) : r + r // 3 + 4]) for r in rings])
    clear = level[rings] - wide
    # Rings farther out may be as clear: the first that is half as clear as the clearest.
    first = int(np.flatnonzero(clear > 0.5 * clear.max())[0])
    top = first + int(np.argmax(clear[first : first + 3]))
    return float(BELOW_BRAGG * rings[top] / side)


def patches(
    image: NDArray[np.floating], size: int = SIZE, stride: int = STRIDE
) -> NDArray[np.floating]:
    """Windows as published: of a 512 px image 32 × 32, the last ones a stride before the border.

    Parameters
    ----------
    image
        ``(Y, X)``.
    size, stride
        Pixels.

    Returns
    -------
    (n, size, size)
        A view into `image` where that is possible.
    """
    view = np.lib.stride_tricks.sliding_window_view(image, (size, size))
    rows, columns = ((n - size) // stride for n in image.shape)
    some = view[: rows * stride : stride, : columns * stride : stride]
    return some.reshape(-1, size, size)


def _frequencies(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Cycles per pixel of each element of a transform."""
    y, x = (np.fft.fftfreq(n) for n in shape)
    return np.asarray(np.hypot(y[:, None], x[None]))
