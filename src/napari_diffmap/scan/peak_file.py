"""Peak tables on disk: Parquet or Zarr, with the compression told by the bytes written."""

from __future__ import annotations

import base64
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, ResourceError, ScanFileError
from napari_diffmap.scan.peaks import EXTRA_COLUMNS, PeakSource, PeakTable

#: Key under which a file says that it is one of these tables.
FORMAT_KEY = "napari_diffmap_peaks"
VERSION = 1

#: Positions are kept to this fraction of a detector pixel, far below what is measured.
POSITION_STEP = 1 / 128
#: Bits kept of the mantissas: an intensity or noise is right to 1 part in 1024, the others to
#: 1 in 128.
_BITS, _FEW_BITS = 9, 6
#: Peaks of a Parquet row group or a Zarr chunk.
_ROWS = 1 << 20

EXTENSIONS = (".parquet", ".zarr")


def save_peaks(
    table: PeakTable, path: str | Path, *, columns: Collection[str] = EXTRA_COLUMNS
) -> Path:
    """Write a peak table; it opens here again as a scan.

    Positions are rounded to 1/128 detector pixel, intensities to one part in 1024,
    prominence, width and snr to one part in 128; none is measured as finely.

    Parameters
    ----------
    table
        Any table.
    path
        ``.parquet`` (one file) or ``.zarr`` (a folder, Zarr v2).  What is there is
        replaced once the new one is whole.
    columns
        Which of ``prominence``, ``width``, ``snr`` to write.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    BadInputError
        If the extension is another one, the folder is missing, or a column unknown.
    ResourceError
        If the disk is full.
    """
    target = Path(path).expanduser()
    kind = target.suffix.lower()
    if kind not in EXTENSIONS:
        raise BadInputError(f"{target.name}: peak tables are saved as .parquet or .zarr")
    if not target.parent.is_dir():
        raise BadInputError(f"{target.name}: there is no folder {target.parent}")
    unknown = set(columns) - set(EXTRA_COLUMNS)
    if unknown:
        raise BadInputError(f"no column {', '.join(sorted(unknown))}: {', '.join(EXTRA_COLUMNS)}")
    kept = {name: getattr(table, name) for name in EXTRA_COLUMNS if name in columns}
    values = _rounded(table, kept)
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    _remove(partial)
    try:
        (_write_parquet if kind == ".parquet" else _write_zarr)(partial, table, values)
        _remove(target)
        os.replace(partial, target)
    except OSError as error:
        raise ResourceError(
            f"{target.name}: cannot be written ({error.strerror or error})"
        ) from error
    finally:
        _remove(partial)
    return target


def load_peaks(path: str | Path) -> PeakTable:
    """Read a peak table that `save_peaks` wrote.

    Raises
    ------
    ScanFileError
        If it is no such table, or damaged.
    """
    source = Path(path).expanduser()
    if not source.exists():
        raise ScanFileError(f"{source.name}: no such file in {source.parent}")
    try:
        about, columns, offsets, noise = (
            _read_zarr(source) if source.is_dir() else _read_parquet(source)
        )
        rows, across = (int(n) for n in about["scan_shape"])
        described = about.get("source")
        table = PeakTable(
            shape=(rows, across),
            offsets=offsets,
            calibrated=bool(about["calibrated"]),
            noise=None if noise is None else noise.reshape(rows, across),
            source=None if described is None else _source(described),
            **columns,
        )
    except ScanFileError:
        raise
    except (OSError, KeyError, ValueError, TypeError, zlib.error, BadInputError) as error:
        reason = " ".join(str(error).split())[:100]
        raise ScanFileError(
            f"{source.name}: is no whole peak table ({reason}): save it again"
        ) from error
    return table


def is_peak_file(path: Path) -> bool:
    """Whether a Zarr folder says that it is a peak table."""
    try:
        return FORMAT_KEY in json.loads((path / ".zattrs").read_text("utf-8"))
    except (OSError, ValueError):
        return False


def disk_bytes(path: str | Path) -> int:
    """Bytes that a file, or all files of a folder, hold."""
    source = Path(path)
    if source.is_dir():
        return sum(part.stat().st_size for part in source.rglob("*") if part.is_file())
    return source.stat().st_size


def parquet_bytes(table: PeakTable) -> int:
    """Bytes that a table takes as a Parquet file, measured by writing one."""
    with tempfile.TemporaryDirectory() as folder:
        return disk_bytes(save_peaks(table, Path(folder) / "peaks.parquet"))


def compression(table: PeakTable, path: str | Path) -> float:
    """How many times smaller the table on disk is than the patterns it was made of.

    Raises
    ------
    BadInputError
        If the table does not know how large those were.
    """
    if table.source is None or not table.source.nbytes:
        raise BadInputError("this peak list does not know how large its patterns were")
    return table.source.nbytes / max(1, disk_bytes(path))


# ---------------------------------------------------------------- inside


def _rounded(
    table: PeakTable, extra: dict[str, NDArray[np.float32] | None]
) -> dict[str, NDArray[np.float32]]:
    step = POSITION_STEP * (table.source.scale if table.source else 1.0)
    if table.source is None and table.calibrated:
        step = 1e-5
    columns = {
        "ky": (np.rint(table.ky / step) * step).astype(np.float32),
        "kx": (np.rint(table.kx / step) * step).astype(np.float32),
        "intensity": _fewer_bits(table.intensity),
    }
    columns.update({n: _fewer_bits(v, _FEW_BITS) for n, v in extra.items() if v is not None})
    return columns


def _fewer_bits(values: NDArray[np.float32], kept: int = _BITS) -> NDArray[np.float32]:
    """Mantissas rounded to some bits, so that the last bytes of all are equal."""
    cut = 23 - kept
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32((1 << (cut - 1)) - 1) + ((bits >> np.uint32(cut)) & np.uint32(1))
    rounded = (bits + half) & np.uint32(0xFFFFFFFF << cut & 0xFFFFFFFF)
    return np.where(np.isfinite(values), rounded.view(np.float32), values).astype(np.float32)


def _about(table: PeakTable) -> dict[str, Any]:
    return {
        "version": VERSION,
        "scan_shape": list(table.shape),
        "calibrated": table.calibrated,
        "unit": "1/Å" if table.calibrated else "pixel",
        "source": None if table.source is None else asdict(table.source),
    }


def _source(described: dict[str, Any]) -> PeakSource:
    known = set(PeakSource.__dataclass_fields__)
    fields: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in described.items() if k in known
    }
    return PeakSource(**fields)


def _write_parquet(path: Path, table: PeakTable, columns: dict[str, NDArray[np.float32]]) -> None:
    """One row a peak, sorted by scan position; counts and noise in the file's own notes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    noise = b"" if table.noise is None else _packed(_fewer_bits(table.noise.ravel()))
    notes = {
        FORMAT_KEY: json.dumps(_about(table)).encode(),
        f"{FORMAT_KEY}.counts": _packed(np.diff(table.offsets).astype(np.uint32)),
        f"{FORMAT_KEY}.noise": noise,
    }
    # Scan position in plain sight for other readers: it compresses to next to nothing.
    y, x = np.divmod(table.position, table.shape[1])
    named = {"y": y.astype(np.int32), "x": x.astype(np.int32), **columns}
    arrow = pa.table(named).replace_schema_metadata(notes)
    pq.write_table(
        arrow,
        path,
        compression="zstd",
        compression_level=9,
        row_group_size=_ROWS,
        use_dictionary=False,
        write_statistics=False,
        column_encoding={
            **dict.fromkeys(("y", "x"), "DELTA_BINARY_PACKED"),
            **dict.fromkeys(columns, "BYTE_STREAM_SPLIT"),
        },
    )


def _read_parquet(path: Path) -> tuple[dict[str, Any], Any, Any, Any]:
    import pyarrow.parquet as pq

    notes = pq.read_schema(path).metadata or {}
    if FORMAT_KEY.encode() not in notes:
        raise ScanFileError(f"{path.name}: is a table, but not of diffraction peaks")
    about = json.loads(notes[FORMAT_KEY.encode()])
    arrow = pq.read_table(path)
    columns = {n: arrow[n].to_numpy() for n in arrow.column_names if n not in ("y", "x")}
    counts = _unpacked(notes[f"{FORMAT_KEY}.counts".encode()], np.uint32)
    packed = notes[f"{FORMAT_KEY}.noise".encode()]
    noise = _unpacked(packed, np.float32) if packed else None
    return about, columns, _offsets(counts), noise


def _packed(values: NDArray[Any]) -> bytes:
    """Base-85 text of compressed bytes: notes of a Parquet file are text."""
    return base64.b85encode(zlib.compress(np.ascontiguousarray(values).tobytes(), 9))


def _unpacked(text: bytes, dtype: Any) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype=dtype).copy()


def _offsets(counts: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64)


def _write_zarr(path: Path, table: PeakTable, columns: dict[str, NDArray[np.float32]]) -> None:
    import zarr
    from numcodecs import Blosc

    codec = Blosc(cname="zstd", clevel=9, shuffle=Blosc.SHUFFLE)
    root = zarr.open_group(str(path), mode="w")
    root.attrs[FORMAT_KEY] = _about(table)
    named: dict[str, NDArray[Any]] = {"offsets": table.offsets, **columns}
    if table.noise is not None:
        named["noise"] = _fewer_bits(table.noise.ravel())
    for name, values in named.items():
        root.array(name, values, chunks=_ROWS, compressor=codec)


def _read_zarr(path: Path) -> tuple[dict[str, Any], Any, Any, Any]:
    import zarr

    root = zarr.open_group(str(path), mode="r")
    about = root.attrs[FORMAT_KEY]
    named = {name: array[:] for name, array in root.arrays()}
    offsets = named.pop("offsets").astype(np.int64)
    return about, {n: v for n, v in named.items() if n != "noise"}, offsets, named.get("noise")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
