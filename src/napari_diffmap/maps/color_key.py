"""The TSL colour key as two tables over the azimuth about the sector's centre.

Inside the fundamental sector of a Laue group a direction is coloured by its
azimuth about the centre (the hue) and by how far it has come on the great
circle from the centre to the edge: white in the centre, the pure hue on the
edge, mixed linearly between (Nolze & Hielscher, *J. Appl. Cryst.* 49 (2016)
1786).  So a key is known by the hue and by the distance of the edge, both as
functions of the azimuth.  The hues are taken from orix's own key, which keeps
the colours equal to orix's for every Laue group.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.quaternions import chunks

if TYPE_CHECKING:
    from orix.quaternion.symmetry import Symmetry

#: Samples of the azimuth: ten a degree.
_SAMPLES = 3600
#: Directions coloured at once; the work array has this many × 48 numbers.
_CHUNK = 1 << 15
#: Where the hue is read off orix's key: this angle (rad) from the centre.
_NEAR = 0.02


@dataclass(frozen=True, eq=False)
class ColorKey:
    """TSL colours of crystal directions for one Laue group.

    Attributes
    ----------
    operators
        ``(m, 3, 3)`` float32: symmetry operations followed by `frame`.
    frame
        ``(3, 3)`` rotation from the crystal's frame into that of the sector;
        the identity but for uncommon settings (2/m along x, -31m).
    normals
        ``(k, 3)``: a direction v lies in the sector where ``normals @ v >= 0``.
    center, axis_x, axis_y
        Centre of the sector and two axes orthogonal to it; the azimuth turns
        from the first to the second.
    mirrors
        Whether the sector is bounded by mirror planes, so that the image
        nearest to the centre is the one inside.
    hue
        ``(n, 3)`` float32 pure colours over the azimuth.
    edge
        ``(n,)`` float32 angle from the centre to the edge of the sector.
    """

    operators: NDArray[np.float32]
    frame: NDArray[np.float64]
    normals: NDArray[np.float32]
    center: NDArray[np.float32]
    axis_x: NDArray[np.float32]
    axis_y: NDArray[np.float32]
    mirrors: bool
    hue: NDArray[np.float32]
    edge: NDArray[np.float32]

    def into_sector(self, directions: NDArray[np.float32]) -> NDArray[np.float32]:
        """Equivalent directions ``(n, 3)`` inside the sector."""
        if self.mirrors:
            # (S v)·c = v·(Sᵀ c)
            images = np.einsum("mji,j->im", self.operators, self.center)
            best = (directions @ images).argmax(axis=1)
        else:
            faces = np.einsum("mji,kj->kim", self.operators, self.normals)
            inside = (directions @ faces[0]).astype(np.float32)
            for face in faces[1:]:
                np.minimum(inside, directions @ face, out=inside)
            best = inside.argmax(axis=1)
        image: NDArray[np.float32] = np.einsum("nij,nj->ni", self.operators[best], directions)
        return image

    def colors(self, directions: NDArray[Any]) -> NDArray[np.uint8]:
        """RGB ``(n, 3)`` of unit crystal directions ``(n, 3)``."""
        out = np.empty((len(directions), 3), dtype=np.uint8)
        for part in chunks(len(directions), _CHUNK):
            v = self.into_sector(np.asarray(directions[part], dtype=np.float32))
            out[part] = np.rint(255 * self.shade(v))
        return out

    def shade(self, v: NDArray[np.float32]) -> NDArray[np.float32]:
        """RGB 0–1 of unit directions that lie in the sector, in the sector's frame."""
        x, y, z = v @ self.axis_x, v @ self.axis_y, v @ self.center
        away = np.arctan2(np.hypot(x, y), z)
        place = np.arctan2(y, x) * np.float32(_SAMPLES / (2 * np.pi)) % np.float32(_SAMPLES)
        # The tables repeat their first sample at the end.
        index = np.minimum(place.astype(np.intp), _SAMPLES - 1)
        share = (place - index).astype(np.float32)
        edge = self.edge[index] + share * (self.edge[index + 1] - self.edge[index])
        hue = self.hue[index] + share[:, None] * (self.hue[index + 1] - self.hue[index])
        white = np.clip(1 - away / edge, 0, 1)[:, None]
        shade: NDArray[np.float32] = hue + white * (1 - hue)
        return shade


def color_key(group: Symmetry) -> ColorKey:
    """The colour key of a point group's Laue group; made once per group."""
    laue = group.laue
    return _made(laue.name, np.asarray(laue.data).round(9).tobytes(), _Hold(laue))


class _Hold:
    """Carries an argument through a cache without being part of its key."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hold)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=32)
def _made(name: str, operators: bytes, hold: _Hold) -> ColorKey:
    laue: Symmetry = hold.value
    sector = laue.fundamental_sector
    matrices = np.asarray(laue.to_matrix(), dtype=np.float64)
    matrices = np.where(np.asarray(laue.improper)[:, None, None], -matrices, matrices)
    normals = np.asarray(sector.unit.data, dtype=np.float64).reshape(-1, 3)
    frame = _frame(matrices, normals)
    center = np.asarray(sector.center.unit.data, dtype=np.float64).reshape(3)
    pole = (1.0, 0.0, 0.0) if sector.vertices.size == 0 else (0.0, 0.0, 1.0)
    axis_x = np.array(pole) - np.dot(pole, center) * center
    axis_x /= np.linalg.norm(axis_x)
    axis_y = np.cross(center, axis_x)
    azimuth = np.linspace(0, 2 * np.pi, _SAMPLES + 1)
    outward = np.cos(azimuth)[:, None] * axis_x + np.sin(azimuth)[:, None] * axis_y
    return ColorKey(
        operators=(frame @ matrices).astype(np.float32),
        frame=frame,
        normals=normals.astype(np.float32),
        center=center.astype(np.float32),
        axis_x=axis_x.astype(np.float32),
        axis_y=axis_y.astype(np.float32),
        mirrors=_are_mirrors(frame @ matrices @ frame.T, normals),
        hue=_hues(laue, center, outward).astype(np.float32),
        edge=_edge(normals, center, outward).astype(np.float32),
    )


def _frame(matrices: NDArray[np.float64], normals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn about z after which orix's sector is a fundamental one of the group.

    orix has one sector for each Laue group, in its common setting: -3m with
    the mirrors of -3m1 and 2/m along y or z.  For the others the sector would
    hold some directions twice and some never.
    """
    probe = np.random.default_rng(0).normal(size=(64, 3))
    for angle in (0.0, np.pi / 6, np.pi / 2):
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        images = np.einsum("mij,nj->mni", turn @ matrices, probe)
        inside = (images @ normals.T >= 0).all(axis=-1).sum(axis=0)
        if (inside == 1).all():
            return turn
    return np.eye(3)


def _are_mirrors(matrices: NDArray[np.float64], normals: NDArray[np.float64]) -> bool:
    """Whether the reflection in every face of the sector belongs to the group."""
    reflections = np.eye(3) - 2 * normals[:, :, None] * normals[:, None, :]
    miss = np.abs(reflections[:, None] - matrices[None]).max(axis=(2, 3)).min(axis=1)
    return bool((miss < 1e-6).all())


def _edge(
    normals: NDArray[np.float64], center: NDArray[np.float64], outward: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Angle along each great circle ``cos φ c + sin φ t`` to the nearest face."""
    depth = normals @ center
    # n·p = 0  at  tan φ = -(n·c) / (n·t), taken in (0, π)
    angle = np.arctan2(depth[None, :], -(outward @ normals.T))
    nearest: NDArray[np.float64] = angle.min(axis=1)
    return nearest


def _hues(
    laue: Symmetry, center: NDArray[np.float64], outward: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pure colours over the azimuth, read off orix's key close to the centre."""
    from orix.plot import DirectionColorKeyTSL
    from orix.vector import Vector3d

    ring = np.cos(_NEAR) * center + np.sin(_NEAR) * outward
    pale = np.asarray(DirectionColorKeyTSL(laue).direction2color(Vector3d(ring)))
    white = pale.min(axis=1, keepdims=True)  # the least channel of a pure hue is 0
    hue: NDArray[np.float64] = (pale - white) / (1 - white)
    hue[-1] = hue[0]
    return hue
