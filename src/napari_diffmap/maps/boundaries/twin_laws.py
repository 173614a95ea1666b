"""Laws that relate two crystals of a phase: twins and coincidence site lattices.

An orientation takes laboratory to crystal directions, so ``O₂ O₁⁻¹`` takes the directions of the
first crystal to those of the second, both in the crystal Cartesian frame (e1 ∥ a, e3 ∥ c*).  A law
is such a rotation; with the symmetry of the crystal on both sides, and its inverse, it is a set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.phases import PhaseLike
from napari_diffmap.maps.quaternions import conjugate, laue_operators, multiply

Criterion = Literal["brandon", "palumbo-aust"]

#: Tolerance of a twin law, as is usual for EBSD maps of hexagonal metals.
TWIN_TOLERANCE = 5.0
#: Exponent of Σ in the tolerance 15°/Σⁿ: Brandon, *Acta Metall.* 14 (1966) 1479; Palumbo & Aust,
#: *Acta Metall. Mater.* 38 (1990) 2343.
_EXPONENTS: dict[Criterion, float] = {"brandon": 1 / 2, "palumbo-aust": 5 / 6}

#: Coincidence rotations of cubic lattices: integers (m, h, k, l) with tan(θ/2) = √(h² + k² + l²)/m
#: about [hkl], the smallest angle of each.  Σ is the odd part of m² + h² + k² + l².
#: Ranganathan, *Acta Cryst.* 21 (1966) 197; names as in Grimmer, Bollmann & Warrington,
#: *Acta Cryst.* A30 (1974) 197.
_COINCIDENCE: dict[str, tuple[int, int, int, int]] = {
    "3": (3, 1, 1, 1),
    "5": (3, 1, 0, 0),
    "7": (5, 1, 1, 1),
    "9": (4, 1, 1, 0),
    "11": (3, 1, 1, 0),
    "13a": (5, 1, 0, 0),
    "13b": (7, 1, 1, 1),
    "15": (5, 2, 1, 0),
    "17a": (4, 1, 0, 0),
    "17b": (5, 2, 2, 1),
    "19a": (6, 1, 1, 0),
    "19b": (4, 1, 1, 1),
    "21a": (9, 1, 1, 1),
    "21b": (6, 2, 1, 1),
    "23": (9, 3, 1, 1),
    "25a": (7, 1, 0, 0),
    "25b": (9, 3, 3, 1),
    "27a": (5, 1, 1, 0),
    "27b": (7, 2, 1, 0),
}

#: Twin planes of hexagonal close-packed metals: Yoo, *Metall. Trans. A* 12 (1981) 409.
_HEXAGONAL_PLANES = ((1, 0, -1, 2), (1, 1, -2, 1), (1, 1, -2, 2), (1, 0, -1, 1), (1, 0, -1, 3))
#: c/a of hexagonal metals, Be 1.57 to Cd 1.89, with a margin; layered crystals lie far outside.
_METAL_RATIO = (1.5, 1.95)


@dataclass(frozen=True, eq=False)
class TwinLaw:
    """A rotation between two crystals of one phase, and how far off still counts.

    Attributes
    ----------
    name
        As in legends, e.g. ``Σ3`` or ``{10-12}``.
    rotation
        ``(4,)`` quaternion (scalar first) in the crystal Cartesian frame; any
        symmetric variant, either direction.
    tolerance_deg
        Largest deviation (degrees) that still is this law.
    twin
        False where crystals that are related like this need not be parts of one
        parent: `merge_by_laws` keeps them apart.
    lattice
        ``(m, 4)`` proper rotations to use in place of the crystal's own, for laws
        of the lattice alone.

    Raises
    ------
    BadInputError
        If rotation or tolerance cannot be.
    """

    name: str
    rotation: NDArray[np.float64]
    tolerance_deg: float = TWIN_TOLERANCE
    twin: bool = True
    lattice: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        rotation = np.asarray(self.rotation, dtype=np.float64)
        norm = np.linalg.norm(rotation) if rotation.shape == (4,) else np.nan
        if not np.isfinite(norm) or norm == 0:
            raise BadInputError(f"law {self.name!r} needs a quaternion of four numbers, not all 0")
        if not 0 < self.tolerance_deg <= 30:
            raise BadInputError(
                f"law {self.name!r} needs a tolerance up to 30°, not {self.tolerance_deg:g}°"
            )
        object.__setattr__(self, "rotation", rotation / norm)

    def operators(self, phase: PhaseLike) -> NDArray[np.float64]:
        """``(m, 4)`` symmetry that the law is seen under."""
        return laue_operators(phase) if self.lattice is None else self.lattice

    def angle(self, phase: PhaseLike) -> float:
        """Disorientation angle of the law, degrees."""
        return smallest_angle(self.rotation, self.operators(phase))

    def variants(self, phase: PhaseLike) -> NDArray[np.float64]:
        """Every rotation that is this law: ``(v, 4)``, one of each ± pair."""
        operators = self.operators(phase)
        both = np.stack((self.rotation, conjugate(self.rotation)))
        sides = multiply(operators[:, None, None], multiply(both[:, None], operators[None]))
        flat = sides.reshape(-1, 4)
        # One sign of each: the first component that is not 0 is positive.
        first = np.argmax(np.abs(flat) > 1e-6, axis=1)
        flat = flat * np.sign(flat[np.arange(len(flat)), first])[:, None]
        kept = np.unique(np.round(flat, 6) + 0.0, axis=0, return_index=True)[1]
        variants: NDArray[np.float64] = flat[kept]
        return variants


def distinct_turns(law: TwinLaw, phase: PhaseLike) -> NDArray[np.float64]:
    """The different crystals that a law makes of one: ``(v, 4)`` turns D, so that O becomes D O.

    Turns that differ by a symmetry of the crystal make the same one; Σ3 makes four.
    """
    operators = laue_operators(phase)
    kept: list[NDArray[np.float64]] = []
    for turn in law.variants(phase):
        same = multiply(operators, turn)
        if all(np.abs(same @ other).max() < 1 - 1e-6 for other in kept):
            kept.append(turn)
    return np.array(kept)


def smallest_angle(rotation: NDArray[np.float64], operators: NDArray[np.float64]) -> float:
    """Disorientation angle (degrees) of one rotation of a crystal."""
    cosine = float(np.abs(operators @ rotation).max())
    return float(np.rad2deg(2 * np.arccos(min(cosine, 1.0))))


def csl_laws(max_sigma: int = 27, *, criterion: Criterion = "brandon") -> tuple[TwinLaw, ...]:
    """Coincidence site lattices Σ3 … Σ27b of cubic crystals.

    Parameters
    ----------
    max_sigma
        The largest Σ, 3 to 27.
    criterion
        Tolerance: ``brandon`` 15°/√Σ or ``palumbo-aust`` 15°/Σ^(5/6).

    Returns
    -------
    tuple of TwinLaw
        In rising Σ.  Only Σ3 is a twin.  Coincidence is of the lattice: the
        symmetry is that of m-3m, also for crystals of Laue group m-3.

    Raises
    ------
    BadInputError
        If Σ or the criterion is another.
    """
    if criterion not in _EXPONENTS or not 3 <= max_sigma <= 27:
        raise BadInputError(
            f"coincidence laws run from Σ3 to Σ27 by one of {', '.join(_EXPONENTS)}, not to"
            f" Σ{max_sigma} by {criterion!r}"
        )
    from orix.quaternion import symmetry

    lattice = np.asarray(symmetry.O.data, dtype=np.float64)
    laws = []
    for name, numbers in _COINCIDENCE.items():
        sigma = int(name.rstrip("ab"))
        if sigma <= max_sigma:
            tolerance = 15.0 / sigma ** _EXPONENTS[criterion]
            rotation = np.array(numbers, dtype=np.float64)
            laws.append(TwinLaw(f"Σ{name}", rotation, tolerance, sigma == 3, lattice))
    return tuple(laws)


def twin_law(
    phase: PhaseLike,
    plane: Sequence[int],
    *,
    name: str | None = None,
    tolerance_deg: float = TWIN_TOLERANCE,
) -> TwinLaw:
    """Twin of type I: 180° about the normal of a lattice plane.

    For crystals with a centre of inversion, and to diffraction, that is the
    mirror at the plane.

    Parameters
    ----------
    phase
        Its lattice gives the angles.
    plane
        Miller indices hkl of the twin plane, or hkil of a hexagonal or trigonal lattice.
    name
        In legends; the plane in braces without it.
    tolerance_deg
        Largest deviation (degrees).

    Raises
    ------
    BadInputError
        If the indices cannot be, or the rotation is a symmetry of the crystal.
    """
    indices = _three(plane, "plane")
    text = "".join(str(int(i)) for i in plane)
    reciprocal = np.linalg.inv(_base(phase)).T
    return _half_turn(phase, indices @ reciprocal, name or f"{{{text}}}", tolerance_deg)


def twin_law_axis(
    phase: PhaseLike,
    direction: Sequence[int],
    *,
    name: str | None = None,
    tolerance_deg: float = TWIN_TOLERANCE,
) -> TwinLaw:
    """Twin of type II: 180° about a lattice direction.

    Parameters
    ----------
    phase
        Its lattice gives the angles.
    direction
        Indices uvw of the direction, or UVTW of a hexagonal or trigonal lattice.
    name, tolerance_deg
        As for `twin_law`; the direction in angle brackets without a name.

    Raises
    ------
    BadInputError
        If the indices cannot be, or the rotation is a symmetry of the crystal.
    """
    indices = _three(direction, "direction")
    text = "".join(str(int(i)) for i in direction)
    return _half_turn(phase, indices @ _base(phase), name or f"⟨{text}⟩", tolerance_deg)


def hexagonal_twins(
    phase: PhaseLike, *, tolerance_deg: float = TWIN_TOLERANCE
) -> tuple[TwinLaw, ...]:
    """Twins {10-12}, {11-21}, {11-22}, {10-11} and {10-13} of a hexagonal metal.

    Their angles follow from c/a of the phase, e.g. 86.3°, 34.2°, 63.3°, 56.1°
    and 64.0° for magnesium.
    """
    return tuple(twin_law(phase, plane, tolerance_deg=tolerance_deg) for plane in _HEXAGONAL_PLANES)


def standard_laws(phase: PhaseLike, *, criterion: Criterion = "brandon") -> tuple[TwinLaw, ...]:
    """Laws that are usual for a phase, none where none is.

    Cubic crystals get `csl_laws`, those of Laue group 6/mmm with the c/a of a
    metal (1.5 to 1.95) `hexagonal_twins`.  For others, see `twin_law`.
    """
    laue = phase.point_group.laue.name
    if laue in ("m-3m", "m-3"):
        return csl_laws(criterion=criterion)
    if laue == "6/mmm":
        a, _, c = np.linalg.norm(_base(phase), axis=1)
        if _METAL_RATIO[0] <= c / a <= _METAL_RATIO[1]:
            return hexagonal_twins(phase)
    return ()


def _base(phase: PhaseLike) -> NDArray[np.float64]:
    """Cell vectors as rows, Å, in the crystal Cartesian frame of orix."""
    base: NDArray[np.float64] = np.asarray(phase.orix.structure.lattice.base, dtype=np.float64)
    return base


def _three(indices: Sequence[int], what: Literal["plane", "direction"]) -> NDArray[np.float64]:
    """Three indices of three or four."""
    values = np.asarray(indices, dtype=np.float64)
    whole = bool(np.isfinite(values).all()) and bool((values == np.rint(values)).all())
    if values.shape not in ((3,), (4,)) or not whole or not values.any():
        raise BadInputError(f"a twin {what} needs three or four whole numbers, not {indices}")
    if len(values) == 3:
        return values
    if values[:3].sum() != 0:
        raise BadInputError(
            f"of the four indices of a {what} the first three add up to 0; {indices} do not"
        )
    if what == "plane":
        return values[[0, 1, 3]]
    return np.array([values[0] - values[2], values[1] - values[2], values[3]])


def _half_turn(phase: PhaseLike, axis: NDArray[Any], name: str, tolerance_deg: float) -> TwinLaw:
    law = TwinLaw(name, np.concatenate(([0.0], axis / np.linalg.norm(axis))), tolerance_deg)
    if law.angle(phase) < 0.01:
        raise BadInputError(
            f"{name} is no twin law of {phase.name!r}: the half turn is a symmetry of the crystal"
        )
    return law
