"""NeXus: the signal of NXdata groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.scan.open.calibrate import flatten
from napari_diffmap.scan.open.energies import is_energy_name
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis
from napari_diffmap.scan.open.h5 import H5Region, Walk, attributes
from napari_diffmap.scan.open.tidy import regular


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


def nxdata(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """The signals of the NXdata groups of a file, the default one alone where it is said."""
    from napari_diffmap.scan.open import conventions

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
        if not any(axis.name or axis.unit for axis in axes):
            axes = conventions.side_energy(name, node, tree) or axes
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
    if region.ndim == 3 and any(is_energy_name(axis.name) for axis in axes):
        kind = "STXM"
    return Offer(Candidate(name.strip("/"), region.shape, str(region.dtype), kind), load)
