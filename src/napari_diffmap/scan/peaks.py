"""Measured diffraction peaks, one row a peak, with a row pointer per position."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_diffmap.errors import BadInputError

#: Columns that a table may have besides place and intensity.
EXTRA_COLUMNS = ("prominence", "width", "snr")


@dataclass(frozen=True)
class PeakSource:
    """The patterns that peaks were found in.

    Attributes
    ----------
    shape
        Detector pixels ``(ky, kx)``.
    center
        Direct beam (ky, kx) in the middle of the scan, pixels.
    scale
        Unit of the peaks' positions per detector pixel: 1/Å per pixel, or 1.
    spot_sigma
        Usual Gaussian width of a spot, pixels.
    nbytes
        Bytes of all patterns once decoded.
    name, voltage_kv
        Of the scan; kV or None.
    steps, step_unit
        Scan steps ``(y, x)`` and their unit.
    made_by
        The finder and its parameters, as text.
    """

    shape: tuple[int, int]
    center: tuple[float, float]
    scale: float = 1.0
    spot_sigma: float = 1.2
    nbytes: int = 0
    name: str = ""
    voltage_kv: float | None = None
    steps: tuple[float, float] = (1.0, 1.0)
    step_unit: str = "pixel"
    made_by: str = ""


@dataclass(frozen=True, eq=False)
class PeakTable:
    """Peaks of every scan position, stored flat (compressed sparse rows).

    Attributes
    ----------
    shape
        Scan shape ``(y, x)``.
    offsets
        ``(y * x + 1,)`` int64: peaks of position *i* (row-major) are rows
        ``offsets[i]:offsets[i + 1]``.
    ky, kx
        Position relative to the direct beam, in 1/Å when `calibrated`, else in
        pixels.
    intensity
        Integrated intensity.
    calibrated
        Whether positions are in 1/Å.
    prominence, width, snr
        Height above the highest saddle around, Gaussian sigma in detector pixels,
        and times the noise; None where whoever made the list did not say.
    noise
        ``(y, x)`` noise of each pattern's background per pixel; NaN where there is
        no pattern.  None when unknown.
    source
        The patterns that the peaks were found in; None when unknown.
    """

    shape: tuple[int, int]
    offsets: NDArray[np.int64]
    ky: NDArray[np.float32]
    kx: NDArray[np.float32]
    intensity: NDArray[np.float32]
    calibrated: bool = True
    prominence: NDArray[np.float32] | None = None
    width: NDArray[np.float32] | None = None
    snr: NDArray[np.float32] | None = None
    noise: NDArray[np.float32] | None = None
    source: PeakSource | None = None

    def __post_init__(self) -> None:
        rows = self.shape[0] * self.shape[1]
        columns = [column for column in self.columns.values() if column is not None]
        if (
            self.offsets.shape != (rows + 1,)
            or self.offsets[0] != 0
            or np.any(np.diff(self.offsets) < 0)
            or any(column.shape != (self.offsets[-1],) for column in columns)
            or (self.noise is not None and self.noise.shape != self.shape)
        ):
            raise BadInputError("the peak list does not fit its scan shape")

    def __len__(self) -> int:
        return int(self.ky.size)

    # -------------------------------------------------------------- reading
    @property
    def columns(self) -> dict[str, NDArray[np.float32]]:
        """The columns that are there, by name: ky, kx, intensity, and the others."""
        named = {"ky": self.ky, "kx": self.kx, "intensity": self.intensity}
        for name in EXTRA_COLUMNS:
            values = getattr(self, name)
            if values is not None:
                named[name] = values
        return named

    @property
    def position(self) -> NDArray[np.int64]:
        """Scan position (row-major) of every peak."""
        return np.repeat(np.arange(self.offsets.size - 1), np.diff(self.offsets))

    def rows_at(self, y: int, x: int) -> slice:
        """Rows of the table that belong to one scan position."""
        i = y * self.shape[1] + x
        return slice(int(self.offsets[i]), int(self.offsets[i + 1]))

    def at(self, y: int, x: int) -> NDArray[np.float32]:
        """Peaks of one position as ``(n, 3)``: ky, kx, intensity."""
        rows = self.rows_at(y, x)
        return np.stack((self.ky[rows], self.kx[rows], self.intensity[rows]), axis=1)

    # ----------------------------------------------------------------- maps
    def count_map(self) -> NDArray[np.int64]:
        """Number of peaks at each position, ``(y, x)``."""
        return np.diff(self.offsets).reshape(self.shape)

    def intensity_map(self) -> NDArray[np.float32]:
        """Summed intensity of the peaks at each position, ``(y, x)``."""
        return self.weighted_map(np.ones(len(self)))

    def prominence_map(self) -> NDArray[np.float32]:
        """Mean prominence of the peaks at each position, ``(y, x)``; NaN without peaks.

        Raises
        ------
        BadInputError
            If the table has no prominences.
        """
        if self.prominence is None:
            raise BadInputError("this peak list holds no prominences: register the scan again")
        total = np.bincount(self.position, self.prominence, self.offsets.size - 1)
        count = np.diff(self.offsets)
        mean = np.full(count.shape, np.nan)
        np.divide(total, count, out=mean, where=count > 0)
        return mean.reshape(self.shape).astype(np.float32)

    def noise_map(self) -> NDArray[np.float32]:
        """Noise of each pattern's background per pixel, ``(y, x)``.

        Raises
        ------
        BadInputError
            If the table does not know it.
        """
        if self.noise is None:
            raise BadInputError("this peak list holds no noise: register the scan again")
        return self.noise

    def weighted_map(self, weights: ArrayLike) -> NDArray[np.float32]:
        """Intensity times a weight of every peak, summed at each position, ``(y, x)``."""
        values = self.intensity * np.asarray(weights, dtype=np.float64)
        total = np.bincount(self.position, values, self.offsets.size - 1)
        return total.reshape(self.shape).astype(np.float32)

    # ----------------------------------------------------------- virtual images
    def pick(self, spots: ArrayLike, radius: float) -> NDArray[np.bool_]:
        """Which peaks lie within `radius` of any of some places.

        Parameters
        ----------
        spots
            ``(n, 2)`` places (ky, kx) relative to the beam, in the table's unit.
        radius
            In the same unit.
        """
        places = np.asarray(spots, dtype=np.float64).reshape(-1, 2)
        chosen = np.zeros(len(self), dtype=bool)
        for ky, kx in places:
            chosen |= np.hypot(self.ky - ky, self.kx - kx) <= radius
        return chosen

    def dark_field(self, spots: ArrayLike, radius: float) -> NDArray[np.float32]:
        """Virtual dark field of picked spots: the intensity found near them, ``(y, x)``.

        Parameters
        ----------
        spots, radius
            See `pick`.
        """
        return self.weighted_map(self.pick(spots, radius))

    def masked_field(self, mask: ArrayLike) -> NDArray[np.float32]:
        """Virtual image through a mask drawn on the detector, ``(y, x)``.

        Parameters
        ----------
        mask
            ``(ky, kx)`` weights over the detector pixels of `source`; a peak counts
            with the weight at its place (bilinear).

        Raises
        ------
        BadInputError
            If the mask is not of the detector's shape.
        """
        weights = np.asarray(mask, dtype=np.float64)
        source = self.source
        if source is None or weights.shape != source.shape:
            wanted = "unknown" if source is None else f"{source.shape[0]} × {source.shape[1]}"
            raise BadInputError(
                f"a mask of {' × '.join(map(str, weights.shape))} does not fit the detector"
                f" ({wanted} pixels)"
            )
        from scipy.ndimage import map_coordinates

        y, x = self.pixels()
        return self.weighted_map(map_coordinates(weights, (y, x), order=1, mode="constant"))

    def pixels(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Row and column of every peak on the detector of `source`, the beam centred.

        Raises
        ------
        BadInputError
            If the detector is unknown.
        """
        if self.source is None:
            raise BadInputError("this peak list does not know the detector it was measured on")
        cy, cx = self.source.center
        return (
            self.ky.astype(np.float64) / self.source.scale + cy,
            self.kx.astype(np.float64) / self.source.scale + cx,
        )

    # ------------------------------------------------------------- changing
    def reshaped(self, shape: tuple[int, int]) -> PeakTable:
        """The same peaks on another scan shape of the same size."""
        noise = None if self.noise is None else self.noise.reshape(shape)
        return replace(self, shape=shape, noise=noise)

    def with_pixel_size(self, pixel_size: float | None) -> PeakTable:
        """The same peaks for another detector pixel in 1/Å; None: in pixels.

        A table that does not know its detector is left as it is.
        """
        scale = pixel_size or 1.0
        if self.source is None or (
            scale == self.source.scale and self.calibrated == bool(pixel_size)
        ):
            return self
        factor = np.float32(scale / self.source.scale)
        return replace(
            self,
            ky=self.ky * factor,
            kx=self.kx * factor,
            calibrated=pixel_size is not None,
            source=replace(self.source, scale=scale),
        )

    def keep(self, mask: ArrayLike) -> PeakTable:
        """The peaks of a mask ``(n,)``."""
        kept = np.asarray(mask, dtype=bool)
        counts = np.bincount(self.position[kept], minlength=self.offsets.size - 1)
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        columns = {name: values[kept] for name, values in self.columns.items()}
        return replace(self, offsets=offsets, **columns)
