"""Poles of crystals on a hemisphere, its projections, and regions drawn in them.

Poles are axes: diffraction does not tell a direction from its opposite.  In the laboratory frame
(x right, y down, z along the beam into the page) the one with z ≥ 0 is drawn, seen along the beam,
so that X points right and Y down as on the map.  Plot coordinates run right and down, and the
hemisphere fills the unit disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.color_key import ColorKey
from napari_diffmap.maps.phases import PhaseLike
from napari_diffmap.maps.quaternions import Quaternions, chunks, laue_operators, rotate_vector

Projection = Literal["stereographic", "equal area"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)
#: Numbers worked on at once.
_CHUNK = 1 << 18


# --------------------------------------------------------------------- indices
def read_indices(text: str) -> tuple[Literal["plane", "direction"], tuple[int, ...]]:
    """Indices as they are typed: ``111``, ``{10-10}``, ``(1 0 -1 2)``, ``[001]``, ``<11-20>``.

    Returns
    -------
    str, tuple of int
        ``plane``, or ``direction`` where the brackets say so; three or four numbers.

    Raises
    ------
    BadInputError
        If these are no indices.
    """
    bare = text.strip().strip("{}()[]<>⟨⟩").strip()
    parts = bare.replace(",", " ").split() if re.search(r"[\s,]", bare) else None
    if parts is None:
        parts = re.findall(r"-?\d", bare)
        whole = "".join(parts) == bare
    else:
        whole = all(re.fullmatch(r"-?\d+", part) for part in parts)
    numbers = tuple(int(part) for part in parts) if whole else ()
    if len(numbers) not in (3, 4) or not any(numbers):
        raise BadInputError(
            f"{text!r} are no indices: type three or four, e.g. 111, 10-10, [001] or 1 0 -1 2"
        )
    if len(numbers) == 4 and numbers[0] + numbers[1] + numbers[2] != 0:
        raise BadInputError(
            f"of four indices the first three add up to 0; those of {text!r} do not"
        )
    return ("direction" if text.strip()[0] in "[<⟨" else "plane"), numbers


def crystal_poles(phase: PhaseLike, indices: str) -> NDArray[np.float64]:
    """Axes of all planes or directions that symmetry makes equal.

    Parameters
    ----------
    phase
        Its lattice and Laue group count.
    indices
        See `read_indices`.

    Returns
    -------
    ndarray
        ``(m, 3)`` unit vectors in the crystal Cartesian frame (e1 ∥ a, e3 ∥ c*), one of
        each ± pair.

    Raises
    ------
    BadInputError
        If the indices cannot be, or four are given of a lattice without 120°.
    """
    kind, numbers = read_indices(indices)
    base = np.asarray(phase.orix.structure.lattice.base, dtype=np.float64)
    values = np.array(numbers, dtype=np.float64)
    if len(values) == 4:
        cosine = base[0] @ base[1] / np.linalg.norm(base[0]) / np.linalg.norm(base[1])
        if abs(cosine + 0.5) > 1e-3:
            raise BadInputError(f"four indices are for hexagonal lattices: {phase.name!r} has none")
        u, v, t, w = values
        values = np.array([u, v, w]) if kind == "plane" else np.array([u - t, v - t, w])
    axis = values @ (np.linalg.inv(base).T if kind == "plane" else base)
    axis /= np.linalg.norm(axis)
    images = rotate_vector(laue_operators(phase), (float(axis[0]), float(axis[1]), float(axis[2])))
    kept: list[NDArray[np.float64]] = []
    for image in images:
        if all(abs(image @ other) < 1 - 1e-9 for other in kept):
            kept.append(image)
    return np.array(kept)


def usual_poles(phase: PhaseLike) -> tuple[str, ...]:
    """Poles that are usually looked at for a phase's Laue group."""
    laue = phase.point_group.laue.name
    if laue in ("m-3m", "m-3"):
        return ("{001}", "{011}", "{111}")
    if laue.startswith(("6/m", "-3")):
        return ("{0001}", "{10-10}", "{11-20}", "{10-11}")
    if laue.startswith("4/m"):
        return ("{001}", "{100}", "{110}")
    return ("{001}", "{010}", "{100}", "[001]")


# ----------------------------------------------------------------- projections
def project(directions: NDArray[Any], projection: Projection) -> NDArray[Any]:
    """Plot coordinates ``(…, 2)`` of unit vectors with z ≥ 0."""
    x, y, z = np.moveaxis(directions, -1, 0)
    shrink = 1 / (1 + z) if projection == "stereographic" else 1 / np.sqrt(1 + z)
    return np.stack((x * shrink, y * shrink), axis=-1)


def unproject(points: NDArray[Any], projection: Projection) -> NDArray[np.float64]:
    """Unit vectors ``(…, 3)`` of plot coordinates; beyond the unit circle z is negative."""
    flat = np.asarray(points, dtype=np.float64)
    r2 = (flat**2).sum(axis=-1, keepdims=True)
    if projection == "stereographic":
        sphere: NDArray[np.float64] = np.concatenate((2 * flat, 1 - r2), axis=-1) / (1 + r2)
        return sphere
    r2 = np.minimum(r2, 2.0)
    return np.concatenate((flat * np.sqrt(2 - r2), 1 - r2), axis=-1)


def upwards(directions: NDArray[Any]) -> NDArray[Any]:
    """The end of each axis that has z ≥ 0."""
    sign = np.where(directions[..., 2:] < 0, -1, 1).astype(directions.dtype)
    flipped: NDArray[Any] = directions * sign
    return flipped


def lab_poles(
    rotations: Quaternions, poles: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Laboratory directions of crystal axes, z ≥ 0: part by part ``(k, m, 3)`` float32.

    Parameters
    ----------
    rotations
        ``(n, 4)`` orientations, laboratory → crystal.
    poles
        ``(m, 3)`` from `crystal_poles`.
    """
    columns = poles.T.astype(np.float32)
    for part in chunks(len(rotations), max(1, _CHUNK // len(poles))):
        # Crystal → laboratory is the inverse rotation, whose matrix is the transpose.
        turned = np.swapaxes(_matrices(rotations[part]), 1, 2) @ columns
        yield part, upwards(np.swapaxes(turned, 1, 2))


def _matrices(rotations: Quaternions) -> NDArray[np.float32]:
    """``(n, 3, 3)`` of unit quaternions."""
    a, b, c, d = np.asarray(rotations, dtype=np.float32).T
    out = np.empty((len(a), 3, 3), dtype=np.float32)
    out[:, 0, 0], out[:, 1, 1] = 1 - 2 * (c * c + d * d), 1 - 2 * (b * b + d * d)
    out[:, 2, 2] = 1 - 2 * (b * b + c * c)
    out[:, 0, 1], out[:, 1, 0] = 2 * (b * c - a * d), 2 * (b * c + a * d)
    out[:, 0, 2], out[:, 2, 0] = 2 * (b * d + a * c), 2 * (b * d - a * c)
    out[:, 1, 2], out[:, 2, 1] = 2 * (c * d - a * b), 2 * (c * d + a * b)
    return out


# --------------------------------------------------------------------- regions
@dataclass(frozen=True)
class Circle:
    """Everything up to an angle from an axis.

    Attributes
    ----------
    center
        Unit vector: in a pole figure in the laboratory frame, in an inverse pole figure in
        the frame of its sector.
    radius
        Degrees.
    """

    center: tuple[float, float, float]
    radius: float

    def outline(self, projection: Projection, n: int = 181) -> list[NDArray[np.float64]]:
        """Its border in plot coordinates; in pieces where it leaves the hemisphere."""
        center = np.array(self.center)
        across = np.cross(center, np.eye(3)[np.argmin(np.abs(center))])
        across /= np.linalg.norm(across)
        along, angle = np.cross(center, across), np.linspace(0, 2 * np.pi, n)[:, None]
        r = np.deg2rad(self.radius)
        ring = np.cos(r) * center + np.sin(r) * (np.cos(angle) * across + np.sin(angle) * along)
        jumps = np.flatnonzero(np.diff(np.signbit(ring[:, 2]))) + 1
        return [project(upwards(piece), projection) for piece in np.split(ring, jumps)]


@dataclass(frozen=True)
class Lasso:
    """What lies inside a closed line, in plot coordinates.

    Attributes
    ----------
    points
        ``(x, y)`` of its corners.
    """

    points: tuple[tuple[float, float], ...]

    def contains(self, places: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether plot coordinates ``(n, 2)`` lie inside."""
        from matplotlib.path import Path

        corners = np.array(self.points, dtype=np.float64)
        low, high = corners.min(axis=0), corners.max(axis=0)
        near = np.flatnonzero(((places >= low) & (places <= high)).all(axis=1))
        out = np.zeros(len(places), dtype=bool)
        out[near] = Path(corners, closed=False).contains_points(places[near])
        return out


Region = Circle | Lasso


def poles_inside(
    rotations: Quaternions, poles: NDArray[np.float64], region: Region, projection: Projection
) -> NDArray[np.bool_]:
    """Whether any of the poles of each orientation lies in a region of the pole figure.

    Parameters
    ----------
    rotations
        ``(n, 4)`` orientations.
    poles
        ``(m, 3)`` from `crystal_poles`.
    region, projection
        As drawn.

    Returns
    -------
    ndarray
        ``(n,)`` bool.
    """
    out = np.zeros(len(rotations), dtype=bool)
    for part, v in lab_poles(rotations, poles):
        if isinstance(region, Circle):
            center = np.array(region.center, dtype=np.float32)
            out[part] = (np.abs(v @ center) >= np.cos(np.deg2rad(region.radius))).any(axis=1)
        else:
            inside = region.contains(project(v.reshape(-1, 3), projection))
            out[part] = inside.reshape(v.shape[:2]).any(axis=1)
    return out


def crystal_directions(
    rotations: Quaternions, direction: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Crystal directions ``(n, 3)`` float32 along one laboratory direction."""
    turned: NDArray[np.float32] = rotate_vector(np.asarray(rotations, dtype=np.float32), direction)
    return turned


def sector_points(
    directions: NDArray[np.float32], key: ColorKey, projection: Projection
) -> NDArray[Any]:
    """Plot coordinates of crystal directions in the sector, its e1 right and e2 up."""
    return project(upwards(key.into_sector(directions)), projection) * (1, -1)


def directions_inside(
    directions: NDArray[np.float32], key: ColorKey, region: Region, projection: Projection
) -> NDArray[np.bool_]:
    """Whether crystal directions ``(n, 3)``, or their equivalents, lie in a region of the sector.

    Parameters
    ----------
    directions
        From `crystal_directions`.
    key
        Of the phase.
    region, projection
        As drawn in the inverse pole figure.
    """
    out = np.zeros(len(directions), dtype=bool)
    if isinstance(region, Circle):
        images = np.einsum("mji,j->im", key.operators, np.array(region.center, dtype=np.float32))
    for part in chunks(len(directions), _CHUNK // 8):
        if isinstance(region, Circle):
            cosine = (directions[part] @ images).max(axis=1)
            out[part] = cosine >= np.cos(np.deg2rad(region.radius))
        else:
            out[part] = region.contains(sector_points(directions[part], key, projection))
    return out
