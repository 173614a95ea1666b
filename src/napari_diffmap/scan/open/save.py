"""Save a scan in HyperSpy's formats; it opens here and in HyperSpy again."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.errors import BadInputError, ResourceError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.open.notes import caught
from napari_diffmap.scan.open.signals import OWN_KEY
from napari_diffmap.scan.scan import Scan

_PLUGINS = {".hspy": "rsciio.hspy", ".zspy": "rsciio.zspy"}
_DETECTOR = frozenset({"ky", "kx", "qy", "qx"})
_PATTERNS = frozenset({"4D-STEM", "pattern stack", "pattern"})


def save_scan(scan: Scan, path: str | Path) -> Path:
    """Write a scan with its axes, units, voltage, centre and missing frames.

    Parameters
    ----------
    scan
        Any scan; its data are streamed, not loaded.
    path
        ``.hspy`` (HDF5) or ``.zspy`` (Zarr).  An existing file is replaced once
        the new one is whole.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError
        If the extension is another one or the folder is missing.
    ResourceError
        If the disk is full.

    Notes
    -----
    A peak list is not written: the patterns drawn from it are.
    """
    target = Path(path).expanduser()
    plugin = _PLUGINS.get(target.suffix.lower())
    if plugin is None:
        raise BadInputError(f"{target.name}: scans are saved as .hspy or .zspy")
    if not target.parent.is_dir():
        raise BadInputError(f"{target.name}: there is no folder {target.parent}")
    partial = target.with_name(f".{target.stem}.partial{target.suffix}")
    _remove(partial)
    try:
        with caught():
            writer = importlib.import_module(plugin).file_writer
            writer(str(partial), signal_of(scan), show_progressbar=False)
        put_in_place(partial, target)
    except OSError as error:
        raise ResourceError(
            f"{target.name}: cannot be written ({error.strerror or error})"
        ) from error
    finally:
        _remove(partial)
    return target


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def put_in_place(partial: Path, target: Path) -> None:
    """Put the whole new file in the place of the old one."""
    if partial.is_dir() and target.exists():
        old = target.with_name(f".{target.stem}.old{target.suffix}")
        _remove(old)
        os.replace(target, old)
        os.replace(partial, target)
        _remove(old)
        return
    if target.is_dir():
        shutil.rmtree(target)
    os.replace(partial, target)


def signal_of(scan: Scan) -> dict[str, Any]:
    """The scan as a RosettaSciIO signal dictionary."""
    calibration = scan.calibration
    own: dict[str, Any] = {"kind": scan.kind, "name": scan.name, "format": scan.format}
    if calibration.center is not None:
        own["center"] = [float(c) for c in calibration.center]
    if calibration.pixel_size is not None:
        own["pixel_size"] = float(calibration.pixel_size)
    if scan.missing is not None:
        own["missing"] = np.asarray(scan.missing, dtype=np.uint8)
    metadata: dict[str, Any] = {
        "General": {"title": scan.name},
        "Signal": {"signal_type": "electron_diffraction" if scan.kind in _PATTERNS else ""},
    }
    if calibration.voltage_kv is not None:
        metadata["Acquisition_instrument"] = {"TEM": {"beam_energy": float(calibration.voltage_kv)}}
    return {
        "data": scan.data,
        "axes": [_axis(scan, axis, i) for i, axis in enumerate(scan.axes)],
        "metadata": metadata,
        "original_metadata": {OWN_KEY: own},
        "package_info": {"package": "napari-diffmap", "package_version": _version()},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }


def _version() -> str:
    from importlib.metadata import version

    return version("napari-diffmap")


def _axis(scan: Scan, axis: Axis, index: int) -> dict[str, Any]:
    navigates = axis.name not in _DETECTOR and not (
        axis.name in ("y", "x") and scan.kind in ("STXM", "image", "image series")
    )
    described: dict[str, Any] = {
        "name": axis.name,
        "units": "px" if axis.unit == "pixel" else axis.unit,
        "navigate": navigates,
        "is_binned": False,
        "size": axis.size,
    }
    if axis.values is not None:
        return {**described, "_type": "DataAxis", "axis": np.asarray(axis.values)}
    return {
        **described,
        "_type": "UniformDataAxis",
        "scale": float(axis.scale),
        "offset": float(axis.offset),
    }
