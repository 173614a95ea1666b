"""Phase maps of spectra in HDF5, with the reference spectra that they were made from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.maps.files.h5_common import (
    holds_group,
    read_extra,
    read_h5,
    write_arrays,
    write_h5,
)
from napari_diffmap.maps.provenance import Provenance
from napari_diffmap.maps.spectral_map import SpectralMap, SpectralPhase

if TYPE_CHECKING:
    import h5py

GROUP = "spectral_map"
_LAYOUT = 1
#: What a reader without this program is told of each array.
_MEANING = {
    "scores": "Pearson correlation with the reference of each rank, best first",
    "phase_ids": "index into phases of the reference of each rank, -1 for none",
    "reliability": "probability that the first reference is right",
    "ambiguity": "cause of doubt, see its attribute codes",
    "fractions": "share of each reference, in the order of phases",
    "fraction_errors": "standard deviation of fractions",
}
_AXES = {
    "scores": "y, x, rank",
    "phase_ids": "y, x, rank",
    "reliability": "y, x",
    "ambiguity": "y, x",
    "fractions": "y, x, reference",
    "fraction_errors": "y, x, reference",
}


def save_spectral_h5(found: SpectralMap, path: str | Path) -> Path:
    """Write a map that `load_spectral_h5` restores exactly.

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

    return write_h5(path, "a phase map", fill)


def _write(found: SpectralMap, group: h5py.Group) -> None:
    group.attrs["layout"] = _LAYOUT
    group.attrs["step"] = found.step
    group.attrs["step_unit"] = found.step_unit
    group.attrs["warnings"] = json.dumps(found.warnings)
    write_arrays(found, group, (*found.arrays, *found.measured), meaning=_MEANING, axes=_AXES)
    phases = group.create_group("phases")
    for i, phase in enumerate(found.phases):
        one = phases.create_group(str(i))
        one.attrs["name"], one.attrs["color"] = phase.name, phase.color
        if phase.composition is not None:
            one.attrs["composition"] = phase.composition
        one.create_dataset("energies", data=phase.energies).attrs["unit"] = "eV"
        one.create_dataset("values", data=phase.values).attrs["meaning"] = "absorption"


def is_spectral_h5(path: str | Path) -> bool:
    """Whether a file holds a map written by `save_spectral_h5`.

    Raises
    ------
    OSError
        If it is no HDF5 file.
    """
    return holds_group(path, GROUP)


def load_spectral_h5(path: str | Path) -> SpectralMap:
    """Read a map back as it was saved.

    Parameters
    ----------
    path
        A file of `save_spectral_h5`.

    Returns
    -------
    SpectralMap
        Equal arrays, references, provenance and warnings.

    Raises
    ------
    BadInputError
        If it is no such file, or it is damaged.
    """
    return read_h5(path, GROUP, _LAYOUT, "phase map of spectra", _read)


def _read(group: h5py.Group, provenance: Provenance) -> SpectralMap:
    step = np.asarray(group.attrs["step"], dtype=np.float64)
    return SpectralMap(
        **{
            name: group["arrays"][name][()] for name in (*SpectralMap.arrays, *SpectralMap.measured)
        },
        phases=tuple(_phase(group["phases"][str(i)]) for i in range(len(group["phases"]))),
        step=(float(step[0]), float(step[1])),
        step_unit=str(group.attrs["step_unit"]),
        provenance=provenance,
        extra=read_extra(group),
        warnings=tuple(json.loads(group.attrs["warnings"])),
    )


def _phase(group: h5py.Group) -> SpectralPhase:
    composition = group.attrs.get("composition")
    return SpectralPhase(
        name=str(group.attrs["name"]),
        color=str(group.attrs["color"]),
        energies=group["energies"][()],
        values=group["values"][()],
        composition=None if composition is None else float(composition),
    )
