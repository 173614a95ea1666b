"""Sums by torch against the kernel of the processor, and against plain numpy."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_diffmap.errors import BadInputError, RunError
from napari_diffmap.models import device, device_tiles
from napari_diffmap.models.device_tiles import reader_on
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.detectors import (
    RESPONSES,
    Annulus,
    Detector,
    Rectangle,
    Shape,
    Weights,
    virtual_images,
)
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BlockReader

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
    ),
]
#: Types whose extremes a sum must bear.
DTYPES = ("u1", "i1", "u2", ">u2", "i2", ">i2", "u4", "i4", "u8", "i8", "?")


def make_scan(data: np.ndarray) -> Scan:
    axes = tuple(Axis(n, s) for n, s in zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    return Scan(da.from_array(data, chunks=(2, 3, -1, -1)), axes, "4D-STEM", "made")


def read(scan: Scan, **given: Any) -> BlockReader:
    reader = BlockReader(scan, **given)
    for _ in reader:
        pass
    return reader


@pytest.mark.parametrize("name", DEVICES)
@settings(deadline=None, max_examples=60)
@given(
    data=st.sampled_from(DTYPES).flatmap(
        lambda t: arrays(np.dtype(t), array_shapes(min_dims=4, max_dims=4, max_side=9))
    ),
    shape=st.sampled_from(
        [Annulus(4, 4, 1, 3), Annulus(2.3, 5.1, 0, 4), Rectangle(0, 0, 9, 9), Annulus(50, 50, 0, 2)]
    ),
)
def test_counts_are_summed_exactly(name: str, data: np.ndarray, shape: Shape) -> None:
    scan = make_scan(data)
    reader = reader_on(read(scan), name)
    (image,) = virtual_images(scan, [Detector("d", shape)], reader=reader)
    # Python's integers have no bounds.
    inside = data[..., shape.mask(data.shape[2:])].astype(object)
    expected = inside.sum(axis=-1).astype(np.float64).astype(np.float32)
    if data.dtype.itemsize < 8:
        np.testing.assert_array_equal(image, expected)
    else:
        np.testing.assert_allclose(image, expected, rtol=1e-6, atol=1e6)


@pytest.mark.parametrize("name", DEVICES)
def test_every_response_is_that_of_the_processor(name: str) -> None:
    random = np.random.default_rng(3)
    weights = Weights(random.normal(size=(33, 41)).astype(np.float32))
    ring = Annulus(15.4, 17.7, 3, 12)
    chosen = [Detector("w", weights), *(Detector("ring", ring, each) for each in RESPONSES)]
    for dtype in ("u1", "u2", "f4", "f2", "f8"):
        scan = make_scan(random.integers(0, 200, (5, 7, 33, 41)).astype(dtype))
        on_host = read(scan)
        expected = virtual_images(scan, chosen, reader=on_host)
        found = virtual_images(scan, chosen, reader=reader_on(on_host, name))
        for image, truth in zip(found, expected, strict=True):
            np.testing.assert_allclose(image, truth, rtol=2e-6, atol=1e-5 * np.abs(truth).max())


def test_missing_frames_stay_missing() -> None:
    data = np.ones((3, 4, 8, 8), np.uint16)
    missing = np.zeros((3, 4), dtype=bool)
    missing[2, 1:] = True
    scan = make_scan(data)
    scan = Scan(scan.data, scan.axes, scan.kind, scan.name, missing=missing)
    (image,) = virtual_images(
        scan, [Detector("d", Annulus(4, 4, 0, 9))], reader=reader_on(read(scan), "cpu")
    )
    np.testing.assert_array_equal(np.isnan(image), missing)


def test_many_patterns_are_gathered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_tiles, "_GATHERED", 100)
    data = np.random.default_rng(1).integers(0, 65535, (4, 9, 16, 16)).astype(np.uint16)
    scan = make_scan(data)
    (image,) = virtual_images(
        scan, [Detector("d", Rectangle(0, 0, 15, 15))], reader=reader_on(read(scan), "cpu")
    )
    np.testing.assert_array_equal(image, data.sum(axis=(2, 3), dtype=np.int64).astype(np.float32))


def test_a_scan_that_memory_does_not_hold_stays_on_the_processor() -> None:
    scan = make_scan(np.ones((4, 4, 8, 8), np.uint16))
    with pytest.raises(RunError, match="larger than the memory allowed"):
        reader_on(read(scan, keep_bytes=0), "cpu")


def test_a_full_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = make_scan(np.ones((4, 4, 8, 8), np.uint16))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (100, 100))
    with pytest.raises(RunError, match="stay on the processor"):
        reader_on(read(scan), "cuda:0")


def test_which_device_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device, "best_device", lambda: "cuda")
    monkeypatch.delenv(device.DEVICE_VARIABLE, raising=False)
    assert device.device_for_sums() == "cuda"
    monkeypatch.setenv(device.DEVICE_VARIABLE, "cpu")
    assert device.device_for_sums() is None
    monkeypatch.setenv(device.DEVICE_VARIABLE, "cuda:1")
    assert device.device_for_sums() == "cuda:1"
    monkeypatch.setenv(device.DEVICE_VARIABLE, "cuda:2")
    with pytest.raises(BadInputError, match="cuda:2"):
        device.device_for_sums()
    monkeypatch.setenv(device.DEVICE_VARIABLE, "")
    monkeypatch.delitem(device.sys.modules, "torch")
    assert device.device_for_sums() is None
