"""Tables of grains and boundaries as CSV and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.columns import Column
from napari_diffmap.maps.provenance import Provenance

#: Units that every program reads, whatever encoding it takes a file for.
_PLAIN_UNITS = {"°": "deg", "²": "^2"}
_OWN = b"napari_diffmap"


def save_table(
    columns: Sequence[Column], path: str | Path, *, provenance: Provenance | None = None
) -> Path:
    """Write a table, e.g. `GrainProperties.columns` or `BoundaryProperties.columns`.

    Parameters
    ----------
    columns
        All of one length.
    path
        ``.csv``: UTF-8 with commas, units in the heads (``area (nm^2)``), float32,
        nothing where there is no number.  ``.parquet``: units, descriptions and the
        provenance in the metadata (fields ``unit`` and ``description`` of each column),
        full precision.
    provenance
        Where the map came from; only Parquet holds it.

    Returns
    -------
    Path
        The file written; an older one stays until the new one is complete.

    Raises
    ------
    BadInputError
        If the name is another, the columns are of different lengths, or the
        folder cannot be written to.
    ResourceError
        If the disk is full.
    """
    target = Path(path)
    writers: dict[str, Callable[..., None]] = {".csv": _write_csv, ".parquet": _write_parquet}
    write = writers.get(target.suffix.lower())
    if write is None:
        raise BadInputError(f"{target.name}: a table must end in .csv or .parquet")
    if len({len(column.values) for column in columns}) > 1:
        raise BadInputError("the columns of a table must be of one length")
    with atomic_path(target) as temporary:
        write(columns, temporary, provenance)
    return target


def plain_unit(unit: str) -> str:
    """A unit in ASCII: ``deg``, ``nm^2``."""
    for drawn, plain in _PLAIN_UNITS.items():
        unit = unit.replace(drawn, plain)
    return unit


def _array(column: Column) -> Any:
    import pyarrow as pa

    values = column.values
    if values.dtype == object:
        return pa.array(values.tolist(), type=pa.string())
    # NaN is "no number", which both files can say.
    return pa.array(np.ascontiguousarray(values), from_pandas=True)


def _write_csv(columns: Sequence[Column], path: Path, _provenance: Provenance | None) -> None:
    import pyarrow as pa
    import pyarrow.csv as pc

    heads, arrays = [], []
    for column in columns:
        unit = plain_unit(column.unit)
        heads.append(f"{column.name} ({unit})" if unit else column.name)
        if column.values.dtype == np.float64:  # digits beyond those of float32 tell nothing
            column = column._replace(values=column.values.astype(np.float32))
        arrays.append(_array(column))
    pc.write_csv(pa.table(arrays, names=heads), path)


def _write_parquet(columns: Sequence[Column], path: Path, provenance: Provenance | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields, arrays = [], []
    for column in columns:
        array = _array(column)
        about = {"unit": plain_unit(column.unit), "description": column.description}
        fields.append(pa.field(column.name, array.type, metadata=about))
        arrays.append(array)
    record = {} if provenance is None else {_OWN: provenance.to_json().encode("ascii")}
    pq.write_table(pa.table(arrays, schema=pa.schema(fields, metadata=record)), path)
