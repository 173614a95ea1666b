"""NeXus: NXstxm scans, the signal of NXdata groups, and CXI images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.calibrate import flatten
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis
from napari_diffmap.scan.open.h5 import H5Region, Walk, attributes, scalar, text
from napari_diffmap.scan.open.regions import Index, Region
from napari_diffmap.scan.open.tidy import regular
from napari_diffmap.scan.scan import Kind

_JOULE_PER_EV = 1.602176634e-19


def _nx(attrs: dict[str, Any], name: str) -> bool:
    return str(attrs.get("NX_class")) == name


def _axis(file: Any, group: str, name: str, size: int) -> RawAxis:
    """An axis of an NXdata group by the name of its dataset."""
    node = file.get(f"{group}/{name}")
    axis = RawAxis(name)
    if node is None or not getattr(node, "shape", None) or node.size != size:
        return axis
    listed = np.asarray(node[()], dtype=np.float64).ravel()
    axis.unit = attributes(node).get("units")
    axis.scale, axis.offset, even = regular(listed)
    axis.values = None if even else listed
    return axis


def nxstxm(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """Stacks, line scans and images of an NXstxm file, one offer a detector."""
    offers: list[Offer] = []
    for group, attrs in tree.groups.items():
        kind = text(scalar(file, f"{group}/stxm_scan_type"))
        node = tree.datasets.get(f"{group}/data")
        if not _nx(attrs, "NXdata") or not isinstance(kind, str) or node is None:
            continue
        offers.append(_stxm_offer(path, file, group, kind, node))
    # Ring current and encoder readings repeat the scan's shape; a detector counts photons.
    counters = [o for o in offers if not o.candidate.path.endswith(("control/data", "energy/data"))]
    return counters or offers


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


def _stxm_offer(path: Path, file: Any, group: str, scan_type: str, node: Any) -> Offer:
    name = f"{group}/data"
    region: Region = H5Region.of(path, name, node)
    kinds: dict[str, Kind] = {
        "sample image stack": "STXM",
        "sample image": "image",
        "sample line spectrum": "STXM",
    }
    kind = kinds.get(scan_type.strip().lower())
    energies = file.get(f"{group}/energy")
    metadata = {"stxm_scan_type": scan_type, **flatten(attributes(file["/"]))}
    if energies is not None and energies.size == 1:
        metadata["energy_ev"] = float(np.asarray(energies[()]).ravel()[0])
    if kind == "STXM" and region.ndim == 2:
        x, y = (_axis(file, group, f"sample_{n}", region.shape[1]) for n in "xy")
        step = float(np.hypot(x.scale, y.scale))
        row, line = (RawAxis(n, scale=step, unit=x.unit) for n in "yx")
        axes = [_axis(file, group, "energy", region.shape[0]), row, line]
        region = LineScan(region)
    else:
        names = ("energy", "sample_y", "sample_x")[-region.ndim :]
        axes = [_axis(file, group, n, s) for n, s in zip(names, region.shape, strict=False)]

    def load() -> Found:
        if kind is None:
            raise ScanFileError(
                f"{path.name}: is a {scan_type.strip()} scan, which is no stack and no image"
            )
        return Found(region, axes, "NXstxm", path.stem, path, kind=kind, metadata=metadata)

    candidate = Candidate(name.strip("/"), region.shape, str(region.dtype), kind or scan_type)
    return Offer(candidate, load)


def nxdata(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """The signals of the NXdata groups of a file, the default one alone where it is said."""
    default = _default_group(tree)
    groups = [g for g, a in tree.groups.items() if _nx(a, "NXdata")]
    offers = []
    for group in [default] if default else groups:
        name = _signal(tree, group)
        node = tree.datasets.get(name or "")
        if name is None or node is None or node.ndim < 2 or not node.size:
            continue
        words = tree.groups[group].get("axes")
        listed = [words] if isinstance(words, str) else words
        if not isinstance(listed, list) or len(listed) != node.ndim:
            listed = [""] * node.ndim
        axes = [
            _axis(file, group, str(n), s) if str(n).strip(".") else RawAxis()
            for n, s in zip(listed, node.shape, strict=True)
        ]
        offers.append(_offer(path, name, node, axes))
    deep = [o for o in offers if len(o.candidate.shape) >= 3]
    return deep or offers


def _default_group(tree: Walk) -> str | None:
    """The NXdata group that the chain of ``default`` attributes leads to."""
    at = "/"
    for _ in range(6):
        step = tree.groups.get(at, {}).get("default")
        if not isinstance(step, str):
            break
        at = f"{at.rstrip('/')}/{step}"
    return at if _nx(tree.groups.get(at, {}), "NXdata") and _signal(tree, at) is not None else None


def _signal(tree: Walk, group: str) -> str | None:
    """Path of the signal of an NXdata group."""
    name = tree.groups[group].get("signal")
    if isinstance(name, str):
        return f"{group}/{name}" if f"{group}/{name}" in tree.datasets else None
    for path, node in tree.datasets.items():  # NeXus before 2014 marks the dataset itself
        if path.rsplit("/", 1)[0] == group and str(attributes(node).get("signal")) == "1":
            return path
    return None


def _offer(path: Path, name: str, node: Any, axes: list[RawAxis]) -> Offer:
    region = H5Region.of(path, name, node)
    metadata = flatten(attributes(node))

    def load() -> Found:
        return Found(region, axes, "NeXus", path.stem, path, metadata=metadata)

    kind = {4: "4D-STEM", 2: "image"}.get(region.ndim, "stack")
    return Offer(Candidate(name.strip("/"), region.shape, str(region.dtype), kind), load)


def cxi(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """Images and frames of a CXI file; complex objects open as their modulus."""
    nodes = [
        (p, n) for p, n in tree.datasets.items() if p.endswith("/data") and n.ndim >= 2 and n.size
    ]
    offers = []
    energy = scalar(file, "entry_1/instrument_1/source_1/energy")
    for name, node in nodes:
        region = H5Region.of(path, name, node)
        picture = "/image" in name
        axes = [RawAxis() for _ in region.shape]
        metadata: dict[str, Any] = {}
        if isinstance(energy, float) and 1e-18 < energy < 1e-13:
            metadata["energy_ev"] = round(energy / _JOULE_PER_EV, 3)

        def load(
            region: H5Region = region,
            axes: list[RawAxis] = axes,
            metadata: dict[str, Any] = metadata,
            picture: bool = picture,
        ) -> Found:
            found = Found(region, axes, "CXI", path.stem, path, metadata=metadata)
            if picture and region.ndim == 2:
                found.kind = "image"
            elif not picture:
                found.diffraction = True
            return found

        kind = "image" if picture else "stack"
        offers.append(
            Offer(Candidate(name.strip("/"), region.shape, str(region.dtype), kind), load)
        )
    return offers
