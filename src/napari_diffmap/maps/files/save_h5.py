"""Orientation maps in HDF5: orix's layout, and all that orix does not keep.

``/crystal_map`` is what `orix.io.save` writes; orix reads it and passes over
``/napari_diffmap``, which holds the arrays as they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.errors import PhaseError
from napari_diffmap.maps.files.h5_common import (
    holds_group,
    read_extra,
    read_h5,
    write_arrays,
    write_h5,
)
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.phases import MapPhase, PhaseLike
from napari_diffmap.maps.provenance import Provenance
from napari_diffmap.maps.quaternions import bunge

if TYPE_CHECKING:
    import h5py

GROUP = "napari_diffmap"
_LAYOUT = 1
_ARRAYS = ("rotations", "scores", "phase_ids", "reliability", "ambiguity")


def save_orientation_h5(found: OrientationMap, path: str | Path) -> Path:
    """Write a map that `orix.io.load` opens and `load_orientation_h5` restores exactly.

    Parameters
    ----------
    found
        The map.  orix sees the first answers with the properties ``score``,
        ``reliability``, ``ambiguity`` and the extra maps, in nm.
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
        import orix
        from orix.io.plugins.orix_hdf5 import crystalmap2dict, dict2hdf5group

        described = crystalmap2dict(found.to_crystal_map())
        # orix stores Euler angles, and 0.15 finds wrong ones where Φ is 180°.
        euler = bunge(found.best_rotations.reshape(-1, 4))
        described["data"].update(phi1=euler[:, 0], Phi=euler[:, 1], phi2=euler[:, 2])
        content = {"manufacturer": "orix", "version": orix.__version__, "crystal_map": described}
        dict2hdf5group(content, file["/"])
        _write_own(found, file.create_group(GROUP))
        file.attrs["provenance"] = found.provenance.to_json()

    return write_h5(path, "an orientation map", fill)


def _write_own(found: OrientationMap, group: h5py.Group) -> None:
    from orix.io.plugins.orix_hdf5 import dict2hdf5group, phase2dict

    group.attrs["layout"] = _LAYOUT
    group.attrs["step"] = found.step
    group.attrs["step_unit"] = found.step_unit
    group.attrs["warnings"] = json.dumps(found.warnings)
    write_arrays(found, group, _ARRAYS)
    phases = group.create_group("phases")
    for i, phase in enumerate(found.phases):
        one = phases.create_group(str(i))
        one.attrs["name"], one.attrs["color"] = phase.name, phase.color
        dict2hdf5group(phase2dict(phase.orix), one.create_group("orix"))
        operators = _operators(phase)
        if operators is not None:
            one.create_dataset("point_group", data=operators[0])
            one["point_group"].attrs["improper"] = operators[1]
            one["point_group"].attrs["name"] = operators[2]


def _operators(phase: PhaseLike) -> tuple[Any, Any, str] | None:
    """Quaternions, improper flags and name: the name alone does not tell the setting."""
    try:
        group = phase.point_group
    except PhaseError:
        return None
    if group is None:
        return None
    return np.asarray(group.data), np.asarray(group.improper), str(group.name)


def is_own_h5(path: str | Path) -> bool:
    """Whether a file holds a map written by `save_orientation_h5`."""
    return holds_group(path, GROUP)


def load_orientation_h5(path: str | Path) -> OrientationMap:
    """Read a map back as it was saved.

    Parameters
    ----------
    path
        A file of `save_orientation_h5`.

    Returns
    -------
    OrientationMap
        Equal arrays, phases (as `MapPhase`, with lattice and atoms),
        provenance and warnings.

    Raises
    ------
    BadInputError
        If it is no such file, or it is damaged.
    """
    words = "orientation map of napari-diffmap"
    return read_h5(path, GROUP, _LAYOUT, words, _read_own)


def _read_own(group: h5py.Group, provenance: Provenance) -> OrientationMap:
    phases = [_read_phase(group["phases"][str(i)]) for i in range(len(group["phases"]))]
    step = group.attrs["step"]
    return OrientationMap(
        **{name: group["arrays"][name][()] for name in _ARRAYS},
        phases=tuple(phases),
        step=(float(step[0]), float(step[1])),
        step_unit=str(group.attrs["step_unit"]),
        provenance=provenance,
        extra=read_extra(group),
        warnings=tuple(json.loads(group.attrs["warnings"])),
    )


def _read_phase(group: h5py.Group) -> MapPhase:
    from orix.io.plugins._h5ebsd import hdf5group2dict
    from orix.io.plugins.orix_hdf5 import dict2phase

    symmetry = None
    if "point_group" in group:
        stored = group["point_group"]
        symmetry = _symmetry(stored[()], stored.attrs["improper"], str(stored.attrs["name"]))
    values = hdf5group2dict(group["orix"], recursive=True)
    if values["space_group"] != "None":
        # Some space groups contradict their own point group in orix (P3221: 321 and 32).
        values["point_group"] = "None"
    return MapPhase(
        name=str(group.attrs["name"]),
        color=str(group.attrs["color"]),
        orix=dict2phase(values),
        group=symmetry,
    )


def _symmetry(quaternions: Any, improper: Any, name: str) -> Any:
    """The orix point group of these operators; its own object, with its name, if there is one."""
    from orix.quaternion import symmetry

    def signature(data: Any, flags: Any) -> set[tuple[float, ...]]:
        signed = data * np.where(np.abs(data) > 1e-6, np.sign(data), 1)[
            np.arange(len(data)), (np.abs(data) > 1e-6).argmax(axis=1)
        ].reshape(-1, 1)
        return {(*np.round(q, 4) + 0.0, float(f)) for q, f in zip(signed, flags, strict=True)}

    wanted = signature(quaternions, improper)
    for known in symmetry._groups:
        if known.name == name and (
            signature(np.asarray(known.data), np.asarray(known.improper)) == wanted
        ):
            return known
    group = symmetry.Symmetry(quaternions)
    group.improper = improper
    group.name = name
    return group
