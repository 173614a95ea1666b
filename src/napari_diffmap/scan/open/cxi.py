"""CXI: ptychographic images and their energies; several of them make a stack."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.energies import energy_axis, in_names
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, offer_of
from napari_diffmap.scan.open.framestack import FrameStack, Plane, common_size
from napari_diffmap.scan.open.h5 import H5Region, Walk, opened, walk
from napari_diffmap.scan.open.regions import Region

_JOULE_PER_EV = 1.602176634e-19
_SQUARED = "intensities of complex waves (amplitude squared) are taken as transmission"


@dataclass(frozen=True)
class _Picture:
    """An image of a file: its region, and its energy (eV) where it is known."""

    name: str
    region: Region
    energy: float | None


def cxi(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """Images and frames of a CXI file; one image an energy is a stack."""
    nodes = [
        (p, n) for p, n in tree.datasets.items() if p.endswith("/data") and n.ndim >= 2 and n.size
    ]
    images = [(p, n) for p, n in nodes if "/image" in p]
    stack = _stack(path, file, images)
    if stack is not None:
        return [offer_of(stack, "images")]
    return [_offer(path, file, name, node) for name, node in nodes]


def _stack(path: Path, file: Any, images: Sequence[tuple[str, Any]]) -> Found | None:
    """Images at different energies, in one array or one entry each."""
    if len(images) == 1 and images[0][1].ndim == 3:
        name, node = images[0]
        energies = _energies(file, name)
        if energies.size != node.shape[0] or energies.size < 2:
            return None
        region = H5Region.of(path, name, node)
        return _found(path, [Plane(region, i) for i in range(node.shape[0])], energies, [])
    pictures = _pictures(path, file, images)
    energies = np.array([p.energy for p in pictures if p.energy is not None])
    if len(set(energies.round(3))) < 2 or energies.size != len(images):
        return None
    return _found(path, [p.region for p in pictures], energies, [])


def _found(
    path: Path, parts: Sequence[Region], energies: NDArray[np.float64], notes: list[str]
) -> Found:
    size = common_size([part.shape for part in parts], notes, path.name)
    squared = all(part.dtype.kind == "c" for part in parts)
    if squared:
        notes.append(_SQUARED)
    return Found(
        FrameStack(parts, path, size, squared=squared),
        [energy_axis(energies, "eV"), RawAxis("y"), RawAxis("x")],
        "CXI", path.stem, path, kind="STXM", diffraction=False, notes=notes,
    )  # fmt: skip


def _pictures(path: Path, file: Any, images: Sequence[tuple[str, Any]]) -> list[_Picture]:
    found = []
    for name, node in images:
        if node.ndim == 2:
            energies = _energies(file, name)
            energy = float(energies[0]) if energies.size == 1 else None
            found.append(_Picture(name, H5Region.of(path, name, node), energy))
    return found


def _energies(file: Any, name: str) -> NDArray[np.float64]:
    """Photon energies (eV) of the source of an entry; none where they cannot be right."""
    entry = name.strip("/").split("/")[0]
    sources = [f"{entry}/instrument_1/source_1/energy", "entry_1/instrument_1/source_1/energy"]
    node = next((file[s] for s in sources if s in file), None)
    if node is None or node.dtype.kind not in "fiu":
        return np.empty(0)
    listed = np.atleast_1d(np.asarray(node[()], dtype=np.float64)).ravel()
    if not listed.size or not ((listed > 1e-18) & (listed < 1e-13)).all():  # joule by definition
        return np.empty(0)
    return np.asarray((listed / _JOULE_PER_EV).round(3))


def _offer(path: Path, file: Any, name: str, node: Any) -> Offer:
    region = H5Region.of(path, name, node)
    picture = "/image" in name
    axes = [RawAxis() for _ in region.shape]
    energies = _energies(file, name)
    metadata: dict[str, Any] = {}
    if energies.size == 1:
        metadata["energy_ev"] = float(energies[0])

    def load() -> Found:
        found = Found(region, axes, "CXI", path.stem, path, metadata=metadata)
        if picture and region.ndim == 2:
            found.kind = "image"
        elif not picture:
            found.diffraction = True
        return found

    kind = "image" if picture else "stack"
    return Offer(Candidate(name.strip("/"), region.shape, str(region.dtype), kind), load)


def folder(path: Path, files: Sequence[Path]) -> list[Offer]:
    """One .cxi an energy: a stack.

    Raises
    ------
    ScanFileError
        If a file holds no image, or says no energy.
    """
    pictures = []
    for source in files:
        with opened(source) as file:
            tree = walk(file)
            images = [(p, n) for p, n in tree.datasets.items() if re.search(r"/image\w*/data$", p)]
            here = _pictures(source, file, images)
        if len(here) != 1:
            raise ScanFileError(
                f"{source.name}: holds {len(here)} images, not one at one energy: open it alone"
            )
        pictures.append(here[0])
    named = in_names([source.stem for source in files])
    energies = [picture.energy for picture in pictures]
    if any(energy is None for energy in energies):
        if named is None:
            silent = next(f for f, e in zip(files, energies, strict=True) if e is None)
            raise ScanFileError(f"{silent.name}: says no energy, inside or in its name")
        energies = [float(energy) for energy in named]
    notes = [f"{len(files)} .cxi files taken as frames of one stack"]
    listed = np.array([energy for energy in energies if energy is not None])
    return [offer_of(_found(path, [p.region for p in pictures], listed, notes))]
