"""Label maps in OME-TIFF and OME-Zarr: every number, its name, colour and scale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import Provenance
from napari_diffmap.maps.labels.ome_zarr import label_groups, load_labels_zarr, save_label_groups
from napari_diffmap.maps.labels.save import (
    NamedLabels,
    load_labels,
    save_labels,
    save_labels_tiff,
    save_labels_zarr,
)

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
LIMITS = np.iinfo(np.int32)
NAMES = {1: 'α <Fe> & "q"', 2: "two", LIMITS.max: "last", -1: "below"}
COLORS = {1: "#0072B2", LIMITS.max: "orange"}
STEP = {"step": (2.5, 1.25), "step_unit": "nm"}


def made(shape=(37, 53)):
    labels = np.random.default_rng(0).integers(LIMITS.min, LIMITS.max, shape, dtype=np.int32)
    labels[0, :5] = (0, 1, -1, LIMITS.min, LIMITS.max)
    return labels


@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.tiff", "a.ome.zarr"])
def test_everything_comes_back(tmp_path, name):
    labels = made()
    path = save_labels(labels, tmp_path / name, names=NAMES, colors=COLORS, **STEP)
    again = load_labels(path)
    assert again.labels.dtype == np.int32
    np.testing.assert_array_equal(again.labels, labels)
    assert again.names == NAMES
    assert again.colors == {1: "#0072B2", LIMITS.max: "#FFA500"}
    assert (again.step, again.step_unit) == ((2.5, 1.25), "nm")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.zarr"])
@settings(max_examples=15, deadline=None)
@given(
    labels=hnp.arrays(
        st.sampled_from([np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32]),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
    ),
    names=st.dictionaries(
        st.integers(LIMITS.min, LIMITS.max),
        st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=8),
        max_size=4,
    ),
    step=st.tuples(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)),
    unit=st.sampled_from(["nm", "µm"]),
)
def test_any_labels(tmp_path_factory, name, labels, names, step, unit):
    path = tmp_path_factory.mktemp("l") / name
    again = load_labels(save_labels(labels, path, names=names, step=step, step_unit=unit))
    assert again.labels.dtype == labels.dtype
    np.testing.assert_array_equal(again.labels, labels)
    assert again.names == names
    assert again.step == step
    assert again.step_unit == unit


@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.zarr"])
def test_without_calibration_names_or_colours(tmp_path, name):
    again = load_labels(save_labels(made(), tmp_path / name))
    assert (again.names, again.colors, again.step) == ({}, {}, (1.0, 1.0))
    assert again.step_unit == "pixel"


def test_wide_numbers_are_narrowed_only_where_nothing_is_lost(tmp_path):
    for dtype, value, kept in (
        (np.int64, LIMITS.min, np.int32),
        (np.int64, 2**32 - 1, np.uint32),
        (bool, 1, np.uint8),
    ):
        labels = np.array([[0, value]], dtype=dtype)
        again = load_labels(save_labels(labels, tmp_path / "a.ome.tif"))
        assert again.labels.dtype == kept
        np.testing.assert_array_equal(again.labels, labels)
    with pytest.raises(BadInputError, match="32 bits"):
        NamedLabels(np.array([[-1, 2**32 - 1]]))


# ------------------------------------------------------------------ OME-TIFF


def test_the_ome_record_is_that_of_the_schema(tmp_path):
    record = Provenance.collect(method="grains é")
    labels = made()
    path = save_labels_tiff(
        labels,
        tmp_path / "a.ome.tif",
        name="grains",
        names=NAMES,
        colors=COLORS,
        provenance=record,
        **STEP,
    )
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert file.series[0].kind == "ome"
        np.testing.assert_array_equal(file.series[0].asarray(), labels)
        root = ElementTree.fromstring(file.ome_metadata)
        per_cm = file.pages[0].tags["XResolution"].value
        assert per_cm[0] / per_cm[1] == pytest.approx(1e7 / 1.25)
    assert [child.tag for child in root] == [f"{OME}Image", f"{OME}StructuredAnnotations"]
    image = root[0]
    assert image.get("Name") == "grains"
    assert [child.tag for child in image] == [f"{OME}Pixels", *[f"{OME}AnnotationRef"] * 3]
    pixels = image[0].attrib
    assert (pixels["Type"], pixels["SizeX"], pixels["SizeY"]) == ("int32", "53", "37")
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == ("1.25", "nm")
    assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeYUnit"]) == ("2.5", "nm")
    kept = {note.get("Namespace"): note for note in root[1]}
    stored = kept["napari-diffmap/provenance"].find(f"{OME}Value/{OME}M")
    assert Provenance.from_json(stored.text) == record


def test_other_tiff_files(tmp_path):
    """Plain files and those of other programs: the numbers, and the scale where there is one."""
    labels = made().astype(np.uint16)
    tifffile.imwrite(tmp_path / "plain.tif", labels)
    np.testing.assert_array_equal(load_labels(tmp_path / "plain.tif").labels, labels)
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"}
    size |= {"PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(tmp_path / "b.ome.tif", labels, metadata={"axes": "YX", **size})
    again = load_labels(tmp_path / "b.ome.tif")
    assert (again.step, again.step_unit) == ((250, 500), "nm")
    tifffile.imwrite(tmp_path / "f.tif", labels.astype(np.float32))
    with pytest.raises(BadInputError, match=r"f\.tif: a label map must be whole numbers"):
        load_labels(tmp_path / "f.tif")


def test_what_xml_cannot_hold_does_not_break_the_file(tmp_path):
    path = save_labels(made(), tmp_path / "a.ome.tif", names={1: "a\x00b\x1f", 2: "]]>"})
    assert load_labels(path).names == {1: "a\ufffdb\ufffd", 2: "]]>"}


# ------------------------------------------------------------------ OME-Zarr


def test_the_folder_is_that_of_ngff(tmp_path):
    score = np.random.default_rng(1).normal(size=(37, 53)).astype(np.float32)
    record = Provenance.collect(method="grains é")
    groups = {
        "phases": NamedLabels(np.ones((37, 53), np.uint8), {1: "Fe"}, {1: "#D55E00"}, **STEP),
        "my grains": NamedLabels(made(), **STEP),
    }
    path = save_label_groups(groups, tmp_path / "m.ome.zarr", image=score, provenance=record)
    assert label_groups(path) == label_groups(path / "labels") == ("phases", "my-grains")
    root = zarr.open_group(str(path), mode="r")
    np.testing.assert_array_equal(root["0"][...], score)
    (scales,) = root.attrs["multiscales"]
    unit = {"type": "space", "unit": "nanometer"}
    assert scales["version"] == "0.4"
    assert scales["axes"] == [{"name": "y", **unit}, {"name": "x", **unit}]
    (level,) = scales["datasets"]
    assert level["coordinateTransformations"] == [{"type": "scale", "scale": [2.5, 1.25]}]
    assert root["labels"].attrs["labels"] == ["phases", "my-grains"]
    about = root["labels/phases"].attrs["image-label"]
    assert about["colors"] == [{"label-value": 1, "rgba": [0xD5, 0x5E, 0, 255]}]
    assert about["properties"] == [{"label-value": 1, "name": "Fe"}]
    assert about["source"] == {"image": "../../"}
    array = json.loads((path / "labels/phases/0/.zarray").read_text())
    assert (array["dimension_separator"], array["zarr_format"]) == ("/", 2)
    assert (path / "labels/phases/0/0/0").is_file()
    assert Provenance(**root.attrs["napari-diffmap"]["provenance"]) == record
    np.testing.assert_array_equal(load_labels(path, "my-grains").labels, made())
    np.testing.assert_array_equal(load_labels(path / "labels/my-grains").labels, made())
    with pytest.raises(BadInputError, match="choose one of phases, my-grains"):
        load_labels(path)
    with pytest.raises(BadInputError, match="no label map 'x'"):
        load_labels(path, "x")


def test_an_earlier_one_is_replaced_but_nothing_else(tmp_path):
    path = tmp_path / "a.ome.zarr"
    save_labels_zarr(made(), path, name="old")
    save_labels_zarr(made((3, 5)), path, name="new")
    assert label_groups(path) == ("new",)
    assert os.listdir(tmp_path) == ["a.ome.zarr"]
    zarr.open_group(str(tmp_path / "b.ome.zarr"), mode="w").create_dataset("x", data=[1])
    (tmp_path / "c.ome.zarr").write_text("x")
    for name in "bc":
        with pytest.raises(BadInputError, match="something else has that name"):
            save_labels_zarr(made(), tmp_path / f"{name}.ome.zarr")
    assert zarr.open_group(str(tmp_path / "b.ome.zarr"), mode="r")["x"][0] == 1


def test_an_image_in_three_dimensions_of_another_program(tmp_path):
    """Axes t and z of one plane, no names; units of another kind count as none."""
    root = zarr.open_group(str(tmp_path / "a.ome.zarr"), mode="w")
    root.create_dataset("0", data=np.arange(6, dtype=np.uint16).reshape(1, 1, 2, 3))
    axes = [{"name": name, "type": "space"} for name in "tzyx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1, 1, 2, 3]}]}
    root.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [level]}]
    root.attrs["image-label"] = {"version": "0.4"}
    again = load_labels(tmp_path / "a.ome.zarr")
    np.testing.assert_array_equal(again.labels, np.arange(6).reshape(2, 3))
    assert again.step_unit == "pixel"


# -------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.zeros((2, 3, 4), int)}, "whole numbers"),
        ({"labels": np.zeros((2, 3))}, "whole numbers"),
        ({"labels": np.zeros((0, 3), int)}, "whole numbers"),
        ({"colors": {1: "no colour"}}, "no colour"),
        ({"step": (0, 1)}, "impossible"),
        ({"step": (1, np.nan)}, "impossible"),
        ({"step_unit": "furlong"}, "nm, µm or pixel"),
    ],
)
@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.zarr"])
def test_what_cannot_be_is_refused(tmp_path, change, words, name):
    given_ = {"labels": made(), **change}
    with pytest.raises(BadInputError, match=words) as caught:
        save_labels(given_.pop("labels"), tmp_path / name, **given_)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_names_and_folders(tmp_path):
    for save, name in (
        (save_labels_tiff, "a.tif"),
        (save_labels_zarr, "a.zarr"),
        (save_labels, "a.png"),
    ):
        with pytest.raises(BadInputError, match="must end in"):
            save(made(), tmp_path / name)
    for name in ("a.ome.tif", "a.ome.zarr"):
        with pytest.raises(BadInputError, match="no folder"):
            save_labels(made(), tmp_path / "absent" / name)
    one = NamedLabels(made())
    with pytest.raises(BadInputError, match="one shape"):
        save_label_groups({"a": one}, tmp_path / "a.ome.zarr", image=np.zeros((2, 2)))
    with pytest.raises(BadInputError, match="different names"):
        save_label_groups({"a b": one, "a-b": one}, tmp_path / "a.ome.zarr")
    with pytest.raises(BadInputError, match="no label map"):
        save_label_groups({}, tmp_path / "a.ome.zarr")


def test_damage_gives_one_clear_line(tmp_path):
    (tmp_path / "a.ome.tif").write_bytes(b"II*\0 nonsense")
    (tmp_path / "empty").mkdir()
    (tmp_path / "v3").mkdir()
    (tmp_path / "v3" / "zarr.json").write_text("{}")
    bare = zarr.open_group(str(tmp_path / "bare"), mode="w")
    path = save_labels_zarr(made(), tmp_path / "cut.ome.zarr")
    (path / "labels/labels/0/.zarray").unlink()
    assert bare is not None
    for name in ("absent", "a.ome.tif", "empty", "v3", "bare", "cut.ome.zarr"):
        with pytest.raises(BadInputError) as caught:
            load_labels(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInputError):
        load_labels_zarr(tmp_path / "a.ome.tif")


_FULL = """
import os, resource, sys
import numpy as np
from napari_diffmap.errors import ResourceError
from napari_diffmap.maps.labels.save import save_labels
labels = np.random.default_rng(0).integers(0, 1 << 30, (300, 300), dtype=np.int32)
folder = sys.argv[1]
save_labels(labels[:2, :2], folder + "/a.ome.zarr")
save_labels(labels[:2, :2], folder + "/a.ome.tif")
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
for name in ("/a.ome.zarr", "/a.ome.tif"):
    try:
        save_labels(labels, folder + name)
        print("written", name)
    except ResourceError as error:
        print("full", name, str(error).count(chr(10)))
from napari_diffmap.maps.labels.save import load_labels
print(sorted(os.listdir(folder)), load_labels(folder + "/a.ome.zarr").labels.shape)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_leaves_the_old_ones(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [
        "full /a.ome.zarr 0",
        "full /a.ome.tif 0",
        "['a.ome.tif', 'a.ome.zarr'] (2, 2)",
    ]
