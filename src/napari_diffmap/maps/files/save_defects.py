"""Maps of defects in HDF5, with what is known of each find and of its track."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_diffmap.maps.defect_map import DefectMap
from napari_diffmap.maps.files.h5_common import write_arrays, write_h5

if TYPE_CHECKING:
    import h5py

GROUP: Final = "defect_map"
LAYOUT: Final = 1
#: What a reader without this program is told of each array.
_MEANING: Final = {
    "scores": "probability of the class of each rank, given that there is a defect, best first",
    "phase_ids": "index into classes of each rank, -1 in an empty slot",
    "reliability": "probability that there is a defect; NaN of what was decided by hand",
    "ambiguity": "cause of doubt, see its attribute codes",
    "places": "frame from 0, y and x in pixels, of each rank; the first is where the find lies",
}
_AXES: Final = {
    "scores": "1, slot, rank",
    "phase_ids": "1, slot, rank",
    "reliability": "1, slot",
    "ambiguity": "1, slot",
    "places": "1, slot, rank, (frame, y, x)",
}


def save_defects_h5(found: DefectMap, path: str | Path) -> Path:
    """Write a map that `load_defects_h5` restores exactly.

    Parameters
    ----------
    found
        The map, with its corrections where it has some.
    path
        ``.h5`` or ``.hdf5``.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If it cannot be written there.
    """

    def fill(file: h5py.File) -> None:
        file.attrs["provenance"] = found.provenance.to_json()
        _write(found, file.create_group(GROUP))

    return write_h5(path, "a map of defects", fill)


def _write(found: DefectMap, group: h5py.Group) -> None:
    group.attrs["layout"] = LAYOUT
    group.attrs["image_shape"] = found.image_shape
    if found.pixel_size_nm is not None:
        group.attrs["pixel_size_nm"] = found.pixel_size_nm
    if found.frame_time_s is not None:
        group.attrs["frame_time_s"] = found.frame_time_s
    if found.drift is not None:
        data = group.create_dataset("drift", data=found.drift)
        data.attrs["meaning"] = "shift of each frame, y and x in pixels"
    group.attrs["warnings"] = json.dumps(found.warnings)
    write_arrays(found, group, found.arrays, meaning=_MEANING, axes=_AXES)
    classes = group.create_group("classes")
    for i, phase in enumerate(found.phases):
        one = classes.create_group(str(i))
        one.attrs["name"], one.attrs["color"], one.attrs["note"] = (
            phase.name,
            phase.color,
            phase.note,
        )
