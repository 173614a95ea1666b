"""Orientation maps from the HDF5 files of EDAX OIM 7 and later."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.files.edax import AXIS_OF_CODE, LAUE_OF_CODE
from napari_diffmap.maps.files.point_table import PointTable
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phases import MapPhase, file_phase

if TYPE_CHECKING:
    import h5py

_UM = 1000.0  # nm
_CONSTANTS = ("a", "b", "c", "alpha", "beta", "gamma")
_GEOMETRY = ("Phi1", "Phi", "Phi2", "X Position", "Y Position", "Phase", "Valid", "Pattern")


def is_edax_h5(path: str | Path) -> bool:
    """Whether an HDF5 file says that EDAX made it."""
    import h5py

    with h5py.File(path, "r") as file:
        makers = (file[name][()] for name in file if name.strip().lower() == "manufacturer")
        return any(b"EDAX" in np.atleast_1d(maker)[0] for maker in makers)


def read_edax_h5(path: str | Path) -> OrientationMap:
    """Read the first EBSD scan of an EDAX HDF5 file; frames as in `read_ang.read_ang`.

    Raises
    ------
    BadInputError
        If the file holds no scan on a square grid.
    """
    import h5py

    place = Path(path)
    with h5py.File(place, "r") as file:
        scans = [
            name for name in file if isinstance(file[name], h5py.Group) and "EBSD" in file[name]
        ]
        if not scans:
            raise BadInputError(f"{place.name} holds no EBSD scan: export it as .ang")
        try:
            table = _table(place, file[scans[0]]["EBSD"])
        except (KeyError, ValueError, TypeError) as error:
            raise BadInputError(
                f"{place.name}: {scans[0]} is not laid out as EDAX does: export it as .ang"
            ) from error
    if len(scans) > 1:
        table.warnings.append(f"{scans[0]} was read, of {', '.join(scans)}")
    return table.to_map()


def _table(path: Path, scan: h5py.Group) -> PointTable:
    data, header = scan["Data"], scan["Header"]

    def one(group: h5py.Group, name: str) -> Any:
        return np.atleast_1d(group[name][()])[0]

    columns = {
        name: np.asarray(data[name][()], dtype=np.float64)
        for name in data
        if isinstance(data[name][()], np.ndarray) and data[name].ndim == 1
    }
    x, y = columns["X Position"], columns["Y Position"]
    # "Grid points with invalid data: x & y = -1111111.0"
    kept = (x > -1e6) & (y > -1e6)
    phases = tuple(
        _phase(header["Phase"][key], i) for i, key in enumerate(sorted(header["Phase"], key=int))
    )
    ids = columns["Phase"].astype(np.int64)
    index = np.where(ids == 0, 0, ids - 1) if len(phases) == 1 else ids - 1
    confidence = columns.get("CI", np.zeros(len(ids)))
    index = np.where(confidence == -1, -1, index)
    return PointTable(
        path=path,
        format="HDF5 (EDAX)",
        euler=np.stack([columns[name] for name in ("Phi1", "Phi", "Phi2")], axis=1)[kept],
        x=x[kept] * _UM,
        y=y[kept] * _UM,
        unit="nm",
        phase_index=index[kept],
        phases=phases,
        score=confidence[kept],
        extra={name: v[kept] for name, v in columns.items() if name not in _GEOMETRY},
        header_shape=(int(one(header, "nRows")), int(one(header, "nColumns"))),
        header_step=(float(one(header, "Step Y")) * _UM, float(one(header, "Step X")) * _UM),
    )


def _phase(group: h5py.Group, index: int) -> MapPhase:
    cell = tuple(float(np.atleast_1d(group[f"Lattice Constant {k}"][()])[0]) for k in _CONSTANTS)
    name = np.atleast_1d(group["MaterialName"][()])[0].decode("utf-8", "replace")
    code = str(int(np.atleast_1d(group["Symmetry"][()])[0]))
    axis = AXIS_OF_CODE.get(code, "b")
    return file_phase(name, cell, LAUE_OF_CODE.get(code), index, unique_axis=axis)
