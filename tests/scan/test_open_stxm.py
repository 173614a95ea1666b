"""STXM stacks of every format: twins written here, and every measured file."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from napari_diffmap.errors import BadInputError, ChooseDatasetError
from napari_diffmap.scan.open import list_datasets, open_scan

RNG = np.random.default_rng(23)
ENERGIES = np.array([700.0, 705.0, 706.5, 708.5, 720.0])


def counts(*shape, top=4000):
    return RNG.integers(1, top, shape).astype(np.uint16)


def said(scan, words):
    return any(words in line for line in scan.warnings)


def check(scan, data, energies=ENERGIES):
    assert (scan.kind, scan.shape) == ("STXM", data.shape)
    assert scan.axes[0].unit == "eV"
    assert np.allclose(scan.axes[0].coordinates, energies)
    assert np.allclose(scan.data.compute(scheduler="synchronous"), data)
    assert all(len(part) == 1 for part in scan.data.chunks[-2:])
    middle = tuple(n // 2 for n in data.shape)
    assert float(scan.data[middle].compute(scheduler="synchronous")) == pytest.approx(data[middle])


# --- writers ------------------------------------------------------------------------------


def write_ncb(path, data, energies, *, factor=1.0, dtype="<i2", x=(0.0, 2.0), y=(1.0, 3.5)):
    """An aXis2000 stack, columns running fastest, with its text header."""
    stored = np.rint(data * factor) if factor > 0 else data
    stored.astype(dtype).tofile(path)
    lines = [f"\t{data.shape[2]}\t{data.shape[1]}\t{factor:.6f}"]
    lines += [f"\t{a:.6f}\t{b:.6f}" for a, b in (x, y)]
    lines += [f"\t{len(energies)}", *(f"\t{e:.6f}" for e in energies)]
    lines += [f"image{i + 1}\t{e:.6f}\t1.000000" for i, e in enumerate(energies)]
    path.with_suffix(".dat").write_text("\n".join(lines) + "\n")
    return path


def write_stk(path, data, energies):
    """A stack of the program Stack: big-endian throughout."""
    count, rows, columns = data.shape
    with path.open("wb") as file:
        np.array([columns, rows, count], ">i4").tofile(file)
        for listed in (np.arange(columns) * 0.1, np.arange(rows) * 0.2, energies, np.ones(count)):
            np.asarray(listed).astype(">f4").tofile(file)
        np.asarray(data).astype(">f4").tofile(file)
    return path


def write_compound(path, streams):
    """An OLE compound file of version 3; streams are padded beyond the mini stream's 4096 bytes."""
    none, end, sector = 0xFFFFFFFF, 0xFFFFFFFE, 512
    names = sorted({name.split("/")[0] for name in streams})
    entries = [["Root Entry", 5, none, none, none, end, 0]]
    fat, body = [], b""
    storages = {}
    for name in names:
        storages[name] = len(entries)
        entries.append([name, 1, none, none, none, 0, 0])
    for name, content in streams.items():
        storage, key = name.split("/")
        padded = content.ljust(4096, b"\0")
        start, length = len(fat), -(-len(padded) // sector)
        fat += [*range(start + 1, start + length), end]
        body += padded.ljust(length * sector, b"\0")
        entry, parent = len(entries), entries[storages[storage]]
        entries.append([key, 2, none, parent[4], none, start, len(padded)])
        parent[4] = entry  # siblings hang in a chain
    for name in names:
        entries[storages[name]][3], entries[0][4] = entries[0][4], storages[name]
    listing = b""
    for name, kind, left, right, child, start, size in entries:
        words = name.encode("utf-16-le")
        listing += words.ljust(64, b"\0") + struct.pack("<HBB", len(words) + 2, kind, 1)
        listing += struct.pack("<III", left, right, child) + bytes(36)
        listing += struct.pack("<IQ", start, size)
    first = len(fat)
    length = -(-len(listing) // sector)
    fat += [*range(first + 1, first + length), end]
    body += listing.ljust(length * sector, b"\0")
    tables = 1
    while (len(fat) + tables) * 4 > tables * sector:
        tables += 1
    places = list(range(len(fat), len(fat) + tables))
    fat += [0xFFFFFFFD] * tables
    body += np.array(fat + [none] * (tables * 128 - len(fat)), "<u4").tobytes()
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIIIII", 0, tables, first, 0, 4096, end, 0, end, 0)
    head += np.array(places + [none] * (109 - tables), "<u4").tobytes()
    path.write_bytes(head + body)
    return path


def write_zeiss(path, data, energies, *, code=5, angles=None, leave_out=(), promised=None,
                more=None):  # fmt: skip
    """A .xrm or .txrm with the streams that are read."""
    count, rows, columns = data.shape
    words = {"ImageWidth": columns, "ImageHeight": rows, "DataType": code,
             "ImagesTaken": promised or count}  # fmt: skip
    streams = {f"ImageInfo/{k}": struct.pack("<I", v) for k, v in words.items()}
    streams.update(more or {})
    streams["ImageInfo/PixelSize"] = struct.pack("<f", 0.04)
    if energies is not None:
        streams["ImageInfo/Energy"] = np.asarray(energies, "<f4").tobytes()
    if angles is not None:
        streams["ImageInfo/Angles"] = np.asarray(angles, "<f4").tobytes()
    for i, frame in enumerate(data):
        if i not in leave_out:
            streams[f"ImageData{i // 100 + 1}/Image{i + 1}"] = frame.tobytes()
    return write_compound(path, streams)


# --- .ncb and .stk ------------------------------------------------------------------------


@pytest.mark.parametrize("opened", [".ncb", ".dat"])
def test_ncb_of_whole_numbers(tmp_path, opened):
    data = counts(5, 6, 9)
    path = write_ncb(tmp_path / "s.ncb", data, ENERGIES)
    scan = open_scan(path.with_suffix(opened))
    check(scan, data)
    assert (scan.dtype, scan.format) == (np.dtype("i2"), "aXis2000")
    assert (scan.axes[1].scale, scan.axes[1].offset) == (pytest.approx(500), 1000)
    assert (scan.axes[2].scale, scan.axes[2].unit) == (pytest.approx(250), "nm")
    assert scan.warnings == ()


def test_ncb_with_a_factor_and_with_real_numbers(tmp_path):
    data = RNG.uniform(0, 2, (5, 6, 9)).round(3)
    check(open_scan(write_ncb(tmp_path / "a.ncb", data, ENERGIES, factor=1000.0)), data)
    scan = open_scan(write_ncb(tmp_path / "b.ncb", data, ENERGIES, factor=-1.0, dtype="<f4"))
    check(scan, data)
    assert scan.dtype == np.float32


def test_ncb_that_is_cut_marks_the_last_frames(tmp_path):
    data = counts(5, 6, 9)
    path = write_ncb(tmp_path / "s.ncb", data, ENERGIES)
    path.write_bytes(path.read_bytes()[: 2 * 54 * 3 + 40])
    scan = open_scan(path)
    assert scan.missing.tolist() == [False, False, False, True, True]
    assert said(scan, "the last 2 of 5 frames are missing")
    assert np.isnan(scan.data[4].compute()).all()
    assert np.array_equal(scan.data[2].compute(), data[2])


def test_ncb_that_cannot_be_right(tmp_path):
    data = counts(5, 6, 9)
    path = write_ncb(tmp_path / "s.ncb", data, ENERGIES)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(BadInputError, match="do not belong together"):
        open_scan(path)
    path.write_bytes(b"1234")
    with pytest.raises(BadInputError, match="cut inside its first frame"):
        open_scan(path)
    write_ncb(path, data, ENERGIES - 705)
    with pytest.raises(BadInputError, match=r"s\.dat: lists energies of -5 to 15"):
        open_scan(path)
    path.with_suffix(".dat").write_text("this is no header\n")
    with pytest.raises(BadInputError, match=r"is no header of an \.ncb stack"):
        open_scan(path)
    path.with_suffix(".dat").unlink()
    with pytest.raises(BadInputError, match=r"its header \(s\.dat\) is not beside it"):
        open_scan(path)


def test_stk(tmp_path):
    data = RNG.uniform(0, 900, (5, 6, 9)).astype("f4")
    path = write_stk(tmp_path / "s.stk", data, ENERGIES)
    scan = open_scan(path)
    check(scan, data)
    assert (scan.axes[1].scale, scan.axes[2].scale) == (pytest.approx(200), pytest.approx(100))
    path.write_bytes(path.read_bytes()[:-300])
    scan = open_scan(path)
    assert scan.missing.tolist() == [False] * 3 + [True] * 2
    assert np.isnan(scan.data[3].compute()).all()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BadInputError, match="cut inside its header"):
        open_scan(path)
    write_stk(path, data, ENERGIES * np.nan)
    with pytest.raises(BadInputError, match="lists energies of nan"):
        open_scan(path)


# --- Zeiss --------------------------------------------------------------------------------


def test_txrm_stack(tmp_path):
    data = counts(130, 50, 44)  # two storages of images
    energies = np.linspace(8300, 8400, 130)
    scan = open_scan(write_zeiss(tmp_path / "s.txrm", data, energies))
    check(scan, data, energies)
    assert scan.dtype == np.uint16
    assert (scan.axes[1].scale, scan.axes[1].unit) == (pytest.approx(40), "nm")
    assert np.array_equal(scan.data[99:101, 3, 4:6].compute(), data[99:101, 3, 4:6])


def test_txrm_of_real_numbers_with_absent_and_cut_images(tmp_path):
    data = RNG.uniform(0, 9, (5, 40, 44)).astype("<f4")
    path = write_zeiss(tmp_path / "s.txrm", data, ENERGIES, code=10, leave_out=(3,))
    scan = open_scan(path)
    assert scan.missing.tolist() == [False, False, False, True, False]
    assert said(scan, "1 of 5 images are absent or cut")
    assert np.isnan(scan.data[3].compute()).all()
    assert np.array_equal(scan.data[4].compute(), data[4])
    whole = counts(2, 50, 50)
    path = write_zeiss(tmp_path / "t.txrm", whole, ENERGIES, promised=5)
    scan = open_scan(path)
    assert scan.missing.tolist() == [False, False, True, True, True]
    assert scan.dtype == np.float32  # numbers that can say missing


def test_xrm_image_and_rotation_series(tmp_path):
    data = counts(1, 50, 44)
    image = open_scan(write_zeiss(tmp_path / "pos1_0853.25_eV.xrm", data, [850.0]))
    assert (image.kind, image.shape) == ("image", (50, 44))
    assert np.array_equal(image.data.compute(), data[0])
    assert image.metadata["energy_ev"] == 853.25  # the name is more precise than the stream
    turned = write_zeiss(tmp_path / "t.txrm", counts(5, 50, 44), [850.0] * 5,
                         angles=[-60, -30, 0, 30, 60])  # fmt: skip
    scan = open_scan(turned)
    assert scan.kind == "image series"
    assert said(scan, "is a rotation series (-60 to 60 degree)")
    assert scan.metadata["energy_ev"] == 850
    same = open_scan(write_zeiss(tmp_path / "u.txrm", counts(5, 50, 44), [850.0] * 5))
    assert said(same, "its 5 images carry no energies that differ")
    stopped = {"ImageInfo/NoOfImages": b"\7\0\0\0"}
    part = open_scan(write_zeiss(tmp_path / "v.txrm", counts(5, 50, 44), ENERGIES, more=stopped))
    assert said(part, "5 of 7 images were taken")
    more = {"ImageInfo/MosiacRows": b"\2\0\0\0", "ImageInfo/MosiacColumns": b"\2\0\0\0"}
    tiles = open_scan(write_zeiss(tmp_path / "m.txrm", counts(4, 50, 44), None, more=more))
    assert tiles.kind == "image series"
    assert said(tiles, "is a mosaic of 4 tiles")


def test_folder_of_xrm_images(tmp_path):
    data = counts(5, 50, 44)
    for energy, frame in zip(ENERGIES[::-1], data[::-1], strict=True):
        write_zeiss(tmp_path / f"p_{energy:07.2f}_eV_000.xrm", frame[None], [energy])
    check(open_scan(tmp_path), data)
    write_zeiss(tmp_path / "p_0730.00_eV.xrm", counts(1, 60, 40), [730.0])
    scan = open_scan(tmp_path)
    assert scan.shape == (6, 50, 40)
    assert said(scan, "cropped to their common 50 x 40")


def test_oversampled_lines_are_told(tmp_path):
    path = tmp_path / "s.nxs"
    with h5py.File(path, "w") as file:
        nx(file, "entry0/counter0", counts(5, 6, 12), kind="Image")
        del file["entry0/counter0/sample_x"]
        file["entry0/counter0/sample_x"] = np.zeros((5, 72))
    scan = open_scan(path)
    assert scan.axes[2].unit == "pixel"
    assert said(scan, "sample_x lists 360 positions, not one a pixel")


def test_zeiss_files_that_are_damaged(tmp_path):
    path = write_zeiss(tmp_path / "s.txrm", counts(5, 50, 44), ENERGIES)
    whole = path.read_bytes()
    for end in (300, 700, len(whole) // 2):
        path.write_bytes(whole[:end])
        with pytest.raises(BadInputError, match=r"s\.txrm"):
            open_scan(path)
    write_zeiss(path, counts(2, 50, 44), ENERGIES[:2], code=99)
    with pytest.raises(BadInputError, match=r"of a type \(99\) that is not read"):
        open_scan(path)
    write_compound(path, {"WordDocument/Text": b"hello"})
    with pytest.raises(BadInputError, match="is no Zeiss image"):
        open_scan(path)


# --- ALS ----------------------------------------------------------------------------------


def write_als(folder, stem, regions, energies, frames, *, kind="NEXAFS Image Scan", line=False):
    """A header with several regions; `frames` by name without ending."""

    def axis(which, name, unit, points):
        listed = ", ".join(f"{p:.4f}" for p in points)
        return (f'{which} = {{ Name = "{name}"; Unit = "{unit}"; Min = {points[0]}; Max = 0;\n'
                f" Points = ({len(points)}, {listed});\n}};\n")  # fmt: skip

    parts = []
    for rows, columns in regions:
        p = axis("PAxis", "Sample X", "um", np.arange(columns) * 0.1)
        if line:
            p = axis("PAxis", "Energy", "eV", energies)
        q = axis("QAxis", "Sample", "um", np.arange(rows) * 0.2)
        parts.append("{\n" + p + q + "}")
    words = f'ScanDefinition = {{ Label = "s"; Type = "{kind}"; Regions = ({len(regions)},\n'
    words += ",\n".join(parts) + ");\n"
    if not line:
        words += axis("StackAxis", "Energy", "eV", energies)
    (folder / f"{stem}.hdr").write_text(words + "};\n")
    for name, frame in frames.items():
        np.savetxt(folder / f"{name}.xim", frame, fmt="%.3f", delimiter="\t")
    return folder / f"{stem}.hdr"


def test_als_regions_are_offers(tmp_path):
    one, two = counts(5, 6, 4).astype(float), counts(5, 3, 7).astype(float)
    frames = {f"s_a{i:03d}{r}": data[i] for i in range(5) for r, data in enumerate((one, two))}
    path = write_als(tmp_path, "s", [(6, 4), (3, 7)], ENERGIES, frames)
    assert [c.path for c in list_datasets(path)] == ["region 1 channel a", "region 2 channel a"]
    with pytest.raises(ChooseDatasetError, match="region 2 channel a"):
        open_scan(path)
    check(open_scan(path, dataset="region 1 channel a"), one)
    by_frame = open_scan(tmp_path / "s_a0031.xim")  # a frame belongs to its region
    check(by_frame, two)
    check(open_scan(by_frame.source), two)
    with pytest.raises(ChooseDatasetError):
        open_scan(tmp_path)
    image = {"i_a0": one[0], "i_a1": two[0]}
    path = write_als(tmp_path, "i", [(6, 4), (3, 7)], ENERGIES[:1], image, kind="Image Scan")
    assert np.array_equal(open_scan(path, dataset="region 2 channel a").data.compute(), two[0])


def test_als_line_scan_is_a_stack_one_pixel_high(tmp_path):
    frame = counts(6, 5).astype(float)  # positions in rows, energies in columns
    path = write_als(tmp_path, "l", [(6, 5)], ENERGIES, {"l_a": frame},
                     kind="NEXAFS Line Scan", line=True)  # fmt: skip
    scan = open_scan(path)
    check(scan, frame.T[:, None, :])
    assert scan.axes[2].scale == pytest.approx(200)


def test_als_frames_of_different_size_are_cropped(tmp_path):
    data = counts(5, 6, 8).astype(float)
    frames = {f"s_a{i:03d}": data[i] for i in range(5)} | {"s_a002": data[2, :5, :7]}
    path = write_als(tmp_path, "s", [(6, 8)], ENERGIES, frames)
    scan = open_scan(path)
    check(scan, data[:, :5, :7])
    assert scan.missing is None
    assert said(scan, "1 of 5 frames are not of the 6 x 8 pixels of the header")


def test_als_by_folder_and_parent(tmp_path):
    data = counts(5, 6, 4).astype(float)
    home = tmp_path / "beamtime" / "s1" / "Aligned"
    home.mkdir(parents=True)
    write_als(home, "s", [(6, 4)], ENERGIES, {f"s_a{i:03d}": data[i] for i in range(5)})
    for at in (home, home.parent, tmp_path):
        check(open_scan(at), data)
    other = tmp_path / "beamtime" / "s2"
    other.mkdir()
    write_stk(other / "t.stk", data, ENERGIES)
    with pytest.raises(ChooseDatasetError) as caught:
        open_scan(tmp_path)
    names = [c.path for c in caught.value.candidates]
    assert any("s2/t.stk" in name for name in names)
    name = next(n for n in names if "s1/Aligned" in n)
    chosen = open_scan(tmp_path, dataset=name)
    check(chosen, data)
    check(open_scan(chosen.source, dataset=name), data)  # as a recipe opens it again
    for header in home.glob("*.hdr"):
        header.unlink()
    with pytest.raises(BadInputError, match=r"without their \.hdr"):
        open_scan(home)


# --- HDF5 ---------------------------------------------------------------------------------


def nx(file, group, data, kind="sample image stack", names=("energy", "sample_y", "sample_x"),
       axes=None, numbered=False, energies=ENERGIES):  # fmt: skip
    """One detector of an NXstxm entry, in the words of a beamline."""
    entry = file.require_group(group.split("/")[0])
    entry.attrs["NX_class"] = "NXentry"
    if "definition" not in entry:
        entry["definition"] = [b"NXstxm"]
    node = file.create_group(group)
    node.attrs["NX_class"] = "NXdata"
    node["data"] = data
    node["count_time"] = np.full(len(energies), 0.002)
    if kind:
        node["stxm_scan_type"] = [kind.encode()]
    for at, name in enumerate(names):
        listed = energies if "energy" in name else np.arange(data.shape[at]) * 0.1
        node[name] = np.asarray(listed, float)
        node[name].attrs["units"] = "eV" if "energy" in name else "um"
        if numbered:
            node[name].attrs["axis"] = at + 1
    if axes:
        node.attrs["axes"] = axes
        node.attrs["signal"] = "data"


VARIANTS = {
    "standard": {"group": "entry/detector", "axes": ["energy", "sample_y", "sample_x"]},
    "pixelator": {"group": "entry1/counter0", "axes": ["energy", "sample_y", "sample_x"]},
    "hermes": {"group": "entry1/Counter0"},
    "camera": {"group": "entry1/camera", "numbered": True},
    "i08": {"group": "entry1/Counter1", "kind": "", "numbered": True,
            "names": ("photon_energy", "sample_y", "sample_x")},
    "pystxm": {"group": "entry0/counter0", "kind": "Image"},
    "x first": {"group": "entry1/counter0", "axes": ["sample_x", "sample_y", "energy"],
                "names": ("sample_x", "sample_y", "energy")},
    "x first, numbered": {"group": "entry1/Counter1", "numbered": True,
                          "names": ("sample_x", "sample_y", "photon_energy")},
}  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS)
def test_nxstxm_as_beamlines_write_it(tmp_path, variant):
    data = counts(5, 6, 4)
    options = dict(VARIANTS[variant])
    first = options.get("names", ("energy",))[0] == "sample_x"
    stored = data.transpose(2, 1, 0) if first else data
    with h5py.File(tmp_path / "s.nxs", "w") as file:
        nx(file, options.pop("group"), stored, **options)
    scan = open_scan(tmp_path / "s.nxs")
    check(scan, data)
    assert scan.format == "NXstxm"
    assert [axis.scale for axis in scan.axes[1:]] == pytest.approx([100, 100])


def test_nxstxm_of_several_regions_and_one_energy(tmp_path):
    one, two = counts(5, 6, 4), counts(5, 3, 7)
    path = tmp_path / "s.hdf5"
    with h5py.File(path, "w") as file:
        nx(file, "entry0/counter0", one)
        nx(file, "entry1/counter0", two)
    with pytest.raises(ChooseDatasetError):
        open_scan(path)
    check(open_scan(path, dataset="entry1/counter0/data"), two)
    single = tmp_path / "single.hdf5"
    with h5py.File(single, "w") as file:
        nx(file, "entry1/counter0", one[:1], energies=ENERGIES[:1])
    image = open_scan(single)
    assert (image.kind, image.shape, image.metadata["energy_ev"]) == ("image", (6, 4), 700)


def test_binned_counts_stand_for_oversampled_ones(tmp_path):
    data = counts(5, 6, 4)
    path = tmp_path / "s.stxm"
    with h5py.File(path, "w") as file:
        nx(file, "entry0/counter0", np.repeat(data, 3, axis=2), kind="Image")
        nx(file, "entry0/binned_values", data, kind="Image")
    check(open_scan(path), data)


@pytest.mark.parametrize(
    ("stack", "energy", "axes"),
    [
        ("data/stack", "data/photon_energy", "eyx"),
        ("data/stack", "scan/mono_energy", "eyx"),
        ("data/stack", "data/energy_eV", "eyx"),
        ("data/stack", "ev", "yxe"),
        ("exchange/data", "exchange/energy", "xye"),
    ],
)
def test_energies_anywhere_in_a_plain_file(tmp_path, stack, energy, axes):
    data = counts(5, 6, 4)
    with h5py.File(tmp_path / "s.hdf5", "w") as file:
        file[stack] = data.transpose(["eyx".index(a) for a in axes])
        file[energy] = ENERGIES
        file["data/tilt"] = np.arange(5.0)
    check(open_scan(tmp_path / "s.hdf5"), data)


def test_nexus_signal_with_energies_beside(tmp_path):
    data = counts(5, 6, 4)
    with h5py.File(tmp_path / "s.nxs", "w") as file:
        group = file.create_group("entry/data")
        group.attrs["NX_class"], group.attrs["signal"] = "NXdata", "counts"
        group["counts"], group["photon_energy"] = data, ENERGIES
        group["photon_energy"].attrs["units"] = "eV"
    check(open_scan(tmp_path / "s.nxs"), data)


def test_frames_that_were_never_written_are_missing(tmp_path):
    data = counts(5, 6, 4)
    with h5py.File(tmp_path / "s.hdf5", "w") as file:
        nx(file, "entry1/counter0", np.zeros((1, 1, 1)), names=())
        del file["entry1/counter0/data"]
        node = file.create_dataset("entry1/counter0/data", (5, 6, 4), "u2", chunks=(1, 6, 4))
        node[:3] = data[:3]
        file["entry1/counter0/energy"] = ENERGIES[::-1]
    scan = open_scan(tmp_path / "s.hdf5")
    assert scan.missing.tolist() == [True, True, False, False, False]  # sorted with their energies
    assert np.array_equal(scan.data[2].compute(), data[2])


def wave(*shape):
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype("c8")


def test_cxi_images_at_several_energies(tmp_path):
    waves = [wave(9, 8), wave(8, 9)]
    path = tmp_path / "two.cxi"
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 130
        for i, (image, energy) in enumerate(zip(waves, (853.0, 857.75), strict=True), 1):
            file[f"entry_{i}/image_1/data"] = image
            file[f"entry_{i}/instrument_1/source_1/energy"] = energy * 1.602176634e-19
    scan = open_scan(path)
    check(scan, np.stack([np.abs(w[:8, :8]) ** 2 for w in waves]), [853, 857.75])
    assert said(scan, "amplitude squared")
    assert said(scan, "cropped to their common 8 x 8")
    folder = tmp_path / "folder"
    folder.mkdir()
    for image, energy in zip(waves[::-1], (857.75, 853.0), strict=True):
        with h5py.File(folder / f"p_{energy}eV.cxi", "w") as file:
            file["cxi_version"] = 130
            file["entry_1/image_1/data"] = image
    scan = open_scan(folder)
    check(scan, np.stack([np.abs(w[:8, :8]) ** 2 for w in waves]), [853, 857.75])


# --- pictures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("s.txt", "{:.3f}\n"),
        ("s.csv", "{:.3f}, 1234\n"),
        ("Fe_eng_list.txt", "{:.3e}\n"),
        ("energies.csv", "{:.3f}\n"),
        ("list.txt", "{:.3f}\n"),
    ],
)
def test_tiff_stack_with_a_list_of_energies(tmp_path, name, words):
    data = counts(5, 6, 9)
    tifffile.imwrite(tmp_path / "s.tif", data)
    (tmp_path / name).write_text("# energies\n" + "".join(words.format(e) for e in ENERGIES))
    scan = open_scan(tmp_path / "s.tif")
    check(scan, data, [float(words.split(",")[0].format(e)) for e in ENERGIES])
    assert said(scan, f"energies from {name}")
    check(open_scan(tmp_path), data, scan.axes[0].coordinates)


def test_a_list_that_does_not_fit(tmp_path):
    tifffile.imwrite(tmp_path / "s.tif", counts(5, 6, 9))
    (tmp_path / "s_energy.txt").write_text("700\n701\n702\n")
    with pytest.raises(BadInputError, match=r"5 frames, but s_energy\.txt beside it lists 3"):
        open_scan(tmp_path / "s.tif")
    (tmp_path / "s_energy.txt").rename(tmp_path / "positions.txt")
    assert open_scan(tmp_path / "s.tif").kind == "pattern stack"
    for listed in ("0 1 2 3 4", "10 20 25 30 40", "-60 -30 0 30 60", "100 900 1800 2400 3000"):
        (tmp_path / "positions.txt").write_text(listed.replace(" ", "\n"))  # counts, tilts, times
        assert open_scan(tmp_path / "s.tif").kind == "pattern stack"


def test_tiff_pages_of_different_size(tmp_path):
    frames = [counts(6, 9), counts(6, 9), counts(7, 8), counts(6, 9), counts(6, 9)]
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        for frame in frames:
            file.write(frame, contiguous=False, metadata=None)
    (tmp_path / "s.txt").write_text("\n".join(map(str, ENERGIES)))
    scan = open_scan(tmp_path / "s.tif")
    check(scan, np.stack([frame[:6, :8] for frame in frames]))
    assert said(scan, "frames differ in size (6 x 8 to 7 x 9 pixels): cropped")


@pytest.mark.parametrize("pattern", ["Fe_{:.2f}eV", "{:.3f}_a1", "p2_{:.2f}_eV_001"])
def test_frames_whose_names_hold_energies(tmp_path, pattern):
    data = counts(5, 6, 4)
    for energy, frame in zip(ENERGIES, data, strict=True):
        tifffile.imwrite(tmp_path / f"{pattern.format(energy)}.tif", frame)
    scan = open_scan(tmp_path)
    check(scan, data)
    assert said(scan, "energies from the names of the frames")


def test_a_voltage_in_every_name_is_no_energy(tmp_path):
    for i in range(5):
        tifffile.imwrite(tmp_path / f"200keV_{i}.tif", counts(6, 9))
    assert open_scan(tmp_path).kind == "pattern stack"


def test_numbered_frames_are_no_energies(tmp_path):
    for i in range(5):
        tifffile.imwrite(tmp_path / f"frame_{1000 + i}.tif", counts(6, 4))
    assert open_scan(tmp_path).kind != "STXM"
    scan = open_scan(tmp_path, kind="STXM")  # the user says so
    assert scan.axes[0].coordinates.tolist() == [1000, 1001, 1002, 1003, 1004]


# --- energies -----------------------------------------------------------------------------


def energies_of(tmp_path, listed, unit=None):
    data = counts(len(listed), 6, 4)
    path = tmp_path / "s.h5"
    with h5py.File(path, "w") as file:
        file["stack"], file["energy"] = data, np.asarray(listed, float)
        if unit:
            file["energy"].attrs["units"] = unit
    return open_scan(path), data


def test_falling_and_mixed_energies_are_sorted(tmp_path):
    scan, data = energies_of(tmp_path, ENERGIES[::-1])
    check(scan, data[::-1])
    assert said(scan, "energies fall in the file")
    assert scan.stored is None
    order = [3, 0, 4, 1, 2]
    scan, data = energies_of(tmp_path, ENERGIES[order])
    check(scan, data[np.argsort(order)])
    assert said(scan, "in no order in the file")


def test_energies_that_repeat_are_kept(tmp_path):
    scan, data = energies_of(tmp_path, [700, 705, 705, 708])
    check(scan, data, [700, 705, 705, 708])
    assert said(scan, "several frames carry the same energy")
    scan, data = energies_of(tmp_path, [700, 700, 700])
    check(scan, data, [700, 700, 700])


@pytest.mark.parametrize("listed", [[853.0, 857.75], [853.0, 857.75, 860.0]])
def test_two_and_three_energies(tmp_path, listed):
    scan, data = energies_of(tmp_path, listed, "eV")
    check(scan, data, listed)


@pytest.mark.parametrize("unit", [None, "keV", "eV"])
def test_kev_are_told_by_their_size(tmp_path, unit):
    scan, data = energies_of(tmp_path, [8.36, 8.34, 8.33], unit)
    check(scan, data[::-1], [8330, 8340, 8360])


@pytest.mark.parametrize("listed", [[-1, 0, 1], [0, 0, 0], [np.nan, 1, 2], [700, np.inf, 702]])
def test_energies_that_cannot_be(tmp_path, listed):
    scan, _ = energies_of(tmp_path, listed, "eV")
    assert scan.kind == "STXM"
    assert scan.axes[0].unit == "pixel"
    assert said(scan, "frames are counted")


# --- measured -----------------------------------------------------------------------------


def measured() -> list[str]:
    from os import environ

    root = Path(__file__).resolve().parents[2]
    folder = Path(environ.get("DIFFMAP_TEST_DATA", root.parent / "shared" / "data"))
    found = [p for p in sorted(folder.glob("stxm_*/**/*")) if p.is_file() or p.is_dir()]
    # Of a hundred frames of one stack the first and the last will do.
    return [str(p.relative_to(folder)) for p in found
            if p.suffix != ".xim" or p.stem.endswith(("_a", "000", "003", "122"))]  # fmt: skip


OPENS = (".xim", ".hdr", ".hdf5", ".cxi", "")
#: Files that are no stack and no image, with what is said of them.
WHY_NOT = {
    "30523005.hdr": "is a NEXAFS Point Scan",
    "NS_181111148.hdr": r"not one of its \.xim frames is beside it",
    "Focus_2021-03-16_051.hdf5": "is a sample focus scan",
}


@pytest.mark.parametrize("name", measured() or [pytest.param("", marks=pytest.mark.skip)])
def test_every_measured_file_opens_or_says_why_not(shared_data, name):
    path = shared_data / name
    if path.suffix not in OPENS or path.name in WHY_NOT:
        with pytest.raises(BadInputError, match=WHY_NOT.get(path.name, path.name)) as caught:
            open_scan(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
        return
    scan = open_scan(path)
    assert scan.kind in ("STXM", "image")
    if scan.kind == "STXM":
        assert scan.axes[0].unit == "eV"
        assert (np.diff(scan.axes[0].coordinates) > 0).all()
    assert np.isfinite(scan.data[0].compute(scheduler="synchronous")).all()


@pytest.mark.parametrize(
    ("folder", "shape"),
    [
        ("stxm_iron_2p", (123, 125, 125)),
        ("stxm_iron_2p/71214078_FigS4", (123, 125, 125)),
        ("stxm_nickel_l3", (2, 120, 120)),
        ("stxm_nxstxm", (4, 50, 50)),
        ("stxm_als_single", (200, 200)),
    ],
)
def test_measured_stacks_by_their_folder(shared_data, folder, shape):
    assert open_scan(shared_data / folder).shape == shape
