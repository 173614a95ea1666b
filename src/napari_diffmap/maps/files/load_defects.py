"""Maps of defects read back from HDF5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.maps.defect_map import DefectClass, DefectMap
from napari_diffmap.maps.files.h5_common import holds_group, read_extra, read_h5
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
    return holds_group(path, GROUP)


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
    return read_h5(path, GROUP, LAYOUT, "map of defects", _read)


def _read(group: h5py.Group, provenance: Provenance) -> DefectMap:
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
        extra=read_extra(group),
        warnings=tuple(json.loads(group.attrs["warnings"])),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
