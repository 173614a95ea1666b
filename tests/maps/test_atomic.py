"""A file is complete or not there; folders and disks that refuse say so in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from napari_diffmap.errors import BadInputError, DiffmapError, ResourceError
from napari_diffmap.maps import (
    save_ang,
    save_ipf_png,
    save_maps_tiff,
    save_orientation_h5,
)
from napari_diffmap.maps.atomic import atomic_path

WRITERS = {
    "o.h5": save_orientation_h5,
    "o.ang": save_ang,
    "o.png": save_ipf_png,
}


def write_and_fail(path, error):
    with atomic_path(path) as temporary:
        assert temporary.suffix == path.suffix
        temporary.write_text("half")
        raise error


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        write_and_fail(path, RuntimeError())
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", WRITERS)
def test_no_folder_or_a_folder_in_the_way(make_map, tmp_path, name):
    found = make_map((4, 5), 2).map
    with pytest.raises(BadInputError, match="no folder"):
        WRITERS[name](found, tmp_path / "absent" / name)
    (tmp_path / name).mkdir()
    with pytest.raises(BadInputError, match="is a folder"):
        WRITERS[name](found, tmp_path / name)
    with pytest.raises(BadInputError, match="no folder"):
        save_maps_tiff(found, tmp_path / "absent")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_must_not_be_written(make_map, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    for name, write in WRITERS.items():
        with pytest.raises(BadInputError, match="cannot write"):
            write(make_map((4, 5), 2).map, folder / name)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (OSError(28, "No space left on device"), ResourceError, "disk is full"),
        (
            OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
            ResourceError,
            "disk is full",
        ),
        (PermissionError(13, "Permission denied"), BadInputError, "permission denied"),
        (OSError(30, "Read-only file system"), BadInputError, "read-only"),
    ],
)
def test_errors_are_translated_and_nothing_is_left(tmp_path, error, kind, words):
    with pytest.raises(kind, match=words) as caught:
        write_and_fail(tmp_path / "a.txt", error)
    assert isinstance(caught.value, DiffmapError)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


_FULL = """
import os, resource, sys
import numpy as np
from orix.crystal_map import Phase
from napari_diffmap.errors import ResourceError
from napari_diffmap.maps import *
n = 200
q = np.random.default_rng(0).normal(size=(n, n, 1, 4))
q /= np.linalg.norm(q, axis=-1, keepdims=True)
one, flat = np.ones((n, n, 1)), np.ones((n, n))
phase = MapPhase("a", "#0072B2", Phase(point_group="m-3m"))
found = OrientationMap(rotations=q, scores=one, phase_ids=0 * one, reliability=flat,
                       ambiguity=0 * flat, phases=(phase,))
folder = sys.argv[1]
save_ipf_png(found, folder + "/warm.png")  # fonts and caches are written before the limit
os.remove(folder + "/warm.png")
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
for write, name in ((save_orientation_h5, "/o.h5"), (save_ang, "/o.ang"), (save_ipf_png, "/o.png"),
                    (lambda f, p: save_tiff(f.best_scores, p), "/o.tif")):
    try:
        write(found, folder + name)
        print("written", name)
    except ResourceError as error:
        print("full", name, str(error).count(chr(10)))
print(os.listdir(folder))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk(tmp_path):
    """A limit on file sizes stands for the disk: every writer says so and leaves nothing."""
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Exception" not in done.stderr
    assert done.stdout.splitlines() == [
        "full /o.h5 0",
        "full /o.ang 0",
        "full /o.png 0",
        "full /o.tif 0",
        "[]",
    ]
