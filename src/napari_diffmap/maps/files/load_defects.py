"""Maps of defects read back from HDF5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.defect_map import DefectClass, DefectMap
from napari_diffmap.maps.files.save_defects import GROUP, LAYOUT
from napari_diffmap.maps.provenance import Provenance

if TYPE_CHECKING:
    import h5py


def is_defects_h5(path: str | Path) -> bool:
    """Whether a file holds a map written by `save_defects_h5`.

    Raises
    ------
    OSError
        If it is no HDF5 file.
    """
    import h5py

    with h5py.File(path, "r") as file:
        return GROUP in file


def load_defects_h5(path: str | Path) -> DefectMap:
    """Read a map back as it was saved.

    Parameters
    ----------
    path
        A file of `save_defects_h5`.

    Returns
    -------
    DefectMap
        Equal arrays, classes, tracks, provenance and warnings.

    Raises
    ------
    BadInputError
        If it is no such file, or it is damaged.
    """
    import h5py

    place = Path(path)
    try:
        with h5py.File(place, "r") as file:
            if GROUP not in file:
                raise BadInputError(f"{place.name} is no map of defects")
            group = file[GROUP]
            if int(group.attrs["layout"]) > LAYOUT:
                raise BadInputError(
                    f"{place.name} was written by a newer napari-diffmap: update to read it"
                )
            return _read(group, Provenance.from_json(file.attrs["provenance"]))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise BadInputError(
            f"{place.name} is damaged or no HDF5 file: copy or save it again"
        ) from error


def _read(group: h5py.Group, provenance: Provenance) -> DefectMap:
    extra = [group["extra"][str(i)] for i in range(len(group["extra"]))]
    classes = [group["classes"][str(i)].attrs for i in range(len(group["classes"]))]
    frames, rows, columns = (int(n) for n in group.attrs["image_shape"])
    return DefectMap(
        **{name: group["arrays"][name][()] for name in DefectMap.arrays},
        image_shape=(frames, rows, columns),
        phases=tuple(
            DefectClass(str(one["name"]), str(one["color"]), str(one["note"])) for one in classes
        ),
        pixel_size_nm=_number(group.attrs.get("pixel_size_nm")),
        frame_time_s=_number(group.attrs.get("frame_time_s")),
        drift=group["drift"][()] if "drift" in group else None,
        provenance=provenance,
        extra={str(data.attrs["name"]): data[()] for data in extra},
        warnings=tuple(json.loads(group.attrs["warnings"])),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
