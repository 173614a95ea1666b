"""Opening the window from the command line, with the map of an earlier run."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import InputFile, OrientationMap, Provenance
from napari_diffmap.maps.files.export import save_orientation_h5
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.open import save_scan
from napari_diffmap.scan.scan import Scan
from napari_diffmap.widgets.launch import _Outcome, _show_beside, load_results
from napari_diffmap.widgets.workbench import Workbench

SHAPE = (6, 7)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A finished map with its provenance."""
    phases = load_phases(["LiNiO2", "NiO"])
    rotations = np.zeros((*SHAPE, 1, 4), dtype=np.float32)
    rotations[..., 0] = 1
    ids = np.zeros((*SHAPE, 1), dtype=np.int16)
    ids[:, 4:] = 1
    found = OrientationMap(
        rotations=rotations,
        scores=np.full((*SHAPE, 1), 0.8, dtype=np.float32),
        phase_ids=ids,
        reliability=np.full(SHAPE, 0.9, dtype=np.float32),
        ambiguity=np.zeros(SHAPE, dtype=np.uint8),
        phases=phases,
        step=(4.0, 4.0),
        step_unit="nm",
        provenance=Provenance.collect(
            inputs=[InputFile.from_path(p.source, format="CIF") for p in phases if p.source],
            method="orientation/templates",
        ),
    )
    folder = tmp_path / "results"
    folder.mkdir()
    save_orientation_h5(found, folder / "orientation.h5")
    return folder


def test_a_map_comes_back_with_its_phases(results: Path) -> None:
    found, phases = load_results(results)
    assert found.shape == SHAPE
    assert [phase.name for phase in phases] == ["LiNiO2", "NiO"]
    assert all(phase.elements for phase in phases)


def test_no_map_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="there is no map"):
        load_results(tmp_path)


def test_a_map_beside_goes_with_the_map_that_it_was_shown_with(
    shown: Workbench,
    settle: Callable[[Workbench], None],
    flat_map: Callable[..., OrientationMap],
    tmp_path: Path,
) -> None:
    found = flat_map(shown.session.grid)
    (tmp_path / "other").mkdir()
    save_orientation_h5(found, tmp_path / "other" / "orientation.h5")
    _show_beside(shown, tmp_path / "other", _Outcome(wants_scan=True, wants_map=True))
    shown.session.set_map(found)
    settle(shown)
    assert shown.beside.layer("IPF-Z beside") is not None
    gc.collect()
    shown.session.set_map(replace(found))
    settle(shown)
    assert not shown.beside.named()


@pytest.mark.viewer
def test_the_command_opens_draws_and_closes(results: Path, tmp_path: Path) -> None:
    """In a process of its own: one napari application a process."""
    counts = np.random.default_rng(0).poisson(3, (*SHAPE, 64, 64)).astype(np.uint16)
    counts[..., 30:34, 30:34] += 300
    axes = (
        Axis("y", 6, 4.0, 0, "nm"),
        Axis("x", 7, 4.0, 0, "nm"),
        Axis("ky", 64, 0.03, 0, "1/Å"),
        Axis("kx", 64, 0.03, 0, "1/Å"),
    )
    calibration = Calibration((31.5, 31.5), 0.03, 200.0, "file", "file", "file")
    scan = Scan(da.from_array(counts), axes, "4D-STEM", "scan", calibration=calibration)
    save_scan(scan, tmp_path / "scan.hspy")
    picture = tmp_path / "window.png"
    maps = ("--results", results, "--beside", results)
    done = on_a_display(tmp_path / "scan.hspy", *maps, "--screenshot", picture)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    from PIL import Image

    image = np.asarray(Image.open(picture).convert("RGB"))
    assert image.shape[1] >= 1300
    # The map is drawn: LiNiO2 along [0001] and NiO along [001] are both red.
    red = (image[..., 0] > 200) & (image[..., 1] < 60) & (image[..., 2] < 60)
    assert red.sum() > 20_000
    # Twice, one below the other.
    rows = np.flatnonzero(red[:, :760].sum(1) > 50)
    assert np.diff(rows).max() > 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["open", "nothere.blo", "--screenshot", "w.png"], "nothere.blo: no such file"),
        (["open", "{scan}", "--results", "no", "--screenshot", "w.png"], "no: there is no map"),
        (["open", "{scan}", "{text}"], "notes.txt"),
        (["open", "{scan}"], "no display"),
        (["{scan}"], "no display"),
        ([], "no display"),
    ],
)
def test_what_cannot_open_is_refused_before_qt_starts(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    """No display is set here: Qt would end the process with a signal."""
    np.save(tmp_path / "scan.npy", np.ones((2, 3, 8, 8), np.uint8))
    (tmp_path / "notes.txt").write_text("no scan\n" * 200)
    places = {"scan": tmp_path / "scan.npy", "text": tmp_path / "notes.txt"}
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "napari_diffmap"),
            *(argument.format(**places) for argument in arguments),
        ],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert says in done.stderr
    assert not (tmp_path / "w.png").exists()


def on_a_display(*arguments: Any) -> subprocess.CompletedProcess[str]:
    """``napari-diffmap open`` in a process of its own: one napari application a process."""
    if not os.environ.get("DISPLAY") and shutil.which("xvfb-run") is None:
        pytest.skip("no display and no xvfb-run: install the package xvfb")
    command = [
        *([] if os.environ.get("DISPLAY") else ["xvfb-run", "-a"]),
        *(sys.executable, "-m", "napari_diffmap", "open", *map(str, arguments)),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.viewer
def test_a_map_of_another_grid_says_the_scan_shape_and_draws_nothing(
    results: Path, tmp_path: Path
) -> None:
    """The flat stack of a scan, with the map of the scan laid out."""
    stack = np.random.default_rng(0).poisson(3, (6 * 7, 16, 16)).astype(np.uint16)
    np.save(tmp_path / "stack.npy", stack)
    picture = tmp_path / "window.png"
    options = ("--results", results, "--screenshot", picture)
    done = on_a_display(tmp_path / "stack.npy", *options)
    assert done.returncode == 2, done.stderr
    assert "--scan-shape 6,7" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not picture.exists()
    done = on_a_display(tmp_path / "stack.npy", "--scan-shape", "6,7", *options)
    assert done.returncode == 0, done.stderr
    assert picture.exists()


@pytest.mark.viewer
def test_a_scan_that_fails_to_open_ends_the_wait_for_a_picture(tmp_path: Path) -> None:
    """Plain bytes without a shape: it is a file, but nobody is there to say the shape."""
    (tmp_path / "plain.raw").write_bytes(bytes(range(256)) * 7)
    picture = tmp_path / "window.png"
    done = on_a_display(tmp_path / "plain.raw", "--screenshot", picture)
    assert done.returncode == 2, done.stderr
    assert "--raw-shape" in done.stderr.strip().splitlines()[-1]
    assert not picture.exists()


@pytest.mark.viewer
def test_a_phase_map_is_opened_with_its_stack(tmp_path: Path) -> None:
    """In a process of its own: one napari application a process."""
    from napari_diffmap.jobs.phases import map_phases
    from napari_diffmap.jobs.phases_results import write_phases
    from napari_diffmap.methods.spectra.simulated import simulated_references, simulated_scan

    scan, _ = simulated_scan(8, 2000, (40, 40))
    save_scan(scan, tmp_path / "stack.hspy")
    run = map_phases(scan, simulated_references())
    (tmp_path / "out").mkdir()
    write_phases(run, tmp_path / "out")
    picture = tmp_path / "window.png"
    files = (str(tmp_path / "stack.hspy"), "--results", str(tmp_path / "out"))
    command = (sys.executable, "-m", "napari_diffmap", "open", *files, "--screenshot", str(picture))
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 20_000
