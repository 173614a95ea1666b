"""What HDF5 files of every kind of map share: written whole, arrays, extra maps, errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.phase_map import PhaseMap
from napari_diffmap.maps.provenance import Provenance

if TYPE_CHECKING:
    import h5py

Found = TypeVar("Found", bound=PhaseMap)


def write_h5(path: str | Path, words: str, fill: Callable[[h5py.File], None]) -> Path:
    """Write an HDF5 file that is either complete or not there.

    Parameters
    ----------
    path
        ``.h5`` or ``.hdf5``.
    words
        What is written, with its article, for the error.
    fill
        Puts the content into the open file.

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
        raise BadInputError(f"{target.name}: {words} in HDF5 must end in .h5")
    # Made in memory: on a full disk HDF5 would print its own errors until the end.
    image = BytesIO()
    with h5py.File(image, "w") as file:
        fill(file)
    with atomic_path(target) as temporary:
        temporary.write_bytes(image.getbuffer())
    return target


def write_arrays(
    found: PhaseMap,
    group: h5py.Group,
    names: Iterable[str],
    *,
    meaning: Mapping[str, str] | None = None,
    axes: Mapping[str, str] | None = None,
) -> None:
    """Write arrays and extra maps, compressed.

    Parameters
    ----------
    found
        The map.
    group
        Gets the groups ``arrays`` and ``extra``.
    names
        Of the arrays.
    meaning, axes
        What a reader without this program is told of each array; nothing without them.
    """
    arrays = group.create_group("arrays")
    for name in names:
        data = _compressed(arrays, name, getattr(found, name))
        if meaning is not None and axes is not None:
            data.attrs["meaning"], data.attrs["axes"] = meaning[name], axes[name]
    if meaning is not None:
        arrays["ambiguity"].attrs["codes"] = json.dumps(found.cause_names)
    extra = group.create_group("extra")
    for i, (name, values) in enumerate(found.extra.items()):
        # By number: a slash in the name of a dataset would make a group.
        _compressed(extra, str(i), values).attrs["name"] = name


def _compressed(group: h5py.Group, name: str, values: NDArray[Any]) -> h5py.Dataset:
    return group.create_dataset(name, data=values, compression="gzip", shuffle=True)


def holds_group(path: str | Path, name: str) -> bool:
    """Whether an HDF5 file has a group of this name.

    Raises
    ------
    OSError
        If it is no HDF5 file.
    """
    import h5py

    with h5py.File(path, "r") as file:
        return name in file


def read_h5(
    path: str | Path,
    name: str,
    layout: int,
    words: str,
    read: Callable[[h5py.Group, Provenance], Found],
) -> Found:
    """Read a map from its group.

    Parameters
    ----------
    path
        The file.
    name
        Of the group.
    layout
        The newest layout that `read` knows.
    words
        What the group holds, without an article, for the error.
    read
        Makes the map of the group and the provenance.

    Raises
    ------
    BadInputError
        If the group is not there, was written by a newer version, or is damaged.
    """
    import h5py

    place = Path(path)
    try:
        with h5py.File(place, "r") as file:
            if name not in file:
                raise BadInputError(f"{place.name} is no {words}")
            group = file[name]
            if int(group.attrs["layout"]) > layout:
                raise BadInputError(
                    f"{place.name} was written by a newer napari-diffmap: update to read it"
                )
            return read(group, Provenance.from_json(file.attrs["provenance"]))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise BadInputError(
            f"{place.name} is damaged or no HDF5 file: copy or save it again"
        ) from error


def read_extra(group: h5py.Group) -> dict[str, NDArray[Any]]:
    """The extra maps that `write_arrays` wrote, by name."""
    stored = group["extra"]
    each = [stored[str(i)] for i in range(len(stored))]
    return {str(data.attrs["name"]): data[()] for data in each}
