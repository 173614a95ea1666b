"""Ambiguity zones: where to look first, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import NO_DATA, NO_DOUBT, Ambiguity, AmbiguityCause

if TYPE_CHECKING:
    from napari_diffmap.maps.phase_map import PhaseMap

#: What a user can settle of an orientation map by looking; *no data* is not among them.
DOUBTFUL = tuple(code for code in Ambiguity if code not in (NO_DOUBT, NO_DATA))


@dataclass(frozen=True)
class Zone:
    """A connected region of one cause of doubt.

    Attributes
    ----------
    label
        Value in `AmbiguityZones.labels`, from 1 in falling order of `weight`.
    cause
        Why its pixels are in doubt: a code of the map's own table.
    name
        Of the cause.
    size
        Pixels.
    area
        `size` in the map's unit squared (nm², or pixels).
    doubt
        Mean of 1 - reliability over the zone, 0–1; 1 where none was estimated.
    weight
        `area` × `doubt`: how much of the map is at stake.
    bbox
        Rows and columns ``(y0, x0, y1, x1)``, the last ones excluded.
    center
        The pixel ``(y, x)`` of the zone nearest to its centroid.
    """

    label: int
    cause: IntEnum
    name: str
    size: int
    area: float
    doubt: float
    weight: float
    bbox: tuple[int, int, int, int]
    center: tuple[int, int]


@dataclass(frozen=True, eq=False)
class AmbiguityZones:
    """All zones of a map.

    Attributes
    ----------
    labels
        ``(Y, X)`` int32: zone of each pixel, 0 for none.
    zones
        In falling order of weight; zone *i* of `labels` is ``zones[i - 1]``.
    fractions
        Cause → share of the positions with data, for every code but *no data*.
    """

    labels: NDArray[np.int32]
    zones: tuple[Zone, ...]
    fractions: dict[IntEnum, float]

    def __len__(self) -> int:
        return len(self.zones)

    def outline(self, zone: Zone) -> NDArray[np.bool_]:
        """Mask of one zone inside its bounding box."""
        y0, x0, y1, x1 = zone.bbox
        mask: NDArray[np.bool_] = self.labels[y0:y1, x0:x1] == zone.label
        return mask


def find_zones(
    found: PhaseMap,
    *,
    causes: Iterable[int] | None = None,
    min_size: int = 1,
) -> AmbiguityZones:
    """Connected regions (eight neighbours) of ambiguous pixels, the weightiest first.

    Parameters
    ----------
    found
        The map.
    causes
        Codes that count; None: all that a user can settle.
    min_size
        Smaller regions (pixels) are left out.

    Raises
    ------
    BadInputError
        If a code is unknown or `min_size` below 1.
    """
    table = {int(cause.code): cause for cause in found.causes}
    settled = (int(cause.code) for cause in found.doubts)
    wanted = [int(code) for code in (settled if causes is None else causes)]
    if min_size < 1 or any(code not in table or code == NO_DOUBT for code in wanted):
        raise BadInputError(
            f"zones need codes from 1 to {max(table)} and a size of at least 1 pixel"
        )
    raw, cause_of = _regions(found.ambiguity, wanted)
    sizes = np.bincount(raw.ravel(), minlength=len(cause_of))
    reliability = found.reliability
    doubt = np.where(np.isfinite(reliability), 1 - reliability, 1.0)
    totals = np.bincount(raw.ravel(), doubt.ravel().astype(np.float64), len(cause_of))
    kept = np.flatnonzero((sizes >= min_size) & (np.arange(len(cause_of)) > 0))
    kept = kept[np.argsort(-totals[kept], kind="stable")]
    numbers = np.zeros(len(cause_of), dtype=np.int32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    labels = numbers[raw]
    causes_of = [table[int(code)] for code in cause_of[kept]]
    zones = _zones(labels, causes_of, sizes[kept], totals[kept], found.step)
    data = max(1, int(np.count_nonzero(found.ambiguity != NO_DATA)))
    counts = np.bincount(found.ambiguity.ravel(), minlength=max(table) + 1)
    fractions = {
        cause.code: float(counts[code]) / data for code, cause in table.items() if code != NO_DATA
    }
    return AmbiguityZones(labels, zones, fractions)


def _regions(
    ambiguity: NDArray[np.uint8], codes: list[int]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected regions of each code, numbered through, and the code of each."""
    from scipy.ndimage import label

    raw = np.zeros(ambiguity.shape, dtype=np.int32)
    cause_of = [0]
    for code in codes:
        pieces, n = label(ambiguity == code, structure=np.ones((3, 3), dtype=bool))
        raw += np.where(pieces > 0, pieces + (len(cause_of) - 1), 0).astype(np.int32)
        cause_of += [code] * n
    return raw, np.array(cause_of, dtype=np.int64)


def _centers(labels: NDArray[np.int32], n: int) -> list[tuple[int, int]]:
    """Of each region the pixel nearest to its centroid, which may lie outside it."""
    y, x = np.nonzero(labels)
    region = labels[y, x] - 1
    sizes = np.bincount(region, minlength=n)
    middle_y, middle_x = (np.bincount(region, v, n) / sizes for v in (y, x))
    away = (y - middle_y[region]) ** 2 + (x - middle_x[region]) ** 2
    order = np.lexsort((away, region))
    nearest = order[np.searchsorted(region[order], np.arange(n))]
    return list(zip(y[nearest].tolist(), x[nearest].tolist(), strict=True))


def _zones(
    labels: NDArray[np.int32],
    causes: list[AmbiguityCause],
    sizes: NDArray[np.intp],
    totals: NDArray[Any],
    step: tuple[float, float],
) -> tuple[Zone, ...]:
    from scipy.ndimage import find_objects

    pixel_area = step[0] * step[1]
    centers = _centers(labels, len(causes))
    return tuple(
        Zone(
            label=i + 1,
            cause=causes[i].code,
            name=causes[i].name,
            size=int(sizes[i]),
            area=int(sizes[i]) * pixel_area,
            doubt=float(totals[i]) / int(sizes[i]),
            weight=float(totals[i]) * pixel_area,
            bbox=(box[0].start, box[1].start, box[0].stop, box[1].stop),
            center=centers[i],
        )
        for i, box in enumerate(find_objects(labels))
    )
