"""A look at a few frames: values that no camera gives are said at once."""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
from dask.local import get_sync  # by name, Dask would import its cluster code first
from numpy.typing import NDArray

from napari_diffmap.scan.open.found import Found
from napari_diffmap.scan.open.regions import Region

#: Nothing larger than this is decoded for a look.
_LOOK_BYTES = 64 << 20
#: Frames looked at where they are large, and where they are small.
_FEW, _MANY = 3, 16
#: float32 keeps whole numbers up to here.
_EXACT = 1 << 24


def look(data: da.Array, missing: NDArray[np.bool_] | None, found: Found) -> list[str]:
    """Lines about NaN, infinite, negative, saturated or huge values.

    Three frames are read (first, middle, last recorded), sixteen where they are
    small; integers up to 16 bit need no look.

    Parameters
    ----------
    data
        The array in the order of its kind.
    missing
        Frames that are not in the file.
    found
        Says how the file is stored: large stored blocks are not decoded.
    """
    if data.dtype.kind not in "fuic" or (data.dtype.kind in "ui" and data.dtype.itemsize < 4):
        return []
    frame_bytes = data.dtype.itemsize * math.prod(data.shape[-2:])
    stored = found.data.stored_chunks if isinstance(found.data, Region) else None
    block = frame_bytes if stored is None else data.dtype.itemsize * math.prod(stored)
    if not isinstance(found.data, Region):
        block = max(frame_bytes, data.dtype.itemsize * math.prod(c[0] for c in data.chunks))
    if max(block, frame_bytes) * _FEW > _LOOK_BYTES:
        return []
    depth = data.ndim - 2
    count = _MANY if max(block, frame_bytes) * _MANY <= _LOOK_BYTES // 4 else _FEW
    frames = _present(data.shape[:depth], missing, count)
    sample = np.stack(
        [data[tuple(int(i) for i in at)].compute(scheduler=get_sync) for at in frames]
    )
    return _words(sample, found)


def _present(
    shape: tuple[int, ...], missing: NDArray[np.bool_] | None, count: int
) -> list[tuple[int, ...]]:
    """Up to `count` positions with a frame, first and last among them."""
    if not shape:
        return [()]
    if missing is None:
        flat = np.arange(math.prod(shape))
    else:
        grid = np.broadcast_to(
            missing.reshape(missing.shape + (1,) * (len(shape) - missing.ndim)), shape
        )
        flat = np.flatnonzero(~grid.ravel())
    picks = flat[np.unique(np.linspace(0, len(flat) - 1, count).astype(np.int64))]
    return [tuple(int(i) for i in np.unravel_index(p, shape)) for p in picks]


def _words(sample: NDArray[Any], found: Found) -> list[str]:
    kind = sample.dtype.kind
    where = f"in {len(sample)} sampled frame" + ("s" if len(sample) > 1 else "")
    lines = []
    if kind in "fc":
        bad = {
            "NaN": int(np.isnan(sample).sum()),
            "infinite": int(np.isinf(sample).sum()),
            "negative": int((sample < 0).sum()) if kind == "f" else 0,
        }
        said = ", ".join(f"{n} {word}" for word, n in bad.items() if n)
        if said and (bad["NaN"] or bad["infinite"] or found.diffraction is not False):
            lines.append(f"{said} values {where}")
        return lines
    top = np.iinfo(sample.dtype).max
    capped = int((sample == top).sum())
    if capped and sample.dtype.itemsize >= 4:
        lines.append(f"{capped} pixels {where} hold {top}, the mark of masked pixels")
    elif int(sample.max()) > _EXACT and sample.dtype.itemsize == 8:
        lines.append(f"values reach {float(sample.max()):.3g} {where}: no camera counts that far")
    return lines
