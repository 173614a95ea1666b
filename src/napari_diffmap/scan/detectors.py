"""Virtual detectors: shapes on the pattern and the images they give.

Coordinates are detector pixels; pixel centres are at integers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.scan.masks import WeightedMask
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BlockReader, Tile

#: ``com_*`` is the centre of mass inside the shape relative to the shape's
#: centre, in detector pixels; ``dpc_*`` the difference of its halves over their sum.
Response = Literal["sum", "mean", "com_y", "com_x", "dpc_y", "dpc_x"]
RESPONSES: tuple[Response, ...] = ("sum", "mean", "com_y", "com_x", "dpc_y", "dpc_x")


@dataclass(frozen=True)
class Point:
    """One detector pixel."""

    cy: float
    cx: float

    @property
    def center(self) -> tuple[float, float]:
        """Centre ``(ky, kx)``."""
        return self.cy, self.cx

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels covered, ``(ky, kx)``."""
        mask = np.zeros(shape, dtype=bool)
        y, x = round(self.cy), round(self.cx)
        if 0 <= y < shape[0] and 0 <= x < shape[1]:
            mask[y, x] = True
        return mask


@dataclass(frozen=True)
class Annulus:
    """Pixels whose centres lie at ``r0 <= distance <= r1``; a disk has ``r0 = 0``."""

    cy: float
    cx: float
    r0: float
    r1: float

    def __post_init__(self) -> None:
        if not 0 <= self.r0 <= self.r1:
            raise BadInputError(
                f"an annulus from {self.r0:g} to {self.r1:g} px is impossible:"
                " give 0 <= inner <= outer radius"
            )

    @property
    def center(self) -> tuple[float, float]:
        """Centre ``(ky, kx)``."""
        return self.cy, self.cx

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels covered, ``(ky, kx)``."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        distance2 = (y - self.cy) ** 2 + (x - self.cx) ** 2
        mask: NDArray[np.bool_] = (distance2 <= self.r1**2) & (distance2 >= self.r0**2)
        return mask


def Disk(cy: float, cx: float, r: float) -> Annulus:
    """A disk: an annulus without a hole."""
    return Annulus(cy, cx, 0.0, r)


@dataclass(frozen=True)
class Rectangle:
    """Pixels whose centres lie inside ``[y0, y1] x [x0, x1]``."""

    y0: float
    x0: float
    y1: float
    x1: float

    @property
    def center(self) -> tuple[float, float]:
        """Centre ``(ky, kx)``."""
        return (self.y0 + self.y1) / 2, (self.x0 + self.x1) / 2

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels covered, ``(ky, kx)``."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        (y0, y1), (x0, x1) = sorted((self.y0, self.y1)), sorted((self.x0, self.x1))
        mask: NDArray[np.bool_] = (y >= y0) & (y <= y1) & (x >= x0) & (x <= x1)
        return mask


@dataclass(frozen=True)
class Polygon:
    """Pixels whose centres lie inside a closed polygon (even-odd rule)."""

    vertices: tuple[tuple[float, float], ...]

    @property
    def center(self) -> tuple[float, float]:
        """Mean of the vertices ``(ky, kx)``."""
        ys, xs = zip(*self.vertices, strict=True)
        return sum(ys) / len(ys), sum(xs) / len(xs)

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels covered, ``(ky, kx)``."""
        y, x = np.mgrid[: shape[0], : shape[1]]
        inside = np.zeros(shape, dtype=bool)
        ends = np.asarray(self.vertices, dtype=np.float64)
        for (ya, xa), (yb, xb) in zip(ends, np.roll(ends, -1, axis=0), strict=True):
            crosses = (ya > y) != (yb > y)
            # Edges all but along a row divide by next to nothing; where they cross it is finite.
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                edge = xa + (y - ya) * (xb - xa) / (yb - ya)
            inside ^= crosses & (x < edge)
        return inside


@dataclass(frozen=True, eq=False)
class Weights:
    """A weight for every detector pixel, from a file or a calculation.

    Attributes
    ----------
    values
        ``(ky, kx)`` float32, finite; 0 leaves a pixel out.
    """

    values: NDArray[np.float32]

    @property
    def center(self) -> tuple[float, float]:
        """Centre of the weights ``(ky, kx)``, by their size."""
        size = np.abs(self.values, dtype=np.float64)
        total = size.sum()
        if not total > 0:
            return (size.shape[0] - 1) / 2, (size.shape[1] - 1) / 2
        y, x = np.ogrid[: size.shape[0], : size.shape[1]]
        return float((size * y).sum() / total), float((size * x).sum() / total)

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels covered, ``(ky, kx)``.

        Raises
        ------
        BadInputError
            If the weights are of another detector.
        """
        if self.values.shape != shape:
            raise BadInputError(
                f"weights of {self.values.shape[0]} x {self.values.shape[1]} pixels do not fit"
                f" patterns of {shape[0]} x {shape[1]}"
            )
        return np.asarray(self.values != 0)


Shape = Point | Annulus | Rectangle | Polygon | Weights


@dataclass(frozen=True)
class Detector:
    """A named virtual detector.

    Attributes
    ----------
    name, color
        Shown in the list and on the pattern (``#rrggbb``).
    shape
        Where it is, in detector pixels.
    response
        What it measures inside the shape.
    """

    name: str
    shape: Shape
    response: Response = "sum"
    color: str = "#56B4E9"

    def mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Pixels covered, ``(ky, kx)``."""
        return self.shape.mask(shape)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A detector made ready for patterns of one shape.

    Attributes
    ----------
    sums
        What to sum of each pattern.
    weight
        Sum of the weights of its pixels.
    shift
        How far the zero of the second weights lies from the detector's centre, pixels.
    """

    sums: WeightedMask
    weight: float
    shift: float


@lru_cache(maxsize=64)
def _prepared(shape: Shape, response: Response, detector_shape: tuple[int, int]) -> _Prepared:
    mask = shape.mask(detector_shape)
    first = shape.values if isinstance(shape, Weights) else None
    weight = float(mask.sum() if first is None else first.sum(dtype=np.float64))
    if response in ("sum", "mean"):
        return _Prepared(WeightedMask(mask, first), weight, 0.0)
    axis = 0 if response.endswith("_y") else 1
    center = shape.center[axis]
    place = np.arange(detector_shape[axis], dtype=np.float64)
    if response.startswith("dpc"):
        line, shift = np.sign(place - center), 0.0
    else:
        # Whole numbers are exact in 32 bits; the rest of the centre is taken off afterwards.
        line, shift = place - round(center), center - round(center)
    second = np.broadcast_to(line[:, None] if axis == 0 else line, detector_shape)
    if first is not None:
        second = second * first
    return _Prepared(WeightedMask(mask, first, second.astype(np.float32)), weight, shift)


def tile_image(tile: Tile, detector: Detector) -> NDArray[np.float32]:
    """Image of one tile ``(ny, nx)``; NaN where no frame was recorded.

    A detector outside the pattern, or a tile without counts inside it, gives 0
    for sums and NaN for ratios (mean of nothing, centre of mass of nothing).
    """
    ky, kx = tile.patterns.shape[-2:]
    prepared = _prepared(detector.shape, detector.response, (ky, kx))
    both = tile.sums(prepared.sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        if detector.response == "sum":
            image = both[..., 0]
        elif detector.response == "mean":
            image = both[..., 0] / (prepared.weight or np.nan)
        else:
            image = both[..., 1] / both[..., 0] - prepared.shift
    result: NDArray[np.float32] = image.astype(np.float32)
    result[tile.missing] = np.nan
    return result


def virtual_images(
    scan: Scan,
    detectors: Sequence[Detector],
    *,
    reader: BlockReader | None = None,
    cancelled: Callable[[], bool] | None = None,
    on_tile: Callable[[int, Tile, list[NDArray[np.float32]]], Any] | None = None,
    only: NDArray[np.bool_] | None = None,
) -> list[NDArray[np.float32]]:
    """Virtual images of several detectors in one pass over the scan.

    Parameters
    ----------
    scan
        A 4D-STEM scan.
    detectors
        Any number of detectors.
    reader
        Reuse decoded blocks between passes (a dragged detector).
    cancelled
        Asked before every tile.
    on_tile
        Called after every tile with its number, the tile and the images so far.
    only
        ``(y, x)``: positions that matter; blocks without one are left out.

    Returns
    -------
    list of ndarray
        One ``(y, x)`` float32 image a detector; NaN where the file holds no frame.

    Raises
    ------
    CancelledError
        When `cancelled` said so.
    RunError
        When the file cannot be read any more.
    """
    reader = reader or BlockReader(scan, keep_bytes=0)
    images = [np.full(scan.shape[:2], np.nan, dtype=np.float32) for _ in detectors]
    for number in range(len(reader.blocks)):
        if cancelled is not None and cancelled():
            raise CancelledError("virtual image cancelled")
        if only is not None and not only[reader.blocks[number]].any():
            continue
        tile = reader.read(number)
        for image, detector in zip(images, detectors, strict=True):
            image[tile.rows, tile.columns] = tile_image(tile, detector)
        if on_tile is not None:
            on_tile(number, tile, images)
    return images


def mean_pattern_in(
    scan: Scan,
    region: NDArray[np.bool_],
    *,
    reader: BlockReader | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> NDArray[np.float64]:
    """Mean pattern ``(ky, kx)`` of the scan positions where `region` is True.

    Raises
    ------
    BadInputError
        If the region holds no recorded pattern.
    CancelledError
        When `cancelled` said so.
    """
    reader = reader or BlockReader(scan, keep_bytes=0)
    total = np.zeros(scan.shape[2:], dtype=np.float64)
    count = 0
    for number, (rows, columns) in enumerate(reader.blocks):
        if cancelled is not None and cancelled():
            raise CancelledError("mean pattern cancelled")
        if not region[rows, columns].any():
            continue
        tile = reader.read(number)
        inside = region[rows, columns] & ~tile.missing
        total += tile.patterns[inside].sum(axis=0, dtype=np.float64)
        count += int(inside.sum())
    if count == 0:
        raise BadInputError("the region holds no recorded pattern: draw it over the scan")
    return total / count


def preset_detectors(
    detector_shape: tuple[int, int], center: tuple[float, float], radius: float
) -> list[Detector]:
    """BF, ADF and HAADF around the found direct beam.

    Parameters
    ----------
    detector_shape
        ``(ky, kx)`` in pixels.
    center, radius
        Direct beam, in pixels (see `find_direct_beam`).

    Notes
    -----
    BF is the direct beam with half its radius to spare; ADF starts where BF ends;
    HAADF is the outer half of what the detector still covers around the beam.
    """
    cy, cx = center
    edge = min(cy, cx, detector_shape[0] - 1 - cy, detector_shape[1] - 1 - cx)
    bright = min(1.5 * max(radius, 1.0), 0.5 * edge)
    middle = (bright + edge) / 2
    return [
        Detector("BF", Disk(cy, cx, bright), color="#56B4E9"),
        Detector("ADF", Annulus(cy, cx, bright + 1, middle), color="#E69F00"),
        Detector("HAADF", Annulus(cy, cx, middle + 1, max(edge, middle + 1)), color="#CC79A7"),
    ]
