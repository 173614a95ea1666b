"""The text header of ALS scanning transmission X-ray microscopes (.hdr)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError

#: Name, unit and points of an axis.
Points = tuple[str, str, NDArray[np.float64]]

_AXIS = re.compile(
    r"(PAxis|QAxis|StackAxis)\s*=\s*\{\s*Name\s*=\s*\"([^\"]*)\";\s*Unit\s*=\s*\"([^\"]*)\";"
    r".*?Points\s*=\s*\(\s*(\d+)\s*,([^)]*)\)",
    re.DOTALL,
)
_IMAGE = re.compile(r"Image(\d+)_\d+\s*=\s*\{[^}]*?Energy\s*=\s*([-+.\deE]+)")
_NO_POINTS: Points = ("Energy", "eV", np.array([]))


@dataclass(frozen=True)
class Header:
    """What an ALS .hdr says.

    Attributes
    ----------
    kind
        Its scan type, e.g. ``NEXAFS Image Scan``.
    regions
        One dictionary a scanned region: ``PAxis`` (columns) and ``QAxis`` (rows).
    stack
        The axis across frames; without points where there is none.
    energies
        Energy of each numbered frame where the header lists them.
    """

    kind: str
    regions: tuple[dict[str, Points], ...]
    stack: Points
    energies: dict[int, float]

    @property
    def is_line(self) -> bool:
        """Whether each frame is a line scan: energy along one axis, position along the other."""
        return "line" in self.kind.lower() and any(
            name.lower() == "energy" for region in self.regions for name, *_ in region.values()
        )

    def frame(self, region: int) -> tuple[int, int]:
        """Rows and columns of the frames of a region."""
        axes = self.regions[region]
        return len(axes["QAxis"][2]), len(axes["PAxis"][2])


def parse_header(path: Path) -> Header:
    """Read an ALS .hdr.

    Raises
    ------
    ScanFileError
        If its axes cannot be read.
    """
    words = path.read_text("latin-1")
    kind = re.search(r"Type\s*=\s*\"([^\"]*)\"", words)
    stated = re.search(r"Regions\s*=\s*\(\s*(\d+)", words)
    regions: list[dict[str, Points]] = []
    stack = _NO_POINTS
    for which, name, unit, count, listed in _AXIS.findall(words):
        try:
            points = np.array(listed.replace(",", " ").replace("}", " ").split(), dtype=np.float64)
        except ValueError as error:
            raise ScanFileError(f"{path.name}: the points of its {which} are damaged") from error
        if points.size != int(count):
            raise ScanFileError(
                f"{path.name}: its {which} lists {points.size} of {count} points: it is damaged"
            )
        if which == "StackAxis":
            stack = (name, unit, points)
        elif which == "PAxis" or not regions:
            regions.append({which: (name, unit, points)})
        else:
            regions[-1].setdefault(which, (name, unit, points))
    wanted = int(stated[1]) if stated else 1
    # Counters and motors further down may speak of more axes; only the first belong to regions.
    if len(regions) < wanted:
        raise ScanFileError(
            f"{path.name}: speaks of {wanted} regions and describes {len(regions)}: it is damaged"
        )
    energies = {int(n): float(e) for n, e in _IMAGE.findall(words)}
    return Header(kind[1] if kind else "", tuple(regions[:wanted]), stack, energies)
