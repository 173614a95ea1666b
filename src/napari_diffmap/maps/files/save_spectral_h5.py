"""Phase maps of spectra in HDF5, with the reference spectra that they were made from."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
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
    import h5py

    target = Path(path)
    if target.suffix.lower() not in (".h5", ".hdf5"):
        raise BadInputError(f"{target.name}: a phase map in HDF5 must end in .h5")
    # Made in memory: on a full disk HDF5 would print its own errors until the end.
    image = BytesIO()
    with h5py.File(image, "w") as file:
        file.attrs["provenance"] = found.provenance.to_json()
        _write(found, file.create_group(GROUP))
    with atomic_path(target) as temporary:
        temporary.write_bytes(image.getbuffer())
    return target


def _write(found: SpectralMap, group: h5py.Group) -> None:
    group.attrs["layout"] = _LAYOUT
    group.attrs["step"] = found.step
    group.attrs["step_unit"] = found.step_unit
    group.attrs["warnings"] = json.dumps(found.warnings)
    arrays = group.create_group("arrays")
    for name in (*found.arrays, *found.measured):
        data = arrays.create_dataset(
            name, data=getattr(found, name), compression="gzip", shuffle=True
        )
        data.attrs["meaning"], data.attrs["axes"] = _MEANING[name], _AXES[name]
    arrays["ambiguity"].attrs["codes"] = json.dumps(found.cause_names)
    extra = group.create_group("extra")
    for i, (name, values) in enumerate(found.extra.items()):
        data = extra.create_dataset(str(i), data=values, compression="gzip", shuffle=True)
        data.attrs["name"] = name
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
    import h5py

    with h5py.File(path, "r") as file:
        return GROUP in file


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
    import h5py

    place = Path(path)
    try:
        with h5py.File(place, "r") as file:
            if GROUP not in file:
                raise BadInputError(f"{place.name} is no phase map of spectra")
            group = file[GROUP]
            if int(group.attrs["layout"]) > _LAYOUT:
                raise BadInputError(
                    f"{place.name} was written by a newer napari-diffmap: update to read it"
                )
            return _read(group, Provenance.from_json(file.attrs["provenance"]))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise BadInputError(
            f"{place.name} is damaged or no HDF5 file: copy or save it again"
        ) from error


def _read(group: h5py.Group, provenance: Provenance) -> SpectralMap:
    step = np.asarray(group.attrs["step"], dtype=np.float64)
    extra = [group["extra"][str(i)] for i in range(len(group["extra"]))]
    return SpectralMap(
        **{
            name: group["arrays"][name][()] for name in (*SpectralMap.arrays, *SpectralMap.measured)
        },
        phases=tuple(_phase(group["phases"][str(i)]) for i in range(len(group["phases"]))),
        step=(float(step[0]), float(step[1])),
        step_unit=str(group.attrs["step_unit"]),
        provenance=provenance,
        extra={str(data.attrs["name"]): data[()] for data in extra},
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
