"""The table itself: maps, virtual images, disk, patterns drawn from it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.errors import BadInputError, ScanFileError
from napari_diffmap.scan.detectors import Detector, Disk, virtual_images
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.open.peaktable import reconstruct
from napari_diffmap.scan.peak_file import compression, disk_bytes, load_peaks, save_peaks
from napari_diffmap.scan.peaks import PeakSource, PeakTable


def make(
    shape: tuple[int, int] = (4, 5), *, seed: int = 0, most: int = 9, calibrated: bool = False
) -> PeakTable:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, most + 1, shape[0] * shape[1])
    n = int(counts.sum())
    scale = 0.02 if calibrated else 1.0
    source = PeakSource(
        (64, 72), (30.5, 36.25), scale, 1.3, 10_000_000, "a scan", 200.0, (2.0, 2.5), "nm", "test"
    )
    place = rng.uniform(-25, 25, (2, n)) * scale
    values = rng.lognormal(4, 1, (4, n)).astype(np.float32)
    return PeakTable(
        shape,
        np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        place[0].astype(np.float32),
        place[1].astype(np.float32),
        values[0],
        calibrated,
        values[1],
        values[2],
        values[3],
        rng.uniform(1, 2, shape).astype(np.float32),
        source,
    )


@pytest.mark.parametrize("kind", [".parquet", ".zarr"])
@pytest.mark.parametrize("calibrated", [False, True])
def test_a_table_comes_back(kind: str, calibrated: bool, tmp_path: Any) -> None:
    table = make(calibrated=calibrated)
    back = load_peaks(save_peaks(table, tmp_path / f"peaks{kind}"))
    assert back.shape == table.shape
    assert back.calibrated is calibrated
    assert back.source == table.source
    np.testing.assert_array_equal(back.offsets, table.offsets)
    step = table.source.scale / 256 * 1.01
    np.testing.assert_allclose(back.ky, table.ky, atol=step)
    np.testing.assert_allclose(back.kx, table.kx, atol=step)
    np.testing.assert_allclose(back.intensity, table.intensity, rtol=1 / 1024)
    for name in ("prominence", "width", "snr"):
        np.testing.assert_allclose(getattr(back, name), getattr(table, name), rtol=1 / 128)
    np.testing.assert_allclose(back.noise, table.noise, rtol=1 / 1024)


@pytest.mark.parametrize("kind", [".parquet", ".zarr"])
@settings(max_examples=12, deadline=None)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4), most=st.integers(0, 3))
def test_any_shape_comes_back(
    kind: str, rows: int, columns: int, most: int, tmp_path_factory: Any
) -> None:
    table = make((rows, columns), most=most)
    path = tmp_path_factory.mktemp("any") / f"t{kind}"
    back = load_peaks(save_peaks(table, path))
    np.testing.assert_array_equal(back.count_map(), table.count_map())
    np.testing.assert_allclose(back.intensity_map(), table.intensity_map(), rtol=1e-3)


def test_rows_are_plain_to_other_readers(tmp_path: Any) -> None:
    import pyarrow.parquet as pq

    table = make()
    arrow = pq.read_table(save_peaks(table, tmp_path / "t.parquet"))
    assert arrow.column_names[:5] == ["y", "x", "ky", "kx", "intensity"]
    place = arrow["y"].to_numpy() * 5 + arrow["x"].to_numpy()
    np.testing.assert_array_equal(place, table.position)


def test_fewer_columns_take_fewer_bytes(tmp_path: Any) -> None:
    table = make((30, 30), most=30)
    whole = save_peaks(table, tmp_path / "whole.parquet")
    some = save_peaks(table, tmp_path / "some.parquet", columns=("snr",))
    assert disk_bytes(some) < 0.8 * disk_bytes(whole)
    back = load_peaks(some)
    assert back.width is None
    assert back.snr is not None
    with pytest.raises(BadInputError, match="no prominences"):
        back.prominence_map()


def test_compression_is_that_of_the_bytes_on_disk(tmp_path: Any) -> None:
    table = make((30, 30), most=30)
    path = save_peaks(table, tmp_path / "t.parquet")
    assert compression(table, path) == pytest.approx(10_000_000 / path.stat().st_size)
    folder = save_peaks(table, tmp_path / "t.zarr")
    total = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    assert compression(table, folder) == pytest.approx(10_000_000 / total)
    # Six columns in about ten bytes a spot, not 24.
    assert path.stat().st_size < 13 * len(table) + 6 * 900


def test_an_older_file_is_replaced_whole(tmp_path: Any) -> None:
    for kind in (".parquet", ".zarr"):
        path = tmp_path / f"t{kind}"
        save_peaks(make(seed=1), path)
        save_peaks(make(seed=2), path)
        assert len(load_peaks(path)) == len(make(seed=2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.parquet", "t.zarr"]


def test_what_is_no_table_is_refused_in_one_line(tmp_path: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "other.parquet")
    whole = save_peaks(make(), tmp_path / "t.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    broken = save_peaks(make(), tmp_path / "b.zarr")
    about = json.loads((broken / ".zattrs").read_text("utf-8"))
    about["napari_diffmap_peaks"]["scan_shape"] = [99, 99]
    (broken / ".zattrs").write_text(json.dumps(about), "utf-8")
    for name in ("other.parquet", "cut.parquet", "b.zarr", "absent.parquet"):
        with pytest.raises(ScanFileError) as caught:
            load_peaks(tmp_path / name)
        assert name in str(caught.value)
        with pytest.raises(ScanFileError):
            open_scan(tmp_path / name)
    with pytest.raises(BadInputError, match=r"\.parquet or \.zarr"):
        save_peaks(make(), tmp_path / "t.csv")
    with pytest.raises(BadInputError, match="no folder"):
        save_peaks(make(), tmp_path / "nowhere" / "t.parquet")


@pytest.mark.parametrize("kind", [".parquet", ".zarr"])
def test_it_opens_as_a_scan_drawn_from_it(kind: str, tmp_path: Any) -> None:
    table = make(calibrated=True)
    scan = open_scan(save_peaks(table, tmp_path / f"t{kind}"))
    assert scan.shape == (4, 5, 64, 72)
    assert scan.peaks is not None
    assert scan.peaks.calibrated
    assert scan.calibration.voltage_kv == 200
    assert scan.calibration.pixel_size == pytest.approx(0.02)
    assert scan.calibration.center == pytest.approx((30.5, 36.25))
    assert (scan.axes[0].scale, scan.axes[1].scale, scan.axes[0].unit) == (2.0, 2.5, "nm")
    pattern = scan.pattern(1, 2)
    rows = table.rows_at(1, 2)
    assert pattern.sum() == pytest.approx(float(table.intensity[rows].sum()), rel=0.02)


@pytest.mark.parametrize("shape", [(64, 72), (128, 144), (256, 256), (32, 36)])
def test_patterns_of_any_size_keep_places_and_intensity(shape: tuple[int, int]) -> None:
    source = PeakSource((64, 72), (30.5, 36.25), 1.0, 1.3)
    table = PeakTable(
        (1, 1),
        np.array([0, 1]),
        np.array([11.37], np.float32),
        np.array([-8.81], np.float32),
        np.array([500.0], np.float32),
        False,
        source=source,
    )
    pattern = reconstruct(table, shape).pattern(0, 0).astype(float)
    zoom = min(shape[0] / 64, shape[1] / 72)
    y, x = np.indices(shape)
    cy, cx = (pattern * y).sum() / pattern.sum(), (pattern * x).sum() / pattern.sum()
    assert cy == pytest.approx((30.5 + 11.37 - 31.5) * zoom + (shape[0] - 1) / 2, abs=0.02)
    assert cx == pytest.approx((36.25 - 8.81 - 35.5) * zoom + (shape[1] - 1) / 2, abs=0.02)
    assert pattern.sum() == pytest.approx(500, rel=0.02)
    doubled = table.keep([True])
    assert len(doubled) == 1


def test_overlapping_spots_add() -> None:
    source = PeakSource((32, 32), (15.5, 15.5), 1.0, 1.5)
    place = np.array([3.0, 3.5], np.float32)
    two = PeakTable(
        (1, 1), np.array([0, 2]), place, place, np.full(2, 100, np.float32), False, source=source
    )
    assert reconstruct(two).pattern(0, 0).sum() == pytest.approx(200, rel=0.01)


def test_two_tables_of_a_scan_are_told_apart() -> None:
    a, b = (reconstruct(make(seed=0)) for _ in range(2))
    assert a.data.name == b.data.name
    other = make(seed=0)
    other.intensity[0] += 1
    assert reconstruct(other).data.name != a.data.name


def test_virtual_dark_field_of_picked_spots() -> None:
    table = make()
    at = float(table.ky[3]), float(table.kx[3])
    image = table.dark_field([at], 0.5)
    position = int(table.position[3])
    assert image.ravel()[position] >= table.intensity[3] * 0.999
    everything = table.dark_field([(0.0, 0.0)], 100.0)
    np.testing.assert_allclose(everything, table.intensity_map(), rtol=1e-5)


def test_a_mask_gives_the_image_that_the_drawn_patterns_give() -> None:
    """Independent way: draw the patterns, put a virtual detector on them."""
    table = make((3, 4), most=20)
    disk = Detector("d", Disk(40.0, 44.0, 9.0), "sum")
    mask = disk.mask((64, 72)).astype(float)
    from_peaks = table.masked_field(mask)
    from_patterns = virtual_images(reconstruct(table, sigma=0.6), [disk])[0]
    np.testing.assert_allclose(
        from_peaks, from_patterns, atol=0.2 * from_patterns.max(), err_msg="spots on the rim differ"
    )
    assert np.corrcoef(from_peaks.ravel(), from_patterns.ravel())[0, 1] > 0.97
    with pytest.raises(BadInputError, match="does not fit the detector"):
        table.masked_field(np.ones((8, 8)))


def test_maps() -> None:
    table = make()
    counts = table.count_map()
    assert counts.sum() == len(table)
    prominence = table.prominence_map()
    assert np.array_equal(np.isnan(prominence), counts == 0)
    rows = table.rows_at(2, 3)
    assert prominence[2, 3] == pytest.approx(float(table.prominence[rows].mean()), rel=1e-5)
    np.testing.assert_array_equal(table.noise_map(), table.noise)
    turned = table.reshaped((5, 4))
    assert turned.noise_map().shape == (5, 4)


def test_a_table_that_does_not_fit_is_refused() -> None:
    good = make()
    with pytest.raises(BadInputError, match="does not fit"):
        PeakTable((2, 2), good.offsets, good.ky, good.kx, good.intensity)
    with pytest.raises(BadInputError, match="does not fit"):
        PeakTable(good.shape, good.offsets, good.ky, good.kx, good.intensity[1:])
