"""Our own peak tables: opened as a scan whose patterns are drawn from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request
from napari_diffmap.scan.open.regions import lazy
from napari_diffmap.scan.open.rendered import RenderedPeaks
from napari_diffmap.scan.peak_file import load_peaks
from napari_diffmap.scan.peaks import PeakTable
from napari_diffmap.scan.scan import Scan


def peaktable(path: Path, _request: Request) -> list[Offer]:
    """The one scan of a peak table."""
    table = load_peaks(path)
    source = table.source
    shape = (*table.shape, *(source.shape if source else (128, 128)))
    candidate = Candidate("peaks", shape, "float32", "peak list")
    return [Offer(candidate, lambda: _found(path, table))]


def _found(path: Path, table: PeakTable) -> Found:
    region = rendered(table, path=path)
    source, pixel = table.source, region.pixel_size
    notes = [f"patterns are drawn from {len(table):,} registered peaks, not camera frames"]
    axes = [RawAxis("y", role="scan"), RawAxis("x", role="scan")]
    if source is not None and source.step_unit != "pixel":
        for axis, step in zip(axes, source.steps, strict=True):
            axis.scale, axis.unit = step, source.step_unit
    for word, center in zip(("ky", "kx"), region.center, strict=True):
        axis = RawAxis(word, role="detector")
        if table.calibrated:
            axis.scale, axis.offset, axis.unit = pixel, -center * pixel, "1/Å"
        axes.append(axis)
    if not table.calibrated:
        notes.append("peak positions are in detector pixels: set the pixel size before mapping")
    missing = None if table.noise is None else np.isnan(table.noise)
    return Found(
        region,
        axes,
        "peak table",
        path.stem,
        path,
        kind="4D-STEM",
        diffraction=True,
        voltage_kv=source.voltage_kv if source else None,
        center=region.center,
        missing=missing if missing is not None and missing.any() else None,
        notes=notes,
        metadata={"peaks": len(table), "found by": source.made_by if source else ""},
        peaks=table,
    )


def rendered(
    table: PeakTable,
    shape: tuple[int, int] | None = None,
    sigma: float | None = None,
    path: Path | None = None,
) -> RenderedPeaks:
    """The patterns of a table as an array drawn on demand; see `reconstruct`."""
    source = table.source
    if source is None:
        reach = float(max(np.abs(table.ky).max(initial=0), np.abs(table.kx).max(initial=0), 1e-6))
        size = shape or (128, 128)
        scale, center = 2 * reach / (min(size) - 9), None
        width = sigma or 1.2
    else:
        size = shape or source.shape
        zoom = min(new / old for new, old in zip(size, source.shape, strict=True))
        scale, width = source.scale / zoom, sigma or max(0.6, source.spot_sigma * zoom)
        # Pixel centres are at integers: the middle of the frame stays its middle.
        cy, cx = (
            (c - (old - 1) / 2) * zoom + (new - 1) / 2
            for c, old, new in zip(source.center, source.shape, size, strict=True)
        )
        center = (cy, cx)
    return RenderedPeaks(path or Path("peaks"), table, scale, size, width, center)


def reconstruct(
    table: PeakTable, shape: tuple[int, int] | None = None, sigma: float | None = None
) -> Scan:
    """Patterns of a peak table as a lazy scan of any size.

    Every spot is a Gaussian that adds its intensity at its float position; the
    frame shows the same field of view whatever its size.

    Parameters
    ----------
    table
        Registered peaks.
    shape
        Pixels ``(ky, kx)``; those of the detector when left out.
    sigma
        Width of the spots in the new pixels; as measured when left out.

    Raises
    ------
    BadInputError
        If the shape is impossible.
    """
    if shape is not None and min(shape) < 16:
        raise BadInputError(
            f"patterns of {shape[0]} × {shape[1]} pixels are too small: 16 at least"
        )
    region = rendered(table, shape, sigma)
    source = table.source
    calibration = Calibration().with_center(region.center, "measured")
    if table.calibrated:
        calibration = calibration.with_pixel_size(region.pixel_size, "file")
    if source is not None and source.voltage_kv is not None:
        calibration = calibration.with_voltage(source.voltage_kv, "file")
    steps = source.steps if source else (1.0, 1.0)
    unit = source.step_unit if source else "pixel"
    axes = (
        Axis("y", table.shape[0], steps[0], 0.0, unit),
        Axis("x", table.shape[1], steps[1], 0.0, unit),
        Axis("ky", region.shape[2]),
        Axis("kx", region.shape[3]),
    )
    data: da.Array = lazy(region)
    name = f"{source.name} from its peaks" if source and source.name else "peaks"
    scan = Scan(data, axes, "4D-STEM", name, format="peak table", peaks=table)
    return replace(scan.with_calibration(calibration), calibration=calibration)
