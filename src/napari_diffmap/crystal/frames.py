"""Orientations in the laboratory frames of other packages.

Ours: x right, y down, z along the beam into the page.  The pyxem family looks
against the beam: x right, y up, z towards the source.  Both are right-handed and
differ by half a turn about x; in both an orientation takes laboratory to crystal
directions, so the half turn is applied first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def to_pyxem(rotations: ArrayLike) -> NDArray[np.float64]:
    """Orientations ``(…, 4)`` as diffsims simulates and pyxem reports them.

    The inverse is the same operation up to the sign of the quaternion, which
    means nothing: see `from_pyxem`.
    """
    a, b, c, d = np.moveaxis(np.asarray(rotations, dtype=np.float64), -1, 0)
    # O (0, 1, 0, 0)
    return np.stack((-b, a, d, -c), axis=-1)


def from_pyxem(rotations: ArrayLike) -> NDArray[np.float64]:
    """Orientations ``(…, 4)`` of pyxem and diffsims in our laboratory frame."""
    return -to_pyxem(rotations)
