"""Grains of a map from end to end: boundaries, grains, laws, gradients, tables, files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.boundaries.find import Boundaries, find_boundaries
from napari_diffmap.maps.boundaries.twins import BoundaryLaws, LawsByPhase, classify_laws
from napari_diffmap.maps.columns import Column
from napari_diffmap.maps.files.save_tiff import save_tiff
from napari_diffmap.maps.grains import misorientation
from napari_diffmap.maps.grains.boundary_properties import BoundaryProperties, boundary_properties
from napari_diffmap.maps.grains.find import Grains, find_grains
from napari_diffmap.maps.grains.pairs import find_pairs
from napari_diffmap.maps.grains.properties import GrainProperties, grain_properties
from napari_diffmap.maps.grains.tables import save_table
from napari_diffmap.maps.grains.twin_merging import MergedGrains, merge_by_laws
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.provenance import Provenance


class GrainSettings(BaseModel):
    """What grains are made with.

    Attributes
    ----------
    threshold
        Neighbours up to this disorientation (degrees) are one grain.
    min_size
        Smaller pieces (pixels) are no grains.
    kam_order
        Neighbours of KAM, in steps along rows and columns.
    kam_limit
        Neighbours of KAM beyond this disorientation (degrees) do not count.
    merge_twins
        Join twins into parents.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(5.0, gt=0, lt=180)
    min_size: int = Field(3, ge=1)
    kam_order: int = Field(1, ge=1, le=10)
    kam_limit: float = Field(5.0, gt=0, le=180)
    merge_twins: bool = False


@dataclass(frozen=True, eq=False)
class GrainRun:
    """Everything that was found in a map.

    Attributes
    ----------
    found, settings
        What went in.
    boundaries, grains, laws
        See `find_boundaries`, `find_grains`, `classify_laws`.
    properties, boundary_table
        A row a grain, a row for every two grains that touch.
    kam, grod
        ``(Y, X)`` float32, degrees; KAM within grains.
    merged, parents
        Twins joined, and a row a parent; None where that was not asked for.
    summary
        Plain numbers of the run.
    """

    found: OrientationMap
    settings: GrainSettings
    boundaries: Boundaries
    grains: Grains
    laws: BoundaryLaws
    properties: GrainProperties
    boundary_table: BoundaryProperties
    kam: NDArray[np.float32]
    grod: NDArray[np.float32]
    merged: MergedGrains | None
    parents: GrainProperties | None
    summary: dict[str, Any]

    def grain_columns(self) -> tuple[Column, ...]:
        """The grain table, with each grain's parent where twins were joined."""
        columns = self.properties.columns()
        if self.merged is None:
            return columns
        parent = Column("parent", "", self.merged.parent_of, "Number of the parent grain.")
        return (columns[0], parent, *columns[1:])


def measure_grains(
    found: OrientationMap,
    settings: GrainSettings | None = None,
    *,
    laws_by_phase: LawsByPhase | None = None,
) -> GrainRun:
    """Find and describe the grains of a map and the boundaries between them.

    Parameters
    ----------
    found
        The map.
    settings
        Thresholds.
    laws_by_phase
        Laws of boundaries; the standard ones of each phase without it.

    Raises
    ------
    BadInputError
        If no position of the map has an answer, or no piece is large enough.
    """
    chosen = settings or GrainSettings()
    start = time.perf_counter()
    if not found.indexed.any():
        raise BadInputError("no position of this map has an answer: there are no grains to measure")
    edges = find_boundaries(found)
    grains = find_grains(
        found, threshold=chosen.threshold, min_size=chosen.min_size, boundaries=edges
    )
    if not len(grains):
        raise BadInputError(
            f"no piece of this map has {chosen.min_size} pixels: lower the smallest size"
        )
    pairs = find_pairs(found, grains)
    laws = classify_laws(found, edges, laws_by_phase, grains=grains)
    local = misorientation.kam(
        found, order=chosen.kam_order, limit=chosen.kam_limit, grains=grains, boundaries=edges
    )
    deviation = misorientation.grod(found, grains)
    properties = grain_properties(found, grains, pairs=pairs, kam=local, grod=deviation)
    merged = parents = None
    if chosen.merge_twins:
        merged = merge_by_laws(grains, pairs, laws)
        parents = grain_properties(found, merged.grains, kam=local)
    return GrainRun(
        found=found,
        settings=chosen,
        boundaries=edges,
        grains=grains,
        laws=laws,
        properties=properties,
        boundary_table=boundary_properties(found, grains, edges, pairs=pairs, laws=laws),
        kam=local,
        grod=deviation,
        merged=merged,
        parents=parents,
        summary={
            "grains": len(grains),
            "parents": None if merged is None else len(merged.grains),
            "pixels_in_grains": int(grains.sizes.sum()),
            "indexed": int(np.count_nonzero(found.indexed)),
            "unit": found.step_unit,
            "phases": _phases(found, properties, laws),
            "laws": _laws(laws),
            "twin_fraction": laws.twin_fraction(),
            "kam_deg": _mean(local),
            "gos_deg": float(np.average(properties.gos, weights=grains.sizes)),
            "seconds": round(time.perf_counter() - start, 3),
            "settings": chosen.model_dump(),
        },
    )


def _mean(values: NDArray[Any]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if known.size else float("nan")


def _phases(
    found: OrientationMap, properties: GrainProperties, laws: BoundaryLaws
) -> list[dict[str, Any]]:
    rows = []
    for phase in np.unique(properties.phase_ids):
        mine = properties.phase_ids == phase
        diameter, area = properties.equivalent_diameter[mine], properties.area[mine]
        rows.append(
            {
                "name": found.phases[int(phase)].name,
                "grains": int(mine.sum()),
                "area": float(area.sum()),
                "mean_diameter": float(diameter.mean()),
                "area_weighted_diameter": float(np.average(diameter, weights=area)),
                "boundary_length": float(laws.phase_lengths[int(phase)]),
                "twin_fraction": laws.twin_fraction(int(phase)),
            }
        )
    return rows


def _laws(laws: BoundaryLaws) -> list[dict[str, Any]]:
    """Laws that some edge follows."""
    return [
        {
            "law": entry.name,
            "phase": entry.phase_name,
            "length": float(length),
            "share": float(share),
            "vanishing": float(vanishing),
        }
        for entry, length, share, vanishing in zip(
            laws.legend, laws.lengths, laws.fractions, laws.vanishing, strict=True
        )
        if length > 0
    ]


def save_grains(run: GrainRun, folder: str | Path) -> list[Path]:
    """Write the tables as CSV and Parquet, and the maps as TIFF.

    Parameters
    ----------
    run
        From `measure_grains`.
    folder
        An existing folder.

    Returns
    -------
    list of Path
        ``grains`` and ``boundaries`` (and ``parents`` where twins were joined) as
        ``.csv`` and ``.parquet``; ``grains.tif`` (the label map), ``kam.tif``, ``grod.tif``.

    Raises
    ------
    BadInputError, ResourceError
        If the folder cannot be written to or the disk is full.
    """
    place = Path(folder)
    record = _record(run)
    tables = {"grains": run.grain_columns(), "boundaries": run.boundary_table.columns()}
    if run.parents is not None:
        tables["parents"] = run.parents.columns()
    written = [
        save_table(columns, place / f"{name}{suffix}", provenance=record)
        for name, columns in tables.items()
        for suffix in (".csv", ".parquet")
    ]
    labels = run.grains.labels
    if len(run.grains) <= np.iinfo(np.uint16).max:
        labels = labels.astype(np.uint16)
    step, unit = run.found.step, run.found.step_unit
    maps = {"grains": labels, "kam": run.kam, "grod": run.grod}
    written += [
        save_tiff(image, place / f"{name}.tif", step=step, unit=unit, provenance=record)
        for name, image in maps.items()
    ]
    return written


def _record(run: GrainRun) -> Provenance:
    """The map's own record, and how its grains were made."""
    now = Provenance.collect(method="grains", parameters=run.settings.model_dump())
    was = run.found.provenance
    return now.model_copy(
        update={
            "inputs": was.inputs,
            "method": " + ".join(part for part in (was.method, now.method) if part),
            "parameters": {**was.parameters, "grains": now.parameters},
            "notes": was.notes,
        }
    )
