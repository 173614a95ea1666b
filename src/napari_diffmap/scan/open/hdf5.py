"""Any HDF5 file: the arrays in it that can be a scan, with the axes stated beside them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.axes import normalise_unit
from napari_diffmap.scan.open import conventions
from napari_diffmap.scan.open.calibrate import (
    flatten,
    plausible_voltage,
    voltage_from_wavelength,
)
from napari_diffmap.scan.open.classify import order_from_text
from napari_diffmap.scan.open.energies import is_energy_name
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request
from napari_diffmap.scan.open.h5 import H5Region, Walk, attributes, opened, walk
from napari_diffmap.scan.open.notes import one_line, shape_text

Reader = Callable[[Path, Any, Walk], list[Offer] | None]


def hdf5(path: Path, request: Request) -> list[Offer]:
    """Everything in an HDF5 file that can be opened as a scan."""
    with opened(path) as file:
        special = conventions.special(path, file, request)
        if special is not None:
            return special
        tree = walk(file)
        if request.dataset is not None:
            exact = _exact(path, tree, request.dataset)
            if exact is not None:
                return [exact]
        offers = conventions.known(path, file, tree)
        if offers:
            return offers
        offers = [generic(path, name, node, tree) for name, node in _stacks(tree)]
        if offers:
            return offers
        raise ScanFileError(_nothing(path, tree))


def _exact(path: Path, tree: Walk, wanted: str) -> Offer | None:
    """The dataset named by the user, whatever conventions say."""
    name = "/" + wanted.strip("/")
    node = tree.datasets.get(name)
    return generic(path, name, node, tree) if node is not None and node.ndim >= 2 else None


def _stacks(tree: Walk) -> list[tuple[str, Any]]:
    """Arrays of three axes longer than one; pictures only where there is no stack."""
    large = [
        (name, d)
        for name, d in tree.datasets.items()
        if d.size and (sum(n > 1 for n in d.shape) >= 2 or d.ndim >= 4)
    ]
    stacks = [(name, d) for name, d in large if d.ndim >= 3]
    return stacks or [(name, d) for name, d in large if d.ndim == 2]


def _nothing(path: Path, tree: Walk) -> str:
    if tree.broken:
        link, target = tree.broken[0]
        return one_line(
            f"{path.name}: {link} points to {target}, which is not there: put that file beside it"
        )
    empty = next((d for d in tree.datasets.values() if not d.size), None)
    if empty is not None:
        return f"{path.name}: its array is empty ({shape_text(empty.shape)})"
    held = ", ".join(f"{p} ({shape_text(d.shape)})" for p, d in tree.datasets.items())
    return one_line(f"{path.name}: holds no patterns and no images, only {held or 'no arrays'}")


def generic(path: Path, name: str, dataset: Any, tree: Walk) -> Offer:
    """One dataset with whatever its neighbourhood says about it."""
    region = H5Region.of(path, name, dataset)
    own = attributes(dataset)
    around = _surrounding(name, tree)
    axes = conventions.stated_axes(name, dataset, tree) or [RawAxis() for _ in region.shape]
    notes: list[str] = []
    order = _stated_order([own, *around], region.ndim)
    if order is not None and not any(a.name for a in axes):
        axes = [RawAxis(word) for word in order]
        notes.append(f"axis order {', '.join(order)} as stated in the file")
    metadata = flatten({**_merged(around), **own})
    metadata.update(_side_lists(name, dataset, tree))
    title = _title(path, name, tree)
    master = path.with_name(re.sub(r"_data_\d+\.h5$", "_master.h5", path.name))
    if master != path and master.is_file():
        notes.append(f"is a part of {master.name}: open that for the whole scan")
    for link, target in tree.broken:
        notes.append(f"{link} points to {target}, which is not there")

    def load() -> Found:
        found = Found(region, axes, "HDF5", title, path, notes=notes, metadata=metadata)
        apply_attributes(found, metadata)
        apply_field(found, metadata)
        return found

    kind = {4: "4D-STEM", 5: "5 axes", 2: "image"}.get(region.ndim, "stack")
    if region.ndim == 3 and any(is_energy_name(axis.name) for axis in axes):
        kind = "STXM"
    return Offer(Candidate(name.lstrip("/"), region.shape, str(region.dtype), kind), load)


def _title(path: Path, name: str, tree: Walk) -> str:
    return path.stem if len(_stacks(tree)) <= 1 else f"{path.stem} {name.strip('/')}"


def _surrounding(name: str, tree: Walk) -> list[dict[str, Any]]:
    """Attributes of the groups around a dataset, innermost first."""
    parts = name.strip("/").split("/")[:-1]
    paths = ["/" + "/".join(parts[:n]) for n in range(len(parts), 0, -1)] + ["/"]
    return [tree.groups.get(p, {}) for p in paths]


def _merged(around: list[dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for attrs in reversed(around):
        merged.update(attrs)
    return merged


def _stated_order(attrs: list[dict[str, Any]], ndim: int) -> tuple[str, ...] | None:
    """Axis order written anywhere in the attributes."""
    for group in attrs:
        for value in group.values():
            words = ",".join(map(str, value)) if isinstance(value, list) else value
            if isinstance(words, str) and len(words) < 500:
                order = order_from_text(words, ndim)
                if order is not None:
                    return order
    return None


def _side_lists(name: str, dataset: Any, tree: Walk) -> dict[str, Any]:
    """One value a frame beside a stack (tilt, energy, time), as plain lists."""
    parent = name.rsplit("/", 1)[0]
    lists: dict[str, Any] = {}
    for path, node in tree.datasets.items():
        beside = path.rsplit("/", 1)[0] == parent
        if beside and node.shape == dataset.shape[:1] and node.ndim == 1 and node.size <= 100_000:
            lists[path.rsplit("/", 1)[1]] = [float(v) for v in np.asarray(node[()])]
    return lists


_PIXEL = re.compile(r"(pixel|px|k_?per|q_?per|scale)")
_PER_ANGSTROM = re.compile(r"(inv_?a(ng)?\b|inva|1/[aå]|[aå]\^?-1|per_?(a|ang)\b)")
_PER_NM = re.compile(r"(inv_?nm|1/nm|nm\^?-1)")


def apply_attributes(found: Found, metadata: dict[str, Any]) -> None:
    """Pixel size, wavelength and voltage from attributes whose name carries the unit."""
    for key, value in metadata.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        word = key.lower()
        if found.pixel_size is None and _PIXEL.search(word):
            if _PER_ANGSTROM.search(word):
                found.pixel_size = float(value)
            elif _PER_NM.search(word):
                found.pixel_size = float(value) / 10
        if found.voltage_kv is None:
            if "wavelength" in word and re.search(r"(_a|_ang\w*|å)$", word):
                volts = voltage_from_wavelength(float(value))
                found.voltage_kv = round(volts, 1) if volts else None
            elif re.search(r"(voltage|high_?tension|beam_energy|acc\w*_kv)", word):
                found.voltage_kv = plausible_voltage(value)
    if found.pixel_size is not None and not 1e-5 < found.pixel_size < 1:
        found.notes.append(f"a detector pixel of {found.pixel_size:g} 1/Å is impossible; ignored")
        found.pixel_size = None
    if found.pixel_size is not None and found.diffraction is None:
        found.diffraction = True


_FIELD = re.compile(r"^(scan|image|field)[ _]?(size|width|of[ _]view)|^fov")
#: A scan size above this that bears no unit is in pm: no lattice is seen in a field of 100 nm
#: and more, and none in one of less than 0.1 nm.
_LARGEST_FIELD_NM = 100.0


def apply_field(found: Found, metadata: dict[str, Any]) -> None:
    """Pixel size of an image whose attributes state one side of its field, as ``scan size`` does.

    The unit is taken from the name (``fov_nm``, ``scan size (pm)``); without one, numbers above
    100 are pm, and that is said.
    """
    picture = [i for i, n in enumerate(found.shape) if n > 1]
    stated = any(normalise_unit(axis.unit) != "pixel" for axis in found.axes)
    if len(picture) != 2 or stated or found.pixel_size is not None or found.diffraction:
        return
    for key, value in metadata.items():
        if not _FIELD.match(key.lower()) or isinstance(value, bool):
            continue
        if not isinstance(value, int | float) or not 0.1 <= value < 1e7:
            continue
        in_name = re.search(r"[ _(](pm|nm|um|µm|a|å)\)?$", key.lower())
        unit = in_name[1] if in_name else ("pm" if value > _LARGEST_FIELD_NM else "nm")
        # Pixels of a scan are square: the longer side is the field.
        step = float(value) / max(found.shape[i] for i in picture)
        for name, i in zip("yx", picture, strict=True):
            found.axes[i] = RawAxis(name, step, 0.0, unit)
        guessed = "" if in_name else f", taken as {unit}"
        found.notes.append(f"pixel size from '{key}' of {value:g}{guessed}")
        return
