"""Configurations: what finds that are neighbours make together, and their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.finds import Finds

Ints = NDArray[np.int64]
#: Finds up to this share of the distance of neighbouring sites of a sublattice apart are nearest
#: neighbours: a bond is 0.58 of it, and sites may be displaced.
NEAR: Final = 0.75
#: Configurations seen in fewer finds than this share, or this count, go together.
_RARE: Final = (0.005, 3)
#: So many are kept apart at most.
_MOST: Final = 12
_OTHERS: Final = "other complexes"


def configurations(
    finds: Finds, class_id: Ints, names: Sequence[str], group: Ints
) -> tuple[Ints, tuple[str, ...]]:
    """The configuration that each find stands for.

    A complex is told by one of its finds: one on the brighter sublattice where it has such.  The
    others of it stand for nothing of their own.

    Parameters
    ----------
    finds
        In any order.
    class_id, names
        ``(n,)`` class of each, and what classes are called.
    group
        ``(n,)`` number of the complex of each in its frame.

    Returns
    -------
    ids, names
        ``(n,)`` number of the configuration, -1 for none; e.g. ``Mo on W + 2 S vacancy``, the most
        frequent first.
    """
    n = len(finds)
    ids = np.full(n, -1, dtype=np.int64)
    if not n:
        return ids, ()
    _, which = np.unique(np.column_stack((finds.frame, group)), axis=0, return_inverse=True)
    # The first of each complex: on the brighter sublattice, else of the first class.
    order = np.lexsort((class_id, finds.sublattice != 0, which.ravel()))
    starts = np.flatnonzero(np.diff(which.ravel()[order], prepend=-1))
    told: dict[int, str] = {}
    for members in np.split(order, starts[1:]):
        told[int(members[0])] = _name([names[class_id[i]] for i in members])
    counts = Counter(told.values())
    least = max(_RARE[0] * len(told), _RARE[1])
    kept = [name for name, count in counts.most_common(_MOST) if count >= least]
    number = {name: i for i, name in enumerate(kept)}
    rest = len(kept)
    for i, name in told.items():
        ids[i] = number.get(name, rest)
    return ids, (*kept, _OTHERS) if rest in ids else tuple(kept)


def _name(members: Sequence[str]) -> str:
    """A complex by its first find and how many of what lie beside it."""
    others = Counter(members[1:])
    beside = [f"{count} {name}" if count > 1 else name for name, count in sorted(others.items())]
    return " + ".join((members[0], *beside))
