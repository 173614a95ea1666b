"""The folder of a map: the formats that were chosen, each readable by its own tool."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tifffile
import zarr
from orix import io as orix_io
from orix.crystal_map import Phase

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.formats import DEFAULT_FORMATS, FORMATS
from napari_diffmap.jobs.results import export_map
from napari_diffmap.maps import MapPhase, OrientationMap, load_map
from napari_diffmap.maps.edits.edited import EDITED_NAMES
from napari_diffmap.maps.files.export import NamedLabels, load_labels, load_orientation_h5

PICTURES = {
    *("ipf-x", "ipf-y", "ipf-z", "phases", "boundaries", "score", "reliability"),
    *("ambiguity", "crystals", "edited"),
}


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(4, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    grain = np.zeros((8, 10), int)
    grain[:, 5:] += 1
    grain[4:] += 2
    ids = (grain % 2)[..., None]
    ids[0, 0] = -1
    codes = np.zeros((8, 10), np.uint8)
    codes[3, 3] = 2
    return OrientationMap(
        rotations=q[grain][:, :, None],
        scores=rng.uniform(size=(8, 10, 1)),
        phase_ids=ids,
        reliability=rng.uniform(size=(8, 10)),
        ambiguity=rng.integers(0, 4, (8, 10)),
        phases=(
            MapPhase("Cu", "#0072B2", Phase("Cu", space_group=225)),
            MapPhase("Zr", "#D55E00", Phase("Zr", space_group=194)),
        ),
        step=(2.0, 2.0),
        step_unit="nm",
        extra={"edited": codes, "crystals": np.ones((8, 10), np.uint8)},
    )


def test_what_is_written_without_being_asked(found, tmp_path):
    names = {path.name for path in export_map(found, tmp_path)}
    assert names == {path.name for path in tmp_path.iterdir()}
    assert names == {
        *("orientation.h5", "orientation.ang", "report.html"),
        *(f"{name}.png" for name in PICTURES),
        *(f"{n}.tif" for n in ("score", "reliability", "phase", "ambiguity", "edited", "crystals")),
    }
    report = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert EDITED_NAMES[2] in report


def test_every_format_opens_with_its_tool(found, tmp_path):
    chosen = [name for name in FORMATS if name not in (*DEFAULT_FORMATS, "pdf")]
    labels = {"my regions": NamedLabels(np.eye(8, 10, dtype=np.int32), {1: "here"})}
    edits = [{"number": 1, "who": "ada", "kind": 2, "pixels": 1}]
    written = export_map(found, tmp_path, formats=[*chosen, "html"], labels=labels, edits=edits)
    assert {path.name for path in written} == {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in written} == {
        *("orientation.ctf", "labels.ome.zarr", "report.html"),
        *(f"{name}.svg" for name in PICTURES),
        *(f"{name}.ome.tif" for name in ("phases", "grains", "ambiguity", "edited", "my-regions")),
    }
    assert "ada" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = load_map(tmp_path / "orientation.ctf")
    np.testing.assert_array_equal(again.best_phase_ids, found.best_phase_ids)
    np.testing.assert_array_equal(
        tifffile.imread(tmp_path / "phases.ome.tif"), found.best_phase_ids + 1
    )
    phases = load_labels(tmp_path / "phases.ome.tif")
    assert phases.names == {1: "Cu", 2: "Zr"}
    assert (phases.step, phases.step_unit) == ((2.0, 2.0), "nm")
    root = zarr.open_group(str(tmp_path / "labels.ome.zarr"), mode="r")
    np.testing.assert_array_equal(root["0"][...], found.best_scores)
    assert root["labels"].attrs["labels"] == [
        *("phases", "grains", "ambiguity", "edited", "my-regions")
    ]
    grains = load_labels(tmp_path / "labels.ome.zarr", "grains")
    np.testing.assert_array_equal(np.unique(grains.labels), [0, 1, 2, 3, 4])
    assert load_labels(tmp_path / "edited.ome.tif").names[2] == EDITED_NAMES[2]
    again = export_map(found, tmp_path, formats=("ctf", "ome-zarr"))  # over what is there
    assert len(again) == 2


def test_one_format_alone(found, tmp_path):
    (path,) = export_map(found, tmp_path, formats={"h5"})
    assert orix_io.load(path).shape == found.shape
    np.testing.assert_array_equal(load_orientation_h5(path).rotations, found.rotations)
    assert export_map(found, tmp_path, formats=[]) == []


def test_a_map_without_an_answer_writes_what_says_so(found, tmp_path):
    empty = found.replaced(
        phase_ids=np.full(found.phase_ids.shape, -1), ambiguity=np.full(found.shape, 6)
    )
    names = {path.name for path in export_map(empty, tmp_path, formats=FORMATS)}
    assert {
        "orientation.h5",
        "ambiguity.png",
        "ambiguity.svg",
        "ambiguity.pdf",
        "report.html",
    } <= names
    assert not {"orientation.ang", "orientation.ctf", "ipf-z.png", "grains.ome.tif"} & names


def test_an_unknown_format_is_refused_before_anything_is_written(found, tmp_path):
    with pytest.raises(BadInputError, match="choose from h5, tiff"):
        export_map(found, tmp_path, formats=("h5", "docx"))
    assert list(tmp_path.iterdir()) == []


_FULL = """
import resource, sys
import numpy as np
from orix.crystal_map import Phase
from napari_diffmap.errors import DiffmapError, ResourceError
from napari_diffmap.jobs.formats import FORMATS
from napari_diffmap.jobs.results import export_map
from napari_diffmap.maps import MapPhase, OrientationMap
from pathlib import Path
n = 90
q = np.random.default_rng(0).normal(size=(n, n, 1, 4))
q /= np.linalg.norm(q, axis=-1, keepdims=True)
one, flat = np.ones((n, n, 1)), np.ones((n, n))
phase = MapPhase("a", "#0072B2", Phase(point_group="m-3m"))
found = OrientationMap(rotations=q, scores=one, phase_ids=0 * one, reliability=flat,
                       ambiguity=0 * flat, phases=(phase,))
folder = Path(sys.argv[1])
from matplotlib import font_manager  # its cache is written before the limit
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))
for name in ("h5", "tiff", "ang", "ctf", "ome-tiff", "ome-zarr", "html"):
    try:
        export_map(found, folder, formats=[name])
        print("written", name)
    except ResourceError as error:
        print("full", name, str(error).count(chr(10)))
left = [p.name for p in folder.iterdir() if p.name.startswith(".")]
print(left)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, left = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == [
        *("h5", "tiff", "ang", "ctf", "ome-tiff", "ome-zarr", "html")
    ]
    assert all(line.startswith("full ") and line.endswith(" 0") for line in lines)
    assert left == "[]"
