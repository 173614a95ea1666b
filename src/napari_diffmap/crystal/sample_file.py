"""The bundled sample as a file in the user's cache: written whole or not at all, checked."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.crystal import sample
from napari_diffmap.crystal.sample import SampleTruth
from napari_diffmap.errors import ResourceError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

_NAME = f"linio2-polycrystal-v{sample.VERSION}"


def cache_folder(cache: Path | None = None) -> Path:
    """Where downloaded and made files live: `cache`, ``DIFFMAP_CACHE`` or the user's cache."""
    if cache is not None:
        return Path(cache)
    named = os.environ.get("DIFFMAP_CACHE")
    if named:
        return Path(named)
    import pooch

    return Path(pooch.os_cache("napari-diffmap"))


def open_or_build(cache: Path | None = None) -> tuple[Scan, SampleTruth]:
    """Open the cached sample; make it when it is absent, outdated or damaged."""
    folder = cache_folder(cache)
    path, truth_path = folder / f"{_NAME}.hspy", folder / f"{_NAME}-truth.npz"
    truth = _read_truth(path, truth_path)
    if truth is None:
        data, truth = sample.build_sample()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _replace(path, lambda temporary: _write_scan(temporary, data))
            digest = _digest(path)
            _replace(truth_path, lambda temporary: _write_truth(temporary, truth, digest))
        except OSError as error:
            raise ResourceError(
                f"cannot keep the sample in {folder} ({error.strerror or error}): free some space"
                " or set DIFFMAP_CACHE to another folder"
            ) from error
    return _open(path), truth


def _replace(path: Path, write: Any) -> None:
    """Write beside `path` and rename: a reader sees the old file, the new one or none."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_scan(path: Path, data: NDArray[np.uint16]) -> None:
    from rsciio.hspy import file_writer

    size = sample.PIXEL_SIZE
    axes = [
        _axis("y", data.shape[0], sample.STEP_NM, 0.0, "nm", navigate=True),
        _axis("x", data.shape[1], sample.STEP_NM, 0.0, "nm", navigate=True),
        _axis("ky", data.shape[2], size, -sample.CENTER[0] * size, "1/Å", navigate=False),
        _axis("kx", data.shape[3], size, -sample.CENTER[1] * size, "1/Å", navigate=False),
    ]
    signal = {
        "data": data,
        "axes": axes,
        "metadata": sample.header(),
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "", "package_version": ""},
        "models": {},
        "learning_results": {},
        "tmp_parameters": {},
    }
    file_writer(
        str(path),
        signal,
        chunks=(4, 8, *data.shape[2:]),
        compression="gzip",
        compression_opts=1,
        show_progressbar=False,
    )


def _axis(
    name: str, size: int, scale: float, offset: float, unit: str, *, navigate: bool
) -> dict[str, Any]:
    return {
        "_type": "UniformDataAxis",
        "name": name,
        "size": size,
        "scale": scale,
        "offset": offset,
        "units": unit,
        "navigate": navigate,
        "is_binned": False,
    }


def _write_truth(path: Path, truth: SampleTruth, digest: str) -> None:
    arrays: dict[str, Any] = {
        field.name: np.asarray(getattr(truth, field.name)) for field in fields(truth)
    }
    arrays["scan_sha256"] = np.array(digest)
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _read_truth(path: Path, truth_path: Path) -> SampleTruth | None:
    """The truth, or None when either file is absent, damaged or not the other's partner."""
    if not (path.is_file() and truth_path.is_file()):
        return None
    try:
        with np.load(truth_path, allow_pickle=False) as archive:
            arrays = {field.name: archive[field.name] for field in fields(SampleTruth)}
            expected = str(archive["scan_sha256"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
    if _digest(path) != expected:
        return None
    phases = tuple(str(name) for name in arrays.pop("phases"))
    return SampleTruth(**arrays, phases=phases)


def _open(path: Path) -> Scan:
    """The file as a lazy scan."""
    import dask.array as da
    import h5py

    file = h5py.File(path, "r")
    group = next(iter(file["Experiments"].values()))
    data = da.from_array(group["data"], chunks=(4, 8, *sample.DETECTOR))
    size = sample.PIXEL_SIZE
    axes = (
        Axis("y", sample.SHAPE[0], sample.STEP_NM, 0.0, "nm"),
        Axis("x", sample.SHAPE[1], sample.STEP_NM, 0.0, "nm"),
        Axis("ky", sample.DETECTOR[0], size, -sample.CENTER[0] * size, "1/Å"),
        Axis("kx", sample.DETECTOR[1], size, -sample.CENTER[1] * size, "1/Å"),
    )
    calibration = Calibration(
        pixel_size=size,
        voltage_kv=sample.VOLTAGE_KV,
        pixel_size_origin="file",
        voltage_origin="file",
    )
    return Scan(
        data=data,
        axes=axes,
        kind="4D-STEM",
        name=path.stem,
        source=path,
        format="hspy",
        calibration=calibration,
    )
