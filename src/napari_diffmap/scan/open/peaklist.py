"""py4DSTEM peak lists: the peaks themselves, and patterns rendered from them on demand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis
from napari_diffmap.scan.open.h5 import Walk, opened
from napari_diffmap.scan.open.rendered import RenderedPeaks
from napari_diffmap.scan.peaks import PeakTable

#: Rendered pattern: pixels along an edge, Gaussian sigma and free margin (pixels).
SIZE = 128
SIGMA = 1.2
MARGIN = 4
_FIELDS = ("qx", "qy", "intensity")
#: No electron pattern reaches this far from the beam (1/Å); detector pixels do.
_MAX_Q = 8.0


def offers(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """Peak lists of a py4DSTEM file."""
    import h5py

    listed = []
    for name, node in tree.tables.items():
        fields = np.dtype(h5py.check_vlen_dtype(node.dtype)).names or ()
        if node.ndim != 2 or not set(_FIELDS) <= set(fields):
            continue
        shape = (*node.shape, SIZE, SIZE)
        candidate = Candidate(name.strip("/"), shape, "float32", "peak list")
        listed.append(Offer(candidate, lambda name=name: _load(path, name)))  # type: ignore[misc]
    return listed


def _load(path: Path, name: str) -> Found:
    from napari_diffmap.scan.open.conventions import file_calibration

    with opened(path) as file:
        lists = file[name][()]
    shape = (int(lists.shape[0]), int(lists.shape[1]))
    flat = lists.ravel()
    counts = np.array([len(peaks) for peaks in flat], dtype=np.int64)
    if not counts.sum():
        raise ScanFileError(f"{path.name}: its peak list {name.strip('/')} is empty")
    together = np.concatenate([peaks for peaks in flat if len(peaks)])
    ky, kx, intensity = (np.asarray(together[f], dtype=np.float64) for f in _FIELDS)
    keep = np.isfinite(ky) & np.isfinite(kx) & np.isfinite(intensity)
    notes: list[str] = []
    if not keep.all():
        position = np.repeat(np.arange(flat.size), counts)
        counts = np.bincount(position[keep], minlength=flat.size)
        ky, kx, intensity = ky[keep], kx[keep], intensity[keep]
        notes.append(f"{int((~keep).sum())} peaks without a finite position were left out")
    offsets = np.concatenate(([0], np.cumsum(counts)))
    ky, kx, calibrated = _calibrated(ky, kx, intensity, offsets, file_calibration(path), notes)
    peaks = PeakTable(
        shape,
        offsets.astype(np.int64),
        ky.astype(np.float32),
        kx.astype(np.float32),
        intensity.astype(np.float32),
        calibrated,
    )
    return _rendered(path, name, peaks, notes)


def _rendered(path: Path, name: str, peaks: PeakTable, notes: list[str]) -> Found:
    reach = float(max(np.abs(peaks.ky).max(), np.abs(peaks.kx).max(), 1e-6))
    pixel = 2 * reach / (SIZE - 1 - 2 * MARGIN)
    region = RenderedPeaks(path, peaks, pixel, (SIZE, SIZE), SIGMA)
    middle = (SIZE - 1) / 2
    notes.append(
        f"patterns of {SIZE} x {SIZE} are drawn from {len(peaks):,} measured peaks"
        f" (Gaussians of {SIGMA:g} pixels); the camera frames are not in the file"
    )
    axes = [RawAxis("y", role="scan"), RawAxis("x", role="scan")]
    for word in ("ky", "kx"):
        axis = RawAxis(word, role="detector")
        if peaks.calibrated:
            axis.scale, axis.offset, axis.unit = pixel, -middle * pixel, "1/Å"
        axes.append(axis)
    empty = int((peaks.count_map() == 0).sum())
    if empty:
        notes.append(f"{empty} positions have no peak: their patterns are dark")
    return Found(
        region,
        axes,
        "py4DSTEM peaks",
        path.stem,
        path,
        kind="4D-STEM",
        diffraction=True,
        center=(middle, middle),
        notes=notes,
        metadata={"peak list": name.strip("/"), "peaks": len(peaks)},
        peaks=peaks,
    )


def _calibrated(
    ky: NDArray[Any],
    kx: NDArray[Any],
    intensity: NDArray[Any],
    offsets: NDArray[Any],
    calibration: dict[str, Any],
    notes: list[str],
) -> tuple[NDArray[Any], NDArray[Any], bool]:
    """Positions relative to the beam, in 1/Å where that can be known."""
    centred = ky.min() < 0 < ky.max() and kx.min() < 0 < kx.max()
    if centred and max(np.abs(ky).max(), np.abs(kx).max()) < _MAX_Q:
        if calibration.get("Q_pixel_units") not in ("A^-1", "1/Å"):
            notes.append("peak positions are centred on the beam; their unit is taken as 1/Å")
        return ky, kx, True
    size, unit = calibration.get("Q_pixel_size"), calibration.get("Q_pixel_units")
    scaled = isinstance(size, int | float) and unit in ("A^-1", "1/Å", "Å^-1") and size > 0
    if not centred:
        rows, columns = calibration.get("qx0_mean"), calibration.get("qy0_mean")
        if not isinstance(rows, int | float) or not isinstance(columns, int | float):
            at = _brightest(intensity, offsets)
            rows, columns = float(np.median(ky[at])), float(np.median(kx[at]))
            notes.append("no beam position in the file; the median of the brightest peaks is used")
        ky, kx = ky - rows, kx - columns
    if scaled:
        return ky * size, kx * size, True
    notes.append("peak positions are in detector pixels: set the pixel size before mapping")
    return ky, kx, False


def _brightest(intensity: NDArray[Any], offsets: NDArray[Any]) -> NDArray[np.int64]:
    """Row of the brightest peak of every position that has one."""
    spans = pairwise(offsets)
    return np.array([a + int(np.argmax(intensity[a:b])) for a, b in spans if b > a])
