"""Sums where the pixels lie: any dtype, byte order, strides and width, against dense numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan.detectors import Annulus, Detector, Rectangle, Weights, tile_image
from napari_diffmap.scan.masks import blocks_of, lanes_of
from napari_diffmap.scan.tiles import Tile

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


def image_of(patterns: np.ndarray, detector: Detector) -> np.ndarray:
    ny, nx = patterns.shape[:2]
    tile = Tile(slice(0, ny), slice(0, nx), patterns, np.zeros((ny, nx), dtype=bool))
    return tile_image(tile, detector)


def dense(patterns: np.ndarray, detector: Detector) -> np.ndarray:
    """The same by numpy in double precision."""
    values = patterns.astype(np.float64)
    shape = detector.shape
    mask = shape.mask(values.shape[2:])
    weight = shape.values.astype(np.float64) if isinstance(shape, Weights) else mask.astype(float)
    total = (values * weight).sum(axis=(2, 3))
    if detector.response == "sum":
        return total
    with np.errstate(all="ignore"):
        if detector.response == "mean":
            return total / weight.sum()
        y, x = np.indices(mask.shape)
        cy, cx = shape.center
        lever = {"com_y": y - cy, "com_x": x - cx, "dpc_y": np.sign(y - cy)}
        return (values * weight * lever[detector.response]).sum(axis=(2, 3)) / total


@st.composite
def stacks(draw: Any) -> np.ndarray:
    """Patterns of any dtype and byte order, as views with any strides."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES))).newbyteorder(draw(st.sampled_from("<>")))
    ny, nx, ky = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    kx = draw(st.sampled_from([1, 2, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 100]))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    if draw(st.booleans()):  # frames with an odd number of bytes before each
        record = np.dtype([("head", "V3"), ("data", dtype, (ky, kx))])
        values = np.zeros((ny, nx), dtype=record)["data"]
    else:
        values = np.zeros((ny, 2 * nx, 2 * ky, kx + 3), dtype=dtype)[:, ::2, ::2, 1 : kx + 1]
    values[...] = rng.integers(0, 100, values.shape)
    if draw(st.booleans()):
        values = values[..., ::-1, :]
    if draw(st.booleans()):
        values = values[::-1].transpose(1, 0, 2, 3)
    return values


@settings(deadline=None, max_examples=150)
@given(
    patterns=stacks(),
    weighted=st.booleans(),
    response=st.sampled_from(["sum", "mean", "com_y", "com_x", "dpc_y"]),
)
def test_sums_equal_dense_ones(patterns: np.ndarray, weighted: bool, response: Any) -> None:
    ky, kx = patterns.shape[2:]
    shape: Any = Annulus(ky / 2, kx / 3, 0.4, 0.7 * max(ky, kx))
    if weighted:
        shape = Weights(np.random.default_rng(kx).random((ky, kx), dtype=np.float32))
    detector = Detector("d", shape, response)
    np.testing.assert_allclose(
        image_of(patterns, detector), dense(patterns, detector), rtol=3e-6, atol=3e-5
    )


def test_the_largest_counts_fit() -> None:
    """More blocks than 32 bits hold of full 16-bit counts."""
    patterns = np.full((1, 1, 1600, 1000), 65535, dtype=np.uint16)
    everything = Detector("d", Rectangle(0, 0, 1599, 999))
    assert image_of(patterns, everything)[0, 0] == np.float32(65535 * 1600 * 1000)
    deepest = np.full((1, 1, 1600, 1000), -32768, dtype=np.int16)
    assert image_of(deepest, everything)[0, 0] == np.float32(-32768 * 1600 * 1000)
    huge = np.full((1, 1, 8, 64), 2**63 + 2**62, dtype=np.uint64)
    assert image_of(huge, everything)[0, 0] == pytest.approx(8.0 * 64 * (2**63 + 2**62), rel=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_lies_beside_the_mask_does_not_matter(bad: float) -> None:
    patterns = np.full((1, 2, 4, 40), bad, dtype=np.float32)
    patterns[..., 1:3, 5:9] = 2.0
    patterns[0, 1, 2, 6] = bad
    image = image_of(patterns, Detector("d", Rectangle(1, 5, 2, 8)))
    assert image[0, 0] == 16
    np.testing.assert_equal(image[0, 1], np.float32(bad))
    weights = np.zeros((4, 40), dtype=np.float32)
    weights[1:3, 5:9] = 0.5
    assert image_of(patterns, Detector("d", Weights(weights)))[0, 0] == 8


def test_a_file_is_summed_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "patterns.bin"
    values = np.random.default_rng(0).integers(0, 999, (5, 7, 33, 50)).astype(">u2")
    path.write_bytes(b"head!" + values.tobytes())
    mapped = np.memmap(path, dtype=">u2", mode="r", offset=5, shape=values.shape)
    detector = Detector("d", Annulus(16, 25, 3, 14))
    np.testing.assert_array_equal(image_of(mapped, detector), dense(values, detector))


def test_only_the_bytes_that_are_needed_are_read() -> None:
    """A disk of 10 px radius in 256² patterns of 16 bits: at most two lines of 64 bytes a row."""
    mask = Annulus(128, 128, 0, 10).mask((256, 256))
    assert blocks_of(mask, 2, 512).touched <= 21 * 2 * 64
    assert lanes_of(2) == 32


def test_weights_of_another_detector_are_refused() -> None:
    weights = Weights(np.ones((4, 4), dtype=np.float32))
    with pytest.raises(BadInputError, match="weights of 4 x 4 pixels do not fit patterns of 5 x 6"):
        image_of(np.ones((1, 1, 5, 6)), Detector("d", weights))
