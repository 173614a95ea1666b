"""Twins of the broken files, made here: nothing opens silently wrong."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile

import h5py
import numpy as np
import pytest

from napari_diffmap.errors import BadInputError, ChooseDatasetError, NeedsShapeError
from napari_diffmap.scan.open import list_datasets, open_scan

RNG = np.random.default_rng(7)


def counts(*shape, dtype=np.uint16, top=4000):
    return RNG.integers(0, top, shape).astype(dtype)


# --- blockfiles -----------------------------------------------------------------


def write_blo(path, frames, shape, *, edge=None, volts=200_000, ppcm=6226, camera=2000, keep=None):
    """A blockfile of ``frames (n, e, e)``; `keep` cuts the file after so many bytes."""
    edge = frames.shape[-1] if edge is None else edge
    image = shape[0] * shape[1]
    second = 4096 + image + (-image) % 16
    head = struct.pack(
        "<6sHIIIHHHHHddIHId",
        b"IMGBLO", 0x0102, 4096, second, 131141, edge, 0, shape[1], shape[0], 0,
        12.8, 12.8, volts, ppcm, camera, 0.0,
    )  # fmt: skip
    body = b"".join(struct.pack("<HI", 0x55AA, i) + f.tobytes() for i, f in enumerate(frames))
    data = head.ljust(second, b"\0") + body
    path.write_bytes(data if keep is None else data[:keep])
    return path


def test_blockfile_equals_rosettasciio(tmp_path):
    from rsciio.blockfile import file_reader

    frames = counts(6, 20, 20, dtype=np.uint8, top=255)
    path = write_blo(tmp_path / "a.blo", frames, (2, 3))
    scan = open_scan(path)
    assert scan.missing is None
    assert np.array_equal(scan.data.compute(), frames.reshape(2, 3, 20, 20))
    assert np.array_equal(scan.data.compute(), file_reader(str(path))[0]["data"])
    assert scan.calibration.voltage_kv == 200
    assert (scan.axes[0].scale, scan.axes[0].unit) == (12.8, "nm")


@pytest.mark.parametrize("there", [1, 3, 5])
def test_truncated_blockfile_marks_what_is_missing(tmp_path, there):
    frames = counts(6, 20, 20, dtype=np.uint8, top=255)
    cut = 4096 + 16 + there * 406 + 17
    scan = open_scan(write_blo(tmp_path / "a.blo", frames, (2, 3), keep=cut))
    assert np.array_equal(scan.missing.ravel(), np.arange(6) >= there)
    assert any(f"the file holds {there}" in w for w in scan.warnings)
    assert np.array_equal(scan.data.compute().reshape(6, 20, 20)[:there], frames[:there])
    assert np.isnan(scan.pattern(1, 2)).all()


def test_blockfile_header_says_too_many_columns(tmp_path):
    frames = counts(6, 20, 20, dtype=np.uint8, top=255)
    path = write_blo(tmp_path / "a.blo", frames, (3, 2))
    data = bytearray(path.read_bytes())
    struct.pack_into("<H", data, 24, 7)
    path.write_bytes(data)
    scan = open_scan(path)
    assert scan.shape[:2] == (3, 7)
    assert int(scan.missing.sum()) == 15
    assert any("doubtful, give the scan shape" in w for w in scan.warnings)
    mended = open_scan(path, scan_shape=(3, 2))
    assert mended.missing is None
    assert np.array_equal(mended.data.compute(), frames.reshape(3, 2, 20, 20))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"keep": 4096 + 16}, "not one of its 6 patterns"),
        ({"edge": 0}, "0 x 0 pixels"),
        ({"keep": 30}, "cut inside its header"),
        ({"keep": 0}, "is empty"),
    ],
)
def test_impossible_blockfiles(tmp_path, options, says):
    frames = counts(6, 20, 20, dtype=np.uint8, top=255)
    path = write_blo(tmp_path / "a.blo", frames, (2, 3), **options)
    with pytest.raises(BadInputError, match=says):
        open_scan(path)


@pytest.mark.parametrize(
    "options", [{"volts": 0}, {"camera": 0}, {"ppcm": 0}, {"volts": 5}, {"camera": 4_000_000}]
)
def test_blockfile_pixel_size_is_not_invented(tmp_path, options):
    frames = counts(6, 20, 20, dtype=np.uint8, top=255)
    scan = open_scan(write_blo(tmp_path / "a.blo", frames, (2, 3), **options))
    assert scan.calibration.pixel_size is None
    assert not scan.axes[-1].calibrated
    assert any("set the pixel size" in w for w in scan.warnings)


def test_blockfile_that_lost_patterns_while_recording(tmp_path):
    frames = counts(6, 20, 20, dtype=np.uint8, top=255)
    path = write_blo(tmp_path / "a.blo", frames, (2, 3))
    data = bytearray(path.read_bytes())
    for i in range(3, 6):  # from the fourth pattern on, numbers are one too high
        struct.pack_into("<I", data, 4096 + 16 + i * 406 + 2, i + 1)
    path.write_bytes(data)
    assert any("do not count up" in w for w in open_scan(path).warnings)


# --- Merlin -----------------------------------------------------------------------


def write_mib(path, frames, *, rows=None, promised=None, pause=0.01, keep=None, depth="U16"):
    """Frames ``(n, ky, kx)`` as a .mib with its .hdr; rows start after a pause."""
    n, height, width = frames.shape
    start = np.datetime64("2021-03-18T14:29:18.000000", "us")
    data = b""
    for i, frame in enumerate(frames):
        stamp = start + np.timedelta64(i * 1000, "us")
        if rows:
            stamp += np.timedelta64(int((i // rows) * pause * 1e6), "us")
        head = f"MQ1,{i + 1:06d},00384,01,{width:04d},{height:04d},{depth},   1x1,01,"
        head += f"{stamp},0.001,0,0,0,MQ1A,{stamp}000Z,1000000ns,12,"
        dtype = {"U08": ">u1", "U16": ">u2", "U32": ">u4"}[depth]
        data += head.encode().ljust(384, b"\0") + frame[::-1].astype(dtype).tobytes()
    path.write_bytes(data if keep is None else data[:keep])
    lines = [
        "HDR,",
        f"Frames in Acquisition (Number):\t{promised or n}",
        "Frames per Trigger (Number):\t1",
        "End\t",
    ]
    path.with_suffix(".hdr").write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("depth", ["U08", "U16", "U32"])
def test_mib_equals_rosettasciio(tmp_path, depth):
    from rsciio.quantumdetector import file_reader

    frames = counts(8, 12, 10, top=200)
    path = write_mib(tmp_path / "a.mib", frames, rows=4, depth=depth)
    scan = open_scan(path)
    assert (scan.shape, scan.kind) == ((2, 4, 12, 10), "4D-STEM")
    assert np.array_equal(scan.data.compute(), frames.reshape(2, 4, 12, 10))
    assert np.array_equal(scan.data.compute(), file_reader(str(path))[0]["data"])


@pytest.mark.parametrize("there", [4, 5, 7])
def test_short_mib_keeps_its_scan_shape(tmp_path, there):
    frames = counts(8, 12, 10)
    record = 384 + 240
    path = write_mib(tmp_path / "a.mib", frames, rows=4, keep=there * record + 100)
    scan = open_scan(path)
    if there == 4:  # one row has no pause: the frames cannot tell where a row ends
        assert scan.shape == (8, 12, 10)
        assert scan.missing.tolist() == [False] * 4 + [True] * 4
    else:
        assert scan.shape == (2, 4, 12, 10)
        assert scan.missing.ravel().tolist() == [False] * there + [True] * (8 - there)
    assert any(f"{there} of 8 frames" in w for w in scan.warnings)
    assert any("the last frame is cut" in w for w in scan.warnings)
    flat = scan.data.compute().reshape(8, 12, 10)
    assert np.array_equal(flat[:there], frames[:there])


def test_mib_row_length_is_guessed_only_from_regular_pauses(tmp_path):
    frames = counts(12, 6, 6)
    flat = open_scan(write_mib(tmp_path / "flat.mib", frames))
    assert (flat.shape, flat.kind) == ((12, 6, 6), "pattern stack")
    rows = open_scan(write_mib(tmp_path / "rows.mib", frames, rows=4, pause=2.1e-5))
    assert rows.shape == (3, 4, 6, 6)
    assert any("guessed from pauses" in w for w in rows.warnings)
    laid = open_scan(tmp_path / "flat.mib", scan_shape=(2, 6))
    assert np.array_equal(laid.data.compute(), frames.reshape(2, 6, 6, 6))


def test_mib_short_header_and_raw(tmp_path):
    path = write_mib(tmp_path / "a.mib", counts(2, 6, 6))
    good = path.read_bytes()
    path.write_bytes(good.replace(b"U16", b"R64"))
    with pytest.raises(BadInputError, match="raw Merlin recording"):
        open_scan(path)
    path.write_bytes(
        good.replace(b"MQ1,000001,00384,01,0006,0006", b"MQ1,000001,00384,01,0006,    ")
    )
    with pytest.raises(BadInputError, match="header is damaged"):
        open_scan(path)
    path.write_bytes(good[:400])
    with pytest.raises(BadInputError, match="before the end of its first frame"):
        open_scan(path)
    path.unlink()
    with pytest.raises(BadInputError, match="are not beside it"):
        open_scan(tmp_path / "a.hdr")


def test_mib_with_more_frames_than_its_header(tmp_path):
    scan = open_scan(write_mib(tmp_path / "a.mib", counts(9, 6, 6), promised=8))
    assert scan.shape == (9, 6, 6)
    assert any("speaks of 8 frames, the file holds 9" in w for w in scan.warnings)


# --- NumPy and raw -----------------------------------------------------------------


def test_truncated_npy_keeps_whole_frames(tmp_path):
    data = counts(3, 4, 8, 8)
    path = tmp_path / "a.npy"
    np.save(path, data)
    path.write_bytes(path.read_bytes()[: 128 + 5 * 128 + 9])
    scan = open_scan(path)
    assert scan.shape == (3, 4, 8, 8)
    assert np.array_equal(scan.missing.ravel(), np.arange(12) >= 5)
    assert any("5 of 12 frames" in w for w in scan.warnings)
    assert np.array_equal(scan.data.compute().reshape(12, 8, 8)[:5], data.reshape(12, 8, 8)[:5])
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(BadInputError, match=r"truncated: 22 of 1,536 bytes"):
        open_scan(path)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", ">f4", "|u1", "|b1", "<i8", ">u8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_values_whatever_the_byte_and_axis_order(tmp_path, dtype, order):
    data = np.asarray(counts(2, 3, 5, 4, top=2 if dtype == "|b1" else 100), order=order)
    np.save(tmp_path / "a.npy", np.asarray(data.astype(dtype), order=order))
    scan = open_scan(tmp_path / "a.npy")
    assert scan.dtype.isnative
    assert np.array_equal(scan.data.compute(), data.astype(dtype))
    assert np.array_equal(scan.data[1, 2].compute(), data.astype(dtype)[1, 2])


def test_object_arrays_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exit, (3,))

    np.save(tmp_path / "a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", a=np.array([Bomb()], dtype=object))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(BadInputError, match="never loaded"):
            open_scan(tmp_path / name)


def test_odd_values_are_said(tmp_path):
    data = np.ones((2, 2, 8, 8), np.float32)
    data[0, 0, 0] = np.nan
    data[0, 1, 0, 0] = np.inf
    data[1, 1, 1] = -1
    np.save(tmp_path / "a.npy", data)
    scan = open_scan(tmp_path / "a.npy")
    assert any("8 NaN, 1 infinite, 8 negative values in 4 sampled" in w for w in scan.warnings)
    assert np.array_equal(scan.data.compute(), data, equal_nan=True)
    masked = np.zeros((2, 2, 8, 8), np.uint32)
    masked[:, :, 3, 3] = 2**32 - 1
    np.save(tmp_path / "b.npy", masked)
    assert any("masked pixels" in w for w in open_scan(tmp_path / "b.npy").warnings)
    huge = np.full((2, 2, 8, 8), 2**60, np.uint64)
    np.save(tmp_path / "c.npy", huge)
    assert any("1.15e+18" in w for w in open_scan(tmp_path / "c.npy").warnings)


def test_complex_arrays_open_as_their_modulus(tmp_path):
    data = (RNG.normal(size=(2, 2, 8, 8)) + 1j * RNG.normal(size=(2, 2, 8, 8))).astype("c8")
    np.save(tmp_path / "a.npy", data)
    scan = open_scan(tmp_path / "a.npy")
    assert scan.dtype == np.float32
    assert np.allclose(scan.data.compute(), np.abs(data))
    assert any("modulus" in w for w in scan.warnings)


def test_number_of_axes(tmp_path):
    np.save(tmp_path / "five.npy", counts(3, 2, 2, 8, 8))
    with pytest.raises(BadInputError, match="give the kind 'nanodiffraction'"):
        open_scan(tmp_path / "five.npy")
    rocking = open_scan(tmp_path / "five.npy", kind="nanodiffraction")
    assert [a.name for a in rocking.axes] == ["angle", "y", "x", "qy", "qx"]
    np.save(tmp_path / "one.npy", counts(1, 2, 2, 8, 8))
    squeezed = open_scan(tmp_path / "one.npy")
    assert (squeezed.kind, squeezed.shape) == ("4D-STEM", (2, 2, 8, 8))
    assert any("length 1" in w for w in squeezed.warnings)
    kept = open_scan(tmp_path / "one.npy", kind="nanodiffraction")
    assert kept.shape == (1, 2, 2, 8, 8)
    np.save(tmp_path / "channels.npy", counts(1, 16, 16, 1))
    assert open_scan(tmp_path / "channels.npy").shape == (16, 16)
    np.save(tmp_path / "position.npy", counts(1, 1, 16, 16))
    assert open_scan(tmp_path / "position.npy").shape == (1, 1, 16, 16)
    np.save(tmp_path / "line.npy", counts(5, 16, 16))
    assert open_scan(tmp_path / "line.npy").kind == "pattern stack"
    np.save(tmp_path / "list.npy", counts(64))
    with pytest.raises(BadInputError, match="a list of 64 values"):
        open_scan(tmp_path / "list.npy")
    assert open_scan(tmp_path / "list.npy", shape=(2, 2, 4, 4)).shape == (2, 2, 4, 4)
    with pytest.raises(BadInputError, match="4D-STEM has 4"):
        open_scan(tmp_path / "line.npy", kind="4D-STEM")
    with pytest.raises(BadInputError, match="kind 'STEM' is not known"):
        open_scan(tmp_path / "line.npy", kind="STEM")


def test_axis_order_can_be_given(tmp_path):
    data = counts(6, 7, 2, 3)
    np.save(tmp_path / "a.npy", data)
    guessed = open_scan(tmp_path / "a.npy")
    assert any("axis order is not stated" in w for w in guessed.warnings)
    given = open_scan(tmp_path / "a.npy", axes="ky,kx,y,x")
    assert given.shape == (2, 3, 6, 7)
    assert np.array_equal(given.data.compute(), data.transpose(2, 3, 0, 1))
    assert not any("axis order" in w for w in given.warnings)
    stack = open_scan(tmp_path / "a.npy", axes=("y", "x", "ky", "kx"))
    assert stack.shape == (6, 7, 2, 3)
    with pytest.raises(BadInputError, match="are no scan"):
        open_scan(tmp_path / "a.npy", axes="a,b,c,d")


def test_large_leading_axes_are_doubted(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((64, 64, 3, 3), np.uint8))
    assert any("give the axes 'ky,kx,y,x'" in w for w in open_scan(tmp_path / "a.npy").warnings)


def test_scan_shape_of_a_flat_stack(tmp_path):
    data = counts(12, 6, 6)
    np.save(tmp_path / "a.npy", data)
    scan = open_scan(tmp_path / "a.npy", scan_shape=(3, 4))
    assert (scan.kind, scan.shape) == ("4D-STEM", (3, 4, 6, 6))
    assert np.array_equal(scan.data.compute(), data.reshape(3, 4, 6, 6))
    with pytest.raises(NeedsShapeError, match="whose product is 12"):
        open_scan(tmp_path / "a.npy", scan_shape=(5, 4))
    aborted = open_scan(tmp_path / "a.npy", scan_shape=(3, 5))  # stopped in its last row
    assert aborted.missing.ravel().tolist() == [False] * 12 + [True] * 3
    assert any("the last 3 positions are missing" in w for w in aborted.warnings)
    four = open_scan(tmp_path / "a.npy", scan_shape=(3, 4)).reshaped((4, 3))
    assert four.shape == (4, 3, 6, 6)


def test_raw_bytes(tmp_path):
    data = counts(3, 4, 8, 8)
    path = tmp_path / "frames.raw"
    path.write_bytes(b"HEAD" * 5 + data.astype(">u2").tobytes())
    with pytest.raises(NeedsShapeError, match="1,556 bytes without a header"):
        open_scan(path)
    scan = open_scan(path, shape=(3, 4, 8, 8), dtype=">u2", offset=20)
    assert (scan.kind, scan.format) == ("4D-STEM", "raw")
    assert np.array_equal(scan.data.compute(), data)
    stack = open_scan(path, shape=(12, 8, 8), dtype=">u2", offset=20, scan_shape=(2, 6))
    assert np.array_equal(stack.data.compute(), data.reshape(2, 6, 8, 8))
    path.write_bytes(path.read_bytes()[:-100])  # the last frame is cut
    short = open_scan(path, shape=(3, 4, 8, 8), dtype=">u2", offset=20)
    assert short.missing.ravel().tolist() == [False] * 11 + [True]
    for wrong in ({"dtype": "uint32"}, {"shape": (9, 4, 8, 8)}, {"offset": 4000}):
        options = {"shape": (3, 4, 8, 8), "dtype": ">u2", "offset": 20} | wrong
        with pytest.raises(NeedsShapeError, match="check shape, dtype and offset"):
            open_scan(path, **options)
    with pytest.raises(NeedsShapeError, match="number type 'uint17' is not known"):
        open_scan(path, shape=(3, 4, 8, 8), dtype="uint17")
    with pytest.raises(NeedsShapeError, match="is impossible"):
        open_scan(path, shape=(3, 0, 8, 8), dtype="u2")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_positions_is_laid_out(tmp_path, save):
    rows, columns = 5, 6
    order = RNG.permutation(30)[:26]
    at = np.stack((order // columns, order % columns), axis=1)
    frames = counts(26, 8, 8)
    save(
        tmp_path / "a.npz",
        pos_yx=at * 2.5 + RNG.normal(scale=0.1, size=at.shape) + 40,
        counts=frames.astype(">u2"),
    )
    scan = open_scan(tmp_path / "a.npz")
    assert (scan.kind, scan.shape) == ("4D-STEM", (rows, columns, 8, 8))
    data = scan.data.compute()
    for i, (y, x) in enumerate(at):
        assert np.array_equal(data[y, x], frames[i])
    assert int(scan.missing.sum()) == 4
    assert any("4 positions are missing" in w for w in scan.warnings)


def test_npz_with_positions_off_any_grid(tmp_path):
    np.savez(tmp_path / "a.npz", pos_yx=np.zeros((5, 2)), counts=counts(5, 8, 8))
    scan = open_scan(tmp_path / "a.npz")
    assert (scan.kind, scan.shape) == ("pattern stack", (5, 8, 8))
    assert any("do not lie on a grid" in w for w in scan.warnings)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_choices(tmp_path, save):
    a, b = counts(2, 3, 8, 8), counts(4, 8, 8)
    save(tmp_path / "a.npz", a=a, b=b, note=np.arange(3))
    with pytest.raises(ChooseDatasetError, match=r"a \(2 x 3 x 8 x 8\), b \(4 x 8 x 8\)"):
        open_scan(tmp_path / "a.npz")
    assert np.array_equal(open_scan(tmp_path / "a.npz", dataset="a").data.compute(), a)
    chosen = open_scan(tmp_path / "a.npz", dataset="b")
    assert np.array_equal(chosen.data[1:3, 2:4].compute(), b[1:3, 2:4])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:300])
    with pytest.raises(BadInputError, match="truncated or damaged"):
        open_scan(tmp_path / "cut.npz")


def test_panta_rhei_is_decompressed(tmp_path):
    """RosettaSciIO's lazy reader maps the compressed bytes as if they were values."""
    from rsciio.pantarhei import file_writer

    data = counts(2, 3, 8, 8)
    names = ("y", "x", "ky", "kx")
    axes = [
        {"name": n, "size": s, "scale": 0.5, "offset": 0.0, "units": "nm", "navigate": n in "yx",
         "index_in_array": i}
        for i, (n, s) in enumerate(zip(names, data.shape, strict=True))
    ]  # fmt: skip
    path = tmp_path / "a.prz"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file_writer(path, {"data": data, "axes": axes, "metadata": {}, "original_metadata": {}})
    with zipfile.ZipFile(path) as archive:
        assert archive.getinfo("data.npy").compress_type == zipfile.ZIP_DEFLATED
    scan = open_scan(path)
    assert sorted(scan.data.compute().ravel()) == sorted(data.ravel())


# --- HDF5 --------------------------------------------------------------------------


def test_hdf5_one_candidate_opens_and_several_ask(tmp_path):
    data = counts(2, 3, 8, 9)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["scan/frames"] = data
        file["scan/dark"] = data[0, 0]
        file["x"] = np.arange(3)
    assert np.array_equal(open_scan(path).data.compute(), data)
    assert [c.path for c in list_datasets(path)] == ["scan/frames"]
    with h5py.File(path, "a") as file:
        file["other"] = data[:, :, :4]
        file["again"] = h5py.SoftLink("/scan/frames")
    with pytest.raises(ChooseDatasetError) as caught:
        open_scan(path)
    assert sorted(c.path for c in caught.value.candidates) in (
        ["other", "scan/frames"],
        ["again", "other"],
    )
    assert np.array_equal(open_scan(path, dataset="other").data.compute(), data[:, :, :4])
    assert open_scan(path, dataset="scan/dark").shape == (8, 9)


def test_hdf5_links(tmp_path):
    data = counts(2, 3, 8, 9)
    with h5py.File(tmp_path / "frames.h5", "w") as file:
        file["entry/data"] = data
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file["data"] = h5py.ExternalLink("frames.h5", "/entry/data")
        file["n"] = 4
    scan = open_scan(tmp_path / "master.h5")
    assert np.array_equal(scan.data.compute(), data)
    (tmp_path / "frames.h5").unlink()
    with pytest.raises(BadInputError, match=r"frames\.h5, which is not there"):
        open_scan(tmp_path / "master.h5")


@pytest.mark.parametrize("how", ["units", "names", "text", "labels", "scales"])
def test_detector_axes_first_are_found_where_anything_says_so(tmp_path, how):
    data = counts(8, 9, 2, 3)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("group/data", data=data)
        if how == "text":
            dataset.attrs["note"] = "axes order is ky,kx,y,x"
        if how == "labels":
            for dimension, name in zip(dataset.dims, ("ky", "kx", "y", "x"), strict=True):
                dimension.label = name
        if how == "scales":
            for dimension, name in zip(dataset.dims, ("qy", "qx", "y", "x"), strict=True):
                size = dataset.shape[["qy", "qx", "y", "x"].index(name)]
                file[f"group/{name}"] = np.arange(size) * 0.5
                file[f"group/{name}"].make_scale(name)
                file[f"group/{name}"].attrs["units"] = "1/nm" if "q" in name else "nm"
                dimension.attach_scale(file[f"group/{name}"])
        if how in ("units", "names"):
            file["group"].attrs["emd_group_type"] = 1
            for i, name in enumerate(("ky", "kx", "y", "x")):
                axis = file.create_dataset(f"group/dim{i + 1}", data=np.arange(2) * 0.25)
                axis.attrs["name"] = name if how == "names" else ""
                axis.attrs["units"] = ("1/nm" if "k" in name else "nm") if how == "units" else ""
    scan = open_scan(path)
    assert (scan.kind, scan.shape) == ("4D-STEM", (2, 3, 8, 9))
    assert np.array_equal(scan.data.compute(), data.transpose(2, 3, 0, 1))
    assert any("reordered" in w for w in scan.warnings)
    if how == "scales":
        assert scan.calibration.pixel_size == pytest.approx(0.05)
        assert (scan.axes[0].scale, scan.axes[0].unit) == (0.5, "nm")


def test_hdf5_empty_damaged_and_without_arrays(tmp_path):
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file["data"] = np.zeros((0, 4, 8, 8), np.uint16)
    with pytest.raises(BadInputError, match=r"empty \(0 x 4 x 8 x 8\)"):
        open_scan(tmp_path / "empty.h5")
    with h5py.File(tmp_path / "list.h5", "w") as file:
        file["spectrum"] = np.arange(10)
    with pytest.raises(BadInputError, match=r"only /spectrum \(10\)"):
        open_scan(tmp_path / "list.h5")
    with h5py.File(tmp_path / "whole.h5", "w") as file:
        file["data"] = counts(2, 3, 32, 32)
    whole = (tmp_path / "whole.h5").read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInputError, match="is truncated: "):
        open_scan(tmp_path / "cut.h5")
    (tmp_path / "garbage.h5").write_bytes(whole[:8] + bytes(2000))
    with pytest.raises(BadInputError, match="damaged"):
        open_scan(tmp_path / "garbage.h5")


def test_damage_inside_a_compressed_frame_is_no_silent_zero(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset(
            "data", data=counts(2, 2, 64, 64), chunks=(1, 1, 64, 64), compression="gzip"
        )
        place = data.id.get_chunk_info(3)
    content = bytearray(path.read_bytes())
    content[place.byte_offset + 40 : place.byte_offset + 60] = bytes(20)
    path.write_bytes(content)
    scan = open_scan(path)
    scan.data[0, 0].compute(scheduler="synchronous")
    with pytest.raises(BadInputError, match="frames cannot be read"):
        scan.data[1, 1].compute(scheduler="synchronous")


@pytest.mark.parametrize("shape", [(4, 5, 8, 8), (20, 8, 8)])
def test_blocks_that_were_never_written_are_missing_not_zero(tmp_path, shape):
    """An acquisition stopped half way: HDF5 would hand out zeros."""
    data = counts(*shape) + 1
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("data", shape, "u2", chunks=(1,) * (len(shape) - 2) + (8, 4))
        flat = stored if len(shape) == 3 else None
        for i, at in enumerate(np.ndindex(shape[:-2])):
            if i < 12:
                stored[at] = data[at]
        assert flat is None or flat[19].max() == 0
        stored[(3,) * (len(shape) - 2)] = 7 if len(shape) == 3 else 0
    scan = open_scan(path)
    written = np.arange(20).reshape(shape[:-2]) < 12
    written[(3,) * (len(shape) - 2)] = True
    assert np.array_equal(scan.missing, ~written)
    count = int((~written).sum())
    assert any(f"{count} of 20 frames were never written" in w for w in scan.warnings)
    if len(shape) == 4:
        assert np.isnan(scan.pattern(3, 4)).all()
        assert np.array_equal(scan.pattern(2, 1), data[2, 1])
    else:
        laid = open_scan(path, scan_shape=(4, 5))
        assert np.array_equal(laid.missing.ravel(), scan.missing)
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file.create_dataset("data", shape, "u2")
    with pytest.raises(BadInputError, match="not one frame is in the file"):
        open_scan(tmp_path / "none.h5")


def test_blocks_that_run_across_patterns_are_said(tmp_path, monkeypatch):
    from napari_diffmap.scan.open import regions

    monkeypatch.setattr(regions, "MAX_CHUNK_BYTES", 1 << 20)
    data = counts(20, 20, 64, 64)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=data, chunks=(20, 20, 8, 8))
    scan = open_scan(tmp_path / "a.h5")
    assert any("blocks that run across patterns" in w for w in scan.warnings)
    assert scan.data.chunksize[-2:] == (64, 64)
    assert np.array_equal(scan.data.compute(), data)


def test_virtual_dataset_without_one_of_its_files(tmp_path):
    data = counts(6, 8, 8) + 1
    layout = h5py.VirtualLayout((6, 8, 8), "u2")
    for i in range(3):
        with h5py.File(tmp_path / f"part{i}.h5", "w") as file:
            file["data"] = data[2 * i : 2 * i + 2]
        layout[2 * i : 2 * i + 2] = h5py.VirtualSource(f"part{i}.h5", "data", (2, 8, 8))
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    assert open_scan(tmp_path / "all.h5").missing is None
    (tmp_path / "part1.h5").unlink()
    scan = open_scan(tmp_path / "all.h5")
    assert scan.missing.tolist() == [False, False, True, True, False, False]
    assert np.array_equal(scan.data[5].compute(), data[5])


def test_zarr_blocks_that_are_not_in_the_store_are_said(tmp_path):
    import zarr

    array = zarr.open(str(tmp_path / "a.zarr"), "w", shape=(4, 5, 8, 8), chunks=(1, 5, 8, 8),
                      dtype="u2")  # fmt: skip
    array[:2] = counts(2, 5, 8, 8)
    assert any(
        "2 blocks are not in the store" in w for w in open_scan(tmp_path / "a.zarr").warnings
    )


def test_file_that_shrinks_after_opening_is_said(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, counts(2, 3, 8, 8))
    scan = open_scan(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInputError, match=r"a\.npy: frames cannot be read"):
        scan.data[1, 2].compute(scheduler="synchronous")


# --- warnings of readers --------------------------------------------------------------


def test_python_warnings_and_logs_of_readers_become_lines(tmp_path, monkeypatch, capfd):
    import logging

    import rsciio.digitalmicrograph as reader

    def speak(path, lazy=False, **options):
        warnings.warn("will attempt to load by\nzero padding", UserWarning, stacklevel=1)
        warnings.warn("old way", DeprecationWarning, stacklevel=1)
        logging.getLogger("rsciio.digitalmicrograph").warning("axis %s is odd", "x")
        print("noise", end="", file=io.StringIO())
        return [{"data": counts(4, 6, 6), "axes": [], "metadata": {}, "original_metadata": {}}]

    monkeypatch.setattr(reader, "file_reader", speak)
    (tmp_path / "a.dm4").write_bytes(b"\0\0\0\4 something")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scan = open_scan(tmp_path / "a.dm4")
    assert "will attempt to load by zero padding" in scan.warnings
    assert "axis x is odd" in scan.warnings
    assert not any("old way" in w for w in scan.warnings)
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""


def test_whatever_a_reader_raises_becomes_one_line(tmp_path, monkeypatch):
    import rsciio.digitalmicrograph as reader

    def fail(path, lazy=False, **options):
        raise MemoryError("Unable to allocate\n279 GiB " + "x" * 500)

    monkeypatch.setattr(reader, "file_reader", fail)
    (tmp_path / "a.dm4").write_bytes(b"\0\0\0\4 something")
    with pytest.raises(
        BadInputError, match=r"^a\.dm4: cannot be read \(Unable to allocate 279"
    ) as e:
        open_scan(tmp_path / "a.dm4")
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 300


def test_gatan_scans_with_detector_axes_first(tmp_path, monkeypatch):
    """GMS stores (ky, kx, y, x): units tell, and chunks are asked for whole patterns."""
    import dask.array as da
    import rsciio.digitalmicrograph as reader

    data = counts(16, 16, 3, 4)
    asked = []

    def read(path, lazy=False, chunks="auto"):
        asked.append(chunks)
        units = ("1/nm", "1/nm", "nm", "nm")
        axes = [
            {"name": n, "size": s, "scale": 0.5, "offset": 0.0, "units": u, "navigate": i < 2}
            for i, (n, s, u) in enumerate(
                zip(("None", "z", "y", "x"), data.shape, units, strict=True)
            )
        ]
        split = (8, 16, 3, 4) if chunks == "auto" else chunks
        return [{"data": da.from_array(data, chunks=split), "axes": axes, "metadata": {},
                 "original_metadata": {}}]  # fmt: skip

    monkeypatch.setattr(reader, "file_reader", read)
    (tmp_path / "a.dm4").write_bytes(b"\0\0\0\4 something")
    scan = open_scan(tmp_path / "a.dm4")
    assert (scan.kind, scan.shape) == ("4D-STEM", (3, 4, 16, 16))
    assert np.array_equal(scan.data.compute(), data.transpose(2, 3, 0, 1))
    assert scan.calibration.pixel_size == pytest.approx(0.05)
    assert (scan.axes[0].scale, scan.axes[0].unit) == (0.5, "nm")
    assert any("detector axes come first" in w for w in scan.warnings)
    assert asked[0] == "auto"
    assert asked[1][:2] == (16, 16)
