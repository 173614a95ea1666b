"""NXstxm files, as the standard has them and as beamlines write them.

They differ in: the group of the detector (``counter0``, ``Counter1``, ``camera``, ``xpeem``,
``default``), the name of the energies (``energy``, ``photon_energy``), how the order of the axes is
said (an ``axes`` attribute of the group, an ``axis`` number at each axis, or not at all), one entry
a scanned region, and scan types from ``sample image stack`` to ``Image``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.calibrate import flatten
from napari_diffmap.scan.open.energies import is_energy_name
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis
from napari_diffmap.scan.open.h5 import H5Region, Walk, attributes, scalar, text
from napari_diffmap.scan.open.regions import Index, Region
from napari_diffmap.scan.open.tidy import regular
from napari_diffmap.scan.scan import Kind

#: Scans of one or two motors that make no picture of the sample.
_NO_PICTURE = re.compile(r"focus|osa|detector|point|motor|generic|coarse", re.IGNORECASE)
#: Ring current, encoder readings and flux repeat the scan's shape; a detector counts photons.
_MONITOR = re.compile(r"/(control|energy|monitor\w*|sample_[xyz]|time_detector)/[^/]+$", re.I)


def nxstxm(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """Stacks, line scans and images of an NXstxm file, one offer a detector and region."""
    stated = _entries(file)
    offers: dict[str, Offer] = {}
    for group, attrs in tree.groups.items():
        kind = text(scalar(file, f"{group}/stxm_scan_type"))
        inside = any(group.startswith(f"{entry}/") for entry in stated)
        if not isinstance(kind, str) and not (inside and attrs.get("NX_class") == "NXdata"):
            continue
        if attrs.get("NX_class", "NXdata") != "NXdata":
            continue
        signal = attrs.get("signal")
        name = f"{group}/{signal if isinstance(signal, str) else 'data'}"
        node = tree.datasets.get(name)
        if node is not None and node.ndim in (2, 3) and node.size:
            offers[name] = _offer(path, file, group, kind or "", name, node)
    counters = {n: o for n, o in offers.items() if not _MONITOR.search(n)} or offers
    # Where lines were oversampled, the same counts lie binned to pixels beside them.
    binned = [n for n in counters if "/binned_values/" in n]
    for name in binned:
        entry = name.split("/binned_values/")[0]
        counters = {
            n: o for n, o in counters.items() if n in binned or not n.startswith(f"{entry}/")
        }
    return list(counters.values())


def _entries(file: Any) -> list[str]:
    """Entries that say they follow the definition."""
    entries = []
    for name in file:
        if hasattr(file.get(name), "keys"):
            definition = scalar(file, f"/{name}/definition")
            if isinstance(definition, str) and definition.strip() == "NXstxm":
                entries.append(f"/{name}")
    return entries


class LineScan(Region):
    """A line scan ``(energy, position)`` as a stack one pixel high."""

    def __init__(self, inner: Region) -> None:
        self.path = inner.path
        self._inner = inner
        self.shape = (inner.shape[0], 1, inner.shape[1])
        self.dtype = inner.dtype

    def read(self, index: Index) -> Any:
        """Read the line, put the row axis in."""
        energy, row, position = index
        block = self._inner[(energy, position)]
        if not isinstance(row, slice):
            return block
        rows = len(range(*row.indices(1)))
        at = 1 if isinstance(energy, slice) else 0
        return np.repeat(np.expand_dims(block, at), rows, axis=at)


def _offer(path: Path, file: Any, group: str, scan_type: str, name: str, node: Any) -> Offer:
    region: Region = H5Region.of(path, name, node)
    words = _axis_names(file, group, node)
    metadata = {"stxm_scan_type": scan_type, **flatten(attributes(file["/"]))}
    kind: Kind | None = None
    if not _NO_PICTURE.search(scan_type):
        kind = "STXM" if "energy" in words and len(words) == 3 else "image"
    energies = _energies(file, group)
    if energies is not None and energies.size == 1:
        metadata["energy_ev"] = float(np.asarray(energies[()]).ravel()[0])
    axes = [_axis(file, group, word, size) for word, size in zip(words, region.shape, strict=True)]
    if kind == "image" and words[0] == "energy" and len(words) == 2:
        kind = "STXM"
        x, y = (_axis(file, group, f"sample_{n}", region.shape[1]) for n in "xy")
        step = float(np.hypot(x.scale if x.unit else 0.0, y.scale if y.unit else 0.0)) or 1.0
        row, line = (RawAxis(n, scale=step, unit=x.unit or y.unit) for n in "yx")
        axes = [axes[0], row, line]
        region = LineScan(region)
    elif kind == "STXM" and region.shape[words.index("energy")] == 1:
        kind = "image"

    notes = []
    for word, axis in zip(words, axes, strict=False):
        listed = file.get(f"{group}/{word}")
        if axis.unit is None and getattr(listed, "size", 0) > 1:
            notes.append(f"{word} lists {listed.size} positions, not one a pixel; it is left out")

    def load() -> Found:
        if kind is None:
            raise ScanFileError(
                f"{path.name}: is a {scan_type.strip()} scan, which is no stack and no image"
            )
        return Found(
            region, axes, "NXstxm", path.stem, path, kind=kind, diffraction=False,
            notes=notes, metadata=metadata,
        )  # fmt: skip

    candidate = Candidate(name.strip("/"), region.shape, str(region.dtype), kind or scan_type)
    return Offer(candidate, load)


def _axis_names(file: Any, group: str, node: Any) -> list[str]:
    """``energy``, ``sample_y`` … in the order of the array."""
    stated = _stated(attributes(file[group]).get("axes"))
    if len(stated) != node.ndim:
        stated = _numbered(file, group, node.ndim) or []
    if len(stated) == node.ndim:
        return ["energy" if is_energy_name(word) else word.lower() for word in stated]
    words = ["energy", "sample_y", "sample_x"]
    if node.ndim == 3:
        return words
    energies = _energies(file, group)
    line = energies is not None and 1 < energies.size == node.shape[0]
    # An image as high as there are energies lists its rows as well.
    rows = file.get(f"{group}/sample_y")
    if line and (rows is None or rows.size != node.shape[0]):
        return ["energy", "line_position"]
    return words[1:]


def _stated(value: Any) -> list[str]:
    """The ``axes`` attribute: a list, words with colons or commas, or JSON."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = re.split(r"[:,\s]+", value.strip("[] "))
    return [str(word).strip() for word in value] if isinstance(value, list) else []


def _numbered(file: Any, group: str, ndim: int) -> list[str] | None:
    """Axes by the number that each carries, as before the definition was fixed."""
    order: dict[int, str] = {}
    for key in file[group]:
        number = attributes(file[group][key]).get("axis") if key != "data" else None
        try:
            at = int(str(number))
        except ValueError:
            continue
        if is_energy_name(key) or key.lower() in ("sample_x", "sample_y", "line_position"):
            order.setdefault(at, key)
    complete = sorted(order) == list(range(1, ndim + 1))
    return [order[at] for at in sorted(order)] if complete else None


def _energies(file: Any, group: str) -> Any:
    """The dataset of energies of a detector, else that of the monochromator."""
    entry = "/" + group.strip("/").split("/")[0]
    for place in (group, f"{entry}/instrument/monochromator"):
        node = file.get(place)
        for key in node or ():
            if is_energy_name(key) and getattr(node[key], "shape", None):
                return node[key]
    return None


def _axis(file: Any, group: str, name: str, size: int) -> RawAxis:
    """An axis by the name of its dataset."""
    node = _energies(file, group) if name == "energy" else file.get(f"{group}/{name}")
    axis = RawAxis(name)
    if node is None or not getattr(node, "shape", None) or node.size != size:
        return axis
    listed = np.asarray(node[()], dtype=np.float64).ravel()
    axis.unit = attributes(node).get("units")
    axis.scale, axis.offset, even = regular(listed)
    axis.values = listed if name == "energy" or not even else None
    return axis
