from __future__ import annotations

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.scan import AXIS_NAMES, Kind, Scan
from napari_diffmap.viewer.views import as_patterns, detector_grid, sample_grid

SHAPES: dict[Kind, tuple[int, ...]] = {
    "4D-STEM": (3, 4, 5, 6),
    "pattern stack": (7, 5, 6),
    "pattern": (5, 6),
    "nanodiffraction": (2, 3, 4, 5, 6),
    "Bragg CDI": (7, 5, 6),
    "STXM": (7, 5, 6),
    "image series": (7, 5, 6),
    "image": (5, 6),
}
GRIDS = {"pattern stack": (1, 7), "pattern": (1, 1), "Bragg CDI": (1, 7)}


def scan_of(kind: Kind) -> Scan:
    shape = SHAPES[kind]
    data = np.arange(np.prod(shape)).reshape(shape)
    axes = tuple(Axis(name, n) for name, n in zip(AXIS_NAMES[kind], shape, strict=True))
    return Scan(da.from_array(data), axes, kind, kind)


@pytest.mark.parametrize("kind", SHAPES)
def test_every_kind_has_a_sample_image(kind: Kind) -> None:
    scan = scan_of(kind)
    patterns = as_patterns(scan)
    if kind in ("STXM", "image series", "image"):
        assert patterns is None
        assert tuple(a.size for a in sample_grid(scan)) == (5, 6)
        return
    assert patterns is not None
    assert patterns.kind == "4D-STEM"
    assert patterns.shape == (*GRIDS.get(kind, (3, 4)), 5, 6)


def test_patterns_of_a_rocking_scan_are_those_of_its_angle() -> None:
    scan = scan_of("nanodiffraction")
    patterns = as_patterns(scan, 1)
    assert patterns is not None
    assert np.array_equal(patterns.data.compute(), scan.data[1].compute())


def test_the_beam_is_at_zero(scan: Scan) -> None:
    centered = scan.with_calibration(scan.calibration.with_center((18.0, 21.0), "measured"))
    ky, kx = detector_grid(centered)
    assert ky.offset + 18 * ky.scale == pytest.approx(0)
    assert kx.offset + 21 * kx.scale == pytest.approx(0)


def test_lengths_are_shown_in_nm(scan: Scan) -> None:
    axes = (Axis("y", 12, 2e-3, 0, "µm"), Axis("x", 10, 20, 0, "Å"), *scan.axes[2:])
    y, x = sample_grid(replace(scan, axes=axes))
    assert (y.scale, y.unit, x.scale, x.unit) == (2.0, "nm", 2.0, "nm")


def test_a_backward_axis_is_not_mirrored() -> None:
    axes = (Axis("y", 5, -3.0, 9.0, "nm"), Axis("x", 6, 3.0, 0.0, "nm"))
    scan = Scan(da.zeros((5, 6)), axes, "image", "image")
    assert sample_grid(scan)[0].scale == 3.0
