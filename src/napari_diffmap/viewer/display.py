"""How counts become a picture: contrast limits and logarithmic stretch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: Diffraction spans decades: a logarithm over this many is legible, more shows noise.
_DECADES = 3.0

Scale = Literal["linear", "gamma", "log"]


@dataclass(frozen=True)
class Stretch:
    """How the intensity of a pattern is shown.

    Attributes
    ----------
    scale
        ``linear``, ``gamma`` (a power of the linear picture) or ``log``.
    gamma
        The power of ``gamma``; 0.5 is a square root.
    """

    scale: Scale = "log"
    gamma: float = 0.5

    @property
    def layer_gamma(self) -> float:
        """Gamma of the napari layer: it costs nothing on the graphics card."""
        return self.gamma if self.scale == "gamma" else 1.0

    def apply(self, pattern: NDArray[Any], top: float) -> NDArray[np.float32]:
        """The pattern as shown.

        Parameters
        ----------
        pattern
            ``(ky, kx)`` counts; NaN stays NaN.
        top
            Counts shown brightest; sets where the logarithm bends.
        """
        image = np.asarray(pattern, dtype=np.float32)
        if self.scale != "log":
            return image
        knee = max(top, 1e-30) / 10**_DECADES
        return np.log10(1 + np.clip(image, 0, None) / knee).astype(np.float32)

    def limits(self, low: float, top: float) -> tuple[float, float]:
        """Contrast limits of the stretched picture for counts from `low` to `top`."""
        if self.scale != "log":
            return (low, top)
        low_shown, top_shown = (
            float(self.apply(np.array([value]), top)[0]) for value in (max(low, 0.0), top)
        )
        return low_shown, top_shown


#: So many values tell the percentiles well enough.
_SAMPLE = 1 << 17


def contrast_limits(
    values: NDArray[Any], low: float = 0.5, high: float = 99.5
) -> tuple[float, float]:
    """Percentiles of the finite values, never equal; (0, 1) when nothing is finite."""
    flat = np.asarray(values).ravel()
    if flat.dtype.kind == "b":
        flat = flat.astype(np.uint8)
    if flat.size > _SAMPLE:
        flat = flat[:: flat.size // _SAMPLE + 1]
    finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
    if not finite.size:
        return 0.0, 1.0
    a, b = (float(v) for v in np.percentile(finite, (low, high)))
    if not b > a:
        a, b = float(finite.min()), float(finite.max())
    return (a, b) if b > a else (a, a + max(abs(a), 1.0))
