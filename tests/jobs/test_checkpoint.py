"""A run that was stopped or killed goes on: same maps to the last bit, or a plain refusal."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_diffmap.cli import run
from napari_diffmap.crystal.sample import sample_scan
from napari_diffmap.errors import BadInputError, CancelledError, ResourceError
from napari_diffmap.jobs import checkpoint
from napari_diffmap.jobs.checkpoint import FOLDER, Checkpoint, identity_of
from napari_diffmap.jobs.control import JobControl
from napari_diffmap.jobs.orient import calibrated, make_method, map_orientations
from napari_diffmap.jobs.results import write_results
from napari_diffmap.maps.files.export import load_orientation_h5
from napari_diffmap.scan.scan import Scan

ROWS, COLUMNS = slice(44, 58), slice(10, 26)
ARRAYS = ("rotations", "scores", "phase_ids", "reliability", "ambiguity")
#: Kills itself without warning after some parts; parts are written after every piece.
KILLED = """
import os, signal, sys
from napari_diffmap.jobs import checkpoint
checkpoint._SECONDS = checkpoint._SHARE = 0
flush = checkpoint.Checkpoint.flush
def flush_and_die(self, result):
    flush(self, result)
    if len(self._parts) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.Checkpoint.flush = flush_and_die
from napari_diffmap.cli import run
run(sys.argv[1:], open_window=None)
"""


@pytest.fixture(scope="module")
def scan() -> Scan:
    whole, _ = sample_scan()
    axes = tuple(
        replace(axis, size=part.stop - part.start)
        for axis, part in zip(whole.axes[:2], (ROWS, COLUMNS), strict=True)
    )
    return calibrated(replace(whole, data=whole.data[ROWS, COLUMNS], axes=(*axes, *whole.axes[2:])))


@pytest.fixture(scope="module")
def straight(scan: Scan):
    return map_orientations(scan, make_method(["LiNiO2", "NiO"]), device="cpu")


def no_window(*_files: object, **_options: object) -> None:
    raise AssertionError("no window is asked for")


def stop_after(count: int) -> tuple[JobControl, object]:
    control = JobControl()

    def look(progress) -> None:
        if progress.message == "mapping" and progress.done >= count:
            control.stop()

    return control, look


def interrupted(scan: Scan, out: Path, count: int = 60):
    control, look = stop_after(count)
    method = make_method(["LiNiO2", "NiO"])
    return map_orientations(scan, method, device="cpu", control=control, on_progress=look, out=out)


def assert_same(again, straight) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again.map, name), getattr(straight.map, name))
    for name, values in straight.map.extra.items():
        np.testing.assert_array_equal(again.map.extra[name], values)


def test_a_stopped_run_goes_on_bit_for_bit(scan, straight, tmp_path) -> None:
    first = interrupted(scan, tmp_path)
    assert isinstance(first.result.error, CancelledError)
    assert 60 <= first.result.done.sum() < first.result.done.size
    write_results(first, tmp_path)
    assert (tmp_path / FOLDER / "run.json").exists(), "kept until the run is complete"
    read: list[tuple[slice, slice]] = []
    second = map_orientations(
        scan,
        make_method(["LiNiO2", "NiO"]),
        device="cpu",
        out=tmp_path,
        resume=True,
        on_tile=lambda tile, _found: read.append((tile.rows, tile.columns)),
    )
    assert second.result.complete
    assert_same(second, straight)
    # What was there is shown first, and its time counts.
    assert read[0] == (slice(0, 14), slice(0, 16))
    assert second.result.seconds > first.result.seconds
    write_results(second, tmp_path)
    assert not (tmp_path / FOLDER).exists()


def test_what_is_there_is_not_mapped_again(scan, tmp_path) -> None:
    first = interrupted(scan, tmp_path, 100)
    method = make_method(["LiNiO2", "NiO"])
    mapped = []
    map_tile = method.run

    def counting(tile):
        mapped.append(tile.missing.size)
        return map_tile(tile)

    method.run = counting  # type: ignore[method-assign]
    second = map_orientations(scan, method, device="cpu", out=tmp_path, resume=True)
    left = first.result.done.size - first.result.done.sum()
    # A piece that was half done is mapped whole.
    assert left <= sum(mapped) < left + 64
    assert second.result.complete


def test_in_memory_too(scan, straight) -> None:
    """What the window does: no folder, the earlier result is taken over."""
    control, look = stop_after(60)
    method = make_method(["LiNiO2", "NiO"])
    first = map_orientations(scan, method, device="cpu", control=control, on_progress=look)
    second = map_orientations(scan, method, device="cpu", before=first.result)
    assert second.result.complete
    assert_same(second, straight)


@pytest.fixture(scope="module")
def killed(scan, tmp_path_factory) -> tuple[Path, list[str]]:
    """The folder of a process that was killed while it mapped, and the options it had."""
    folder = tmp_path_factory.mktemp("killed")
    np.save(folder / "scan.npy", scan.data.compute())
    cy, cx = scan.calibration.center
    options = ["orient", str(folder / "scan.npy"), "--phase", "LiNiO2", "--phase", "NiO"]
    options += ["--voltage", "200", "--pixel-size", "0.0225", "--center", f"{cy},{cx}"]
    options += ["--device", "cpu", "--kind", "4D-STEM", "--out"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *options, str(folder / "out")],
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return folder, options


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_goes_on_bit_for_bit(killed, tmp_path) -> None:
    folder, options = killed
    out = tmp_path / "out"
    shutil.copytree(folder / "out", out)
    assert not (out / "orientation.h5").exists()
    assert len(list((out / FOLDER).glob("part-*.npz"))) == 3
    runs = []
    for target, more in ((out, ["--resume"]), (tmp_path / "straight", [])):
        assert run([*options, str(target), *more], open_window=no_window) == 0
        runs.append(load_orientation_h5(target / "orientation.h5"))
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(runs[0], name), getattr(runs[1], name))
    for name, values in runs[1].extra.items():
        np.testing.assert_array_equal(runs[0].extra[name], values)
    assert not (out / FOLDER).exists()
    assert json.loads((out / "summary.json").read_text())["patterns"] == 14 * 16


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize(
    ("change", "more", "line"),
    [
        (None, [], "go on with it (--resume)"),
        (("--voltage", "300"), ["--resume"], "another voltage (200.0 there, 300.0 now)"),
        (
            ("--phase", "Si"),
            ["--resume"],
            "another list of phases (LiNiO2, NiO there, Si, NiO now)",
        ),
        (None, ["--resume", "--set", "zone_step_deg=4"], "zone_step_deg (3.0 there, 4.0 now)"),
    ],
)
def test_another_run_is_refused_in_one_line(killed, change, more, line, capsys) -> None:
    folder, options = killed
    options = list(options)
    if change:
        options[options.index(change[0]) + 1] = change[1]
    before = {p: p.stat().st_mtime_ns for p in (folder / "out" / FOLDER).iterdir()}
    assert run([*options, str(folder / "out"), *more], open_window=no_window) == 2
    said = capsys.readouterr().err
    assert line in said
    assert len(said.strip().splitlines()) == 1
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "out" / FOLDER).iterdir()}


def test_nothing_to_resume_is_said(tmp_path, scan) -> None:
    method = make_method(["Si"])
    with pytest.raises(BadInputError, match="no unfinished run: leave out --resume"):
        map_orientations(scan, method, device="cpu", out=tmp_path, resume=True)


def test_another_scan_is_refused(scan, tmp_path) -> None:
    method = make_method(["LiNiO2", "NiO"])
    interrupted(scan, tmp_path)
    other = replace(scan, data=scan.data[::-1])
    with pytest.raises(BadInputError, match="another content"):
        map_orientations(other, method, device="cpu", out=tmp_path, resume=True)
    # The same scan from another place is the same.
    moved = replace(scan, source=tmp_path / "moved.hspy", name="moved")
    assert identity_of(moved, method, "cpu") == identity_of(scan, method, "cpu")


def test_a_full_disk_is_one_line_and_loses_nothing(scan, straight, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(checkpoint, "_SECONDS", 0)
    monkeypatch.setattr(checkpoint, "_SHARE", 0)
    write, written = np.savez, []

    def fills_up(file, **arrays):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(len(arrays["index"]))
        write(file, **arrays)

    monkeypatch.setattr(np, "savez", fills_up)
    full = map_orientations(scan, make_method(["LiNiO2", "NiO"]), device="cpu", out=tmp_path)
    assert isinstance(full.result.error, ResourceError)
    assert "go on with --resume" in str(full.result.error)
    assert "\n" not in str(full.result.error)
    assert full.result.done.sum() > sum(written), "what is in memory is kept too"
    assert not list((tmp_path / FOLDER).glob(".*")), "no half file stays"
    monkeypatch.setattr(np, "savez", write)
    method = make_method(["LiNiO2", "NiO"])
    again = map_orientations(scan, method, device="cpu", out=tmp_path, resume=True)
    assert again.result.complete
    assert_same(again, straight)


@pytest.fixture
def one_part(monkeypatch) -> None:
    """Nothing is written before the end, however slow the machine."""
    monkeypatch.setattr(checkpoint, "_SECONDS", 1e9)


def test_a_folder_that_cannot_be_written_is_one_line(scan, tmp_path, one_part) -> None:
    (tmp_path / FOLDER).write_text("in the way")
    stopped = interrupted(scan, tmp_path)
    assert isinstance(stopped.result.error, CancelledError | ResourceError)
    assert stopped.result.done.sum() >= 60
    assert "\n" not in str(stopped.result.error)
    method = make_method(["LiNiO2", "NiO"])
    finished = map_orientations(scan, method, device="cpu", out=tmp_path)
    assert isinstance(finished.result.error, ResourceError)
    assert "cannot write to" in str(finished.result.error)
    assert finished.result.done.all(), "the maps are there all the same"


def test_a_damaged_part_is_named(scan, tmp_path, one_part) -> None:
    interrupted(scan, tmp_path)
    (part,) = (tmp_path / FOLDER).glob("part-*.npz")
    part.write_bytes(part.read_bytes()[:200])
    method = make_method(["LiNiO2", "NiO"])
    with pytest.raises(BadInputError, match="damaged: delete it to map its part again"):
        map_orientations(scan, method, device="cpu", out=tmp_path, resume=True)
    part.unlink()
    assert map_orientations(scan, method, device="cpu", out=tmp_path, resume=True).result.complete


def test_a_refused_run_leaves_nothing(scan, tmp_path) -> None:
    method = make_method(["Si"])
    bad = replace(scan, calibration=replace(scan.calibration, pixel_size=None))
    with pytest.raises(BadInputError):
        map_orientations(bad, method, device="cpu", out=tmp_path)
    assert not any(tmp_path.iterdir())
    Checkpoint(tmp_path, {"any": 1})
    assert not any(tmp_path.iterdir())
