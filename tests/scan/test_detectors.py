"""Virtual detectors against plain numpy, and their edges."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.detectors import (
    Annulus,
    Detector,
    Disk,
    Point,
    Polygon,
    Rectangle,
    mean_pattern_in,
    preset_detectors,
    virtual_images,
)
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BlockReader


def make_scan(data: np.ndarray, chunks=(2, 3, -1, -1), missing=None) -> Scan:
    axes = tuple(Axis(n, s) for n, s in zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    return Scan(da.from_array(data, chunks=chunks), axes, "4D-STEM", "made", missing=missing)


def reference(data: np.ndarray, detector: Detector) -> np.ndarray:
    """The same image by dense numpy sums."""
    data = data.astype(np.float64)
    mask = detector.mask(data.shape[2:])
    inside = data * mask
    total = inside.sum(axis=(2, 3))
    y, x = np.mgrid[: data.shape[2], : data.shape[3]]
    cy, cx = detector.shape.center
    weight = {
        "com_y": y - cy,
        "com_x": x - cx,
        "dpc_y": np.sign(y - cy),
        "dpc_x": np.sign(x - cx),
    }.get(detector.response)
    with np.errstate(all="ignore"):
        if detector.response == "sum":
            return total
        if detector.response == "mean":
            return total / mask.sum()
        return (inside * weight).sum(axis=(2, 3)) / total


shapes = st.one_of(
    st.builds(Point, st.floats(-1, 12), st.floats(-1, 12)),
    st.builds(
        lambda y, x, r0, w: Annulus(y, x, r0, r0 + w),
        st.floats(-2, 12),
        st.floats(-2, 12),
        st.floats(0, 5),
        st.floats(0, 6),
    ),
    st.builds(Rectangle, *([st.floats(-2, 12)] * 4)),
    st.builds(
        lambda v: Polygon(tuple(v)),
        st.lists(st.tuples(st.floats(-2, 12), st.floats(-2, 12)), min_size=3, max_size=6),
    ),
)


@settings(deadline=None, max_examples=60)
@given(
    data=st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64]).flatmap(
        lambda t: arrays(
            t,
            array_shapes(min_dims=4, max_dims=4, max_side=11),
            elements=st.integers(0, 200),
        )
    ),
    shape=shapes,
    response=st.sampled_from(["sum", "mean", "com_y", "com_x", "dpc_y", "dpc_x"]),
)
def test_image_equals_dense_sums(data, shape, response):
    detector = Detector("d", shape, response)
    (image,) = virtual_images(make_scan(data), [detector])
    np.testing.assert_allclose(image, reference(data, detector), rtol=2e-6, atol=1e-5)


def test_polygon_of_next_to_no_height_covers_its_corner_at_most():
    flat = Polygon(((0.0, 0.0), (0.0, 0.0), (2.2250738585072014e-308, 2.0)))
    assert not flat.mask((3, 4))[1:].any()


def test_big_endian_is_read_in_its_own_order():
    data = np.arange(2 * 2 * 4 * 4, dtype=">u2").reshape(2, 2, 4, 4)
    (image,) = virtual_images(make_scan(data), [Detector("d", Rectangle(0, 0, 3, 3))])
    np.testing.assert_array_equal(image, data.astype(int).sum(axis=(2, 3)))


def test_large_counts_do_not_overflow():
    data = np.full((1, 1, 64, 64), 65535, dtype=np.uint16)
    (image,) = virtual_images(make_scan(data), [Detector("d", Rectangle(0, 0, 63, 63))])
    assert image[0, 0] == 65535 * 64 * 64


def test_a_missing_frame_is_nan_never_zero():
    data = np.ones((2, 3, 4, 4), dtype=np.uint8)
    data[1, 2] = 0
    missing = np.zeros((2, 3), dtype=bool)
    missing[1, 2] = True
    (image,) = virtual_images(make_scan(data, missing=missing), [Detector("d", Disk(2, 2, 9))])
    assert np.isnan(image[1, 2])
    assert np.isfinite(image).sum() == 5


def test_several_detectors_share_one_pass_and_report_tiles():
    data = np.random.default_rng(0).integers(0, 99, (5, 7, 8, 8)).astype(np.uint16)
    scan = make_scan(data)
    reader = BlockReader(scan, max_bytes=7 * 64 * 2 * 2)
    seen = []
    detectors = [Detector("a", Disk(4, 4, 2)), Detector("b", Annulus(4, 4, 2, 4), "com_x")]
    images = virtual_images(
        scan, detectors, reader=reader, on_tile=lambda n, tile, _: seen.append((n, tile.rows))
    )
    assert len(seen) == len(reader.blocks) > 1
    for image, detector in zip(images, detectors, strict=True):
        np.testing.assert_allclose(image, reference(data, detector), rtol=1e-5)


def test_cancel_stops_between_tiles():
    scan = make_scan(np.ones((4, 4, 4, 4), np.uint8))
    with pytest.raises(CancelledError):
        virtual_images(scan, [Detector("a", Disk(2, 2, 1))], cancelled=lambda: True)


def test_reader_keeps_the_first_blocks_and_decodes_once():
    reads = []

    def block(data, block_info=None):
        reads.append(block_info[0]["chunk-location"])
        return data

    data = da.zeros((4, 4, 8, 8), chunks=(1, 4, 8, 8), dtype=np.uint8)
    data = data.map_blocks(block, dtype=np.uint8, meta=np.empty((0, 0, 0, 0), np.uint8))
    axes = tuple(Axis(n, s) for n, s in zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    reader = BlockReader(Scan(data, axes, "4D-STEM", "made"), keep_bytes=3 * 256, max_bytes=256)
    for _ in range(3):
        assert sum(tile.missing.size for tile in reader) == 16
    assert not reader.resident
    assert len(reads) == 4 + 1 + 1  # the last block is read at every pass, the rest once


def test_region_mean_pattern():
    data = np.random.default_rng(1).integers(0, 99, (4, 5, 6, 6)).astype(np.uint16)
    region = np.zeros((4, 5), dtype=bool)
    region[1:3, 2:4] = True
    np.testing.assert_allclose(
        mean_pattern_in(make_scan(data), region), data[region].mean(axis=0), rtol=1e-12
    )
    with pytest.raises(BadInputError, match="no recorded pattern"):
        mean_pattern_in(make_scan(data), np.zeros((4, 5), dtype=bool))


def test_presets_nest_without_overlap():
    bf, adf, haadf = (d.mask((128, 128)) for d in preset_detectors((128, 128), (63.2, 60.1), 4.5))
    assert not (bf & adf).any()
    assert not (adf & haadf).any()
    assert bf.sum() > np.pi * 4.5**2
    assert haadf.sum() > adf.sum() > bf.sum()


def test_impossible_annulus_says_so():
    with pytest.raises(BadInputError, match="inner <= outer"):
        Annulus(0, 0, 5, 2)
