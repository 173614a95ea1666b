"""Twins of the formats, written here or by RosettaSciIO, open as what they are."""

from __future__ import annotations

import struct
import warnings
from itertools import pairwise

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_diffmap.errors import BadInputError, ChooseDatasetError
from napari_diffmap.scan.open import list_datasets, open_scan, supported_extensions

RNG = np.random.default_rng(11)


def counts(*shape, dtype=np.uint16, top=4000):
    return RNG.integers(0, top, shape).astype(dtype)


def rosetta_signal(data, axes, *, metadata=None, original=None):
    """A signal dictionary; axes are (name, scale, offset, units, navigate)."""
    described = [
        {"_type": "UniformDataAxis", "name": n, "scale": s, "offset": o, "units": u,
         "navigate": nav, "size": size, "index_in_array": i, "is_binned": False}
        for i, ((n, s, o, u, nav), size) in enumerate(zip(axes, data.shape, strict=True))
    ]  # fmt: skip
    return {
        "data": data,
        "axes": described,
        "metadata": {"General": {"title": ""}, "Signal": {"signal_type": ""}} | (metadata or {}),
        "original_metadata": original or {},
        "package_info": {"package": "", "package_version": ""},
        "attributes": {"_lazy": False, "ragged": False},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }


STEM_AXES = [
    ("y", 2.0, 200.0, "nm", True),
    ("x", 2.5, 0.0, "nm", True),
    ("ky", 0.1, -0.4, "1/nm", False),
    ("kx", 0.1, -0.3, "1/nm", False),
]


def write_rosetta(plugin, path, signal, **options):
    import importlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importlib.import_module(f"rsciio.{plugin}").file_writer(str(path), signal, **options)


@pytest.mark.parametrize(
    ("plugin", "extension"), [("hspy", "hspy"), ("hspy", "hdf5"), ("zspy", "zspy"), ("emd", "emd"),
                              ("nexus", "nxs")]
)  # fmt: skip
def test_formats_rosettasciio_writes(tmp_path, plugin, extension):
    data = counts(3, 4, 8, 9)
    metadata = {
        "General": {"title": "two grains"},
        "Signal": {"signal_type": "electron_diffraction"},
        "Acquisition_instrument": {"TEM": {"beam_energy": 80.0}},
    }
    path = tmp_path / f"scan.{extension}"
    write_rosetta(plugin, path, rosetta_signal(data, STEM_AXES, metadata=metadata))
    scan = open_scan(path)
    assert (scan.kind, scan.shape, scan.dtype) == ("4D-STEM", data.shape, data.dtype)
    assert np.array_equal(scan.data.compute(), data)
    y, x, ky, kx = scan.axes
    assert (y.scale, y.offset, y.unit, x.scale) == (2.0, 200.0, "nm", 2.5)
    assert (ky.unit, kx.unit) == ("1/Å", "1/Å")
    assert ky.scale == pytest.approx(0.01)
    assert scan.calibration.pixel_size == pytest.approx(0.01)
    assert scan.calibration.center == pytest.approx((4, 3))
    if plugin in ("hspy", "zspy"):
        assert scan.calibration.voltage_kv == 80
        assert scan.name == "two grains"
    elif plugin == "emd":
        assert scan.calibration.voltage_kv is None


def test_hspy_with_several_signals(tmp_path):
    path = tmp_path / "a.hspy"
    write_rosetta("hspy", path, rosetta_signal(counts(2, 3, 8, 8), STEM_AXES))
    with h5py.File(path, "a") as file:
        file.copy("Experiments/__unnamed__", "Experiments/second")
    with pytest.raises(ChooseDatasetError, match="__unnamed__"):
        open_scan(path)
    assert open_scan(path, dataset="second").shape == (2, 3, 8, 8)
    assert [c.path for c in list_datasets(path)] == ["__unnamed__", "second"]


def test_mrad_axes_become_reciprocal_only_with_a_voltage(tmp_path):
    axes = [*STEM_AXES[:2], ("ky", 0.5, -2.0, "mrad", False), ("kx", 0.5, -2.0, "mrad", False)]
    data = counts(2, 3, 8, 8)
    plain, with_energy = tmp_path / "plain.hspy", tmp_path / "energy.hspy"
    write_rosetta("hspy", plain, rosetta_signal(data, axes))
    metadata = {"Acquisition_instrument": {"TEM": {"beam_energy": 200.0}}}
    write_rosetta("hspy", with_energy, rosetta_signal(data, axes, metadata=metadata))
    scan = open_scan(plain)
    assert scan.axes[-1].unit == "mrad"
    assert scan.calibration.pixel_size is None
    assert scan.calibration.center == pytest.approx((4, 4))
    scan = open_scan(with_energy)
    assert scan.axes[-1].unit == "1/Å"
    assert scan.calibration.pixel_size == pytest.approx(0.5e-3 / 0.0250793, rel=1e-4)
    assert scan.axes[-1].offset == pytest.approx(-4 * scan.calibration.pixel_size)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({2: ("ky", 0.1, 0.0, "furlong", False)}, "unit 'furlong' is not known"),
        ({2: ("ky", float("nan"), 0.0, "1/nm", False)}, "is impossible"),
        ({2: ("ky", 0.0, 0.0, "1/nm", False)}, "is impossible"),
        ({2: ("ky", -0.1, 0.0, "1/nm", False)}, "is impossible"),
        ({2: ("ky", 400.0, 0.0, "1/nm", False)}, "is impossible"),
        ({2: ("ky", 0.1, 0.0, "nm", False)}, "is not reciprocal"),
        ({0: ("y", 1e12, 0.0, "nm", True)}, "is impossible"),
        ({0: ("y", -2.0, 0.0, "nm", True)}, "runs backwards"),
        ({0: ("y", 2.0, 0.0, "eV", True)}, "is not a length"),
        ({2: ("ky", 0.2, -0.4, "1/nm", False)}, "k-axes differ"),
    ],
)
def test_impossible_axes_are_dropped_with_a_line(tmp_path, change, says):
    axes = [change.get(i, axis) for i, axis in enumerate(STEM_AXES)]
    path = tmp_path / "a.hspy"
    write_rosetta("hspy", path, rosetta_signal(counts(2, 3, 8, 8), axes))
    scan = open_scan(path)
    assert any(says in w for w in scan.warnings), scan.warnings
    if 2 in change:
        assert scan.calibration.pixel_size is None
    if says == "runs backwards":
        assert scan.axes[0].scale == 2.0


@pytest.mark.parametrize(("energy", "kv"), [(200.0, 200), (200_000, 200), (0, None), (4e9, None)])
def test_beam_energy_in_kv_or_v(tmp_path, energy, kv):
    metadata = {"Acquisition_instrument": {"TEM": {"beam_energy": energy}}}
    path = tmp_path / "a.hspy"
    write_rosetta("hspy", path, rosetta_signal(counts(2, 3, 8, 8), STEM_AXES, metadata=metadata))
    assert open_scan(path).calibration.voltage_kv == kv


def test_center_outside_the_pattern_is_not_believed(tmp_path):
    axes = [*STEM_AXES[:2], ("ky", 0.1, 7.0, "1/nm", False), ("kx", 0.1, 7.0, "1/nm", False)]
    path = tmp_path / "a.hspy"
    write_rosetta("hspy", path, rosetta_signal(counts(2, 3, 8, 8), axes))
    assert open_scan(path).calibration.center is None
    axes = [*STEM_AXES[:2], ("ky", 0.1, 0.0, "1/nm", False), ("kx", 0.1, 0.0, "1/nm", False)]
    path.unlink()
    write_rosetta("hspy", path, rosetta_signal(counts(2, 3, 8, 8), axes))
    assert open_scan(path).calibration.center is None


def test_tvips(tmp_path):
    data = counts(6, 8, 8)
    axes = [("time", 1.0, 0.0, "s", True), *STEM_AXES[2:]]
    path = tmp_path / "movie_000.tvips"
    write_rosetta("tvips", path, rosetta_signal(data, axes))
    scan = open_scan(path)
    assert (scan.kind, scan.shape) == ("pattern stack", (6, 8, 8))
    assert np.array_equal(scan.data.compute(), data)
    assert np.array_equal(open_scan(path, scan_shape=(2, 3)).data.compute()[1, 0], data[3])


def write_tvips(folder, frames, *, parts=(1,), lead=0, mode=2, pixel=0, version=2):
    """A sequence in parts; the rotator index starts after `lead` frames."""
    n, height, width = frames.shape
    head = struct.pack("<13I", 256, version, width, height, 16, 0, 0, 1, 1, pixel, 120, 0, 64)
    records = []
    for i, frame in enumerate(frames):
        rotator = max(0, i - lead + 1) if lead else 0
        fields = struct.pack("<IIIIfII5fIff", i, 0, i, 0, 0, 0, mode, *[0.0] * 5, rotator, 0, 0)
        records.append(fields.ljust(64, b"\0") + frame.astype("<u2").tobytes())
    cuts = np.cumsum([0, *parts]) * n // sum(parts)
    for k, (a, b) in enumerate(pairwise(cuts)):
        body = b"".join(records[a:b])
        (folder / f"m_{k:03d}.tvips").write_bytes((head.ljust(256, b"T") if k == 0 else b"") + body)
    return folder / "m_000.tvips"


def test_tvips_parts_and_frames_around_the_scan(tmp_path):
    from rsciio.tvips import file_reader

    frames = counts(10, 6, 8)
    path = write_tvips(tmp_path, frames, parts=(2, 2, 1), lead=3, pixel=3)
    scan = open_scan(path)
    assert (scan.kind, scan.shape) == ("pattern stack", (10, 6, 8))
    assert np.array_equal(scan.data.compute(), frames)
    assert np.array_equal(scan.data.compute(), file_reader(str(path))[0]["data"])
    assert scan.calibration.voltage_kv == 120
    assert scan.calibration.pixel_size == pytest.approx(0.3)  # 3 1/nm
    assert np.array_equal(open_scan(tmp_path / "m_002.tvips").data.compute(), frames)
    laid = open_scan(path, scan_shape=(2, 3))
    assert np.array_equal(laid.data.compute().reshape(6, 6, 8), frames[3:9])
    assert any("starts at frame 3" in w for w in laid.warnings)
    path.write_bytes(path.read_bytes()[:-10])
    cut = open_scan(path)
    assert cut.shape == (9, 6, 8)
    assert any("m_000.tvips is cut" in w for w in cut.warnings)
    (tmp_path / "m_000.tvips").unlink()
    with pytest.raises(BadInputError, match=r"whose m_000\.tvips is not there"):
        open_scan(tmp_path / "m_001.tvips")


def test_tvips_without_rotator_index_or_header(tmp_path):
    path = write_tvips(tmp_path, counts(10, 6, 8))
    assert open_scan(path).calibration.pixel_size is None
    with pytest.raises(BadInputError, match="whose product is 10"):
        open_scan(path, scan_shape=(2, 3))
    path.write_bytes(b"\1" * 500)
    with pytest.raises(BadInputError, match="is no TVIPS sequence"):
        open_scan(path)


def test_hspy_stored_in_one_piece(tmp_path):
    data = counts(2, 3, 8, 8)
    metadata = {"Acquisition_instrument": {"TEM": {"beam_energy": 80.0}}}
    path = tmp_path / "a.hspy"
    write_rosetta("hspy", path, rosetta_signal(data, STEM_AXES, metadata=metadata))
    with h5py.File(path, "a") as file:
        group = file["Experiments/__unnamed__"]
        del group["data"]
        group.create_dataset("data", data=data)
    scan = open_scan(path)
    assert np.array_equal(scan.data.compute(), data)
    assert scan.calibration.voltage_kv == 80
    assert (scan.axes[1].scale, scan.axes[1].unit) == (2.5, "nm")
    assert scan.calibration.pixel_size == pytest.approx(0.01)


# --- Zarr -------------------------------------------------------------------------


def test_generic_zarr(tmp_path):
    data = counts(3, 4, 8, 9)
    path = tmp_path / "a.zarr"
    root = zarr.open(str(path), mode="w")
    array = root.create_dataset("entry/frames", data=data, chunks=(1, 4, 8, 9))
    array.attrs["pixel_size_invA"] = 0.012
    scan = open_scan(path)
    assert np.array_equal(scan.data.compute(), data)
    assert scan.calibration.pixel_size == pytest.approx(0.012)
    array.attrs["_ARRAY_DIMENSIONS"] = ["ky", "kx", "y", "x"]
    assert open_scan(path).shape == (8, 9, 3, 4)
    root.create_dataset("other", data=data)
    with pytest.raises(ChooseDatasetError, match="entry/frames"):
        open_scan(path)
    assert np.array_equal(open_scan(path, dataset="other").data.compute(), data)
    zarr.save(str(tmp_path / "bare.zarr"), data)
    assert np.array_equal(open_scan(tmp_path / "bare.zarr").data.compute(), data)
    (tmp_path / "v3.zarr").mkdir()
    (tmp_path / "v3.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(BadInputError, match="Zarr version 3"):
        open_scan(tmp_path / "v3.zarr")


# --- TIFF -------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiff_stacks(tmp_path, compression, byteorder):
    data = counts(5, 12, 10)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, compression=compression, byteorder=byteorder,
                     photometric="minisblack")  # fmt: skip
    scan = open_scan(path)
    assert (scan.kind, scan.shape) == ("pattern stack", (5, 12, 10))
    assert np.array_equal(scan.data.compute(), data)
    assert np.array_equal(scan.data[1:4, 2:5].compute(), data[1:4, 2:5])
    laid = open_scan(path, scan_shape=(1, 5))
    assert np.array_equal(laid.pattern(0, 3), data[3])


def test_tiff_with_imagej_scale_colour_and_damage(tmp_path):
    data = counts(12, 10, top=255, dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, imagej=True, resolution=(4.0, 4.0), metadata={"unit": "nm"})
    scan = open_scan(path)
    assert (scan.kind, scan.axes[0].unit) == ("image", "nm")
    assert scan.axes[0].scale == pytest.approx(0.25)
    tifffile.imwrite(tmp_path / "rgb.tif", counts(9, 9, 3, dtype=np.uint8, top=255))
    with pytest.raises(BadInputError, match="colour picture"):
        open_scan(tmp_path / "rgb.tif")
    tifffile.imwrite(tmp_path / "b.tif", counts(50, 40, 40))
    whole = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(whole[:5000])
    with pytest.raises(BadInputError, match=r"truncated|damaged"):
        open_scan(tmp_path / "b.tif")


# --- MRC and Direct Electron ----------------------------------------------------------


def write_mrc(path, frames, *, promised=None, cell=None, mode=6):
    n, rows, columns = frames.shape
    head = bytearray(1024)
    struct.pack_into("<4i", head, 0, columns, rows, promised or n, mode)
    struct.pack_into("<3i", head, 28, columns, rows, n)
    struct.pack_into("<3f", head, 40, *(cell or (columns, rows, n)))
    path.write_bytes(bytes(head) + frames.tobytes())
    return path


def test_mrc(tmp_path):
    from rsciio.mrc import file_reader

    frames = counts(6, 16, 12)
    path = write_mrc(tmp_path / "a.mrc", frames, cell=(12 * 2.5, 16 * 2.5, 6))
    scan = open_scan(path)
    assert (scan.kind, scan.shape) == ("image series", (6, 16, 12))
    assert scan.axes[-1].scale == pytest.approx(0.25)  # 2.5 Å
    assert np.array_equal(scan.data.compute(), frames)
    assert np.array_equal(scan.data.compute(), file_reader(str(path))[0]["data"])
    plain = open_scan(write_mrc(tmp_path / "b.mrc", frames))
    assert (plain.kind, plain.axes[-1].unit) == ("pattern stack", "pixel")
    cut = open_scan(write_mrc(tmp_path / "c.mrc", frames[:4], promised=6))
    assert cut.missing.tolist() == [False] * 4 + [True] * 2
    assert "the header says 6 frames, the file holds 4" in cut.warnings
    one = open_scan(write_mrc(tmp_path / "d.mrc", frames[:1]))
    assert one.shape == (16, 12)
    with pytest.raises(BadInputError, match="mode 99"):
        open_scan(write_mrc(tmp_path / "e.mrc", frames, mode=99))


@pytest.mark.parametrize("there", [12, 10])
def test_direct_electron_raster(tmp_path, there):
    frames = counts(12, 8, 8)
    write_mrc(tmp_path / "a_movie.mrc", frames[:there])
    (tmp_path / "a_info.txt").write_text(
        "Scan - Enable = Enable\nScan - Type = Raster\nScan - Size X = 4\nScan - Size Y = 3\n"
        "Specimen Pixel Size X (nanometers) = 1.5\nSpecimen Pixel Size Y (nanometers) = -1\n"
        "Diffraction Pixel Size X = 0.2\nDiffraction Pixel Size Y = 0.2\n"
        "Instrument Accelerating Voltage (V) = 300000\n"
    )
    scan = open_scan(tmp_path / "a_movie.mrc")
    assert (scan.kind, scan.shape) == ("4D-STEM", (3, 4, 8, 8))
    assert scan.calibration.voltage_kv == 300
    assert scan.calibration.pixel_size == pytest.approx(0.02)
    assert scan.axes[1].scale == 1.5
    assert not scan.axes[0].calibrated  # -1 stands for unknown
    assert np.array_equal(scan.data.compute().reshape(12, 8, 8)[:there], frames[:there])
    assert (0 if scan.missing is None else int(scan.missing.sum())) == 12 - there


def test_direct_electron_positions(tmp_path):
    frames = counts(5, 8, 8)
    write_mrc(tmp_path / "a_movie.mrc", frames)
    (tmp_path / "a_info.txt").write_text("Scan - Enable = Enable\nScan - Type = XY File\n")
    lost = open_scan(tmp_path / "a_movie.mrc")
    assert lost.kind == "pattern stack"
    assert any("list of positions, which is not beside it" in w for w in lost.warnings)
    (tmp_path / "a_scan_coordinates.csv").write_text("2,0\n0,1\n1,1\n0,0\n2,1\n")
    scan = open_scan(tmp_path / "a_movie.mrc")
    assert scan.shape == (2, 3, 8, 8)
    assert scan.missing.tolist() == [[False, True, False], [False, False, False]]
    assert np.array_equal(scan.data[0, 2].compute(), frames[0])
    assert np.array_equal(scan.data[1, 0].compute(), frames[1])


# --- TIA ----------------------------------------------------------------------------------


def write_ser(path, frames, grid=None, *, recorded=None, x_fastest=True, kind=0x4122):
    """A TIA series of ``frames (n, ky, kx)``; `grid` (rows, columns) makes it a map."""
    n, height, width = frames.shape
    recorded = n if recorded is None else recorded
    sizes = [n] if grid is None else [grid[1], grid[0]]
    dimensions = b"".join(
        struct.pack("<Iddii", s, 0.0, 2e-9, 0, 4) + b"Name" + struct.pack("<I", 6) + b"meters"
        for s in sizes
    )
    table = 22 + 12 + len(dimensions)
    element = 50 + height * width * 2 + 24
    first = table + 16 * n
    offsets = [first + i * element if i < recorded else 0 for i in range(n)]
    tags = [o + element - 24 if o else 0 for o in offsets]
    head = struct.pack("<2sHHIIII", b"II", 0x197, 0x220, kind, 0x4142, n, recorded)
    data = head + struct.pack("<QI", table, len(sizes)) + dimensions
    data += np.array(offsets, "<u8").tobytes() + np.array(tags, "<u8").tobytes()
    for i, frame in enumerate(frames[:recorded]):
        y, x = (
            divmod(i, grid[1])
            if grid and x_fastest
            else divmod(i, grid[0])[::-1]
            if grid
            else (0, i)
        )
        data += struct.pack("<ddiddihii", -2e8, 5e7, 0, -1e8, 5e7, 0, 2, width, height)
        data += frame[::-1].astype("<u2").tobytes()
        data += struct.pack("<HHIdd", 0x4142, 0, 0, x * 2e-9, y * 2e-9)
    path.write_bytes(data)
    return path


EMI = (
    b"binary<ObjectInfo><MicroscopeConditions><AcceleratingVoltage>200000</AcceleratingVoltage>"
    b"</MicroscopeConditions><ExperimentalDescription><Root><Data><Label>Mode</Label>"
    b"<Value>STEM nP Diffraction</Value><Unit></Unit></Data></Root></ExperimentalDescription>"
    b"</ObjectInfo>binary"
)


@pytest.mark.parametrize("x_fastest", [True, False])
@pytest.mark.parametrize("recorded", [12, 8, 1])
def test_tia_maps_whole_and_stopped(tmp_path, x_fastest, recorded):
    frames = counts(12, 6, 8)
    path = write_ser(tmp_path / "m_1.ser", frames, (3, 4), recorded=recorded, x_fastest=x_fastest)
    (tmp_path / "m.emi").write_bytes(EMI)
    for opened in (path, tmp_path / "m.emi"):
        scan = open_scan(opened)
        assert (scan.kind, scan.shape) == ("4D-STEM", (3, 4, 6, 8))
        order = np.arange(12).reshape(3, 4) if x_fastest else np.arange(12).reshape(4, 3).T
        data = scan.data.compute()
        for y, x in np.ndindex(3, 4):
            if order[y, x] < recorded:
                assert np.array_equal(data[y, x], frames[order[y, x]])
        absent = np.zeros((3, 4), bool) if scan.missing is None else scan.missing
        assert np.array_equal(absent, order >= recorded)
        assert (scan.axes[0].scale, scan.axes[0].unit) == (pytest.approx(2), "nm")
        assert scan.calibration.pixel_size == pytest.approx(0.005)  # 5e7 1/m
        assert scan.calibration.center == pytest.approx((5 - 2, 4))
        assert scan.calibration.voltage_kv == 200


def test_tia_series_equals_rosettasciio(tmp_path):
    from rsciio.tia import file_reader

    frames = counts(5, 6, 6)
    path = write_ser(tmp_path / "m_1.ser", frames)
    truth = file_reader(str(path))[0]["data"]
    assert np.array_equal(open_scan(path).data.compute(), truth)
    assert np.array_equal(truth, frames)


def test_tia_damaged_and_spectra(tmp_path):
    path = write_ser(tmp_path / "m_1.ser", counts(5, 6, 8))
    whole = path.read_bytes()
    path.write_bytes(whole[:-250])  # inside the fourth picture
    scan = open_scan(path)
    assert scan.shape == (3, 6, 8)
    assert any("stopped after 3 of 5" in w for w in scan.warnings)
    path.write_bytes(whole[:60])
    with pytest.raises(BadInputError, match="cut inside its header"):
        open_scan(path)
    with pytest.raises(BadInputError, match="holds spectra"):
        open_scan(write_ser(path, counts(5, 6, 8), kind=0x4120))
    path.unlink()
    (tmp_path / "m.emi").write_bytes(EMI)
    with pytest.raises(BadInputError, match=r"m_1\.ser\) are not beside it"):
        open_scan(tmp_path / "m.emi")


# --- EMPAD, TopSpin, Dectris ------------------------------------------------------------


@pytest.mark.parametrize("there", [6, 4])
def test_empad(tmp_path, there):
    frames = RNG.normal(size=(6, 130, 128)).astype("<f4")
    (tmp_path / "scan_x3_y2.raw").write_bytes(frames[:there].tobytes())
    (tmp_path / "a.xml").write_text(
        '<root name="acquisition"><raw_file filename="scan_x3_y2.raw"/></root>'
    )
    scan = open_scan(tmp_path / "a.xml")
    assert (scan.kind, scan.shape) == ("4D-STEM", (2, 3, 128, 128))
    data = scan.data.compute().reshape(6, 128, 128)
    assert np.array_equal(data[:there], frames[:there, :128])
    assert (0 if scan.missing is None else int(scan.missing.sum())) == 6 - there
    (tmp_path / "scan_x3_y2.raw").unlink()
    with pytest.raises(BadInputError, match=r"scan_x3_y2\.raw\) are not beside it"):
        open_scan(tmp_path / "a.xml")
    (tmp_path / "other.xml").write_text("<settings/>")
    with pytest.raises(BadInputError, match="is no EMPAD header"):
        open_scan(tmp_path / "other.xml")


def test_topspin_is_read_lazily(tmp_path):
    data = counts(2, 3, 8, 8)
    axis = "<a><o>{}</o><s>{}</s><u><n/><t>{}</t></u></a>"
    detector = axis.format(-16.0, 4.0, "mrad") * 2
    session, scan_id = ("0" * 8 + "-1111-1111-1111-" + c * 12 for c in "ab")
    with h5py.File(tmp_path / "a.app5", "w") as file:
        file[f"{session}/Metadata"] = np.bytes_("<xml/>")
        for i, frame in enumerate(data.reshape(6, 8, 8)):
            y, x = divmod(i, 3)
            place = f"<p><q><r/><s><x>{x * 2e-9}</x><y>{y * 2e-9}</y></s></q></p>"
            text = f"<m><k>{detector}</k>{place}</m>"
            file[f"{session}/{scan_id}/{i}/Data"] = frame
            file[f"{session}/{scan_id}/{i}/Metadata"] = np.bytes_(text)
    from rsciio.topspin import _api

    with h5py.File(tmp_path / "a.app5") as file:
        axes = _api._get_4D_axes(file[f"{session}/{scan_id}"])  # what the twin must satisfy
    assert [a["size"] for a in axes] == [2, 3, 8, 8]
    scan = open_scan(tmp_path / "a.app5")
    assert (scan.kind, scan.shape) == ("4D-STEM", (2, 3, 8, 8))
    assert np.array_equal(scan.data.compute(), data)
    assert np.array_equal(scan.pattern(1, 2), data[1, 2])
    assert (scan.axes[2].unit, scan.axes[2].scale) == ("mrad", 4.0)


def write_master(folder, frames, *, columns=4, rows=3, linked=True):
    import hdf5plugin

    half = len(frames) // 2
    with h5py.File(folder / "run_master.h5", "w") as file:
        for i, part in enumerate((frames[:half], frames[half:]), 1):
            name = f"run_data_{i:06d}.h5"
            if linked:
                with h5py.File(folder / name, "w") as beside:
                    beside.create_dataset(
                        "entry/data/data", data=part, chunks=(1, *part.shape[1:]),
                        **hdf5plugin.Bitshuffle(),
                    )  # fmt: skip
            file[f"entry/data/data_{i:06d}"] = h5py.ExternalLink(name, "/entry/data/data")
        detector = file.create_group("entry/instrument/detector")
        detector["x_pixel_size"] = 1e-4
        detector["detectorSpecific/photon_energy"] = 200_000.0
    if columns:
        with h5py.File(folder / "run.h5", "w") as file:
            settings = file.create_group("STEM Metadata").attrs
            settings["NumPixelsX"], settings["NumPixelsY"] = columns, rows
            settings["Camera Length"], settings["Pixel Size"] = np.array([0.1]), np.array([0.5])
    return folder / "run_master.h5"


def test_dectris_master(tmp_path):
    frames = counts(12, 16, 16, dtype=np.uint32)
    scan = open_scan(write_master(tmp_path, frames))
    assert (scan.kind, scan.shape) == ("4D-STEM", (3, 4, 16, 16))
    assert np.array_equal(scan.data.compute(), frames.reshape(3, 4, 16, 16))
    assert np.array_equal(scan.data[1:, 1:3, 4:6].compute(),
                          frames.reshape(3, 4, 16, 16)[1:, 1:3, 4:6])  # fmt: skip
    assert scan.calibration.voltage_kv == 200
    assert scan.calibration.pixel_size == pytest.approx(1e-4 / 0.1 / 0.0250793, rel=1e-4)
    assert (scan.axes[0].scale, scan.axes[0].unit) == (0.5, "nm")
    with pytest.raises(BadInputError, match=r"open run_master\.h5"):
        open_scan(tmp_path / "run.h5")
    part = open_scan(tmp_path / "run_data_000001.h5")
    assert any("is a part of run_master.h5" in w for w in part.warnings)


def test_dectris_short_square_and_unlinked(tmp_path):
    frames = counts(10, 16, 16)
    short = open_scan(write_master(tmp_path, frames))
    assert short.shape == (3, 4, 16, 16)
    assert short.missing.ravel().tolist() == [False] * 10 + [True] * 2
    (tmp_path / "run.h5").unlink()
    flat = open_scan(tmp_path / "run_master.h5")
    assert (flat.kind, flat.shape) == ("pattern stack", (10, 16, 16))
    laid = open_scan(tmp_path / "run_master.h5", scan_shape=(2, 5))
    assert np.array_equal(laid.data.compute(), frames.reshape(2, 5, 16, 16))
    for name in ("run_data_000001.h5", "run_data_000002.h5"):
        (tmp_path / name).unlink()
    with pytest.raises(BadInputError, match=r"run_data_000001\.h5, which is not there"):
        open_scan(tmp_path / "run_master.h5")
    square = open_scan(write_master(tmp_path, counts(16, 8, 8), columns=0))
    assert square.shape == (4, 4, 8, 8)
    assert any("taken as 4 x 4" in w for w in square.warnings)


# --- py4DSTEM ---------------------------------------------------------------------------


def write_peaks(path, lists, *, calibration=None, name="4DSTEM/braggpeaks_cal_raw"):
    """A peak list array; ``lists[y][x]`` is ``(n, 3)``: qx, qy, intensity."""
    fields = np.dtype([("qx", "<f8"), ("qy", "<f8"), ("intensity", "<f8")])
    shape = (len(lists), len(lists[0]))
    with h5py.File(path, "w") as file:
        data = file.create_dataset(f"{name}/data", shape, dtype=h5py.vlen_dtype(fields))
        file[name].attrs["py4dstem_class"] = "PointListArray"
        for y, x in np.ndindex(shape):
            table = np.asarray(lists[y][x], dtype=float).reshape(-1, 3)
            peaks = np.zeros(len(table), fields)
            for i, field in enumerate(fields.names):
                peaks[field] = table[:, i]
            data[y, x] = peaks
        if calibration:
            group = file.create_group("4DSTEM/calibration")
            group.attrs["python_class"] = "Calibration"
            for key, value in calibration.items():
                group[key] = value
    return path


def test_peak_lists_are_drawn_where_they_are(tmp_path):
    lists = [
        [[(0.0, 0.0, 5.0), (0.31, -0.22, 2.0)], [(0.0, 0.0, 4.0)]],
        [[], [(0.0, 0.0, 1.0), (-0.5, 0.5, 3.0), (-0.51, 0.5, 3.0)]],
    ]
    scan = open_scan(write_peaks(tmp_path / "a.h5", lists))
    assert (scan.kind, scan.shape[:2]) == ("4D-STEM", (2, 2))
    assert scan.calibration.center == (63.5, 63.5)
    assert scan.peaks.count_map().tolist() == [[2, 1], [0, 3]]
    assert any("1 positions have no peak" in w for w in scan.warnings)
    pixel = scan.calibration.pixel_size
    for (y, x), table in {(0, 0): lists[0][0], (1, 1): lists[1][1]}.items():
        pattern = scan.pattern(y, x)
        # Independent: the same Gaussians summed over the whole frame.
        rows, columns = np.mgrid[:128, :128]
        truth = np.zeros((128, 128))
        for qx, qy, intensity in table:
            r2 = (rows - 63.5 - qx / pixel) ** 2 + (columns - 63.5 - qy / pixel) ** 2
            truth += intensity * np.exp(-r2 / 2 / 1.2**2) / (2 * np.pi * 1.2**2)
        assert np.allclose(pattern, truth, atol=2e-4 * truth.max())
    assert not scan.pattern(1, 0).any()
    block = scan.data.compute()
    assert np.array_equal(block[1, 1], scan.pattern(1, 1))


def test_uncalibrated_peak_lists_use_the_calibration_of_their_file(tmp_path):
    lists = [[[(60.0, 64.0, 9.0), (70.0, 60.0, 1.0)], [(60.0, 64.0, 9.0)]]]
    calibration = {"Q_pixel_size": 0.02, "Q_pixel_units": "A^-1", "qx0_mean": 60.0,
                   "qy0_mean": 64.0}  # fmt: skip
    scan = open_scan(write_peaks(tmp_path / "a.h5", lists, calibration=calibration))
    assert scan.peaks.calibrated
    assert np.allclose(scan.peaks.at(0, 0)[1, :2], [0.2, -0.08], atol=1e-6)
    bare = open_scan(write_peaks(tmp_path / "b.h5", lists))
    assert not bare.peaks.calibrated
    assert bare.calibration.pixel_size is None
    assert np.allclose(bare.peaks.at(0, 0)[1, :2], [10, -4], atol=1e-6)
    assert any("median of the brightest peaks" in w for w in bare.warnings)
    assert any("detector pixels" in w for w in bare.warnings)


def test_peak_list_beside_a_datacube_asks(tmp_path):
    path = write_peaks(tmp_path / "a.h5", [[[(0.0, 0.0, 5.0)]] * 3] * 2)
    data = counts(2, 3, 8, 8)
    with h5py.File(path, "a") as file:
        group = file.create_group("4DSTEM/datacube")
        group.attrs["python_class"] = "DataCube"
        group["data"] = data
        for i, (name, unit) in enumerate((("Rx", "nm"), ("Ry", "nm"), ("Qx", "A^-1"),
                                          ("Qy", "A^-1"))):  # fmt: skip
            group[f"dim{i}"] = np.array([0.0, 0.5 if i < 2 else 0.02])
            group[f"dim{i}"].attrs["name"], group[f"dim{i}"].attrs["units"] = name, unit
    with pytest.raises(ChooseDatasetError, match="4DSTEM/datacube"):
        open_scan(path)
    cube = open_scan(path, dataset="4DSTEM/datacube")
    assert np.array_equal(cube.data.compute(), data)
    assert cube.calibration.pixel_size == pytest.approx(0.02)
    assert (cube.axes[0].scale, cube.axes[0].unit) == (0.5, "nm")


# --- STXM ---------------------------------------------------------------------------------


def write_als(folder, frames, energies, *, unit="eV", kind="NEXAFS Image Scan", regions=1,
              names=None, table=""):  # fmt: skip
    """An ALS header and one text frame an energy; None leaves a frame out."""
    shape = next(f.shape for f in frames if f is not None)

    def axis(name, label, points, unit):
        listed = ", ".join(f"{p:.4f}" for p in points)
        return (
            f'{name} = {{ Name = "{label}"; Unit = "{unit}"; Min = {points[0]}; '
            f"Max = {points[-1]}; Dir = 1;\n Points = ({len(points)}, {listed});\n}};\n"
        )

    folder.joinpath("s.hdr").write_text(
        f'ScanDefinition = {{ Label = "s.hdr"; Type = "{kind}"; Flags = "Image Stack";\n'
        f" Regions = ({regions},\n{{\n"
        + axis("PAxis", "Sample X", 5 + 0.04 * np.arange(shape[1]), "um")
        + axis("QAxis", "Sample Y", -3 + 0.05 * np.arange(shape[0]), "um")
        + "});\n"
        + axis("StackAxis", "Energy", energies, unit)
        + "};\n"
        + table
    )
    for i, frame in enumerate(frames):
        if frame is not None:
            name = names[i] if names else f"s_a{i:03d}.xim"
            np.savetxt(folder / name, frame, fmt="%.6f", delimiter="\t")
    return folder / "s.hdr"


def test_als_stack(tmp_path):
    frames = RNG.uniform(10, 400, (4, 6, 5)).round(6)
    energies = np.array([700.0, 705.0, 706.0, 708.5])
    scan = open_scan(write_als(tmp_path, list(frames), energies))
    assert (scan.kind, scan.shape) == ("STXM", (4, 6, 5))
    assert np.array_equal(scan.data.compute(), frames)
    assert np.allclose(scan.axes[0].coordinates, energies)
    assert scan.axes[0].values is not None
    assert (scan.axes[1].scale, scan.axes[2].scale) == (pytest.approx(50), pytest.approx(40))
    assert scan.axes[2].offset == pytest.approx(5000)
    assert scan.missing is None
    assert np.array_equal(open_scan(tmp_path / "s_a002.xim").data.compute(), frames)


def test_als_frames_absent_or_cut_mark_their_energy(tmp_path):
    frames = list(RNG.uniform(10, 400, (5, 6, 5)).round(6))
    path = write_als(tmp_path, [*frames[:2], None, *frames[3:]], 700.0 + np.arange(5))
    cut = tmp_path / "s_a003.xim"
    cut.write_bytes(cut.read_bytes()[:130])
    scan = open_scan(path)
    assert scan.missing.tolist() == [False, False, True, True, False]
    assert any("absent at 702 eV" in w for w in scan.warnings)
    assert any("cut at 703 eV" in w for w in scan.warnings)
    assert np.isnan(scan.data[2].compute()).all()
    part = scan.data[3].compute()
    assert np.array_equal(part[:2], frames[3][:2])
    assert np.isnan(part[3:]).all()
    for frame in tmp_path.glob("*.xim"):
        frame.unlink()
    with pytest.raises(BadInputError, match=r"5 energies, but not one of its \.xim"):
        open_scan(path)


@pytest.mark.parametrize(("unit", "said"), [("keV", False), ("eV", True)])
def test_energies_in_kev_are_converted(tmp_path, unit, said):
    frames = list(RNG.uniform(10, 400, (3, 6, 5)))
    scan = open_scan(write_als(tmp_path, frames, np.array([8.33, 8.335, 8.34]), unit=unit))
    assert scan.axes[0].unit == "eV"
    assert np.allclose(scan.axes[0].coordinates, [8330, 8335, 8340])
    assert any("taken as keV" in w for w in scan.warnings) == said


def test_als_frame_numbers_follow_the_table_of_the_header(tmp_path):
    frames = list(RNG.uniform(10, 400, (2, 6, 5)).round(6))
    table = "".join(
        f'Image{n:03d}_0 = {{StorageRingCurrent = 0.00; Energy = {e}; Time = "t";}};\n'
        for n, e in ((3, 857.75), (19, 853.0))
    )
    path = write_als(
        tmp_path, frames, np.array([853.0, 857.75]), table=table,
        names=["s_a003.xim", "s_a019.xim"],
    )  # fmt: skip
    scan = open_scan(path)
    assert np.array_equal(scan.data[0].compute(), frames[1])
    assert np.array_equal(scan.data[1].compute(), frames[0])


def test_als_odd_headers(tmp_path):
    frames = list(RNG.uniform(10, 400, (2, 6, 5)))
    energies = np.array([700.0, 701.0])
    with pytest.raises(BadInputError, match="speaks of 2 regions and describes 1"):
        open_scan(write_als(tmp_path, frames, energies, regions=2))
    with pytest.raises(BadInputError, match="Point Scan"):
        open_scan(write_als(tmp_path, frames, energies, kind="NEXAFS Point Scan"))
    path = write_als(tmp_path, frames, energies)
    path.write_text(path.read_text().replace("Points = (6,", "Points = (7,"))
    with pytest.raises(BadInputError, match="lists 6 of 7 points"):
        open_scan(path)
    (tmp_path / "s_b000.xim").write_text("1 2\n")
    write_als(tmp_path, frames, energies)
    with pytest.raises(ChooseDatasetError, match="channel a"):
        open_scan(path)
    lonely = tmp_path / "lonely_a000.xim"
    lonely.write_text("1 2\n")
    with pytest.raises(BadInputError, match=r"lonely\.hdr\) is not beside it"):
        open_scan(lonely)


def write_nxstxm(path, kind, data, axes):
    with h5py.File(path, "w") as file:
        group = file.create_group("entry1/counter0")
        group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "data"
        group["data"] = data
        group["stxm_scan_type"] = np.array([kind.encode()])
        for name, (values, unit) in axes.items():
            group[name] = np.asarray(values, dtype=float)
            group[name].attrs["units"] = unit
        control = file.create_group("entry1/control")
        control.attrs["NX_class"], control.attrs["signal"] = "NXdata", "data"
        control["data"] = np.zeros(data.shape)
        control["stxm_scan_type"] = np.array([kind.encode()])
    return path


def test_nxstxm(tmp_path):
    positions = {"sample_y": (np.arange(6) * 0.5, "µm"), "sample_x": (np.arange(5) * 0.25, "µm")}
    stack = RNG.uniform(size=(3, 6, 5))
    path = write_nxstxm(
        tmp_path / "a.hdf5", "sample image stack", stack,
        {"energy": ([280, 284.5, 320], "eV"), **positions},
    )  # fmt: skip
    scan = open_scan(path)
    assert (scan.kind, scan.shape) == ("STXM", (3, 6, 5))
    assert scan.axes[0].coordinates.tolist() == [280, 284.5, 320]
    assert (scan.axes[1].scale, scan.axes[2].scale) == (500, 250)
    assert np.array_equal(scan.data.compute(), stack)
    line = {"energy": ([280, 281, 282], "eV"), "sample_x": (np.arange(5) * 0.3, "µm"),
            "sample_y": (np.arange(5) * 0.4, "µm")}  # fmt: skip
    path = write_nxstxm(tmp_path / "b.hdf5", "sample line spectrum", stack[:, 0], line)
    scan = open_scan(path)
    assert (scan.kind, scan.shape) == ("STXM", (3, 1, 5))
    assert scan.axes[2].scale == pytest.approx(500)  # a diagonal line
    assert np.array_equal(scan.data.compute()[:, 0], stack[:, 0])
    assert np.array_equal(scan.data[1:, 0, 2].compute(), stack[1:, 0, 2])
    path = write_nxstxm(tmp_path / "c.hdf5", "sample focus", stack[0], positions)
    with pytest.raises(BadInputError, match="sample focus scan"):
        open_scan(path)


def test_energies_beside_a_plain_stack(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["stack"] = RNG.uniform(size=(3, 6, 5))
        file["energy"] = np.array([8.33, 8.34, 8.36])
    scan = open_scan(path)
    assert scan.kind == "STXM"
    assert np.allclose(scan.axes[0].coordinates, [8330, 8340, 8360])


def test_cxi(tmp_path):
    wave = (RNG.normal(size=(9, 9)) + 1j * RNG.normal(size=(9, 9))).astype("c8")
    path = tmp_path / "a.cxi"
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 130
        file["entry_1/image_1/data"] = wave
        file["entry_1/instrument_1/source_1/energy"] = 1.371312e-16
    scan = open_scan(path)
    assert (scan.kind, scan.dtype) == ("image", np.dtype("f4"))
    assert np.allclose(scan.data.compute(), np.abs(wave))
    assert scan.metadata["energy_ev"] == pytest.approx(855.9, abs=0.1)
    frames = counts(7, 16, 16)
    with h5py.File(path, "a") as file:
        file["entry_1/instrument_1/detector_1/data"] = frames
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
    with pytest.raises(ChooseDatasetError) as caught:
        open_scan(path)
    assert len(caught.value.candidates) == 2  # the link is no third array
    name = next(c.path for c in caught.value.candidates if len(c.shape) == 3)
    assert open_scan(path, dataset=name).kind == "pattern stack"


def test_fpd_twin(tmp_path):
    data = counts(2, 3, 1, 8, 8)
    path = tmp_path / "a.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["fpd_version"] = "0.3.0"
        group = file.create_group("fpd_expt/fpd_data")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=data.astype(">u2"), chunks=(1, 1, 1, 4, 4))
        file["fpd_expt/DAC/data"] = counts(2, 3, 1, 27)
    scan = open_scan(path)
    assert (scan.kind, scan.shape) == ("4D-STEM", (2, 3, 8, 8))
    assert np.array_equal(scan.data.compute(), data[:, :, 0])
    assert scan.dtype.isnative


def test_extensions_for_the_file_dialog():
    extensions = supported_extensions()
    assert extensions == tuple(sorted(set(extensions)))
    wanted = {".hspy", ".zspy", ".mib", ".blo", ".tvips", ".dm3", ".dm4", ".mrc", ".emd", ".de5",
              ".ser", ".emi", ".app5", ".nxs", ".npy", ".npz", ".tif", ".tiff", ".prz", ".h5",
              ".hdf5", ".zarr", ".hdr", ".xim", ".cxi", ".raw", ".xml"}  # fmt: skip
    assert wanted <= set(extensions)
    assert all(e.startswith(".") and e == e.lower() for e in extensions)
