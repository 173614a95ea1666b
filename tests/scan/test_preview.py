"""A coarse image at once, better the more time there is."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.scan import Axis, Scan
from napari_diffmap.scan.detectors import Detector, Disk, virtual_images
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.preview import preview_images

WHOLE = Detector("d", Disk(1.5, 1.5, 9.0))


def ramp(ny: int, nx: int) -> np.ndarray:
    """Patterns whose counts say where they are."""
    where = np.arange(ny * nx, dtype=np.uint32).reshape(ny, nx, 1, 1)
    return np.broadcast_to(where, (ny, nx, 4, 4)).copy()


def as_scan(data: np.ndarray, missing: np.ndarray | None = None) -> Scan:
    axes = tuple(Axis(n, s) for n, s in zip(("y", "x", "ky", "kx"), data.shape, strict=True))
    return Scan(da.from_array(data, chunks=(3, 5, 4, 4)), axes, "4D-STEM", "made", missing=missing)


@settings(deadline=None, max_examples=25)
@given(ny=st.integers(1, 70), nx=st.integers(1, 70))
def test_with_time_it_is_the_image(ny: int, nx: int) -> None:
    scan = as_scan(ramp(ny, nx))
    (image,) = preview_images(scan, [WHOLE], seconds=60)
    np.testing.assert_array_equal(image, virtual_images(scan, [WHOLE])[0])
    (coarse,) = preview_images(scan, [WHOLE], seconds=0)
    assert np.isfinite(coarse).all()
    # Each value is that of a position nearby: no farther than the coarsest step of a 70² scan.
    y, x = np.divmod(coarse / 16, nx)
    assert np.abs(y - np.arange(ny)[:, None]).max() <= 16
    assert np.abs(x - np.arange(nx)).max() <= 16


def test_frames_that_are_not_there_stay_empty() -> None:
    missing = np.zeros((6, 6), dtype=bool)
    missing[2:4] = True
    (image,) = preview_images(as_scan(ramp(6, 6), missing), [WHOLE], seconds=60)
    assert np.isnan(image[2:4]).all()
    assert np.isfinite(image[:2]).all()


def test_a_mapped_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "scan.npy"
    np.save(path, ramp(40, 40).astype(np.uint16))
    scan = open_scan(path)
    assert scan.stored is not None
    monkeypatch.setattr(da.Array, "compute", lambda *_a, **_k: pytest.fail("decoded by Dask"))
    (image,) = preview_images(scan, [WHOLE], seconds=60)
    np.testing.assert_array_equal(image, ramp(40, 40).sum(axis=(2, 3)).astype(np.uint16))
