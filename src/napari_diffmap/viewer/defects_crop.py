"""What lies about the position, magnified: pixels, sites of the lattice, finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.viewer.defects import Defects
from napari_diffmap.viewer.stack_data import StackData

#: Half a side of the crop, in lattice constants; without a lattice, pixels.
_REACH, _PIXELS = 3.5, 28


@dataclass(frozen=True, eq=False)
class Mark:
    """A find in the crop.

    Attributes
    ----------
    slot
        Its number.
    y, x
        Pixels of the crop, from the middle of its first.
    class_id
        Its class.
    color
        ``#RRGGBB``.
    doubtful, selected
        As they say.
    """

    slot: int
    y: float
    x: float
    class_id: int
    color: str
    doubtful: bool
    selected: bool


@dataclass(frozen=True, eq=False)
class Crop:
    """A magnified part of an image.

    Attributes
    ----------
    pixels
        ``(n, n)`` float32, NaN beyond the border.
    first
        Row and column of its first pixel in the image.
    sites, sublattice
        ``(m, 2)`` y, x in pixels of the crop, and ``(m,)``.
    marks
        Finds.
    spacing
        Lattice constant, pixels; None without a lattice.
    """

    pixels: NDArray[np.float32]
    first: tuple[int, int]
    sites: NDArray[np.float64]
    sublattice: NDArray[np.int8]
    marks: tuple[Mark, ...]
    spacing: float | None


def image_of(data: StackData | None, scan: Any, frame: int) -> NDArray[Any]:
    """The frame ``(Y, X)`` that is looked at."""
    if data is not None:
        return data.image(frame)
    return np.asarray(scan.data)


def crop_at(defects: Defects, image: NDArray[Any]) -> Crop:
    """The surroundings of the position of the session.

    Parameters
    ----------
    defects
        What is looked at.
    image
        The frame ``(Y, X)``.
    """
    lattice = defects.lattice(defects.frame)
    spacing = None if lattice is None else float(lattice.spacing)
    reach = _PIXELS if spacing is None else max(8, round(_REACH * spacing))
    y, x = defects.session.position
    rows, columns = image.shape
    y0, x0 = y - reach, x - reach
    pixels = np.full((2 * reach + 1, 2 * reach + 1), np.nan, dtype=np.float32)
    top, left = max(y0, 0), max(x0, 0)
    bottom, right = min(y + reach + 1, rows), min(x + reach + 1, columns)
    pixels[top - y0 : bottom - y0, left - x0 : right - x0] = image[top:bottom, left:right]
    first = np.array([y0, x0], dtype=np.float64)
    sites, kinds = np.zeros((0, 2)), np.zeros(0, dtype=np.int8)
    if lattice is not None:
        every = lattice.sites()
        inside = (np.abs(every.places - (y, x)) <= reach).all(axis=1)
        sites, kinds = every.places[inside] - first, every.sublattice[inside]
    return Crop(pixels, (y0, x0), sites, kinds, _marks(defects, first, reach), spacing)


def _marks(defects: Defects, first: NDArray[np.float64], reach: int) -> tuple[Mark, ...]:
    found = defects.map
    if found is None:
        return ()
    marks = []
    for slot in found.in_frame(defects.frame):
        y, x = found.best_places[0, slot, 1:].astype(np.float64) - first
        if not (-0.5 <= y <= 2 * reach + 0.5 and -0.5 <= x <= 2 * reach + 0.5):
            continue
        class_id = int(found.best_phase_ids[0, slot])
        marks.append(
            Mark(
                int(slot),
                float(y),
                float(x),
                class_id,
                found.phases[class_id].color,
                bool(found.ambiguous[0, slot]),
                bool(slot in defects.selection),
            )
        )
    return tuple(marks)


def facts_of(defects: Defects) -> list[tuple[str, str]]:
    """What is known of the find looked at: names and values, ready to be read."""
    found = defects.map
    if found is None or not len(defects.selection):
        return []
    slot = int(defects.selection[0])
    if not found.indexed[0, slot]:
        return []
    frame, y, x = (float(value) for value in found.best_places[0, slot])
    rows = [("frame", f"{int(frame)}")] if defects.frames > 1 else []
    size = found.pixel_size_nm
    place = f"y {y:.2f}, x {x:.2f} px"
    rows.append(
        ("place", place if size is None else f"{place} ({y * size:.3f}, {x * size:.3f} nm)")
    )
    one = np.array([slot])
    error = float(found.extra_of("error", one)[0])
    if np.isfinite(error):
        words = f"± {error:.2f} px"
        rows.append(
            ("known to", words if size is None else f"{words} ({1000 * error * size:.0f} pm)")
        )
    probability = float(found.reliability[0, slot])
    rows.append(("a defect", "set by hand" if np.isnan(probability) else f"p = {probability:.3f}"))
    for rank in range(found.n_best):
        class_id = int(found.phase_ids[0, slot, rank])
        if class_id < 0:
            break
        score = float(found.scores[0, slot, rank])
        told = "" if np.isnan(score) else f"  {100 * score:.0f} %"
        rows.append((f"answer {rank + 1}", f"{found.phases[class_id].name}{told}"))
    ratio = float(found.extra_of("ratio", one)[0])
    if np.isfinite(ratio):
        rows.append(("ratio", f"{ratio:.2f} of the pristine site"))
    track = int(found.tracks[slot])
    if track >= 0:
        seen = int(((found.tracks == track) & found.indexed[0]).sum())
        rows.append(("track", f"{track}, in {seen} of {defects.frames} frames"))
    if found.ambiguous[0, slot]:
        rows.append(("in doubt", found.cause_names[int(found.ambiguity[0, slot])]))
    return rows
