"""Orientation maps to and from orix's crystal maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.ambiguity import Ambiguity
from napari_diffmap.maps.grid import grid_of
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phases import MapPhase, PhaseLike
from napari_diffmap.maps.provenance import Provenance

if TYPE_CHECKING:
    from orix.crystal_map import CrystalMap

#: Property names under which other programs keep the score of a match.
_SCORE_NAMES = ("score", "scores", "correlation", "ncc", "dp", "ci", "ind")
_TO_NM = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "mm": 1e6, "Å": 0.1, "A": 0.1}


def to_crystal_map(found: OrientationMap) -> CrystalMap:
    """See `OrientationMap.to_crystal_map`."""
    from orix.crystal_map import CrystalMap, PhaseList
    from orix.quaternion import Rotation

    rows, columns = found.shape
    y, x = np.indices(found.shape, dtype=np.float64)
    data = found.best_rotations.reshape(-1, 4).astype(np.float64)
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    ids = found.best_phase_ids.ravel().astype(int)
    used = [int(i) for i in np.unique(ids) if i >= 0]
    properties: dict[str, NDArray[Any]] = {
        "score": found.best_scores.ravel(),
        "reliability": found.reliability.ravel(),
        "ambiguity": found.ambiguity.ravel(),
    }
    for name, values in found.extra.items():
        properties.setdefault(name.replace("/", "_"), values.ravel())
    return CrystalMap(
        rotations=Rotation(data),
        phase_id=ids,
        # orix knows an axis with a single line only as absent.
        x=x.ravel() * found.step[1] if columns > 1 or rows == 1 else None,
        y=y.ravel() * found.step[0] if rows > 1 else None,
        phase_list=PhaseList({i: _named(found.phases[i]) for i in used}),
        prop=properties,
        scan_unit="nm" if found.step_unit == "nm" else "px",
    )


def _named(phase: PhaseLike) -> Any:
    copy = phase.orix.deepcopy()
    copy.name = phase.name
    copy.color = _named_color(phase.color)
    return copy


def _named_color(color: str) -> str:
    """Nearest of matplotlib's CSS colours: orix 0.15 takes only colours with a name."""
    from matplotlib.colors import CSS4_COLORS, to_rgb

    wanted = np.array(to_rgb(color))
    return min(CSS4_COLORS, key=lambda name: float(((to_rgb(name) - wanted) ** 2).sum()))


def from_crystal_map(
    crystal_map: CrystalMap,
    *,
    phases: tuple[PhaseLike, ...] | None = None,
    provenance: Provenance | None = None,
) -> OrientationMap:
    """An orix crystal map as an orientation map.

    Parameters
    ----------
    crystal_map
        Points may come in any order and be masked; they are placed by their
        coordinates.  Masked and absent points become *no data*.
    phases
        Phases to use, in the order of the sorted phase ids; without them the
        crystal map's own are wrapped.
    provenance
        Defaults to an empty record.

    Raises
    ------
    BadInputError
        If the points lie on no rectangular grid or the unit is unknown.
    """
    xmap = crystal_map
    n = xmap.size
    if n == 0:
        raise BadInputError("the crystal map has no points: nothing to load")
    x = np.zeros(n) if xmap.x is None else np.asarray(xmap.x, dtype=np.float64)
    y = np.zeros(n) if xmap.y is None else np.asarray(xmap.y, dtype=np.float64)
    grid = grid_of(x, y)
    factor, unit = _unit(str(xmap.scan_unit))
    quaternions = xmap.rotations.data.reshape(n, -1, 4).astype(np.float32)
    n_best = quaternions.shape[1]
    file_ids = [int(i) for i in xmap.phases.ids if i >= 0]
    chosen = phases or tuple(
        MapPhase.from_orix(xmap.phases[i], k, _hex(xmap.phases[i])) for k, i in enumerate(file_ids)
    )
    if len(chosen) < len(file_ids):
        raise BadInputError(f"the map has {len(file_ids)} phases, but {len(chosen)} were given")
    ids = np.full(n, -1, dtype=np.int16)
    for k, i in enumerate(file_ids):
        ids[np.asarray(xmap.phase_id) == i] = k
    properties = {name: np.asarray(values) for name, values in xmap.prop.items()}
    scores = _scores(properties, n, n_best)
    all_ids = np.repeat(ids[:, np.newaxis], n_best, axis=1)
    return OrientationMap(
        rotations=grid.place(quaternions, 0),
        scores=grid.place(scores, np.nan),
        phase_ids=grid.place(all_ids, -1),
        reliability=grid.place(_reliability(properties, n), np.nan),
        ambiguity=grid.place(_ambiguity(properties, ids), Ambiguity.NO_DATA),
        phases=chosen,
        step=(grid.step[0] * factor or 1.0, grid.step[1] * factor or 1.0),
        step_unit=unit,
        provenance=provenance or Provenance(),
        extra={
            name: grid.place(values.astype(np.float32), np.nan)
            for name, values in properties.items()
            if values.shape == (n,)
            and values.dtype.kind in "biuf"
            and name not in ("score", "reliability", "ambiguity")
        },
    )


def _unit(unit: str) -> tuple[float, str]:
    if unit in _TO_NM:
        return _TO_NM[unit], "nm"
    if unit in ("px", "pixel", ""):
        return 1.0, "pixel"
    raise BadInputError(f"the scan unit {unit!r} is unknown: use nm, um or px")


def _hex(phase: Any) -> str:
    return "#{:02X}{:02X}{:02X}".format(*(round(255 * c) for c in phase.color_rgb))


def _scores(properties: dict[str, NDArray[Any]], n: int, n_best: int) -> NDArray[np.float32]:
    out = np.full((n, n_best), np.nan, dtype=np.float32)
    for name in _SCORE_NAMES:
        values = properties.get(name)
        if values is not None and values.shape in ((n,), (n, n_best)):
            if values.ndim == 1:
                out[:, 0] = values
            else:
                out[:] = values
            break
    return out


def _reliability(properties: dict[str, NDArray[Any]], n: int) -> NDArray[np.float32]:
    values = properties.get("reliability")
    if values is None or values.shape != (n,):
        return np.full(n, np.nan, dtype=np.float32)
    with np.errstate(invalid="ignore"):
        probability = not ((values < 0) | (values > 1)).any()
    return values.astype(np.float32) if probability else np.full(n, np.nan, dtype=np.float32)


def _ambiguity(properties: dict[str, NDArray[Any]], ids: NDArray[np.int16]) -> NDArray[np.uint8]:
    values = properties.get("ambiguity")
    if values is not None and values.shape == ids.shape and values.max() <= max(Ambiguity):
        return values.astype(np.uint8)
    # Nobody said why a point has no answer.
    return np.where(ids < 0, Ambiguity.NO_DATA, Ambiguity.NONE).astype(np.uint8)
