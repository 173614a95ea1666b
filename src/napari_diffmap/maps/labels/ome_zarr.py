"""Label maps as OME-Zarr: NGFF 0.4 on Zarr v2 (https://ngff.openmicroscopy.org/0.4).

The root is an image, because NGFF keeps labels beside one; each label map is a group below
``labels`` with its colours and the names of its numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_folder
from napari_diffmap.maps.colors import rgba
from napari_diffmap.maps.labels.named import UNITS, NamedLabels, plane
from napari_diffmap.maps.provenance import Provenance

#: Attributes of the root that only this package writes, and the version of the format.
OWN = "napari-diffmap"
_VERSION = "0.4"
_CHUNK = 1024


def save_label_groups(
    groups: Mapping[str, NamedLabels],
    path: str | Path,
    *,
    image: NDArray[Any] | None = None,
    provenance: Provenance | None = None,
) -> Path:
    """Write label maps of one shape as an OME-Zarr folder.

    Parameters
    ----------
    groups
        Label maps by name; signs that are not fit for a folder become ``-``.
    path
        ``.ome.zarr``; an earlier one of this package is replaced.
    image
        ``(Y, X)`` picture that the labels belong to, e.g. the score; the numbers of the
        first label map without it.
    provenance
        JSON in the attributes.

    Returns
    -------
    Path
        The folder written.

    Raises
    ------
    BadInputError, ResourceError
        If there is no label map, shapes differ, the name is wrong or taken, or it
        cannot be written.
    """
    target = Path(path)
    if not target.name.lower().endswith(".ome.zarr"):
        raise BadInputError(f"{target.name}: an OME-Zarr must end in .ome.zarr")
    if not groups:
        raise BadInputError("there is no label map to write")
    made = {_folder_name(name): labels for name, labels in groups.items()}
    shapes = {labels.labels.shape for labels in made.values()}
    first = next(iter(made.values()))
    picture = first.labels if image is None else np.asarray(image)
    shapes.add(picture.shape)
    if len(shapes) > 1 or len(made) < len(groups) or picture.dtype.kind not in "biuf":
        raise BadInputError(
            "label maps of one file need one shape, the image's, and different names; got "
            + ", ".join(f"{name} {labels.labels.shape}" for name, labels in groups.items())
        )
    if picture.dtype.kind == "b":
        picture = picture.astype(np.uint8)
    with atomic_folder(target, _is_own) as temporary:
        try:
            _write(temporary, made, list(groups), picture, provenance)
        except KeyError as error:  # what zarr makes of a folder that cannot be made
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
    return target


def _folder_name(name: str) -> str:
    return re.sub(r"[^\w+\-]+", "-", name, flags=re.ASCII).strip("-") or "labels"


def _write(
    folder: Path,
    made: Mapping[str, NamedLabels],
    titles: list[str],
    picture: NDArray[Any],
    provenance: Provenance | None,
) -> None:
    import zarr

    first = next(iter(made.values()))
    root = zarr.open_group(zarr.DirectoryStore(str(folder)), mode="w")
    _write_level(root, picture, first, "image")
    record = {} if provenance is None else provenance.model_dump(mode="json")
    root.attrs[OWN] = {"layout": 1, "step_unit": first.step_unit, "provenance": record}
    every = root.create_group("labels")
    every.attrs["labels"] = list(made)
    for (name, labels), title in zip(made.items(), titles, strict=True):
        group = every.create_group(name)
        _write_level(group, labels.labels, labels, title)
        group.attrs["image-label"] = {
            "version": _VERSION,
            "colors": [
                {"label-value": number, "rgba": list(rgba(color))}
                for number, color in sorted(labels.colors.items())
            ],
            "properties": [
                {"label-value": number, "name": words}
                for number, words in sorted(labels.names.items())
            ],
            "source": {"image": "../../"},
        }


def _write_level(group: Any, values: NDArray[Any], made: NamedLabels, name: str) -> None:
    """One image at full resolution with its axes."""
    from numcodecs import Zlib

    group.create_dataset(
        "0",
        data=values,
        chunks=tuple(min(_CHUNK, size) for size in values.shape),
        compressor=Zlib(5),  # every reader of Zarr has it
        dimension_separator="/",
        fill_value=0,
    )
    unit = UNITS.get(made.step_unit)
    axes = [{"name": axis, "type": "space", **({"unit": unit} if unit else {})} for axis in "yx"]
    scale = [{"type": "scale", "scale": list(made.step)}]
    group.attrs["multiscales"] = [
        {
            "version": _VERSION,
            "name": name,
            "axes": axes,
            "datasets": [{"path": "0", "coordinateTransformations": scale}],
        }
    ]


def _is_own(folder: Path) -> bool:
    """Whether this package wrote it, so that it may be replaced."""
    try:
        return f'"{OWN}"' in (folder / ".zattrs").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


# ---------------------------------------------------------------------- reading


def label_groups(path: str | Path) -> tuple[str, ...]:
    """Names of the label maps in an OME-Zarr folder.

    Raises
    ------
    BadInputError
        If it is none.
    """
    place = Path(path)
    found = _open(place)
    if "image-label" in found.attrs:
        return (place.name,)
    if "labels" in found.attrs:
        return tuple(str(name) for name in found.attrs["labels"])
    if "labels" in found and "labels" in found["labels"].attrs:
        return tuple(str(name) for name in found["labels"].attrs["labels"])
    return ()


def load_labels_zarr(path: Path, name: str | None = None) -> NamedLabels:
    """Read one label map; see `save.load_labels`."""
    names = label_groups(path)
    if name is None and len(names) != 1:
        raise BadInputError(
            f"{path.name} holds {len(names) or 'no'} label maps"
            + (f": choose one of {', '.join(names)}" if names else "")
        )
    chosen = names[0] if name is None else name
    if chosen not in names:
        raise BadInputError(
            f"{path.name} has no label map {chosen!r}: choose one of {', '.join(names) or 'none'}"
        )
    found = _open(path)
    try:
        if "image-label" not in found.attrs:
            found = (found if "labels" in found.attrs else found["labels"])[chosen]
        return _read_group(found)
    except BadInputError as error:
        raise BadInputError(f"{path.name}: {error}") from error
    except (OSError, KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise BadInputError(
            f"{path.name}: the label map {chosen!r} is damaged or not laid out as OME-Zarr 0.4"
        ) from error


def _open(path: Path) -> Any:
    import zarr

    if (path / "zarr.json").exists():
        raise BadInputError(f"{path.name} is Zarr v3: save it as OME-Zarr 0.4 (Zarr v2)")
    try:
        return zarr.open_group(str(path), mode="r")
    except (OSError, KeyError, ValueError) as error:
        raise BadInputError(f"{path.name} is no OME-Zarr folder") from error


def _read_group(group: Any) -> NamedLabels:
    scales = group.attrs["multiscales"][0]
    level = scales["datasets"][0]
    labels = plane(np.asarray(group[level["path"]][...]))
    scale = next(
        (t["scale"] for t in level.get("coordinateTransformations", ()) if t["type"] == "scale"),
        [1.0, 1.0],
    )
    units = [axis.get("unit") for axis in scales.get("axes", [])[-2:]]
    short = {long: unit for unit, long in UNITS.items()}
    unit = short.get(units[0], "pixel") if units and len(set(units)) == 1 else "pixel"
    about = group.attrs.get("image-label", {})
    names = {
        int(entry["label-value"]): str(entry["name"])
        for entry in about.get("properties") or ()
        if "name" in entry
    }
    colors = {
        int(entry["label-value"]): "#{:02X}{:02X}{:02X}".format(*map(int, entry["rgba"][:3]))
        for entry in about.get("colors") or ()
        if entry.get("rgba")
    }
    step = (float(scale[-2]), float(scale[-1])) if unit != "pixel" else (1.0, 1.0)
    return NamedLabels(labels, names, colors, step, unit)
