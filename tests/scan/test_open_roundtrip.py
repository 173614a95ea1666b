"""What is saved opens again with the same numbers, axes and calibration."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.open import open_scan, save_scan
from napari_diffmap.scan.scan import AXIS_NAMES, Scan

DTYPES = ["u1", "u2", "u4", "i2", "i4", "f4", "f8", "?"]
_UNITS = {"y": "nm", "x": "nm", "ky": "1/Å", "kx": "1/Å", "qy": "1/Å", "qx": "1/Å",
          "energy": "eV", "time": "s", "angle": "degree", "frame": "pixel"}  # fmt: skip


@st.composite
def scans(draw, kinds=tuple(AXIS_NAMES)):
    kind = draw(st.sampled_from(kinds))
    names = AXIS_NAMES[kind]
    shape = tuple(draw(st.integers(1 if n not in ("ky", "kx") else 2, 5)) for n in names)
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    seed = draw(st.integers(0, 2**32 - 1))
    top = 2 if dtype.kind == "b" else 100
    data = np.random.default_rng(seed).integers(0, top, shape).astype(dtype)
    step = draw(st.floats(0.01, 0.5))
    axes = []
    for name, size in zip(names, shape, strict=True):
        calibrated = draw(st.booleans()) or name in ("ky", "kx", "energy")
        if not calibrated or name == "frame":
            axes.append(Axis(name, size))
        elif name in ("ky", "kx"):
            axes.append(Axis(name, size, step, -step * draw(st.floats(0.1, size - 1)), "1/Å"))
        elif name == "energy":
            axes.append(Axis(name, size, draw(st.floats(0.1, 5)), draw(st.floats(250, 900)), "eV"))
        else:
            scale = draw(st.floats(0.01, 0.9 if name in ("qy", "qx") else 100))
            axes.append(Axis(name, size, scale, draw(st.floats(-50, 50)), _UNITS[name]))
    return Scan(da.from_array(data), tuple(axes), kind, "made up")


def same_axes(mine, theirs):
    for a, b in zip(mine, theirs, strict=True):
        assert (a.name, a.size, a.unit) == (b.name, b.size, b.unit)
        assert a.scale == pytest.approx(b.scale, rel=1e-9)
        assert a.offset == pytest.approx(b.offset, rel=1e-9, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(scan=scans(), extension=st.sampled_from(["hspy", "zspy"]))
def test_saved_scans_open_equal(scan, extension):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = save_scan(scan, Path(folder) / f"scan.{extension}")
        again = open_scan(path)
        assert (again.kind, again.dtype, again.name) == (scan.kind, scan.dtype, scan.name)
        assert np.array_equal(again.data.compute(), scan.data.compute())
        same_axes(again.axes, scan.axes)


@settings(max_examples=25, deadline=None)
@given(
    scan=scans(("4D-STEM", "pattern stack")),
    fmt=st.sampled_from(["npy", "h5", "zarr", "npz", "raw"]),
)
def test_plain_arrays_open_equal(scan, fmt):
    data = scan.data.compute()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{fmt}"
        options = {"kind": scan.kind}
        if fmt == "npy":
            np.save(path, data)
        elif fmt == "npz":
            np.savez(path, a=data)
        elif fmt == "zarr":
            zarr.save(str(path), data)
        elif fmt == "raw":
            path.write_bytes(data.tobytes())
            options |= {"shape": data.shape, "dtype": data.dtype}
        else:
            with h5py.File(path, "w") as file:
                file["a"] = data
        again = open_scan(path, **options)
        assert again.dtype == data.dtype
        assert np.array_equal(again.data.compute(), data)


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(*(st.integers(2, 5) for _ in range(4))),
    scales=st.tuples(*(st.floats(0.01, 0.4) for _ in range(4))),
)
def test_stated_axes_of_generic_files_are_kept(sizes, scales):
    names = ("y", "x", "ky", "kx")
    data = np.random.default_rng(1).integers(0, 99, sizes).astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.h5"
        with h5py.File(path, "w") as file:
            file["data"] = data
            for i, (name, scale) in enumerate(zip(names, scales, strict=True)):
                file[name] = 1.0 + scale * np.arange(sizes[i])
                file[name].attrs["units"] = "1/nm" if "k" in name else "µm"
                file[name].make_scale(name)
                file["data"].dims[i].attach_scale(file[name])
        scan = open_scan(path)
        assert np.array_equal(scan.data.compute(), data)
        for axis, name, scale in zip(scan.axes, names, scales, strict=True):
            factor = 0.1 if "k" in name else 1e3
            assert axis.scale == pytest.approx(scale * factor, rel=1e-6)
            assert axis.offset == pytest.approx(factor)


@pytest.fixture
def scan():
    data = np.random.default_rng(2).integers(0, 4000, (3, 4, 16, 16)).astype(np.uint16)
    axes = (Axis("y", 3, 2.0, 10.0, "nm"), Axis("x", 4, 2.5, 0.0, "nm"),
            Axis("ky", 16, 0.01, -0.075, "1/Å"), Axis("kx", 16, 0.01, -0.08, "1/Å"))  # fmt: skip
    missing = np.zeros((3, 4), bool)
    missing[2, 3] = True
    calibration = Calibration((7.5, 8.0), 0.01, 200.0, "measured", "entered", "file")
    return Scan(da.from_array(data, chunks=(1, 4, 16, 16)), axes, "4D-STEM", "two grains",
                calibration=calibration, missing=missing)  # fmt: skip


@pytest.mark.parametrize("extension", ["hspy", "zspy"])
def test_calibration_and_missing_frames_survive(tmp_path, scan, extension):
    again = open_scan(save_scan(scan, tmp_path / f"a.{extension}"))
    assert again.calibration.voltage_kv == 200
    assert again.calibration.pixel_size == pytest.approx(0.01)
    assert again.calibration.center == pytest.approx((7.5, 8.0))
    assert again.calibration.center_origin == "file"
    assert np.array_equal(again.missing, scan.missing)
    assert again.warnings == ()


def test_center_and_pixel_size_without_calibrated_axes_survive(tmp_path, scan):
    plain = replace(scan, axes=(*scan.axes[:2], Axis("ky", 16), Axis("kx", 16)), missing=None)
    only_center = replace(plain, calibration=Calibration((3.0, 4.0), center_origin="measured"))
    again = open_scan(save_scan(only_center, tmp_path / "a.hspy"))
    assert again.calibration.center == (3.0, 4.0)
    assert again.calibration.pixel_size is None


def test_uneven_energies_survive(tmp_path):
    energies = (280.0, 284.5, 285.0, 320.0)
    axes = (Axis("energy", 4, 40 / 3, 280.0, "eV", energies), Axis("y", 3, 50.0, 0.0, "nm"),
            Axis("x", 5, 40.0, 0.0, "nm"))  # fmt: skip
    scan = Scan(da.ones((4, 3, 5)), axes, "STXM", "stack",
                missing=np.array([False, True, False, False]))  # fmt: skip
    again = open_scan(save_scan(scan, tmp_path / "a.hspy"))
    assert again.axes[0].coordinates.tolist() == list(energies)
    assert again.missing.tolist() == [False, True, False, False]


@pytest.mark.parametrize("extension", ["hspy", "zspy"])
def test_hyperspy_reads_what_is_saved(tmp_path, scan, extension):
    hs = pytest.importorskip("hyperspy.api")
    path = save_scan(scan, tmp_path / f"a.{extension}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        signal = hs.load(str(path))
    assert np.array_equal(signal.data, scan.data.compute())
    ky = signal.axes_manager["ky"]
    assert (ky.scale, ky.offset, ky.units) == (0.01, -0.075, "1/Å")
    assert signal.axes_manager["y"].scale == 2.0
    assert signal.axes_manager.signal_shape == (16, 16)
    assert signal.axes_manager.navigation_shape == (4, 3)
    assert signal.metadata.Acquisition_instrument.TEM.beam_energy == 200
    assert signal.metadata.General.title == "two grains"


def test_saving_over_the_file_it_came_from(tmp_path, scan):
    path = save_scan(replace(scan, missing=None), tmp_path / "a.hspy")
    opened = open_scan(path)
    changed = replace(opened, data=opened.data + 1)
    save_scan(changed, path)
    assert np.array_equal(open_scan(path).data.compute(), scan.data.compute() + 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hspy"]
    folder = save_scan(opened, tmp_path / "b.zspy")
    save_scan(open_scan(folder), folder)
    assert np.array_equal(open_scan(folder).data.compute(), scan.data.compute() + 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hspy", "b.zspy"]


def test_a_failed_save_leaves_the_old_file(tmp_path, scan):
    path = save_scan(scan, tmp_path / "a.hspy")
    before = path.read_bytes()

    def fail(block):
        raise OSError(28, "No space left on device")

    broken = replace(
        scan, data=scan.data.map_blocks(fail, dtype=scan.dtype, meta=np.empty(0, "u2"))
    )
    with pytest.raises(Exception, match="No space left"):
        save_scan(broken, path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.hspy"]


def test_where_a_scan_cannot_be_saved(tmp_path, scan):
    with pytest.raises(BadInputError, match=r"saved as \.hspy or \.zspy"):
        save_scan(scan, tmp_path / "a.tif")
    with pytest.raises(BadInputError, match="no folder"):
        save_scan(scan, tmp_path / "gone" / "a.hspy")
