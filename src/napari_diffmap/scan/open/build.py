"""From what a reader found to a scan: one way for every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import NeedsShapeError, ScanFileError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.open import values
from napari_diffmap.scan.open.calibrate import calibrate
from napari_diffmap.scan.open.classify import (
    Decision,
    UnclearError,
    axis_class,
    decide,
    explicit_order,
)
from napari_diffmap.scan.open.energies import rising
from napari_diffmap.scan.open.found import Found, RawAxis, Request
from napari_diffmap.scan.open.notes import one_line, shape_text
from napari_diffmap.scan.open.regions import FrameGrid, Region, cuts_patterns, grid_index, lazy
from napari_diffmap.scan.open.tidy import tidy
from napari_diffmap.scan.scan import AXIS_NAMES, Kind, Scan

_PATTERN_KINDS = frozenset({"4D-STEM", "pattern stack", "pattern"})


def build(found: Found, request: Request) -> Scan:
    """A scan from an array and what its file says about it.

    Raises
    ------
    ScanFileError
        If the array cannot be a scan.
    NeedsShapeError
        If a flat stack does not fit the scan shape asked for.
    """
    _refuse_impossible(found)
    never_written = _never_written(found)
    _absent_blocks(found)
    if request.scan_shape is not None:
        _lay_out(found, request.scan_shape, request.growing)
    drop, axes = _length_one_axes(found, request)
    try:
        decision = _decision(found, axes, request, drop)
    except UnclearError as error:
        raise ScanFileError(
            one_line(f"{found.source.name}: an array of {shape_text(found.shape)} {error}")
        ) from error
    if decision.note:
        found.notes.append(decision.note)
    kept = [i for i in range(len(found.shape)) if i not in drop]
    data = _array(found, [kept[i] for i in decision.order], drop)
    names = AXIS_NAMES[decision.kind]
    tidied: list[Axis] = []
    for name, i in zip(names, decision.order, strict=True):
        state = tidy(name, found.shape[kept[i]], axes[i])
        tidied.append(state.axis)
        found.notes.extend(state.notes)
    calibration = Calibration()
    final = tuple(tidied)
    if decision.kind in _PATTERN_KINDS:
        calibration, final = calibrate(found, final)
    missing = _missing(found, decision, data.shape)
    stored = _stored(found, decision.order, drop, data)
    if decision.kind == "STXM":
        data, energy, missing, note = rising(data, final[0], missing)
        final = (energy, *final[1:])
        if note:
            found.notes.append(note)
            stored = None  # in the file, frames lie in another order
    if never_written and missing is not None:
        found.notes.append(
            f"{int(missing.sum())} of {missing.size} frames were never written; marked missing"
        )
    found.notes.extend(values.look(data, missing, found))
    if data.dtype.kind == "c":
        data = abs(data)
        found.notes.append("complex values: their modulus is shown")
    return Scan(
        data=data,
        axes=final,
        kind=decision.kind,
        name=found.name,
        source=found.source,
        format=found.format,
        calibration=calibration,
        missing=missing,
        warnings=tuple(dict.fromkeys(one_line(note) for note in found.notes)),
        metadata=dict(found.metadata),
        peaks=found.peaks,
        stored=stored,
        stored_as=data.name,
    )


def _stored(found: Found, order: Sequence[int], drop: set[int], data: da.Array) -> Region | None:
    """The region of the file where the scan is nothing else than that."""
    region = found.data
    if not isinstance(region, Region) or drop or list(order) != sorted(order):
        return None
    return region if data.dtype == region.dtype else None


def _refuse_impossible(found: Found) -> None:
    name, dtype, shape = found.source.name, found.dtype, found.shape
    if dtype.names:
        fields = ", ".join(dtype.names)
        what = "a colour picture" if set(dtype.names) <= set("RGBA") else f"a table of {fields}"
        raise ScanFileError(one_line(f"{name}: holds {what}, not measured intensities"))
    if dtype.kind not in "biufc":
        raise ScanFileError(f"{name}: values of type {dtype} are no intensities")
    if 0 in shape:
        raise ScanFileError(
            f"{name}: the array is empty ({shape_text(shape)}): there is nothing to open"
        )
    if len(shape) < 2:
        raise ScanFileError(
            f"{name}: a list of {shape_text(shape) if shape else 'one'} values is no scan:"
            " give its shape (y, x, ky, kx) if it is one unrolled"
        )


def _never_written(found: Found) -> bool:
    """Mark frames that the file promises but never got."""
    absent = found.data.unwritten if isinstance(found.data, Region) else None
    if absent is None or found.missing is not None:
        return False
    found.missing = absent
    return True


def _absent_blocks(found: Found) -> None:
    """Say what a Zarr store leaves out: never written, or all zero and not kept."""
    blocks = getattr(found.data, "absent_blocks", 0)
    if blocks:
        found.notes.append(
            f"{blocks} blocks are not in the store and read as 0: never written, or all zero"
        )


def _lay_out(found: Found, scan_shape: tuple[int, int], growing: bool) -> None:
    """Put a flat stack on its scan positions, in place."""
    rows, columns = int(scan_shape[0]), int(scan_shape[1])
    squeezed = [n for n in found.shape[:-2] if n != 1]
    if len(found.shape) == 4 and found.shape[:2] == (rows, columns):
        return
    frames = int(np.prod(squeezed, dtype=np.int64)) if squeezed else 1
    wanted = rows * columns
    if len(found.shape) < 2 or rows < 1 or columns < 1:
        raise NeedsShapeError(f"{found.source.name}: a scan shape of {rows} x {columns} is none")
    fewest = 1 if growing else (rows - 1) * columns + 1
    if not fewest <= frames <= wanted:
        raise NeedsShapeError(
            f"{found.source.name}: {frames} frames cannot be laid out as {rows} x {columns} ="
            f" {wanted}: give rows,columns whose product is {frames}"
        )
    present = np.ones(frames, dtype=bool)
    if found.missing is not None:
        present = ~found.missing.ravel()
    index = grid_index(frames, (rows, columns))
    if frames < wanted:
        found.notes.append(
            f"{frames} frames on {rows} x {columns} positions: the last {wanted - frames}"
            " positions are missing"
        )
    missing = np.ones(wanted, dtype=bool)
    missing[:frames] = ~present
    if isinstance(found.data, Region) and found.data.ndim == 3:
        found.data = FrameGrid(found.data, index)
    else:
        data = found.data if isinstance(found.data, da.Array) else lazy(found.data)
        flat = data.reshape((frames, *data.shape[-2:]))
        if frames < wanted:
            pad = da.zeros((wanted - frames, *flat.shape[1:]), dtype=flat.dtype)
            flat = da.concatenate([flat, pad])
        found.data = flat.reshape((rows, columns, *flat.shape[1:]))
    found.missing = missing.reshape(rows, columns) if missing.any() else None
    found.kind = "4D-STEM"
    sample = found.sample_axes or (RawAxis("y", role="scan"), RawAxis("x", role="scan"))
    found.axes = [*sample, *found.axes[-2:]]
    if found.peaks is not None and frames == wanted:
        found.peaks = found.peaks.reshaped((rows, columns))


def _length_one_axes(found: Found, request: Request) -> tuple[set[int], list[RawAxis]]:
    """Axes of length 1 that carry nothing, and the axes that are left."""
    shape, ndim = found.shape, len(found.shape)
    kind: Kind | None = request.kind or found.kind
    drop: list[int] = []
    if request.axes is not None:
        wanted = len(request.axes)
    elif kind is not None:
        wanted = len(AXIS_NAMES[kind])
    else:
        wanted = min(ndim, 4)
    for i in range(ndim):
        if ndim - len(drop) > wanted and shape[i] == 1:
            drop.append(i)
    if kind is None and request.axes is None:
        left = [i for i in range(ndim) if i not in drop]
        if len(left) > 2 and shape[left[-1]] == 1:  # channels last, as networks store images
            drop.append(left.pop())
            while len(left) > 2 and shape[left[0]] == 1:
                drop.append(left.pop(0))
        elif len(left) == 3 and shape[left[1]] == 1:  # a detector one pixel high
            drop.append(left.pop(1))
        elif len(left) == 3 and shape[left[0]] == 1 and not _stated(found.axes[left[0]]):
            drop.append(left.pop(0))
    if drop:
        found.notes.append(
            f"axes of length 1 were dropped: {shape_text(shape)} opened as"
            f" {shape_text([n for i, n in enumerate(shape) if i not in drop])}"
        )
    return set(drop), [axis for i, axis in enumerate(found.axes) if i not in drop]


def _stated(axis: RawAxis) -> bool:
    """Whether the file says what an axis is."""
    return axis.role is not None or axis_class(axis) != "?"


def _decision(found: Found, axes: list[RawAxis], request: Request, drop: set[int]) -> Decision:
    if request.axes is not None:
        if len(request.axes) != len(axes):
            raise UnclearError(f"does not have the {len(request.axes)} axes given")
        kind, order = explicit_order(request.axes, request.kind)
        return Decision(kind, order)
    if drop and isinstance(found.data, Region | da.Array) and len(axes) == 2:
        index = tuple(0 if i in drop else slice(None) for i in range(len(found.shape)))
        picture = np.asarray(found.data[index])
        return decide(replace(found, data=da.from_array(picture)), axes, request.kind)
    return decide(found, axes, request.kind)


def _array(found: Found, order: list[int], drop: set[int]) -> da.Array:
    """The lazy array with its axes in the order of the kind."""
    ndim = len(found.shape)
    if isinstance(found.data, Region):
        frame_axes = [axis - ndim for axis in order[-2:]]
        data = lazy(found.data, frame_axes)
        if cuts_patterns(found.data, frame_axes):
            found.notes.append(
                "stored in blocks that run across patterns: reading is slow, save it as .zspy"
            )
    else:
        data = found.data
    if drop:
        data = data[tuple(0 if i in drop else slice(None) for i in range(ndim))]
    kept = [i for i in range(ndim) if i not in drop]
    positions = [kept.index(i) for i in order]
    if positions != sorted(positions):
        data = data.transpose(positions)
    if any(len(part) > 1 for part in data.chunks[-2:]):
        data = data.rechunk({data.ndim - 2: -1, data.ndim - 1: -1})
    return data


def _missing(found: Found, decision: Decision, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    if found.missing is None or not found.missing.any():
        return None
    depth = {"4D-STEM": 2, "nanodiffraction": 3}.get(decision.kind, 1)
    wanted = tuple(int(n) for n in shape[:depth])
    if found.missing.size != int(np.prod(wanted)):
        return None  # detector axes come first: blocks say nothing about frames
    if found.missing.all():
        raise ScanFileError(f"{found.source.name}: not one frame is in the file")
    return cast(NDArray[np.bool_], found.missing.reshape(wanted))


def named_axes(names: str, roles: str = "") -> list[RawAxis]:
    """Axes without calibration, e.g. ``named_axes("y x ky kx", "ssdd")``."""
    words = names.split()
    role: dict[str, Any] = {"s": "scan", "d": "detector"}
    return [
        RawAxis(word, role=role.get(letter))
        for word, letter in zip(words, roles.ljust(len(words)), strict=True)
    ]
