"""Every measured, odd and broken file: a scan that computes, or one clear line."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan.open import list_datasets, open_scan

FOLDERS = [
    "formats/fpd_big_endian",
    "formats/merlin_bitdepths",
    "formats/mib_one_frame",
    "formats/nbd_single_frames",
    "formats/rosettasciio/arina",
    "formats/rosettasciio/blockfile",
    "formats/rosettasciio/digitalmicrograph",
    "formats/rosettasciio/emd",
    "formats/rosettasciio/empad",
    "formats/rosettasciio/history",
    "formats/rosettasciio/mrc",
    "formats/rosettasciio/nexus",
    "formats/rosettasciio/quantumdetector",
    "formats/rosettasciio/tia",
    "formats/rosettasciio/tvips",
    "broken",
    "silicon_rotation",
    "stxm_nickel_l3",
    "stxm_nxstxm",
    "stxm_als_single",
    "cathode_particle",
    "abf_short_movie",
    "graphene_silicon",
    "mos2_images",
    "austenite_nbed",
    "maps/odd_ang_ctf",
]


def check(path: Path) -> str | None:
    """What is wrong with how a file opens; None when nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            scan = open_scan(path)
        except BadInputError as error:
            line = str(error)
            if "\n" in line or len(line) >= 300:
                return f"not one short line: {line!r}"
            return None if path.name in line else f"does not name the file: {line}"
        except Exception as error:  # noqa: BLE001  that is what is tested
            return f"raised {type(error).__name__}: {error}"
        middle = tuple(n // 2 for n in scan.shape[:-2])
        frame = scan.data[middle].compute(scheduler="synchronous")
        if frame.shape != scan.shape[-2:] or frame.dtype != scan.dtype:
            return f"frame {frame.shape} {frame.dtype} of a scan {scan.shape} {scan.dtype}"
        if scan.dtype.byteorder not in "=|":
            return f"foreign byte order {scan.dtype}"
        if not all("\n" not in w and len(w) < 300 for w in scan.warnings):
            return f"warnings are no lines: {scan.warnings}"
        if any(len(chunks) > 1 for chunks in scan.data.chunks[-2:]):
            return f"patterns are split: {scan.data.chunks[-2:]}"
    return None


def all_bad(files: list[Path]) -> dict[str, str]:
    return {p.name: wrong for p in files if (wrong := check(p)) is not None}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_file_opens_or_says_why_not(shared_data, folder):
    root = shared_data / folder
    if not root.is_dir():
        pytest.skip(f"{folder} is absent")
    files = sorted(p for p in root.rglob("*") if p.is_file())
    assert files
    assert all_bad(files) == {}


def test_every_kind_of_file_of_the_iron_stack(shared_data):
    folder = shared_data / "stxm_iron_2p"
    stack = folder / "71214078_FigS4" / "Aligned"
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix != ".xim"]
    assert all_bad([*files, stack / "71214078_a000.xim", stack / "71214078_a122.xim"]) == {}


def test_same_walk_over_a_simulated_folder(tmp_path):
    """The twin of the walk: good, odd and broken files made here."""
    rng = np.random.default_rng(0)
    scan = rng.integers(0, 60000, (3, 4, 16, 16)).astype(np.uint16)
    np.save(tmp_path / "good.npy", scan)
    np.save(tmp_path / "big_endian.npy", scan.astype(">u2"))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(scan))
    np.save(tmp_path / "pickle.npy", np.array([1, "a"], dtype=object), allow_pickle=True)
    np.save(tmp_path / "empty.npy", scan[:0])
    np.save(tmp_path / "list.npy", scan.ravel())
    np.save(tmp_path / "complex.npy", scan[0, 0].astype(np.complex64))
    np.savez(tmp_path / "two.npz", a=scan, b=scan)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:1500])
    (tmp_path / "header_cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:40])
    whole = (tmp_path / "good.npy").read_bytes()
    for name in ("x.blo", "x.mib", "x.mrc", "x.tvips", "x_000.tvips", "x.dm4", "x.ser", "x.emi",
                 "x.h5", "x.hspy", "x.emd", "x.nxs", "x.tif", "x.xml", "x.app5", "x.prz", "x.npz",
                 "x.raw", "x.zip", "x.xim", "x.hdr", "x.de5", "x.mrcz", "x.bcf", "x.rpl", "x.cxi",
                 "x.ncb", "x.stk", "x.dat", "x.xrm", "x.txrm", "x.stxm", "x.unknown",
                 "x"):  # fmt: skip
        (tmp_path / name).write_bytes(rng.bytes(5000))
        (tmp_path / f"zero_{name}").write_bytes(b"\0" * 5000)
        (tmp_path / f"text_{name}").write_text("this is a text, not a scan\n" * 200)
        (tmp_path / f"nothing_{name}").write_bytes(b"")
        (tmp_path / f"npy_{name}").write_bytes(whole)
    for name in ("x.ang", "x.ctf", "x.cif", "x.txm", "x.seq", "x.msk", "x.jpg", "x.spec"):
        (tmp_path / name).write_bytes(b"something")
    (tmp_path / "hdf4.hdf").write_bytes(b"\x0e\x03\x13\x01" + b"\0" * 200)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert len(files) > 100
    assert all_bad(files) == {}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("map.ang", "open it as a map"),
        ("map.ctf", "open it as a map"),
        ("tomo.txrm", "is no Zeiss file, or is damaged"),
        ("image.xrm", "is no Zeiss file, or is damaged"),
        ("volume.txm", "open the .txrm it was made from"),
        ("movie.seq", "export it as .mrc or TIFF"),
        ("phase.cif", "add it as a phase"),
        ("scan.zip", "unpack it"),
        ("frame.png", "is a picture"),
        ("notes.txt", "is text"),
    ],
)
def test_files_that_are_no_scan_are_named_for_what_they_are(tmp_path, name, says):
    (tmp_path / name).write_bytes(b"12345\n")
    with pytest.raises(BadInputError, match=says) as caught:
        open_scan(tmp_path / name)
    assert name in str(caught.value)


def test_hdf4_says_what_to_convert_to(tmp_path):
    path = tmp_path / "old.hdf"
    path.write_bytes(b"\x0e\x03\x13\x01" + b"\0" * 100)
    with pytest.raises(BadInputError, match=r"HDF4.*convert it to HDF5"):
        open_scan(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(BadInputError, match=r"gone.h5: no such file"):
        open_scan(tmp_path / "gone.h5")
    with pytest.raises(BadInputError, match="is a folder"):
        open_scan(tmp_path)
    with pytest.raises(BadInputError, match="no such file"):
        list_datasets(tmp_path / "gone.h5")
