"""Label maps as OME-TIFF and OME-Zarr: numbers, names, colours and scale.

OME-TIFF after the OME schema 2016-06 (https://docs.openmicroscopy.org/ome-model), with names and
colours as map annotations; OME-Zarr is in `ome_zarr`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.labels.named import NamedLabels, plane
from napari_diffmap.maps.labels.ome_zarr import load_labels_zarr, save_label_groups
from napari_diffmap.maps.provenance import Provenance

__all__ = [
    "NamedLabels",
    "load_labels",
    "save_label_groups",
    "save_labels",
    "save_labels_tiff",
    "save_labels_zarr",
]

_SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
_NAMES, _COLORS, _RECORD = (f"napari-diffmap/{part}" for part in ("names", "colors", "provenance"))
#: Units of length of OME in nm.
_NM = {"pm": 1e-3, "Å": 0.1, "nm": 1.0, "µm": 1e3, "mm": 1e6, "cm": 1e7, "m": 1e9}
_NM_PER_CM = 1e7
#: What XML cannot hold.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def save_labels(
    labels: NDArray[Any],
    path: str | Path,
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, str] | None = None,
    step: tuple[float, float] = (1.0, 1.0),
    step_unit: str = "pixel",
    provenance: Provenance | None = None,
) -> Path:
    """Write a label map as ``.ome.tif`` or ``.ome.zarr``, by the ending of the name.

    See `save_labels_tiff` and `save_labels_zarr`.
    """
    save = save_labels_zarr if Path(path).name.lower().endswith(".zarr") else save_labels_tiff
    return save(
        labels,
        path,
        names=names,
        colors=colors,
        step=step,
        step_unit=step_unit,
        provenance=provenance,
    )


def save_labels_zarr(
    labels: NDArray[Any],
    path: str | Path,
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, str] | None = None,
    step: tuple[float, float] = (1.0, 1.0),
    step_unit: str = "pixel",
    name: str = "labels",
    image: NDArray[Any] | None = None,
    provenance: Provenance | None = None,
) -> Path:
    """Write one label map as an OME-Zarr (NGFF 0.4) folder with ``labels/NAME``.

    Parameters
    ----------
    labels, names, colors, step, step_unit
        See `NamedLabels`.
    path
        ``.ome.zarr``; an earlier one of this package is replaced.
    name
        Of the group below ``labels``.
    image, provenance
        See `save_label_groups`.

    Returns
    -------
    Path
        The folder written.

    Raises
    ------
    BadInputError, ResourceError
        If the labels or the name are wrong or it cannot be written.
    """
    made = NamedLabels(labels, names or {}, colors or {}, step, step_unit)
    return save_label_groups({name: made}, path, image=image, provenance=provenance)


def save_labels_tiff(
    labels: NDArray[Any],
    path: str | Path,
    *,
    names: Mapping[int, str] | None = None,
    colors: Mapping[int, str] | None = None,
    step: tuple[float, float] = (1.0, 1.0),
    step_unit: str = "pixel",
    name: str = "labels",
    provenance: Provenance | None = None,
) -> Path:
    """Write one label map as an OME-TIFF that Fiji, Bio-Formats and napari open.

    Parameters
    ----------
    labels, names, colors, step, step_unit
        See `NamedLabels`; every number is kept.
    path
        ``.ome.tif`` or ``.ome.tiff``.
    name
        Of the image.
    provenance
        JSON in an annotation.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If the labels or the name are wrong or it cannot be written.
    """
    import tifffile

    target = Path(path)
    if not target.name.lower().endswith((".ome.tif", ".ome.tiff")):
        raise BadInputError(f"{target.name}: an OME-TIFF must end in .ome.tif")
    made = NamedLabels(labels, names or {}, colors or {}, step, step_unit)
    options: dict[str, Any] = {}
    if made.step_unit != "pixel":  # for readers of plain TIFF
        per_cm = [_NM_PER_CM / (size * _NM[made.step_unit]) for size in reversed(made.step)]
        if all(1e-3 < value < 4e9 for value in per_cm):
            options = {"resolution": tuple(per_cm), "resolutionunit": "CENTIMETER"}
    with atomic_path(target) as temporary:
        tifffile.imwrite(
            temporary,
            made.labels,
            photometric="minisblack",
            compression="zlib",
            description=_ome_xml(made, name, provenance).encode(),
            metadata=None,
            software="napari-diffmap",
            **options,
        )
    return target


def load_labels(path: str | Path, name: str | None = None) -> NamedLabels:
    """Read a label map from ``.ome.tif`` (or a plain TIFF) or ``.ome.zarr``.

    Parameters
    ----------
    path
        A file or folder of this package or any other.
    name
        Which of several label maps in an OME-Zarr.

    Returns
    -------
    NamedLabels
        Names and colours as this package writes them, or as OME-NGFF does.

    Raises
    ------
    BadInputError
        If there is none, or it cannot be read.
    """
    place = Path(path)
    if not place.exists():
        raise BadInputError(f"there is no file or folder {place}")
    if place.is_dir():
        return load_labels_zarr(place, name)
    return _load_tiff(place)


# ------------------------------------------------------------------ OME-TIFF


def _ome_xml(made: NamedLabels, name: str, provenance: Provenance | None) -> str:
    rows, columns = made.labels.shape
    size = {"SizeX": columns, "SizeY": rows, "SizeC": 1, "SizeZ": 1, "SizeT": 1}
    pixels: dict[str, Any] = {"DimensionOrder": "XYCZT", "Type": made.labels.dtype.name, **size}
    if made.step_unit != "pixel":
        for axis, length in zip("YX", made.step, strict=True):
            pixels[f"PhysicalSize{axis}"] = repr(length)
            pixels[f"PhysicalSize{axis}Unit"] = made.step_unit
    maps = {
        _NAMES: {str(k): v for k, v in made.names.items()},
        _COLORS: {str(k): v for k, v in made.colors.items()},
        _RECORD: {"json": provenance.to_json()} if provenance is not None else {},
    }
    notes = [(space, values) for space, values in maps.items() if values]
    references = "".join(f'<AnnotationRef ID="Annotation:{i}"/>' for i in range(len(notes)))
    annotations = "".join(
        f'<MapAnnotation ID="Annotation:{i}" Namespace={quoteattr(space)}><Value>'
        + "".join(f"<M K={quoteattr(k)}>{_text(v)}</M>" for k, v in values.items())
        + "</Value></MapAnnotation>"
        for i, (space, values) in enumerate(notes)
    )
    attributes = " ".join(f"{key}={quoteattr(str(value))}" for key, value in pixels.items())
    title = quoteattr(_CONTROL.sub("�", name))
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="{_SCHEMA}" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        f' xsi:schemaLocation="{_SCHEMA} {_SCHEMA}/ome.xsd" Creator="napari-diffmap">'
        f'<Image ID="Image:0" Name={title}>'
        f'<Pixels ID="Pixels:0" {attributes}>'
        f'<Channel ID="Channel:0:0" Name={title} SamplesPerPixel="1"/>'
        '<TiffData IFD="0" PlaneCount="1"/>'
        f"</Pixels>{references}</Image>"
        + (f"<StructuredAnnotations>{annotations}</StructuredAnnotations>" if notes else "")
        + "</OME>"
    )


def _text(words: str) -> str:
    return escape(_CONTROL.sub("�", words))


def _load_tiff(path: Path) -> NamedLabels:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            labels = plane(file.series[0].asarray())
            xml = file.ome_metadata
    except (OSError, ValueError, IndexError, KeyError, tifffile.TiffFileError) as error:
        raise BadInputError(f"{path.name} is damaged or no TIFF file: save it again") from error
    try:
        known = _known(xml) if xml else {}
    except (ElementTree.ParseError, ValueError, KeyError):
        known = {}  # the numbers are still good
    try:
        return NamedLabels(labels, **known)
    except BadInputError as error:
        raise BadInputError(f"{path.name}: {error}") from error


def _known(xml: str) -> dict[str, Any]:
    """Names, colours and step of an OME record."""
    root = ElementTree.fromstring(xml)
    space = root.tag.split("}")[0] + "}" if root.tag.startswith("{") else ""
    known: dict[str, Any] = {}
    for note in root.iter(f"{space}MapAnnotation"):
        key = {_NAMES: "names", _COLORS: "colors"}.get(note.get("Namespace", ""))
        if key:
            known[key] = {int(m.get("K", "")): m.text or "" for m in note.iter(f"{space}M")}
    pixels = next(root.iter(f"{space}Pixels"))
    sizes = [pixels.get(f"PhysicalSize{axis}") for axis in "YX"]
    units = [pixels.get(f"PhysicalSize{axis}Unit", "µm") for axis in "YX"]
    if all(sizes) and all(unit in _NM for unit in units):
        unit = units[0] if units[0] == units[1] and units[0] in ("nm", "µm") else "nm"
        known["step"] = tuple(
            float(str(size)) * (_NM[mine] / _NM[unit])
            for size, mine in zip(sizes, units, strict=True)
        )
        known["step_unit"] = unit
    return known
