"""Made maps whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from diffpy.structure import Atom, Lattice, Structure
from numpy.typing import NDArray
from orix.crystal_map import Phase
from orix.quaternion import Rotation
from scipy.spatial import cKDTree

from napari_diffmap.maps import InputFile, MapPhase, OrientationMap, Provenance

#: A cell for each Laue group.
CELLS = {
    "-1": (3.1, 4.2, 5.3, 81, 95, 102),
    "2/m": (5, 6, 3, 90, 90, 109),
    "mmm": (3, 4, 5, 90, 90, 90),
    "4/m": (3, 3, 5, 90, 90, 90),
    "4/mmm": (3, 3, 5, 90, 90, 90),
    "-3": (3, 3, 5, 90, 90, 120),
    "-3m": (2.88, 2.88, 14.2, 90, 90, 120),
    "6/m": (3, 3, 5, 90, 90, 120),
    "6/mmm": (3.2, 3.2, 5.1, 90, 90, 120),
    "m-3": (4, 4, 4, 90, 90, 90),
    "m-3m": (3.6, 3.6, 3.6, 90, 90, 90),
}


def phase_of(group: str, name: str = "", index: int = 0) -> MapPhase:
    """A phase with a point group and a cell that fits it."""
    plain = Phase(point_group=group).point_group.laue.name
    structure = Structure([Atom("Fe", (0, 0, 0))], lattice=Lattice(*CELLS[plain]))
    phase = Phase(name=name or f"phase {group}", point_group=group, structure=structure)
    return MapPhase.from_orix(phase, index)


@dataclass
class MadeMap:
    """A map of Voronoi grains, and what went in."""

    map: OrientationMap
    grain: NDArray[np.int64]
    rotations: NDArray[np.float64]


MakeMap = Callable[..., MadeMap]


@pytest.fixture(scope="session")
def make_map() -> MakeMap:
    """Factory of Voronoi maps with scatter inside the grains."""

    def make(
        shape: tuple[int, int] = (40, 50),
        n_grains: int = 12,
        groups: tuple[str, ...] = ("m-3m", "6/mmm"),
        *,
        n_best: int = 3,
        scatter_deg: float = 0.3,
        lost: float = 0.05,
        seed: int = 0,
    ) -> MadeMap:
        rng = np.random.default_rng(seed)
        seeds = rng.uniform((0, 0), shape, (n_grains, 2))
        places = np.stack(np.indices(shape), axis=-1).reshape(-1, 2)
        grain = cKDTree(seeds).query(places)[1].reshape(shape)
        main = rng.normal(size=(n_grains, 4))
        main /= np.linalg.norm(main, axis=1, keepdims=True)
        scatter = rng.normal(size=(*shape, 3)) * np.deg2rad(scatter_deg) / 2
        small = np.concatenate((np.ones((*shape, 1)), scatter), axis=-1)
        best = (Rotation(small.reshape(-1, 4)) * Rotation(main[grain].reshape(-1, 4))).data
        rotations = rng.normal(size=(*shape, n_best, 4))
        rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
        rotations[:, :, 0] = best.reshape(*shape, 4)
        phase_of_grain = np.arange(n_grains) % len(groups)
        ids = rng.integers(0, len(groups), (*shape, n_best))
        ids[..., 0] = phase_of_grain[grain]
        scores = np.sort(rng.uniform(size=(*shape, n_best)), axis=-1)[..., ::-1].copy()
        ambiguity = rng.choice(6, size=shape, p=[0.8, 0.05, 0.05, 0.04, 0.03, 0.03])
        reliability = rng.uniform(size=shape)
        gone = rng.uniform(size=shape) < lost
        ids[gone], scores[gone], reliability[gone], ambiguity[gone] = -1, np.nan, np.nan, 6
        found = OrientationMap(
            rotations=rotations,
            scores=scores,
            phase_ids=ids,
            reliability=reliability,
            ambiguity=ambiguity,
            phases=tuple(phase_of(g, f"phase {i} {g}", i) for i, g in enumerate(groups)),
            step=(2.5, 1.5),
            step_unit="nm",
            provenance=Provenance.collect(
                inputs=[InputFile(path="scan é.h5", format="test", shape=(40, 50, 64, 64))],
                method="orientation/templates",
                parameters={"n_best": n_best, "phases": groups},
            ),
            extra={"spots found": rng.uniform(size=shape)},
        )
        return MadeMap(found, grain, main)

    return make


@pytest.fixture(scope="session")
def make_phase() -> Callable[..., MapPhase]:
    """Factory of phases by point group."""
    return phase_of
