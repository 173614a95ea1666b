"""A folder that holds a stack: .xim frames, .xrm or .cxi files, or one stack somewhere in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open import als
from napari_diffmap.scan.open.found import Offer, Request
from napari_diffmap.scan.open.notes import one_line

#: Files that can be a stack of energies alone, by ending; looked into in this order.
_STACKS = (
    ".hdr",
    ".ncb",
    ".stk",
    ".txrm",
    ".stxm",
    ".hdf5",
    ".h5",
    ".hdf",
    ".nxs",
    ".hspy",
    ".cxi",
)
#: Levels below a folder and files that are looked at.
_DEPTH, _FILES, _OPENED = 4, 20_000, 40


def stxm_folder(path: Path, request: Request) -> list[Offer]:
    """The stacks of a folder and those below it; its images where there is no stack.

    Raises
    ------
    ScanFileError
        If there is none.
    """
    files = list(_files(path))
    for suffix in (".xrm", ".cxi"):
        own = sorted(f for f in files if f.parent == path and f.suffix.lower() == suffix)
        if len(own) > 1 and not any(f.suffix.lower() == ".hdr" for f in files):
            return _frames(suffix, path, own)
    found = [(file, offer) for file in _candidates(files) for offer in _offers(file, request)]
    stacks = [(f, o) for f, o in found if o.candidate.kind == "STXM"]
    # A line scan is a stack one pixel high: it counts where there is no other.
    high = [(f, o) for f, o in stacks if o.candidate.shape[1] > 1]
    chosen = high or stacks or [(f, o) for f, o in found if o.candidate.kind == "image"]
    if not chosen:
        raise ScanFileError(_why_not(path, files))
    several = len({file for file, _ in chosen}) > 1
    return [_named(path, file, offer) if several else offer for file, offer in chosen]


def _files(folder: Path) -> Iterator[Path]:
    """Files of a folder and of those below, not too deep, not too many."""
    count = 0
    for at, folders, names in os.walk(folder):
        depth = len(Path(at).relative_to(folder).parts)
        # A Zarr store is one scan, however many files it has.
        folders[:] = sorted(
            name
            for name in folders
            if depth < _DEPTH and not name.startswith(".") and not name.endswith((".zarr", ".zspy"))
        )
        for name in sorted(names):
            count += 1
            if count > _FILES:
                return
            if not name.startswith("."):
                yield Path(at) / name


def _candidates(files: list[Path]) -> list[Path]:
    wanted = [f for f in files if f.suffix.lower() in _STACKS]
    wanted = [f for f in wanted if f.suffix.lower() != ".hdr" or als.is_header(f)]
    return sorted(wanted, key=lambda f: _STACKS.index(f.suffix.lower()))[:_OPENED]


def _offers(file: Path, request: Request) -> list[Offer]:
    """Stacks of one file; a file that is none, or is damaged, is passed over."""
    from napari_diffmap.scan.open.door import offers

    try:
        return offers(file, replace(request, dataset=None))
    except Exception:  # noqa: BLE001 - readers raise anything on a damaged file
        return []


def _frames(suffix: str, path: Path, files: list[Path]) -> list[Offer]:
    if suffix == ".xrm":
        from napari_diffmap.scan.open import xradia

        return xradia.folder(path, files)
    from napari_diffmap.scan.open import cxi

    return cxi.folder(path, files)


def _named(path: Path, file: Path, offer: Offer) -> Offer:
    """An offer by the place of its file in the folder."""
    candidate = offer.candidate
    place = f"{file.relative_to(path).as_posix()} {candidate.path}"
    return Offer(replace(candidate, path=place), offer.load)


def _why_not(path: Path, files: list[Path]) -> str:
    headers = [f for f in files if f.suffix.lower() == ".hdr" and als.is_header(f)]
    if any(f.suffix.lower() == ".xim" for f in files) and not headers:
        return f"{path.name}: holds .xim frames without their .hdr, which lists the energies"
    if headers:
        return one_line(
            f"{path.name}: is a folder without a stack: open {headers[0].name} to see why"
        )
    if not files:
        return f"{path.name}: is a folder without files: choose one that holds frames, or a file"
    return f"{path.name}: is a folder: choose the scan file in it"
