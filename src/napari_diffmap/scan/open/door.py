"""One door: a path goes in, a scan or one clear line comes out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_diffmap.errors import ChooseDatasetError, DiffmapError, ScanFileError
from napari_diffmap.scan.open.build import build
from napari_diffmap.scan.open.found import Candidate, Offer, Request
from napari_diffmap.scan.open.notes import MAX_LINE, caught, one_line, shape_text
from napari_diffmap.scan.open.sniff import family
from napari_diffmap.scan.scan import AXIS_NAMES, Kind, Scan

Reader = Callable[[Path, Request], list[Offer]]
#: Where the reader of each family lives; imported when needed.
_READERS = {
    "npy": ("arrays", "npy"),
    "npz": ("arrays", "npz"),
    "raw": ("arrays", "raw"),
    "hdf5": ("hdf5", "hdf5"),
    "zarr": ("signals", "zarr_folder"),
    "merlin": ("merlin", "merlin"),
    "blockfile": ("blockfile", "blockfile"),
    "mrc": ("mrc", "mrc"),
    "als": ("als", "als"),
    "tiff": ("tiff", "tiff"),
    "frames": ("frames", "folder"),
    "empad": ("rosetta", "empad"),
    "tvips": ("tvips", "tvips"),
    "tia": ("tia", "tia"),
    "prz": ("rosetta", "prz"),
    "app5": ("rosetta", "app5"),
    "rosetta": ("rosetta", "rosetta"),
    "peaktable": ("peaktable", "peaktable"),
    "ncb": ("spectromicroscopy", "ncb"),
    "stk": ("spectromicroscopy", "stk"),
    "xradia": ("xradia", "xradia"),
    "movie": ("movie", "movie"),
    "picture": ("image_folder", "picture"),
    "images": ("image_folder", "image_folder"),
    "folder": ("stxm_folder", "stxm_folder"),
}
#: Candidates named in the message of a ChooseDatasetError.
_NAMED = 5


def _reader(name: str) -> Reader:
    module, function = _READERS[name]
    reader: Reader = getattr(
        importlib.import_module(f"napari_diffmap.scan.open.{module}"), function
    )
    return reader


#: What is no news of a file that is being recorded.
_CUT = ("the file is cut", "the last frame is cut")


def open_scan(
    path: str | Path,
    *,
    dataset: str | None = None,
    scan_shape: Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
    dtype: Any = None,
    offset: int = 0,
    kind: Kind | None = None,
    axes: str | Sequence[str] | None = None,
    growing: bool = False,
) -> Scan:
    """Open a file as a scan, lazily.

    Parameters
    ----------
    path
        A file, a .zspy/.zarr folder, a folder of frames (TIFF, .npy, .png, .dm3, .xrm …), or
        one that holds, at whatever depth, just one STXM stack.
    dataset
        Array to open where a file holds several.
    scan_shape
        ``(rows, columns)`` to lay a flat stack of patterns out on.
    shape, dtype, offset
        Shape ``(y, x, ky, kx)``, dtype and first byte of headerless raw data.
    kind
        Kind of scan, where the file does not say.
    axes
        Axis order of the array, where the file does not say, e.g.
        ``"ky,kx,y,x"``.
    growing
        The scan is still being recorded: frames to come are marked missing, however many
        there are (see `follow.Follower`).

    Returns
    -------
    Scan
        Data are a Dask array with whole patterns in every chunk, in native
        byte order; nothing is read but headers and a few frames.
        `warnings` lists everything that was caught, guessed or corrected.

    Raises
    ------
    ChooseDatasetError
        If the file holds several arrays and `dataset` does not choose one.
    NeedsShapeError
        If raw bytes or a flat stack need a shape, or one that fits.
    ScanFileError
        If the file is no scan, is damaged, or would open with wrong data.
    """
    source = _existing(path)
    request = _request(dataset, scan_shape, shape, dtype, offset, kind, axes)
    request = replace(request, growing=growing)
    with _in_words(source), caught() as lines:
        scan = build(_choose(source, offers(source, request), request).load(), request)
    told = dict.fromkeys((*scan.warnings, *lines))
    if growing:
        told = {line: None for line in told if not line.startswith(_CUT)}
    return replace(scan, warnings=tuple(told))


def list_datasets(path: str | Path) -> list[Candidate]:
    """Arrays of a file that can be opened as a scan.

    Parameters
    ----------
    path
        A file, or a .zspy/.zarr folder.

    Returns
    -------
    list of Candidate
        One for formats that hold one scan.

    Raises
    ------
    ScanFileError
        If the file is no scan.
    """
    source = _existing(path)
    with _in_words(source), caught():
        return [offer.candidate for offer in offers(source, Request())]


def _existing(path: str | Path) -> Path:
    source = Path(path).expanduser()
    return source if source.is_absolute() else Path.cwd() / source


def _request(
    dataset: str | None,
    scan_shape: Sequence[int] | None,
    shape: Sequence[int] | None,
    dtype: Any,
    offset: int,
    kind: Kind | None,
    axes: str | Sequence[str] | None,
) -> Request:
    if kind is not None and kind not in AXIS_NAMES:
        raise ScanFileError(f"kind '{kind}' is not known: give one of {', '.join(AXIS_NAMES)}")
    if scan_shape is not None and len(scan_shape) != 2:
        raise ScanFileError("a scan shape has two numbers: rows, columns")
    words = axes.replace(",", " ").split() if isinstance(axes, str) else axes
    return Request(
        dataset,
        None if scan_shape is None else (int(scan_shape[0]), int(scan_shape[1])),
        None if shape is None else tuple(int(n) for n in shape),
        dtype,
        int(offset),
        kind,
        None if words is None else tuple(words),
    )


def offers(path: Path, request: Request) -> list[Offer]:
    """What can be opened of a file or folder; each is loaded when it is chosen."""
    raw = request.shape is not None and request.dtype is not None
    if raw and path.is_file():
        return _reader("raw")(path, request)
    name = family(path)
    if request.shape is not None and name not in ("raw", "npy"):
        raise ScanFileError(
            f"{path.name}: has its own shape: leave the shape away, or give its number type as well"
        )
    return _reader(name)(path, request)


def _choose(path: Path, offered: list[Offer], request: Request) -> Offer:
    candidates = [offer.candidate for offer in offered]
    if request.dataset is not None:
        wanted = request.dataset.strip("/")
        exact = [o for o in offered if o.candidate.path.strip("/") == wanted]
        tail = [o for o in offered if o.candidate.path.strip("/").endswith("/" + wanted)]
        # Of a folder's stack, named by its place, the file was kept to open it again.
        placed = [o for o in offered if wanted.endswith(f" {o.candidate.path.strip('/')}")]
        for hits in (exact, tail, placed):
            if len(hits) == 1:
                return hits[0]
        raise _choice(f"{path.name}: has no array '{wanted}'; it has ", candidates, "")
    if len(offered) == 1:
        return offered[0]
    raise _choice(
        f"{path.name}: {len(offered)} arrays could be the scan: ",
        candidates,
        f"; choose one, e.g. dataset '{candidates[0].path}'",
    )


def _choice(before: str, candidates: list[Candidate], after: str) -> ChooseDatasetError:
    parts = [f"{c.path} ({shape_text(c.shape)})" for c in candidates]
    in_full = f"{before}{', '.join(parts)}{after}"
    return ChooseDatasetError(_listing(before, parts, after), candidates, in_full)


def _listing(before: str, parts: list[str], after: str) -> str:
    """One line that names as many arrays as fit."""
    for count in range(min(len(parts), _NAMED), 0, -1):
        rest = len(parts) - count
        more = f" and {rest} more" if rest else ""
        line = f"{before}{', '.join(parts[:count])}{more}{after}"
        if len(line) <= MAX_LINE:
            return line
    return one_line(f"{before}{len(parts)}{after}")


class _in_words:
    """Turn whatever a reader raises into one line that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, DiffmapError):
            if self._path.name not in str(error):
                error.args = (one_line(f"{self._path.name}: {error}"), *error.args[1:])
            return
        # Readers of other people's formats raise anything on a damaged file.
        if isinstance(error, Exception) and not isinstance(error, NameError):
            reason = one_line(str(error).replace(str(self._path), self._path.name), 140)
            said = f" ({reason})" if reason else ""
            raise ScanFileError(
                one_line(
                    f"{self._path.name}: cannot be read{said}: it is damaged, or please report it"
                )
            ) from error
