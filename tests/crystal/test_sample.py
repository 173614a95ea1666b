"""The bundled sample: seeded, verified on read, readable by HyperSpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_diffmap.crystal import sample
from napari_diffmap.crystal.sample import build_truth, sample_scan, simulate_rows
from napari_diffmap.maps.quaternions import disorientation


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_truth_is_seeded_and_plausible() -> None:
    one, two = build_truth(), build_truth()
    np.testing.assert_array_equal(one.rotations, two.rotations)
    assert np.linalg.norm(one.rotations, axis=-1) == pytest.approx(1)
    assert 20 <= len(np.unique(one.grain_ids[one.grain_ids >= 0])) <= 25
    assert 0.6 < one.single.mean() < 0.8
    assert (one.phase_ids == 1).sum() > 100
    assert (one.phase_ids < 0).sum() > 200
    assert one.overlap.sum() > 500
    assert 3 < one.bad.sum() < 12


def test_grains_bend_by_about_a_degree() -> None:
    truth = build_truth()
    spreads = []
    for grain in np.unique(truth.grain_ids[truth.grain_ids >= 0]):
        q = truth.rotations[truth.grain_ids == grain]
        none = np.array([[1.0, 0, 0, 0]])
        spreads.append(disorientation(q, np.repeat(q[:1], len(q), 0), none).mean())
    assert 0.3 < np.median(spreads) < 1.5


def test_rows_do_not_depend_on_the_cut() -> None:
    truth = build_truth()
    both = simulate_rows(truth, slice(20, 22))
    np.testing.assert_array_equal(both[1:], simulate_rows(truth, slice(21, 22)))
    assert both.dtype == np.uint16
    assert both.shape == (2, 64, 128, 128)


def test_direct_beam_drifts_as_the_truth_says() -> None:
    truth = build_truth()
    rows = simulate_rows(truth, slice(0, 1))[0].astype(float)
    for x in (2, 60):
        cy, cx = truth.center[0, x]
        window = rows[x, 58:69, 58:70]
        y, k = np.mgrid[58:69, 58:70]
        assert (window * y).sum() / window.sum() == pytest.approx(cy, abs=0.25)
        assert (window * k).sum() / window.sum() == pytest.approx(cx, abs=0.25)


def test_file_is_made_once_and_opens_lazily(cache: Path) -> None:
    scan, truth = sample_scan(cache)
    assert scan.shape == (64, 64, 128, 128)
    assert scan.dtype == np.uint16
    assert scan.calibration.voltage_kv == sample.VOLTAGE_KV
    assert scan.calibration.pixel_size == sample.PIXEL_SIZE
    assert scan.axes[0].unit == "nm"
    stamp = scan.source.stat().st_mtime_ns
    again, same = sample_scan(cache)
    assert again.source.stat().st_mtime_ns == stamp
    np.testing.assert_array_equal(truth.rotations, same.rotations)
    np.testing.assert_array_equal(
        scan.data[30, 10:12].compute(), simulate_rows(truth, slice(30, 31))[0, 10:12]
    )
    assert not list(cache.glob("*tmp*"))


def test_damaged_file_is_made_again(cache: Path) -> None:
    scan, _ = sample_scan(cache)
    good = scan.pattern(5, 5)
    path = scan.source
    text = bytearray(path.read_bytes())
    text[len(text) // 2 : len(text) // 2 + 64] = bytes(64)
    path.write_bytes(bytes(text))
    mended, _ = sample_scan(cache)
    np.testing.assert_array_equal(mended.pattern(5, 5), good)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    from napari_diffmap.errors import ResourceError

    blocker = tmp_path / "file"
    blocker.write_text("x", encoding="utf-8")
    with pytest.raises(ResourceError, match="DIFFMAP_CACHE"):
        sample_scan(blocker / "below")


def test_cache_folder_by_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_diffmap.crystal.sample_file import cache_folder

    monkeypatch.setenv("DIFFMAP_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    assert cache_folder(tmp_path) == tmp_path


def test_hyperspy_layout(cache: Path) -> None:
    from rsciio.hspy import file_reader

    scan, _ = sample_scan(cache)
    read = file_reader(str(scan.source), lazy=True)[0]
    names = [axis["name"] for axis in read["axes"]]
    assert names == ["y", "x", "ky", "kx"]
    assert read["metadata"]["Acquisition_instrument"]["TEM"]["beam_energy"] == 200
    assert read["data"].shape == (64, 64, 128, 128)


def test_file_opens_through_the_one_door(cache: Path) -> None:
    from napari_diffmap.scan.open import open_scan

    scan, _ = sample_scan(cache)
    opened = open_scan(scan.source)
    assert opened.kind == "4D-STEM"
    assert opened.calibration.pixel_size == pytest.approx(sample.PIXEL_SIZE)
    assert opened.calibration.voltage_kv == pytest.approx(200)
    np.testing.assert_array_equal(opened.pattern(3, 4), scan.pattern(3, 4))
