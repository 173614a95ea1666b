"""NanoMegas blockfiles (.blo): a header, a bright-field image, then frames of bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.calibrate import pixel_from_camera, plausible_voltage
from napari_diffmap.scan.open.found import Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.regions import FileRegion, FrameGrid, grid_index

#: Signatures and field layout as documented by NanoMegas users and RosettaSciIO.
_MAGICS = frozenset({0x0102})
_HEADER = struct.Struct("<6sHIIIHHHHHddIHId")
_FRAME_HEAD = 6
#: Frames whose running number is compared with their place.
_LOOKED_AT = 64


def blockfile(path: Path, request: Request) -> list[Offer]:
    """The patterns of a blockfile; frames that are not in the file are marked missing.

    Raises
    ------
    ScanFileError
        If it is no blockfile or holds no frame.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise ScanFileError(f"{path.name}: is cut inside its header: copy it again")
    fields = _HEADER.unpack(head)
    identity, magic, images, patterns, _, edge, _, columns, rows, *rest = fields
    if not identity.startswith(b"IMGBLO") or magic not in _MAGICS:
        raise ScanFileError(f"{path.name}: is no blockfile although its name says so")
    if not edge or not columns or not rows:
        raise ScanFileError(
            f"{path.name}: its header says {rows} x {columns} patterns of {edge} x {edge} pixels:"
            " it is damaged"
        )
    _, step_x, step_y, volts, pixels_per_cm, camera, _ = rest
    size = path.stat().st_size
    record = _FRAME_HEAD + edge * edge
    there = max(0, size - patterns) // record
    promised = rows * columns
    if not there:
        raise ScanFileError(
            f"{path.name}: holds a header but not one of its {promised} patterns: copy it again"
        )
    frames = FileRegion(path, (min(there, promised), edge, edge), "u1", patterns, head=_FRAME_HEAD)
    sample = (
        RawAxis("y", step_y, unit="nm", role="scan"),
        RawAxis("x", step_x, unit="nm", role="scan"),
    )
    found = Found(
        frames,
        [
            RawAxis("frame", role="scan"),
            RawAxis("ky", role="detector"),
            RawAxis("kx", role="detector"),
        ],
        "NanoMegas blockfile",
        path.stem,
        path,
        diffraction=True,
        voltage_kv=plausible_voltage(volts),
        sample_axes=sample,
        metadata={
            "camera_length_mm": camera / 10,
            "pixels_per_cm": pixels_per_cm / 100,
            "beam_energy_v": volts,
        },
    )
    _k_scale(found, pixels_per_cm, camera)
    _dropped(found, path, patterns, edge, there)
    if request.scan_shape is None:
        layout = FrameGrid(frames, grid_index(frames.shape[0], (rows, columns)))
        found.data, found.missing, found.kind = layout, layout.missing, "4D-STEM"
        found.axes = [*sample, *found.axes[1:]]
        if there < promised:
            _say_missing(found, there, (rows, columns), patterns - images)
    return [offer_of(found)]


def _say_missing(found: Found, there: int, shape: tuple[int, int], image_bytes: int) -> None:
    rows, columns = shape
    found.notes.append(
        f"the header says {rows} x {columns} = {rows * columns} patterns, the file holds {there}:"
        " the rest is marked missing"
    )
    # The bright-field image before the patterns has one byte a position.
    if image_bytes < rows * columns:
        found.notes.append(
            f"its bright-field image has room for {image_bytes} positions only: the header's"
            f" {rows} x {columns} is doubtful, give the scan shape"
        )


def _k_scale(found: Found, pixels_per_cm: int, camera: int) -> None:
    """1/Å per pixel from the screen scale and the camera length, where both are there."""
    pixel_m = 1.0 / pixels_per_cm if pixels_per_cm else 0.0  # 100 × pixels per cm = per m
    found.pixel_size = pixel_from_camera(pixel_m, camera * 1e-4, found.voltage_kv)
    if found.pixel_size is None:
        found.notes.append(
            "its pixel size on the screen cannot be turned into 1/Å: set the pixel size"
        )
    else:
        found.notes.append(
            f"pixel size {found.pixel_size:.4g} 1/Å from the nominal camera length of"
            f" {camera / 100:g} cm: check it against a known pattern"
        )


def _dropped(found: Found, path: Path, start: int, edge: int, count: int) -> None:
    """Compare the running numbers before some frames with their places."""
    record = np.dtype([("mark", "<u2"), ("number", "<u4"), ("data", f"V{edge * edge}")])
    places = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.int64))
    frames = np.memmap(path, dtype=record, mode="r", offset=start, shape=(count,))
    numbers = np.array(frames["number"][places], dtype=np.int64)
    if numbers.any() and not np.array_equal(numbers - numbers[0], places - places[0]):
        found.notes.append(
            "the running numbers of its patterns do not count up: some were lost while recording"
        )
