"""Dectris master files (ARINA, EIGER): frames in linked files, scan settings beside them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.calibrate import pixel_from_camera, plausible_voltage
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis
from napari_diffmap.scan.open.h5 import H5Region, attributes, opened, scalar
from napari_diffmap.scan.open.notes import one_line
from napari_diffmap.scan.open.regions import FrameGrid, Region, Stacked, grid_index

_FRAMES = re.compile(r"^data_\d+$")
_DETECTOR = "entry/instrument/detector"


def is_master(file: Any) -> bool:
    """Whether a file is a Dectris master with numbered frame files."""
    group = file.get("entry/data")
    return group is not None and any(_FRAMES.match(key) for key in group)


def master(path: Path, file: Any) -> Offer:
    """All frames of a master, laid out by the settings file beside it.

    Raises
    ------
    ScanFileError
        If a linked frame file is missing.
    """
    group = file["entry/data"]
    parts: list[Region] = []
    for key in sorted(k for k in group if _FRAMES.match(k)):
        try:
            parts.append(H5Region.of(path, f"/entry/data/{key}", group[key]))
        except (KeyError, OSError) as error:
            link = group.get(key, getlink=True)
            target = Path(str(getattr(link, "filename", key))).name
            raise ScanFileError(
                one_line(
                    f"{path.name}: its frames lie in {target}, which is not there:"
                    " put that file beside it"
                )
            ) from error
    frames = Stacked(parts) if len(parts) > 1 else parts[0]
    settings = _settings(path)
    found = Found(
        frames,
        [RawAxis("frame", role="scan"), RawAxis("ky"), RawAxis("kx")],
        "Dectris master",
        path.stem.removesuffix("_master"),
        path,
        diffraction=True,
        metadata={f"STEM Metadata.{k}": v for k, v in settings.items() if np.size(v) == 1},
    )
    _lay_out(found, frames, settings)
    _calibrate(found, file, settings)
    offer = Candidate("entry/data", found.shape, str(found.dtype), "4D-STEM")
    return Offer(offer, lambda: found)


def _settings(path: Path) -> dict[str, Any]:
    """STEM settings in ``NAME.h5`` beside ``NAME_master.h5``."""
    beside = path.with_name(path.name.replace("_master", ""))
    if beside == path or not beside.is_file():
        return {}
    with opened(beside) as file:
        group = file.get("STEM Metadata")
        return attributes(group) if group is not None else {}


def _lay_out(found: Found, frames: Region, settings: dict[str, Any]) -> None:
    count = frames.shape[0]
    rows, columns = (int(settings.get(f"NumPixels{n}") or 0) for n in "YX")
    if not rows * columns:
        side = math.isqrt(count)
        if side * side == count and side > 1:
            rows = columns = side
            found.notes.append(
                f"the scan shape is not in the file; {count} frames taken as {side} x {side}"
                " (else give the scan shape)"
            )
        else:
            return
    if count > rows * columns:
        found.notes.append(
            f"{count} frames do not fit the {rows} x {columns} scan of the settings file:"
            " opened as a flat stack"
        )
        return
    layout = FrameGrid(frames, grid_index(count, (rows, columns)))
    layout.stored_chunks = None
    found.data, found.missing, found.kind = layout, layout.missing, "4D-STEM"
    if found.missing is not None:
        found.notes.append(
            f"{count} of {rows * columns} frames are there, the rest is marked missing"
        )
    step = settings.get("Pixel Size")
    found.axes = [
        RawAxis("y", role="scan", unit="nm" if step else None, scale=float(step or 1)),
        RawAxis("x", role="scan", unit="nm" if step else None, scale=float(step or 1)),
        *found.axes[-2:],
    ]
    if step and not settings.get("IsPixelSizeCalibrated", 1):
        found.notes.append("the settings file calls its scan step uncalibrated")


def _calibrate(found: Found, file: Any, settings: dict[str, Any]) -> None:
    energy = scalar(file, f"{_DETECTOR}/detectorSpecific/photon_energy")
    found.voltage_kv = plausible_voltage(settings.get("High Tension") or energy or 0)
    length = float(settings.get("Camera Length") or 0)
    if not length:
        length = float(scalar(file, f"{_DETECTOR}/detector_distance") or 0)
    pixel = float(scalar(file, f"{_DETECTOR}/x_pixel_size") or 0)
    found.pixel_size = pixel_from_camera(pixel, length, found.voltage_kv)
    if found.pixel_size is not None:
        found.notes.append(
            f"pixel size from the nominal camera length of {length * 100:g} cm:"
            " check it against a known pattern"
        )
