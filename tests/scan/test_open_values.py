"""Measured files open with the right numbers: against independent readers and the READMEs."""

from __future__ import annotations

import importlib
import json

import h5py
import numpy as np
import pytest

from napari_diffmap.errors import BadInputError, ChooseDatasetError, NeedsShapeError
from napari_diffmap.scan.open import list_datasets, open_scan


def rosetta(plugin, path, **options):
    """The array as RosettaSciIO reads it whole."""
    signals = importlib.import_module(f"rsciio.{plugin}").file_reader(str(path), **options)
    return np.asarray(signals[0]["data"])


@pytest.fixture
def formats(shared_data):
    return shared_data / "formats"


@pytest.fixture
def broken(shared_data):
    return shared_data / "broken"


def test_austenite_is_calibrated_by_its_file(shared_data):
    scan = open_scan(shared_data / "austenite_nbed" / "subset_data.hspy")
    assert scan.shape == (2, 2, 256, 256)
    assert scan.kind == "4D-STEM"
    assert scan.dtype == np.uint16
    y, x, ky, kx = scan.axes
    assert (y.scale, y.unit, x.scale, x.unit) == (2.0, "nm", 2.0, "nm")
    assert ky.unit == kx.unit == "1/Å"
    assert ky.scale == pytest.approx(0.01261)
    assert scan.calibration.pixel_size == pytest.approx(0.01261)
    assert scan.calibration.pixel_size_origin == "file"
    assert scan.calibration.center == pytest.approx((128, 128), abs=1e-6)
    assert scan.calibration.center_origin == "file"
    assert scan.calibration.voltage_kv is None
    with h5py.File(scan.source) as file:
        truth = file["Experiments/__unnamed__/data"][()]
    assert np.array_equal(scan.data.compute(), truth)
    assert scan.warnings == ()


def test_blockfile_step_and_voltage(formats):
    path = formats / "rosettasciio" / "blockfile" / "test1.blo"
    scan = open_scan(path)
    assert scan.shape == (3, 2, 144, 144)
    assert [(a.scale, a.unit) for a in scan.axes[:2]] == [(12.8, "nm")] * 2
    assert scan.calibration.voltage_kv == 200
    assert scan.missing is None
    assert np.array_equal(scan.data.compute(), rosetta("blockfile", path))
    # 62.26 pixels per cm at 20 cm and 200 kV (0.025079 Å): r / L / λ.
    assert scan.calibration.pixel_size == pytest.approx(1 / 62.26 / 20 / 0.0250793, rel=1e-4)
    assert any("nominal camera length of 20 cm" in w for w in scan.warnings)


def test_every_whole_mib_equals_rosettasciio(formats):
    compared = 0
    for path in sorted(formats.rglob("*.mib")):
        if "_RAW" in path.name or "256RAW" in path.name or "corrupted" in path.name:
            continue
        scan = open_scan(path)
        truth = rosetta("quantumdetector", path)
        assert scan.shape == truth.shape, path.name
        assert np.array_equal(scan.data.compute(), truth), path.name
        compared += 1
    assert compared >= 20


def test_one_frame_is_equal_across_mib_hspy_and_hdf5(formats):
    folder = formats / "mib_one_frame"
    mib = open_scan(folder / "test_CL30cm.mib")
    hspy = open_scan(folder / "test_CL30cm.hspy")
    hdf5 = open_scan(folder / "test_CL30cm.hdf5")
    assert mib.kind == hspy.kind == hdf5.kind == "pattern"
    assert mib.shape == hspy.shape == hdf5.shape == (256, 256)
    frame = mib.data.compute()
    assert frame.max() == 125336
    assert np.array_equal(hspy.data.compute(), hdf5.data.compute())
    # Their author stored the low byte of each count, rows as they leave the camera.
    assert np.array_equal(hspy.data.compute(), (frame % 256).astype(np.uint8)[::-1])
    assert hspy.calibration.voltage_kv == 200  # the file says 200,000 V
    assert hspy.calibration.pixel_size == pytest.approx(0.0041035058)
    assert hspy.calibration.center == pytest.approx((128, 128), abs=1e-6)
    with pytest.raises(BadInputError, match="colour picture"):
        open_scan(folder / "test_CL30cm.tif")


def test_bit_depths_and_raw(formats):
    folder = formats / "merlin_bitdepths"
    depths = {"1bit": np.uint8, "6bit": np.uint8, "12bit": np.uint16, "24bit": np.uint32}
    for name, dtype in depths.items():
        (path,) = folder.glob(f"*/test_{name}_notRAW_1frame.mib")
        scan = open_scan(path)
        assert (scan.shape, scan.dtype) == ((512, 512), np.dtype(dtype))
        assert not scan.data.compute().any()  # blank frames, as the README says
        with pytest.raises(BadInputError, match="raw Merlin recording"):
            open_scan(folder / f"test_{name}_RAW_1frame.mib")


def test_header_of_a_mib_opens_the_mib(formats):
    folder = formats / "rosettasciio" / "quantumdetector" / "Merlin_navigation4x2_ROI"
    by_header, by_frames = (open_scan(folder / f"001_4x2_6bit.{e}") for e in ("hdr", "mib"))
    assert by_header.shape == by_frames.shape == (2, 4, 256, 256)
    assert np.array_equal(by_header.data.compute(), by_frames.data.compute())


def test_fpd_container(formats):
    path = formats / "fpd_big_endian" / "fpd_file_test.hdf5"
    scan = open_scan(path)
    assert (scan.shape, scan.kind, scan.format) == ((2, 2, 256, 256), "4D-STEM", "FPD")
    with h5py.File(path) as file:
        stored = file["fpd_expt/fpd_data/data"]
        assert stored.dtype == ">u2"
        assert np.array_equal(scan.data.compute(), stored[:, :, 0])
    assert scan.dtype == np.dtype("=u2")
    assert scan.data.compute().max() == 3493
    beside = open_scan(path, dataset="fpd_expt/fpd_sum_dif/data")
    assert beside.shape == (256, 256)
    # The container's own sum of its four patterns.
    assert np.array_equal(beside.data.compute(), scan.data.sum(axis=(0, 1)).compute())


def test_hyperspy_1_files(formats):
    scan = open_scan(formats / "fpd_big_endian" / "pixelated_stem_test.hdf5")
    assert (scan.shape, scan.kind, scan.dtype) == ((5, 2, 3, 4), "4D-STEM", np.dtype(bool))


def test_dectris_master(formats):
    scan = open_scan(formats / "rosettasciio" / "arina" / "test_00_master.h5")
    assert (scan.shape, scan.kind) == ((4, 4, 192, 192), "4D-STEM")
    assert scan.dtype == np.uint32  # RosettaSciIO narrows it to uint16
    assert scan.axes[0].scale == pytest.approx(0.13915206)
    assert scan.axes[0].unit == "nm"
    assert scan.calibration.voltage_kv == 300
    # 0.1 mm pixels at 11.5 cm and 300 kV (0.019687 Å).
    assert scan.calibration.pixel_size == pytest.approx(1e-4 / 0.115 / 0.0196875, rel=1e-3)
    with pytest.raises(BadInputError, match=r"open test_00_master\.h5"):
        open_scan(formats / "rosettasciio" / "arina" / "test_00.h5")


def test_empad_frames_without_their_footer(formats):
    folder = formats / "rosettasciio" / "history"
    scan = open_scan(folder / "map4x4.xml")
    assert (scan.shape, scan.kind) == ((4, 4, 128, 128), "4D-STEM")
    truth = np.fromfile(folder / "scan_x4_y4.raw", "<f4").reshape(4, 4, 130, 128)[:, :, :128]
    assert np.array_equal(scan.data.compute(), truth)
    assert scan.calibration.pixel_size == pytest.approx(0.01826537, rel=1e-6)  # 0.1827 1/nm
    assert scan.calibration.center == pytest.approx((64, 64))
    assert scan.axes[0].scale == pytest.approx(1141.5857, rel=1e-6)  # 1.14 µm
    alone = open_scan(folder / "scan_x4_y4.raw")
    assert np.array_equal(alone.data.compute(), truth)
    assert any("taken as EMPAD" in w for w in alone.warnings)


def test_direct_electron_scales_are_those_of_its_settings(formats):
    folder = formats / "rosettasciio" / "mrc"
    scan = open_scan(folder / "20241021_00405_movie.mrc")
    assert (scan.shape, scan.kind) == ((4, 8, 4, 8), "4D-STEM")
    assert (scan.axes[0].scale, scan.axes[1].scale) == (0.2, 0.1)  # nm, RosettaSciIO says 1
    assert scan.calibration.pixel_size == pytest.approx(0.01)
    assert scan.calibration.voltage_kv == 300
    info = folder / "20241021_00405_info.txt"
    truth = rosetta("mrc", folder / "20241021_00405_movie.mrc", metadata_file=str(info))
    assert np.array_equal(scan.data.compute(), truth)


def test_direct_electron_scan_in_random_order(formats):
    folder = formats / "rosettasciio" / "mrc"
    scan = open_scan(folder / "ROI_Random_Scan_movie.mrc")
    assert scan.shape == (29, 12, 16, 16)
    frames = np.fromfile(folder / "ROI_Random_Scan_movie.mrc", "<u2", offset=1024)
    frames = frames.reshape(348, 16, 16)
    at = np.loadtxt(folder / "ROI_Random_Scan_scan_coordinates.csv", delimiter=",", dtype=int)
    data = scan.data.compute()
    assert all(np.array_equal(data[y, x], frames[i]) for i, (x, y) in enumerate(at))
    # Their own sum image of the same frames.
    summed = open_scan(folder / "ROI_Random_Scan_Sum.mrc")
    assert np.allclose(summed.data.compute(), data.sum(axis=(2, 3)), rtol=0.02, atol=300)


def test_direct_electron_passes_and_positions_left_out(formats):
    path = formats / "rosettasciio" / "mrc" / "Custom_movie.mrc"
    with pytest.raises(ChooseDatasetError) as caught:
        open_scan(path)
    assert [c.path for c in caught.value.candidates] == ["pass 1", "pass 2"]
    scan = open_scan(path, dataset="pass 2")
    frames = np.fromfile(path, "<u2", offset=1024, count=30 * 256).reshape(30, 16, 16)
    assert scan.shape == (5, 5, 16, 16)
    assert np.array_equal(scan.missing.sum(axis=0), [0, 5, 0, 5, 0])
    assert np.array_equal(scan.data[3, 2].compute(), frames[15 + 5 + 3])
    assert np.isnan(scan.pattern(0, 1)).all()


def test_mrc_without_its_frames_and_placeholder_scale(formats, shared_data):
    gain = open_scan(formats / "rosettasciio" / "history" / "Movie_00784.seq.gain.mrc")
    assert gain.shape == (256, 256)
    assert "the header says 32766 frames, the file holds 1" in gain.warnings
    frame = open_scan(shared_data / "silicon_rotation" / "00001.mrc")
    assert (frame.shape, frame.kind) == ((512, 512), "pattern")
    assert not frame.axes[0].calibrated  # 1 Å a pixel is what writers put when they know nothing
    assert np.array_equal(
        frame.data.compute(),
        np.fromfile(frame.source, "<u2", offset=1024).reshape(512, 512),
    )
    haadf = open_scan(formats / "rosettasciio" / "mrc" / "HAADFscan.mrc")
    assert haadf.kind == "image"
    assert haadf.axes[0].scale == pytest.approx(5.679131, rel=1e-6)


def test_silicon_rotation_stack(shared_data):
    path = shared_data / "silicon_rotation" / "si_rotation_even_frames.h5"
    scan = open_scan(path)
    assert (scan.shape, scan.kind) == ((212, 256, 256), "pattern stack")
    assert scan.calibration.pixel_size == pytest.approx(0.0072992)
    assert scan.calibration.voltage_kv == pytest.approx(200, abs=0.2)  # from 0.025079 Å
    assert scan.calibration.center is None
    tilts = scan.metadata["tilt_deg"]
    assert len(tilts) == 212
    with h5py.File(path) as file:
        assert np.allclose(tilts, file["tilt_deg"][()])
        assert np.array_equal(scan.data[100].compute(), file["data"][100])
    laid = open_scan(path, scan_shape=(1, 212))
    assert (laid.shape, laid.kind) == ((1, 212, 256, 256), "4D-STEM")
    assert np.array_equal(laid.pattern(0, 100), scan.data[100].compute())
    with pytest.raises(NeedsShapeError, match="whose product is 212"):
        open_scan(path, scan_shape=(10, 10))


def test_cathode_peaks_and_their_patterns(shared_data):
    path = shared_data / "cathode_particle" / "braggdisks_cali.h5"
    scan = open_scan(path)
    assert (scan.kind, scan.shape[:2]) == ("4D-STEM", (80, 58))
    peaks = scan.peaks
    assert peaks is not None
    assert peaks.calibrated
    assert len(peaks) == 121_390
    with h5py.File(path) as file:
        stored = file["4DSTEM/braggpeaks_cal_raw/data"]
        for y, x in ((0, 0), (40, 29), (79, 57)):
            truth = stored[y, x]
            mine = peaks.at(y, x)
            assert np.allclose(mine[:, 0], truth["qx"], atol=1e-6)  # their x runs down the rows
            assert np.allclose(mine[:, 1], truth["qy"], atol=1e-6)
            assert np.allclose(mine[:, 2], truth["intensity"], rtol=1e-6)
            pattern = scan.pattern(y, x)
            assert pattern.sum() == pytest.approx(truth["intensity"].sum(), rel=1e-3)
    assert scan.calibration.center == (63.5, 63.5)
    assert scan.calibration.pixel_size == pytest.approx(scan.axes[-1].scale)
    assert any("drawn from 121,390 measured peaks" in w for w in scan.warnings)


def test_drawn_patterns_agree_with_the_rendered_twin(shared_data):
    folder = shared_data / "cathode_particle"
    mine = open_scan(folder / "braggdisks_cali.h5")
    theirs = open_scan(folder / "rendered_80x58x128x128_uint8.h5")
    assert theirs.calibration.pixel_size == pytest.approx(0.0234375)
    y, x = 40, 29
    strongest = mine.peaks.at(y, x)[np.argmax(mine.peaks.at(y, x)[:, 2])]
    for scan, center in ((mine, 63.5), (theirs, 64.0)):
        pattern = scan.pattern(y, x)
        row, column = np.unravel_index(pattern.argmax(), pattern.shape)
        found = (np.array([row, column]) - center) * scan.calibration.pixel_size
        assert np.allclose(found, strongest[:2], atol=0.7 * scan.calibration.pixel_size)


def test_als_stack(shared_data):
    folder = shared_data / "stxm_iron_2p" / "71214078_FigS4" / "Aligned"
    scan = open_scan(folder / "71214078.hdr")
    assert (scan.shape, scan.kind) == ((123, 125, 125), "STXM")
    energy, y, x = scan.axes
    assert energy.unit == "eV"
    listed = np.loadtxt(shared_data / "stxm_iron_2p" / "Energy.txt")
    assert np.allclose(energy.coordinates, listed, atol=1e-9)  # steps are uneven
    assert (y.scale, y.unit, x.scale, x.unit) == (pytest.approx(80), "nm", pytest.approx(80), "nm")
    truth = np.loadtxt(folder / "71214078_a050.xim")
    assert np.array_equal(scan.data[50].compute(), truth)
    assert scan.missing is None


def test_als_frames_numbered_by_the_header(shared_data):
    scan = open_scan(shared_data / "stxm_nickel_l3" / "stxm-scan.hdr")
    assert (scan.shape, scan.kind) == ((2, 120, 120), "STXM")
    assert np.allclose(scan.axes[0].coordinates, [853.0, 857.75])
    assert scan.axes[1].scale == pytest.approx(27.18, abs=0.01)
    truth = np.loadtxt(shared_data / "stxm_nickel_l3" / "stxm-scan_a019.xim")
    assert np.array_equal(scan.data[1].compute(), truth)
    by_frame = open_scan(shared_data / "stxm_nickel_l3" / "stxm-scan_a003.xim")
    assert by_frame.shape == scan.shape


def test_als_headers_without_frames(shared_data):
    with pytest.raises(BadInputError, match=r"46 energies, but not one of its \.xim"):
        open_scan(shared_data / "stxm_nickel_l3" / "NS_181111148.hdr")
    with pytest.raises(BadInputError, match="Point Scan"):
        open_scan(shared_data / "stxm_als_single" / "30523005.hdr")
    image = open_scan(shared_data / "stxm_als_single" / "30529000.hdr")
    assert (image.shape, image.kind) == ((200, 200), "image")
    assert image.axes[0].scale == pytest.approx(250)
    assert image.metadata["energy_ev"] == pytest.approx(708.4)


def test_als_stack_with_missing_and_cut_frames(broken):
    scan = open_scan(broken / "stxm_stack_missing_frames" / "71214078.hdr")
    assert scan.shape == (123, 125, 125)
    present = np.flatnonzero(~scan.missing)
    assert present.tolist() == [0, 1, 2, 4, 6, 8, 10, 11]  # 5 and 9 are cut, 3 and 7 absent
    assert any("absent at" in w for w in scan.warnings)
    assert any("cut at 701.875, 703.202 eV" in w for w in scan.warnings)
    cut = scan.data[5].compute()
    assert np.isfinite(cut[:60]).all()
    assert np.isnan(cut[63:]).all()
    assert np.isnan(scan.data[3].compute()).all()


def test_nxstxm(shared_data):
    folder = shared_data / "stxm_nxstxm"
    stack = open_scan(folder / "Sample_Stack_2021-03-16_128.hdf5")
    assert (stack.shape, stack.kind) == ((4, 50, 50), "STXM")
    assert stack.axes[0].coordinates.tolist() == [280, 284.5, 285, 320]
    assert (stack.axes[1].scale, stack.axes[1].unit) == (pytest.approx(500), "nm")
    with h5py.File(stack.source) as file:
        assert np.array_equal(stack.data.compute(), file["entry1/counter0/data"][()])
    line = open_scan(folder / "Sample_Line_2021-03-16_096.hdf5")
    assert (line.shape, line.kind) == ((81, 1, 50), "STXM")
    assert line.axes[0].coordinates[[0, -1]].tolist() == [280, 320]
    assert line.axes[2].scale == pytest.approx(300)
    with h5py.File(line.source) as file:
        assert np.array_equal(line.data.compute()[:, 0], file["entry1/counter0/data"][()])
    image = open_scan(folder / "Sample_Image_2021-03-16_095.hdf5")
    assert (image.shape, image.kind) == ((50, 50), "image")
    assert image.metadata["energy_ev"] == 350
    with pytest.raises(BadInputError, match="focus scan"):
        open_scan(folder / "Focus_2021-03-16_051.hdf5")


def test_complex_image_opens_as_its_modulus(shared_data):
    scan = open_scan(shared_data / "stxm_nickel_l3" / "ptycho-scan-856eV.cxi")
    assert (scan.shape, scan.kind, scan.dtype) == ((285, 285), "image", np.dtype(np.float32))
    assert any("modulus" in w for w in scan.warnings)
    assert scan.metadata["energy_ev"] == pytest.approx(855.9, abs=0.1)
    with h5py.File(scan.source) as file:
        assert np.allclose(scan.data.compute(), np.abs(file["entry_1/image_1/data"][()]))


def test_atomic_images(shared_data):
    movie = open_scan(shared_data / "abf_short_movie" / "stem_abf_data_imagestack.hspy")
    assert (movie.shape, movie.kind) == ((5, 512, 512), "image series")
    assert movie.axes[-1].scale == pytest.approx(0.0092024, rel=1e-5)  # 9.2 pm
    folder = shared_data / "mos2_images"
    image = open_scan(folder / "MoS2_stem_Exp-000-2.npy")
    view = json.loads((folder / "MoS2_stem_Exp-000-2.json").read_text())
    nm = view["experimental_details"]["spatial_info"]["field_of_view_x"]
    assert (image.kind, image.axes[1].unit) == ("image", "nm")
    assert image.axes[1].scale == pytest.approx(nm / 512)
    assert open_scan(folder / "MoS2_stem.npy").kind == "image"
    labelled = open_scan(shared_data / "graphene_silicon" / "Si1C3" / "10.hdf5")
    assert (labelled.shape, labelled.kind) == ((256, 256), "image")
    with h5py.File(labelled.source) as file:
        assert np.array_equal(labelled.data.compute(), file["nn_input"][0, :, :, 0])


def test_tia_takes_units_from_the_emi(formats):
    folder = formats / "rosettasciio" / "tia" / "new"
    by_frames = open_scan(folder / "128x128x5-diffraction_preview_1.ser")
    by_emi = open_scan(folder / "128x128x5-diffraction_preview.emi")
    truth = rosetta("tia", folder / "128x128x5-diffraction_preview.emi")
    for scan in (by_frames, by_emi):
        assert (scan.shape, scan.kind) == ((5, 128, 128), "pattern stack")
        assert scan.calibration.pixel_size == pytest.approx(0.0042464, rel=1e-4)
        assert scan.calibration.voltage_kv == 200
        # Zero lies at pixel 64 of rows stored bottom up (RosettaSciIO leaves it in 1/m).
        assert scan.calibration.center == pytest.approx((63, 64), abs=1e-6)
        assert np.array_equal(scan.data.compute(), truth)
        assert scan.warnings == ()


def test_tia_images(formats):
    folder = formats / "rosettasciio" / "tia" / "new"
    for name in ("128x128-TEM_search", "128x128_TEM_acquire-sum1"):
        scan = open_scan(folder / f"{name}.emi")
        assert (scan.kind, scan.shape, scan.axes[0].unit) == ("image", (128, 128), "nm")
        assert np.array_equal(scan.data.compute(), rosetta("tia", folder / f"{name}.emi"))
    assert scan.axes[0].scale == pytest.approx(21.4793, rel=1e-5)


def test_ser_without_its_emi_has_no_false_scale(formats, tmp_path):
    name = "128x128x5-diffraction_preview_1.ser"
    path = tmp_path / name
    path.write_bytes((formats / "rosettasciio" / "tia" / "new" / name).read_bytes())
    scan = open_scan(path)
    assert scan.calibration.pixel_size is None
    assert not scan.axes[-1].calibrated  # RosettaSciIO says 4e16 nm
    assert any("units is not beside it" in w for w in scan.warnings)
    assert scan.shape == (5, 128, 128)


def test_tvips_parts_make_one_sequence(formats):
    folder = formats / "rosettasciio" / "tvips"
    whole = open_scan(folder / "test_tvips_2345_000.tvips")
    split = open_scan(folder / "test_tvips_2345_split_001.tvips")
    assert whole.shape == split.shape == (6, 4, 5)
    assert whole.calibration.voltage_kv == 200
    assert whole.calibration.pixel_size is None
    assert np.array_equal(whole.data.compute(), split.data.compute())
    assert np.array_equal(
        whole.data.compute(), rosetta("tvips", folder / "test_tvips_2345_000.tvips")
    )
    laid = open_scan(folder / "test_tvips_2345_000.tvips", scan_shape=(2, 3))
    assert laid.shape == (2, 3, 4, 5)
    assert np.array_equal(laid.pattern(1, 2), whole.data[5].compute())


def test_digital_micrograph(formats):
    folder = formats / "rosettasciio" / "digitalmicrograph" / "2D"
    pattern = open_scan(folder / "test_diffraction_pattern.dm3")
    assert pattern.kind == "pattern"
    assert pattern.calibration.pixel_size == pytest.approx(0.0174433, rel=1e-5)  # 0.174 1/nm
    assert pattern.calibration.voltage_kv == 200
    assert pattern.calibration.center is None  # the file's zero lies outside the picture
    image = open_scan(folder / "test_STEM_image.dm3")
    assert (image.kind, image.axes[0].unit) == ("image", "nm")
    assert image.axes[0].scale == pytest.approx(0.248538, rel=1e-5)
    two = open_scan(folder / "multi_signal.dm3")
    assert (two.shape, two.kind) == ((512, 512), "image")
    with pytest.raises(BadInputError, match="colour picture"):
        open_scan(folder / "test-23.dm3")


def test_emd(formats):
    folder = formats / "rosettasciio" / "emd"
    cube = open_scan(folder / "py4DSTEM_size2x3x4x5.h5")
    assert (cube.shape, cube.kind, cube.format) == ((2, 3, 4, 5), "4D-STEM", "py4DSTEM")
    assert cube.axes[0].scale == pytest.approx(0.126796875)
    assert cube.calibration.pixel_size == pytest.approx(0.0442515666)
    assert cube.calibration.center is None
    with h5py.File(cube.source) as file:
        assert np.array_equal(cube.data.compute(), file["datacube_root/datacube/data"][()])
    with pytest.raises(ChooseDatasetError) as caught:
        open_scan(folder / "fei_example_dpc_titles.emd")
    assert len(caught.value.candidates) == 9
    assert open_scan(folder / "fei_example_dpc_titles.emd", dataset="iDPC").shape == (2, 2)
    movie = open_scan(folder / "fei_example_tem_stack.emd")
    assert (movie.kind, movie.axes[0].unit) == ("image series", "s")


def test_single_diffraction_frames(formats):
    folder = formats / "nbd_single_frames"
    binary = open_scan(folder / "CCD Spectrum image_001.bin")
    assert (binary.shape, binary.kind, binary.dtype) == ((512, 512), "pattern", np.dtype("i4"))
    assert np.array_equal(
        binary.data.compute().ravel(), np.fromfile(binary.source, "<i4", offset=10)
    )
    assert open_scan(folder / "dd020.dm3").kind == "pattern"


def test_blockfile_with_frames_missing(broken):
    whole = open_scan(broken.parent / "formats" / "rosettasciio" / "blockfile" / "test1.blo")
    cut = open_scan(broken / "blo_truncated_60pct.blo")
    assert cut.shape == (3, 2, 144, 144)
    assert cut.missing.tolist() == [[False, False], [False, True], [True, True]]
    assert any("6 patterns, the file holds 3" in w for w in cut.warnings)
    assert np.array_equal(cut.data[1, 0].compute(), whole.data[1, 0].compute())
    assert np.isnan(cut.pattern(2, 1)).all()
    wide = open_scan(broken / "blo_header_NX7_data_for_2.blo")
    assert wide.shape == (3, 7, 144, 144)
    assert int(wide.missing.sum()) == 15
    assert any("doubtful, give the scan shape" in w for w in wide.warnings)
    right = open_scan(broken / "blo_header_NX7_data_for_2.blo", scan_shape=(3, 2))
    assert right.missing is None
    assert right.axes[0].scale == 12.8
    assert np.array_equal(right.data.compute(), whole.data.compute())


def test_mib_with_a_frame_missing(broken, formats):
    folder = formats / "rosettasciio" / "quantumdetector" / "Merlin_navigation4x2_ROI"
    whole = open_scan(folder / "001_4x2_6bit.mib").data.compute()
    for name in ("mib_7_of_8_frames_ragged.mib", "mib_last_frame_cut.mib"):
        scan = open_scan(broken / name)
        assert scan.shape == (2, 4, 256, 256)
        assert scan.missing.tolist() == [[False] * 4, [False, False, False, True]]
        assert any("7 of 8 frames" in w for w in scan.warnings)
        assert np.array_equal(scan.data[1, 2].compute(), whole[1, 2])


def test_ragged_scan_is_laid_out(broken):
    path = broken / "ragged_scan_173_of_180_positions.npz"
    scan = open_scan(path)
    assert (scan.shape, scan.kind) == ((12, 15, 32, 32), "4D-STEM")
    assert int(scan.missing.sum()) == 7
    with np.load(path) as file:
        at, counts = file["pos_yx"], file["counts"]
    data = scan.data.compute()
    for i in range(0, 173, 7):
        y, x = np.round(at[i]).astype(int)
        assert np.array_equal(data[y, x], counts[i])
        assert not scan.missing[y, x]


@pytest.mark.parametrize("name", ["big_endian_u2", "fortran_order"])
def test_byte_and_axis_order_do_not_change_values(broken, name):
    path = broken / f"{name}_2x2x256x256.npy"
    scan = open_scan(path)
    assert scan.dtype == np.dtype("=u2")
    assert np.array_equal(scan.data.compute(), np.load(path))


def test_detector_axes_first(broken):
    scan = open_scan(broken / "signal_axes_first_ky_kx_y_x.h5")
    assert (scan.shape, scan.kind) == ((2, 2, 256, 256), "4D-STEM")
    with h5py.File(scan.source) as file:
        assert np.array_equal(scan.data.compute(), file["data"][()].transpose(2, 3, 0, 1))
    assert any("axis order ky, kx, y, x as stated" in w for w in scan.warnings)
    assert any("reordered" in w for w in scan.warnings)


def test_two_datasets_ask(broken):
    path = broken / "two_candidate_4d_datasets.h5"
    with pytest.raises(ChooseDatasetError, match=r"a/data \(2 x 2 x 256 x 256\)") as caught:
        open_scan(path)
    assert "dataset 'a/data'" in str(caught.value)
    assert [c.shape for c in caught.value.candidates] == [(2, 2, 256, 256), (2, 2, 128, 128)]
    assert caught.value.candidates == tuple(list_datasets(path))
    assert open_scan(path, dataset="b/data").shape == (2, 2, 128, 128)
    assert open_scan(path, dataset="/b/data").shape == (2, 2, 128, 128)
    with pytest.raises(ChooseDatasetError, match="has no array 'c'"):
        open_scan(path, dataset="c")


def test_headerless_raw_asks_for_a_shape(broken):
    path = broken / "headerless_2x2x256x256_u16le.raw"
    with pytest.raises(NeedsShapeError, match="524,288 bytes"):
        open_scan(path)
    scan = open_scan(path, shape=(2, 2, 256, 256), dtype="<u2")
    assert scan.kind == "4D-STEM"
    assert np.array_equal(scan.data.compute().ravel(), np.fromfile(path, "<u2"))
    with pytest.raises(NeedsShapeError, match="524,288 are there"):
        open_scan(path, shape=(2, 2, 256, 256), dtype="uint32")
    with pytest.raises(NeedsShapeError, match="give the number type"):
        open_scan(path, shape=(2, 2, 256, 256))


def test_odd_arrays(broken):
    cut = open_scan(broken / "npy_truncated.npy")
    assert cut.shape == (4, 256, 256)
    assert cut.missing.tolist() == [False, True, True, True]
    nan = open_scan(broken / "nan_inf_negative_float32.npy")
    assert any("65536 NaN, 5120 infinite, 28822 negative" in w for w in nan.warnings)
    huge = open_scan(broken / "uint64_huge_values.npy")
    assert huge.dtype == np.uint64
    assert any("3.84e+15" in w for w in huge.warnings)
    line = open_scan(broken / "line_scan_4x256x256.npy")
    assert (line.kind, line.shape) == ("pattern stack", (4, 256, 256))
    one = open_scan(broken / "one_position_1x1x256x256.npy")
    assert (one.kind, one.shape) == ("4D-STEM", (1, 1, 256, 256))
    five = open_scan(broken / "wrong_ndim_5d.npy")
    assert five.shape == (2, 2, 256, 256)
    assert any("1 x 2 x 2 x 256 x 256" in w for w in five.warnings)
    wave = open_scan(broken / "complex64_object_wave.npy")
    assert (wave.kind, wave.dtype) == ("image", np.dtype(np.float32))
    assert open_scan(broken / "bool_patterns.npy").dtype == bool


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("blo_header_only.blo", "not one of its 6 patterns"),
        ("blo_header_pattern_size_0.blo", "0 x 0 pixels"),
        ("blo_is_really_text.blo", "is no blockfile"),
        ("blo_zero_bytes.blo", "is empty"),
        ("empty_0x4x64x64.npy", r"empty \(0 x 4 x 64 x 64\)"),
        ("ragged_object_pickle.npy", "never loaded"),
        ("wrong_ndim_1d.npy", "5000"),
        ("external_link_missing.h5", "not_here_data_000001.h5, which is not there"),
        ("hspy_flipped_bytes.hspy", "damaged"),
        ("hspy_truncated.hspy", "truncated: 129,265 of 258,531 bytes"),
        ("ang_rows_shuffled.ang", "open it as a map"),
    ],
)
def test_broken_files_say_what_is_wrong(broken, name, says):
    with pytest.raises(BadInputError, match=says):
        open_scan(broken / name)
