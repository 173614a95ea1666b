"""What the Channel Text File (.ctf) fixes: Laue groups, crystal axes, columns.

Sources: the reader and writer of MTEX (``loadEBSD_ctf``, which takes ``x||a*, z||c``), that of
orix, EbsdLib's list of header keys, and files of AZtec and ASTAR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import PhaseError
from napari_diffmap.maps.quaternions import laue_operators

if TYPE_CHECKING:
    from napari_diffmap.maps.phases import PhaseLike

#: Laue groups by the number of the format, from 1.
LAUE = ("-1", "2/m", "mmm", "4/m", "4/mmm", "-3", "-3m", "6/m", "6/mmm", "m-3", "m-3m")
#: Groups whose cell is oblique, so that X ∥ a* differs from e1 ∥ a.
OBLIQUE = ("-1", "2/m", "-3", "-3m", "6/m", "6/mmm")
COLUMNS = (
    "Phase",
    "X",
    "Y",
    "Bands",
    "Error",
    "Euler1",
    "Euler2",
    "Euler3",
    "MAD",
    "BC",
    "BS",
)
#: Codes of the column *Error*.
SUCCESS, NO_SOLUTION, NOT_ANALYSED = 0, 3, 5
#: First word of the author in files of this package, and what it says after it.
OWN_AUTHOR = "napari-diffmap"
OWN_PIXEL = "1 um is 1 pixel (no scale)"
OWN_PARALLEL_A = "crystal X||a Z||c*"
OWN_PARALLEL_A_STAR = "crystal X||a* Z||c"
OWN_SCORE, OWN_RELIABILITY = "BC=255*score", "BS=255*reliability"
#: An angle of a cell is 90° within this many degrees.
_RIGHT = 1e-3


def laue_number(phase: PhaseLike) -> int:
    """Number of a phase's Laue group.

    Raises
    ------
    PhaseError
        If the format cannot express it: an unknown group, or a monoclinic one
        whose axis the cell does not show.
    """
    laue = phase.point_group.laue.name
    if laue not in LAUE:
        raise PhaseError(
            f"phase {phase.name!r}: a .ctf file cannot express the Laue group {laue!r};"
            " save the map as HDF5"
        )
    if laue == "2/m":
        turns = np.abs(laue_operators(phase)[:, 1:]).sum(axis=0)
        axis = "abc"[int(turns.argmax())]
        if axis != unique_axis(phase.orix.structure.lattice.abcABG()):
            raise PhaseError(
                f"phase {phase.name!r}: a .ctf file cannot express a monoclinic axis along {axis}"
                " that the cell does not show; save the map as HDF5"
            )
    return LAUE.index(laue) + 1


def unique_axis(cell: tuple[float, ...]) -> str:
    """Axis of a monoclinic cell (a, b, c, α, β, γ): the one whose angle is not 90°, else b."""
    slanted = [
        axis for axis, angle in zip("abc", cell[3:], strict=True) if abs(angle - 90) > _RIGHT
    ]
    return slanted[0] if len(slanted) == 1 else "b"


def crystal_turn(phase: PhaseLike) -> NDArray[np.float64]:
    """``(3, 3)``: components in the frame X ∥ a*, Z ∥ c to those in e1 ∥ a, e3 ∥ c*."""
    base = np.asarray(phase.orix.structure.lattice.base, dtype=np.float64)
    x = np.cross(base[1], base[2])
    x /= np.linalg.norm(x)
    z = base[2] / np.linalg.norm(base[2])
    # Columns: the other frame's axes seen from this one.
    return np.stack((x, np.cross(z, x), z), axis=1)
