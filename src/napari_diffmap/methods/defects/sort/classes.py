"""Classes by site: what sits there, and how bright it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.methods.defects.finds import OFF, Finds
from napari_diffmap.methods.defects.lattice import Lattice
from napari_diffmap.methods.defects.monolayers import MONOLAYERS, Monolayer, brightness
from napari_diffmap.methods.defects.sort.answer import DefectClasses, class_averages
from napari_diffmap.methods.defects.sort.mixture import sort_by_mixture

__all__ = ["DefectClasses", "sort_by_mixture", "sort_by_sites"]

Floats = NDArray[np.float64]
#: Name, ratio that it begins at, and ratio that it is typical of.
_Class = tuple[str, float, float]
#: Class of what fits no other.
OTHER: Final = "other"
_ADATOM: Final = "adatom"
#: Ratio of an adatom from which on it is one.
_ATOM: Final = 0.1
#: Probability of the class of a bright find that nothing tells the ratio of.
_UNCOMPARED: Final = 0.7
#: Least and largest standard deviation that ratios are believed to have.
_SPREAD: Final = (0.03, 0.25)


def sort_by_sites(
    finds: Finds,
    material: str,
    lattices: Mapping[int, Lattice | None] | None = None,
    *,
    crops: NDArray[np.float32] | None = None,
    ratio_error: float | Floats | None = None,
) -> DefectClasses:
    """Name finds by the sublattice they sit on and their brightness over the pristine site's.

    A find is of a class with the probability that its true ratio lies in the class's range.

    Parameters
    ----------
    finds
        With sublattice and ratio; sublattice 0 is the brighter one.
    material
        "graphene", "MoS2", "WS2", "MoSe2", "WSe2"; any other has general names.
    lattices
        Lattice of each frame; where all have but one kind of site, names say so.
    crops
        ``(n, c, c)`` for averages.
    ratio_error
        Standard deviation of the ratios; None: estimated from how they lie about the typical
        ones of their classes.
    """
    single = bool(lattices) and all(
        one is None or len(one.basis) < 2 for one in (lattices or {}).values()
    )
    kinds = _kinds(material, single)
    ratio = finds.ratio.astype(np.float64)
    if ratio_error is None:
        error: float | Floats = _spread(ratio, finds.sublattice, kinds)
    else:
        error = np.maximum(ratio_error, 1e-6)
    names = list(dict.fromkeys(name for kind in kinds.values() for name, _, _ in kind))
    names = [*(name for name in names if name != _ADATOM), _ADATOM, OTHER]
    probability = np.zeros((len(finds), len(names)))
    for sublattice in np.unique(finds.sublattice):
        mine = finds.sublattice == sublattice
        known = mine & np.isfinite(ratio)
        # Where there is no lattice to compare with, only the sign is known.
        bright = mine & ~known & finds.excess
        probability[mine & ~known & ~finds.excess, -1] = 1
        probability[bright, names.index(kinds[OFF][-1][0])] = _UNCOMPARED
        probability[bright, -1] = 1 - _UNCOMPARED
        one = np.broadcast_to(error, ratio.shape)[known]
        shares = _shares(ratio[known], one, kinds[int(sublattice)])
        for (name, _, _), share in zip(kinds[int(sublattice)], shares.T, strict=True):
            probability[known, names.index(name)] += share
    best = probability.argmax(axis=1)
    kept = np.unique(best)
    probability = probability[:, kept]
    probability /= probability.sum(axis=1, keepdims=True)
    class_id = np.searchsorted(kept, best)
    empty: NDArray[np.float32] = np.zeros((len(kept), 0, 0), dtype=np.float32)
    return DefectClasses(
        names=tuple(names[i] for i in kept),
        class_id=class_id.astype(np.int64),
        probability=probability.astype(np.float32),
        averages=empty if crops is None else class_averages(crops, class_id, len(kept)),
        warnings=_warnings(names, best, material),
    )


def _kinds(material: str, single: bool) -> dict[int, list[_Class]]:
    """Classes of each sublattice, from the darkest to the brightest."""
    off: list[_Class] = [(OTHER, -np.inf, 0.0), (_ADATOM, _ATOM, 1.0)]
    layer = MONOLAYERS.get(material)
    if layer is None:
        if single:
            one = _of_atom("site")
            return {0: one, 1: one, OFF: off}
        return {0: _of_atom("bright site"), 1: _of_atom("weak site"), OFF: off}
    if material == "graphene":
        silicon = layer.ratio(0, "Si")
        carbon: list[_Class] = [
            ("C vacancy", -np.inf, 0.0),
            ("darker C", 0.5, 0.75),
            ("brighter C", 1.0, layer.ratio(0, "N")),
            ("Si", 2.0, silicon),
        ]
        return {0: carbon, 1: carbon, OFF: [*off, carbon[-1]]}
    metal, anion = _dichalcogenide(layer)
    # of MoSe2 two selenium atoms outshine the metal
    if brightness(*layer.columns[1]) > brightness(*layer.columns[0]):
        return {0: anion, 1: metal, OFF: off}
    return {0: metal, 1: anion, OFF: off}


def _of_atom(site: str) -> list[_Class]:
    return [
        (f"vacancy of a {site}", -np.inf, 0.0),
        (f"darker {site}", 0.25, 0.6),
        (f"brighter {site}", 1.0, 1.5),
    ]


def _dichalcogenide(layer: Monolayer) -> tuple[list[_Class], list[_Class]]:
    """Classes of the metal's sites and of those of two chalcogens above each other."""
    (metal,), (anion, _) = layer.columns
    darker = min(
        (layer.ratio(0, atom) for atom in ("Mo", "Nb", "W") if layer.ratio(0, atom) < 0.95),
        default=0.5,
    )
    brighter = max(layer.ratio(0, "W"), 1.2)
    return (
        [
            (f"{metal} vacancy", -np.inf, 0.0),
            (f"darker {metal}", 0.2, darker),
            (f"brighter {metal}", 1.0, brighter),
        ],
        [
            (f"{anion}2 vacancy", -np.inf, 0.0),
            (f"{anion} vacancy", 0.25, 0.5),
            # a little below 1 is nearer to what is missing one atom than to what has more
            (f"brighter {anion}", 1.0, 1.5),
        ],
    )


def _shares(ratio: Floats, error: Floats, kind: list[_Class]) -> Floats:
    """``(n, classes)`` share of each ratio's normal distribution in the range of each class."""
    from scipy.stats import norm

    edges = np.array([*(begin for _, begin, _ in kind), np.inf])
    return np.diff(norm.cdf((edges - ratio[:, None]) / error[:, None]), axis=1)


def _spread(ratio: Floats, sublattice: NDArray[np.int8], kinds: dict[int, list[_Class]]) -> float:
    """Standard deviation of ratios about their classes' medians, robustly."""
    apart = []
    for number, kind in kinds.items():
        mine = ratio[(sublattice == number) & np.isfinite(ratio)]
        which = np.searchsorted([begin for _, begin, _ in kind[1:]], mine, side="right")
        for k in np.unique(which):
            some = mine[which == k]
            if len(some) >= 5:
                apart.append(np.abs(some - np.median(some)))
    if not apart:
        return 0.1
    return float(np.clip(1.4826 * np.median(np.concatenate(apart)), *_SPREAD))


def _warnings(names: list[str], best: NDArray[np.intp], material: str) -> tuple[str, ...]:
    told = []
    if material not in MONOLAYERS:
        told.append("classes have general names: choose the material for those of its atoms")
    other = int((best == names.index(OTHER)).sum())
    if other:
        told.append(f"{other} finds are neither on a site nor a bright atom: class {OTHER!r}")
    return tuple(told)
