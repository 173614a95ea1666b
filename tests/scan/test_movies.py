"""Images and movies of atomic lattices: kind, pixel size, frame time, and what is refused."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.open.classify import looks_like_image, looks_like_pattern

ROWS, COLUMNS = 96, 128


def lattice(shift: float = 0.0, noise: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    """A frame of a square lattice, moved along its rows."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    bright = 110 + 60 * np.cos(2 * np.pi * (x - shift) / 9) * np.cos(2 * np.pi * y / 8)
    bright += np.random.default_rng(seed).normal(0, noise, bright.shape)
    return np.clip(bright, 0, 255).astype(np.uint8)


def numbered(count: int) -> NDArray[np.uint8]:
    """Frames that bear their number in bits, so that compression cannot hide it."""
    frames = np.stack([lattice(0.4 * i) for i in range(count)])
    for i, frame in enumerate(frames):
        for bit in range(7):
            frame[:16, 16 * bit : 16 * bit + 16] = 230 if (i >> bit) & 1 else 20
    return frames


def number(frame: NDArray[Any]) -> int:
    return sum(int(frame[4:12, 16 * b + 4 : 16 * b + 12].mean() > 125) << b for b in range(7))


def encode(path: Path, frames: NDArray[np.uint8], *options: str, pixels: str = "gray") -> Path:
    from imageio_ffmpeg import get_ffmpeg_exe

    size = f"{frames.shape[2]}x{frames.shape[1]}"
    source = ["-f", "rawvideo", "-pix_fmt", pixels, "-s", size, "-r", "8", "-i", "-"]
    command = [get_ffmpeg_exe(), "-v", "error", *source, *options, str(path)]
    subprocess.run(command, input=frames.tobytes(), check=True)
    return path


CODECS = {
    "raw.avi": ["-c:v", "rawvideo", "-pix_fmt", "gray"],
    "mjpeg.avi": ["-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"],
    "mpeg4.avi": ["-c:v", "mpeg4", "-q:v", "3", "-bf", "2"],  # frames out of order, no times
    "h264.mp4": ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "3"],
}


@pytest.mark.parametrize("name", CODECS)
def test_a_movie_gives_each_frame_by_its_number(tmp_path, name):
    frames = numbered(80)  # more than one run of frames
    scan = open_scan(encode(tmp_path / name, frames, *CODECS[name]))
    assert (scan.kind, scan.shape, scan.dtype) == ("image series", frames.shape, np.uint8)
    for wanted in (79, 0, 41, 64, 63):
        assert number(np.asarray(scan.data[wanted])) == wanted
    there = np.asarray(scan.data)
    assert [number(frame) for frame in there] == list(range(80))
    assert np.abs(there.astype(float) - frames).mean() < (1e-9 if name == "raw.avi" else 6)
    assert (scan.axes[0].scale, scan.axes[0].unit) == (0.125, "s")
    assert any("playback rate of 8 frames/s" in line for line in scan.warnings)


def test_a_coloured_movie_says_so_and_a_json_beside_it_gives_size_and_time(tmp_path):
    frames = np.stack([numbered(6)] * 3, axis=-1)
    frames[..., 2] //= 2
    path = encode(
        tmp_path / "m.avi", frames, "-c:v", "rawvideo", "-pix_fmt", "bgr24", pixels="rgb24"
    )
    (tmp_path / "m.json").write_text(json.dumps({"pixel_size_nm": 0.03, "frame_time_s": 2.25}))
    scan = open_scan(path)
    assert [(a.name, a.scale, a.unit) for a in scan.axes] == [
        ("time", 2.25, "s"),
        ("y", 0.03, "nm"),
        ("x", 0.03, "nm"),
    ]
    assert any("coloured" in line for line in scan.warnings)
    assert not any("playback" in line for line in scan.warnings)


def test_a_cut_movie_keeps_its_whole_frames_or_says_why_not(tmp_path):
    frames = numbered(40)
    whole = encode(tmp_path / "raw.avi", frames, *CODECS["raw.avi"]).read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    cut = open_scan(tmp_path / "cut.avi")
    assert 15 <= cut.shape[0] <= 20
    assert number(np.asarray(cut.data[cut.shape[0] - 1])) == cut.shape[0] - 1
    assert f"the file is cut: {cut.shape[0]} of 40 frames can be decoded" in cut.warnings

    whole = encode(tmp_path / "h.mp4", frames, *CODECS["h264.mp4"]).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInputError, match=r"^cut\.mp4: the movie is cut.*copy it again$"):
        open_scan(tmp_path / "cut.mp4")
    (tmp_path / "junk.avi").write_bytes(b"no movie at all " * 50)
    with pytest.raises(BadInputError, match=r"^junk\.avi: no frame can be decoded.*no movie$"):
        open_scan(tmp_path / "junk.avi")


def write_frames(folder: Path, frames: NDArray[np.uint8], suffix: str) -> Path:
    folder.mkdir()
    for i, frame in enumerate(frames):
        path = folder / f"frame{i + 8}{suffix}"  # 8, 9, 10: by name 10 would come first
        if suffix == ".npy":
            np.save(path, frame)
        elif suffix == ".tif":
            tifffile.imwrite(path, frame, imagej=True, resolution=(50, 50), metadata={"unit": "nm"})
        else:
            Image.fromarray(frame).save(path)
    return folder


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_a_folder_of_numbered_images_is_a_series(tmp_path, suffix):
    frames = np.stack([lattice(0.5 * i, seed=i) for i in range(5)])
    scan = open_scan(write_frames(tmp_path / "movie", frames, suffix))
    assert (scan.kind, scan.shape) == ("image series", frames.shape)
    assert np.array_equal(np.asarray(scan.data), frames)
    assert np.array_equal(np.asarray(scan.data[3, 10:20]), frames[3, 10:20])
    if suffix == ".tif":
        assert [(a.scale, a.unit) for a in scan.axes[1:]] == [(pytest.approx(0.02), "nm")] * 2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_images_of_another_size_are_named(tmp_path, suffix):
    folder = write_frames(tmp_path / "movie", np.stack([lattice()] * 3), suffix)
    write_frames(tmp_path / "odd", np.stack([lattice()[:80]]), suffix)
    (tmp_path / "odd" / f"frame8{suffix}").rename(folder / f"frame9{suffix}")
    with pytest.raises(BadInputError, match=rf"frame9\{suffix}: is 80 x 128 pixels.*96 x 128"):
        open_scan(folder)


def test_folders_that_hold_no_movie(tmp_path):
    with pytest.raises(BadInputError, match="is a folder without files"):
        open_scan(tmp_path)
    # Pictures made of a scan do not hide that it is there.
    for name in ("map1.png", "map2.png"):
        Image.fromarray(lattice()).save(tmp_path / name)
    with h5py.File(tmp_path / "stack.hdf5", "w") as file:
        file["counts"] = np.ones((3, 4, 5))
        file["energy"] = [700.0, 701.0, 702.0]
    assert open_scan(tmp_path).kind == "STXM"


def test_a_grey_picture_is_an_image_and_a_coloured_one_is_not(tmp_path):
    Image.fromarray(np.stack([lattice()] * 3, axis=-1)).save(tmp_path / "grey.png")
    scan = open_scan(tmp_path / "grey.png")
    assert scan.kind == "image"
    assert np.array_equal(np.asarray(scan.data), lattice())
    deep = lattice().astype(np.uint16) * 200
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert np.array_equal(np.asarray(open_scan(tmp_path / "deep.png").data), deep)
    colours = np.zeros((40, 40, 3), np.uint8)
    colours[..., 0] = 200
    Image.fromarray(colours).save(tmp_path / "map.png")
    with pytest.raises(BadInputError, match=r"map\.png: is a picture in colours"):
        open_scan(tmp_path / "map.png")


def test_stacks_without_units_are_told_by_their_frames(tmp_path):
    movie = np.stack([lattice(0.5 * i, seed=i) for i in range(6)])
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    np.save(tmp_path / "movie.npy", movie)
    for name in ("movie.tif", "movie.npy"):
        scan = open_scan(tmp_path / name)
        assert scan.kind == "image series"
        assert any("give the kind 'pattern stack'" in line for line in scan.warnings)
        assert open_scan(tmp_path / name, kind="pattern stack").kind == "pattern stack"
    # Noise shows nothing, and patterns are bright around the beam.
    y, x = np.mgrid[:64, :64] - 32
    beam = 1000 * np.exp(-(x**2 + y**2) / 40) + 50 * np.exp(-((x - 14) ** 2 + y**2) / 6)
    rng = np.random.default_rng(1)
    np.save(tmp_path / "patterns.npy", rng.poisson(beam + 1, (5, 64, 64)).astype(np.uint16))
    np.save(tmp_path / "noise.npy", rng.poisson(20, (5, 64, 64)).astype(np.uint16))
    for name in ("patterns.npy", "noise.npy"):
        assert open_scan(tmp_path / name).kind == "pattern stack"


def test_heavy_atoms_do_not_make_a_pattern():
    image = lattice(noise=1).astype(float)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    for at in ((30, 40), (70, 90)):
        image += 450 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 18)
    assert not looks_like_pattern(image)
    assert looks_like_image(image)


def test_units_and_times_of_tiff_stacks(tmp_path):
    movie = np.stack([lattice()] * 4)
    size = {"PhysicalSizeX": 20, "PhysicalSizeXUnit": "pm", "PhysicalSizeY": 20,
            "PhysicalSizeYUnit": "pm", "TimeIncrement": 500, "TimeIncrementUnit": "ms"}  # fmt: skip
    tifffile.imwrite(tmp_path / "m.ome.tif", movie, metadata={"axes": "TYX", **size})
    imagej = {"axes": "TYX", "unit": "nm", "finterval": 0.5}
    tifffile.imwrite(tmp_path / "ij.tif", movie, imagej=True, resolution=(50, 50), metadata=imagej)
    for name in ("m.ome.tif", "ij.tif"):
        axes = open_scan(tmp_path / name).axes
        assert [a.unit for a in axes] == ["s", "nm", "nm"]
        assert [a.scale for a in axes] == pytest.approx([0.5, 0.02, 0.02])


@pytest.mark.parametrize(
    ("name", "value", "step"),
    [("scan size", 2000.0, 2.0 / 64), ("scan size", 8.0, 8.0 / 64), ("fov (Å)", 64.0, 0.1)],
)
def test_a_field_in_the_attributes_gives_the_pixel_size(tmp_path, name, value, step):
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        data = file.create_dataset("nn_input", data=lattice()[None, :64, :64, None])
        data.attrs[name] = value
        file.create_dataset("defect_coord_0", data=np.full((3, 3), b"1.0", dtype="S32"))
    scan = open_scan(tmp_path / "a.hdf5")
    assert (scan.kind, scan.shape) == ("image", (64, 64))
    assert [(a.scale, a.unit) for a in scan.axes] == [(pytest.approx(step), "nm")] * 2


@pytest.mark.parametrize(
    ("path", "shape", "step"),
    [
        ("mos2_images/MoS2_stem_Exp-000-2.npy", (512, 512), 9 / 512),
        ("mos2_images/MoS2_stem_Exp-001-5.npy", (512, 512), 7 / 512),
        ("mos2_images/MoS2_stem.npy", (512, 512), None),
        ("tmd_images/WS2Te2-2_0040_1_Cut.tif", (374, 374), None),
        ("tmd_images/GB_mono_MoSe2.tif", (500, 500), None),
        ("graphene_silicon/Si1C3/10.hdf5", (256, 256), 2 / 256),
        ("graphene_silicon/Si1C3/256.hdf5", (128, 128), 2 / 128),
        ("graphene_silicon/Si1C3/61.hdf5", (128, 128), 1 / 128),
        ("abf_short_movie/stem_abf_data_imagestack.hspy", (5, 512, 512), 0.0092024),
    ],
)
def test_measured_images(shared_data, path, shape, step):
    if not (shared_data / path).is_file():
        pytest.skip(f"{path} is absent")
    scan = open_scan(shared_data / path)
    assert scan.kind == ("image" if len(shape) == 2 else "image series")
    assert scan.shape == shape
    for axis in scan.axes[-2:]:
        assert (axis.scale, axis.unit) == ((1.0, "pixel") if step is None else
                                           (pytest.approx(step, rel=1e-4), "nm"))  # fmt: skip
