"""What a file is, by its first bytes and its name; what it is not, in one line."""

from __future__ import annotations

from pathlib import Path

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open import image_folder, movie
from napari_diffmap.scan.open.frames import SUFFIXES
from napari_diffmap.scan.open.spectromicroscopy import is_ncb_header
from napari_diffmap.scan.peak_file import is_peak_file

#: Families and the extensions that lead to them.
_BY_EXTENSION = {
    "mib": "merlin",
    "blo": "blockfile",
    "mrc": "mrc",
    "ali": "mrc",
    "xim": "als",
    "ncb": "ncb",
    "stk": "stk",
    "xml": "empad",
    "zspy": "zarr",
    "zarr": "zarr",
    "npy": "npy",
    "npz": "npz",
    "prz": "prz",
    "tif": "tiff",
    "tiff": "tiff",
    "ser": "tia",
    "emi": "tia",
    "tvips": "tvips",
    "app5": "app5",
    "parquet": "peaktable",
}
_HDF5_EXTENSIONS = ("hspy", "h5", "hdf5", "hdf", "he5", "emd", "de5", "nxs", "cxi", "stxm", "mat")
#: Read through RosettaSciIO as they are.
_ROSETTA_EXTENSIONS = ("dm3", "dm4", "mrcz", "rpl", "unf", "bcf", "nc", "sur", "img")
_RAW_EXTENSIONS = ("raw", "bin", "dat", "data")
_MAPS = {"ang": "EDAX", "ctf": "Oxford or ASTAR", "osc": "EDAX", "cpr": "Oxford", "crc": "Oxford"}
_PICTURES = {"jpe", "gif", "webp", "svg", "pdf", "ppm", "pgm"}
_ARCHIVES = {"zip", "gz", "bz2", "xz", "7z", "tar", "tgz", "rar", "zst"}
_REFUSED = {
    "txm": "is a reconstructed Zeiss volume, no stack: open the .txrm it was made from",
    "seq": "is a video sequence (StreamPix or DE), which is not read: export it as .mrc or TIFF",
    "cif": "is a crystal structure: add it as a phase, open the scan it belongs to",
    "msk": "is a mask that belongs to a stack: open the stack's .hdr",
    "xsp": "is a spectrum, not a stack: add it as a reference",
    "t": "is a spectrum, not a stack: add it as a reference",
    "r": "is a spectrum, not a stack: add it as a reference",
    "spec": "is a SPEC log of positions and counters: open the detector file it names",
    "spc": "is a spectrum, not a scan",
    "msa": "is a spectrum, not a scan",
    "emsa": "is a spectrum, not a scan",
    "up1": "holds EBSD patterns, not transmission patterns",
    "up2": "holds EBSD patterns, not transmission patterns",
    "cbf": "is a crystallography frame: convert the series to HDF5 or TIFF",
}
_SIDECARS = {"txt", "csv", "tsv", "json", "md", "rst", "log", "yaml", "yml", "toml", "metadata"}
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_HDF4_MAGIC = b"\x0e\x03\x13\x01"
_OLE_MAGIC = b"\xd0\xcf\x11\xe0"
_TIFF_MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")


def supported_extensions() -> tuple[str, ...]:
    """Extensions that can be a scan, with their dot, for file dialogs and the manifest."""
    known = {*_BY_EXTENSION, *_HDF5_EXTENSIONS, *_ROSETTA_EXTENSIONS}
    known |= {"hdr", "raw", "bin", "xrm", "txrm"}
    known |= {suffix.lstrip(".") for suffix in movie.SUFFIXES}
    return tuple(sorted(f".{extension}" for extension in known - {"mat", "img", "nc", "sur"}))


def family(path: Path) -> str:
    """Which reader a file needs.

    Returns
    -------
    str
        ``hdf5 npy npz prz zarr tiff frames merlin blockfile mrc als empad tia tvips app5
        rosetta peaktable ncb stk xradia movie picture images folder
        raw``.

    Raises
    ------
    ScanFileError
        If the path is not a scan; the message says what it is.
    """
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise ScanFileError(f"{path.name}: no such file in {path.parent.name or path.parent}")
    if not path.is_file():
        raise ScanFileError(f"{path.name}: is neither a file nor a folder")
    extension = path.suffix.lower().lstrip(".")
    if extension in _MAPS:
        raise ScanFileError(
            f"{path.name}: is an orientation map ({_MAPS[extension]}), not a scan: open it as a map"
        )
    if path.stat().st_size == 0:
        raise ScanFileError(f"{path.name}: is empty (0 bytes): copy it again")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise ScanFileError(f"{path.name}: cannot be read ({error.strerror})") from error
    return _of_file(path, extension, head)


def _folder(path: Path) -> str:
    if is_peak_file(path):
        return "peaktable"
    if any((path / marker).exists() for marker in (".zgroup", ".zarray", ".zmetadata")):
        return "zarr"
    if (path / "zarr.json").exists():
        raise ScanFileError(f"{path.name}: is Zarr version 3: save it as version 2 (.zspy, .zarr)")
    if path.suffix.lower() in (".zspy", ".zarr"):
        raise ScanFileError(f"{path.name}: is an empty or incomplete Zarr folder")
    suffixes = [file.suffix.lower() for file in path.iterdir()]
    if ".xim" not in suffixes and any(suffix in SUFFIXES for suffix in suffixes):
        return "frames"
    return "images" if image_folder.is_image_folder(path) else "folder"


def _of_file(path: Path, extension: str, head: bytes) -> str:
    if head.startswith(_HDF5_MAGIC):
        return "app5" if extension == "app5" else "hdf5"
    if head.startswith(_HDF4_MAGIC):
        raise ScanFileError(
            f"{path.name}: is HDF4, an older format that is not read: convert it to HDF5 (h4toh5)"
        )
    if head.startswith(b"PAR1"):
        return "peaktable"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK\x03\x04") and extension in ("npz", "prz", "zspy", "zarr"):
        return "zarr" if extension in ("zspy", "zarr") else extension
    if extension in _REFUSED:
        raise ScanFileError(f"{path.name}: {_REFUSED[extension]}")
    if extension in _SIDECARS:
        raise ScanFileError(f"{path.name}: is text or a log, not a scan")
    if extension in ("xrm", "txrm") or head.startswith(_OLE_MAGIC):
        return "xradia"
    if extension in _ARCHIVES or head.startswith(b"PK\x03\x04"):
        raise ScanFileError(f"{path.name}: is an archive: unpack it and open the scan inside")
    if f".{extension}" in movie.SUFFIXES:
        return "movie"
    if f".{extension}" in image_folder.PICTURES:
        return "picture"
    if extension in _PICTURES:
        raise ScanFileError(
            f"{path.name}: is a picture, not measured intensities: open the file it was made from"
        )
    if head.startswith(_TIFF_MAGICS):
        return "tiff"
    if extension == "hdr":
        return _header(path, head)
    if extension in _HDF5_EXTENSIONS:
        return _late_hdf5(path, extension, head)
    if extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    if extension == "dat" and is_ncb_header(path):
        return "ncb"
    if extension in _ROSETTA_EXTENSIONS:
        return "rosetta"
    if extension not in _RAW_EXTENSIONS and _is_text(head):
        raise ScanFileError(f"{path.name}: is text, not a scan")
    return "raw"


def _header(path: Path, head: bytes) -> str:
    if b"ScanDefinition" in head:
        return "als"
    if head.lstrip().startswith(b"HDR"):
        return "merlin"
    raise ScanFileError(
        f"{path.name}: is a header of an unknown kind: open the data file beside it"
    )


def _late_hdf5(path: Path, extension: str, head: bytes) -> str:
    """HDF5 behind a user block (MATLAB), or something else under an HDF5 name."""
    with path.open("rb") as file:
        for power in range(9, 24):
            start = 1 << power  # where the HDF5 specification allows a file to begin
            file.seek(start)
            if file.read(8) == _HDF5_MAGIC:
                return "hdf5"
    if extension == "mat":
        raise ScanFileError(f"{path.name}: is an old MATLAB file: save it with -v7.3 (HDF5)")
    raise ScanFileError(f"{path.name}: is not HDF5 although its name ends in .{extension}")


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        text = head.decode("utf-8", "strict" if len(head) < 4096 else "ignore")
    except UnicodeDecodeError:
        return False
    printable = sum(c.isprintable() or c in "\r\n\t" for c in text)
    return printable > 0.97 * max(1, len(text))
