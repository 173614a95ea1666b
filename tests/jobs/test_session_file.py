"""Sessions on disk, unsaved corrections after a program died, recipes with corrections."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from napari_diffmap.cli import run
from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.errors import BadInputError, ResourceError
from napari_diffmap.jobs.autosave import Autosave, discard, restored, unsaved
from napari_diffmap.jobs.recipe import load_recipe, save_recipe, with_edits
from napari_diffmap.jobs.session_file import (
    RECORD,
    is_session,
    load_session,
    options_of,
    record_of,
    save_session,
)
from napari_diffmap.maps import OrientationMap
from napari_diffmap.maps.edits.corrections import Corrections, LabelMap
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.maps.edits.log import save_log
from napari_diffmap.maps.files.export import load_orientation_h5
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.scan import Scan

_FIELDS = ("rotations", "scores", "phase_ids", "reliability", "ambiguity")


def a_map(rows: int = 4, columns: int = 5) -> OrientationMap:
    random = np.random.default_rng(3)
    rotations = random.normal(size=(rows, columns, 2, 4)).astype(np.float32)
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    return OrientationMap(
        rotations=rotations,
        scores=np.tile([0.9, 0.4], (rows, columns, 1)),
        phase_ids=np.zeros((rows, columns, 2)),
        reliability=np.full((rows, columns), 0.5),
        ambiguity=np.ones((rows, columns)),
        phases=load_phases(["Si"]),
    )


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    counts = np.random.default_rng(0).poisson(5, (4, 5, 16, 16)).astype(np.uint16)
    np.save(tmp_path / "scan.npy", counts)
    opened = open_scan(tmp_path / "scan.npy", kind="4D-STEM")
    return opened.with_calibration(
        Calibration((7.5, 7.5), 0.03, 200.0, center_origin="entered", pixel_size_origin="entered")
    )


def second(found: OrientationMap, pixels: np.ndarray) -> dict[str, Any]:
    return {
        name: getattr(found, name).reshape(-1, *getattr(found, name).shape[2:])[pixels, 1]
        for name in ("rotations", "phase_ids", "scores")
    }


def corrected() -> Corrections:
    mine = Corrections(a_map())
    pixels = np.array([1, 2, 7])
    mine.edit(EditKind.ACCEPTED, pixels, second(mine.answer, pixels))
    mine.add_labels(LabelMap("mine", np.zeros((4, 5)), {1: "good"}, {1: "#009E73"}))
    painted = {"labels": np.ones(2, np.int32)}
    mine.edit(EditKind.PAINTED, np.array([3, 4]), painted, target="labels/mine")
    mine.edit(EditKind.INVALID, np.array([19]))
    mine.undo()
    return mine


def assert_same(a: Corrections, b: Corrections) -> None:
    for name in _FIELDS:
        np.testing.assert_array_equal(getattr(a.map, name), getattr(b.map, name))
        np.testing.assert_array_equal(getattr(a.answer, name), getattr(b.answer, name))
    np.testing.assert_array_equal(a.map.extra[EDITED], b.map.extra[EDITED])
    for name, labels in a.labels.items():
        np.testing.assert_array_equal(labels.values, b.labels[name].values)
        assert labels.names == b.labels[name].names
    assert [e.number for e in a.undone] == [e.number for e in b.undone]


def test_a_session_comes_back_whole(scan: Scan, tmp_path: Path) -> None:
    folder = tmp_path / "mine.diffmap"
    mine = corrected()
    view = {"position": [2, 3], "layers": {"IPF-Z": {"visible": True, "opacity": 1.0}}}
    record = record_of(scan, {"kind": "4D-STEM", "scan_shape": (4, 5)}, load_phases(["Si"]), view)
    save_session(folder, record, mine)
    assert is_session(folder)
    back = load_session(folder)
    assert back.warnings == ()
    assert back.file == (tmp_path / "scan.npy").resolve()
    assert options_of(back.record) == {"kind": "4D-STEM", "scan_shape": (4, 5)}
    assert back.calibration == scan.calibration
    assert back.record.view == view
    assert [phase.name for phase in back.phases] == ["Si"]
    assert back.corrections is not None
    assert_same(back.corrections, mine)
    back.corrections.redo()
    assert back.corrections.map.phase_ids[3, 4, 0] == -1


def test_a_session_that_moved_with_its_scan(scan: Scan, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    save_session(tmp_path / "a.diffmap", record_of(scan, {}, (), {}), None)
    (tmp_path / "a.diffmap").rename(other / "a.diffmap")
    (tmp_path / "scan.npy").rename(other / "scan.npy")
    back = load_session(other / "a.diffmap")
    assert back.file == other / "scan.npy"
    assert back.corrections is None
    (other / "scan.npy").unlink()
    with pytest.raises(BadInputError, match=r"put scan\.npy beside a\.diffmap"):
        load_session(other / "a.diffmap")


def test_a_scan_that_changed_is_told(scan: Scan, tmp_path: Path) -> None:
    save_session(tmp_path / "a.diffmap", record_of(scan, {}, (), {}), None)
    np.save(tmp_path / "scan.npy", np.zeros((4, 5, 16, 16), np.uint16))
    assert "has changed" in load_session(tmp_path / "a.diffmap").warnings[0]


def test_what_is_no_session(scan: Scan, tmp_path: Path) -> None:
    other = tmp_path / "photos"
    other.mkdir()
    (other / "one.png").write_bytes(b"x")
    with pytest.raises(BadInputError, match="no session"):
        save_session(other, record_of(scan, {}, (), {}), None)
    assert (other / "one.png").read_bytes() == b"x"
    (other / RECORD).write_text("napari-diffmap session: 9\nfile: x\n")
    with pytest.raises(BadInputError, match="session"):
        load_session(other)
    (other / RECORD).write_text("just words")
    with pytest.raises(BadInputError, match="no session"):
        load_session(other)


def test_a_scan_from_no_file_cannot_be_kept(scan: Scan) -> None:
    from dataclasses import replace

    with pytest.raises(BadInputError, match="save it first"):
        record_of(replace(scan, source=None), {}, (), {})


def test_a_full_disk_says_so(scan: Scan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_diffmap.jobs.session_file.save_log", full)
    with pytest.raises(ResourceError, match="No space left"):
        save_session(tmp_path / "a.diffmap", record_of(scan, {}, (), {}), corrected())


# ------------------------------------------------------------------ unsaved
_DIES = """
import os, sys, time
import numpy as np
sys.path.insert(0, {tests!r})
from test_session_file import a_map, second
from napari_diffmap.jobs.autosave import Autosave
from napari_diffmap.jobs.session_file import record_of
from napari_diffmap.maps.edits.corrections import Corrections
from napari_diffmap.maps.edits.edit import EditKind
from napari_diffmap.scan.open import open_scan

mine = Corrections(a_map())
autosave = Autosave(mine, lambda: record_of(open_scan({scan!r}, kind="4D-STEM"), {{}}, (), {{}}))
for i in range(20):
    pixels = np.array([i])
    mine.edit(EditKind.ACCEPTED, pixels, second(mine.answer, pixels))
    if i == 0:
        autosave.keep_answer()
print("ready", flush=True)
time.sleep(60)
"""


def test_a_killed_program_loses_no_edit(scan: Scan, tmp_path: Path, state: Path) -> None:
    code = _DIES.format(tests=str(Path(__file__).parent), scan=str(tmp_path / "scan.npy"))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "DIFFMAP_STATE": str(state)},
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline().strip() == "ready"
        # While it lives, its corrections are its own.
        assert unsaved(tmp_path / "scan.npy") == []
        program.send_signal(signal.SIGKILL)
    (folder,) = unsaved(tmp_path / "scan.npy")
    back = restored(folder).corrections
    assert back is not None
    assert len(back.done) == 20
    expected = a_map().rotations[..., 1, :]
    np.testing.assert_array_equal(back.map.rotations[..., 0, :], expected)
    discard(folder)
    assert unsaved(tmp_path / "scan.npy") == []


def test_what_is_saved_leaves_nothing_behind(scan: Scan, tmp_path: Path, state: Path) -> None:
    mine = Corrections(a_map())
    autosave = Autosave(mine, lambda: record_of(scan, {}, (), {}))
    assert not any(state.iterdir())  # nothing before the first edit
    mine.edit(EditKind.INVALID, np.array([3]))
    assert autosave.waits_for_answer
    autosave.keep_answer()
    assert not autosave.waits_for_answer
    assert unsaved(tmp_path / "scan.npy") == []  # this program is alive
    autosave.end(keep=True)
    assert len(unsaved(tmp_path / "scan.npy")) == 1
    mine.edit(EditKind.INVALID, np.array([4]))
    assert len(restored(unsaved(tmp_path / "scan.npy")[0]).corrections.done) == 1  # type: ignore[union-attr]
    discard(unsaved(tmp_path / "scan.npy")[0])
    other = Autosave(mine, lambda: record_of(scan, {}, (), {}))
    mine.edit(EditKind.INVALID, np.array([5]))
    other.end(keep=False)
    assert not any((state / "unsaved").iterdir())


def test_a_place_that_cannot_be_written_is_told(scan: Scan, state: Path) -> None:
    (state / "unsaved").write_text("in the way")
    mine = Corrections(a_map())
    autosave = Autosave(mine, lambda: record_of(scan, {}, (), {}))
    mine.edit(EditKind.INVALID, np.array([3]))
    assert autosave.error is not None
    assert len(mine.done) == 1


# ------------------------------------------------------------------- recipe
def command(*words: object) -> int:
    def no_window(*_files: object, **_options: object) -> None:
        raise AssertionError("no window is asked for")

    return run([str(word) for word in words], no_window)


def test_a_recipe_repeats_the_corrections_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from napari_diffmap.crystal import sample

    counts = sample.simulate_rows(sample.build_truth(), slice(46, 49))[:, 12:18]
    np.save(tmp_path / "scan.npy", counts.astype(np.uint16))
    status = command(
        "orient", tmp_path / "scan.npy", "--kind", "4D-STEM", "--phase", "LiNiO2",
        "--voltage", sample.VOLTAGE_KV, "--pixel-size", sample.PIXEL_SIZE,
        "--set", "zone_step_deg=8", "--set", "intensities=dynamical", "--out", tmp_path / "map",
    )  # fmt: skip
    assert status == 0
    mine = Corrections(load_orientation_h5(tmp_path / "map" / "orientation.h5"))
    kept = np.flatnonzero(mine.answer.phase_ids.reshape(-1, mine.answer.n_best)[:, 1] >= 0)[:4]
    mine.edit(EditKind.ACCEPTED, kept, second(mine.answer, kept))
    mine.edit(EditKind.INVALID, np.array([17]))
    record = save_log(mine, tmp_path / "edits.jsonl")
    recipe = with_edits(load_recipe(tmp_path / "map" / "recipe.yaml"), record)
    path = save_recipe(recipe, tmp_path / "recipe.yaml")

    capsys.readouterr()
    assert command("run", path, "--out", tmp_path / "again", "--json") == 0
    told = capsys.readouterr()
    assert "another run" not in told.err
    assert json.loads(told.out)["corrected"]["edits"] == 2
    again = load_orientation_h5(tmp_path / "again" / "orientation.h5")
    for name in _FIELDS:
        np.testing.assert_array_equal(getattr(again, name), getattr(mine.map, name), name)
    np.testing.assert_array_equal(again.extra[EDITED], mine.map.extra[EDITED])
    raw = load_orientation_h5(tmp_path / "again" / "answer.h5")
    np.testing.assert_array_equal(raw.rotations, mine.answer.rotations)
    # What it leaves repeats it once more.
    left = yaml.safe_load((tmp_path / "again" / "recipe.yaml").read_text("utf-8"))
    assert left["edits"]["file"] == str((tmp_path / "again" / "edits.jsonl").resolve())

    record.write_text(record.read_text("utf-8") + "\n", "utf-8")
    assert command("run", path, "--out", tmp_path / "third") == 2
    assert "not what it was" in capsys.readouterr().err
    record.unlink()
    assert command("run", path, "--out", tmp_path / "third") == 2
    assert "not there" in capsys.readouterr().err


def test_a_session_is_exported_without_its_scan(
    scan: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine.diffmap"
    save_session(folder, record_of(scan, {}, load_phases(["Si"]), {}), corrected())
    (tmp_path / "scan.npy").unlink()
    words = ("--format", "ctf,ome-tiff,svg", "--caption", "Silicon, corrected")
    assert command("export", folder, "--out", tmp_path / "out", *words) == 0
    assert "Silicon, corrected" in (tmp_path / "out" / "ipf-z.svg").read_text("utf-8")
    assert "1 corrections by hand" not in capsys.readouterr().err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"orientation.ctf", "mine.ome.tif", "phases.ome.tif", "ipf-z.svg"} <= names
    from orix import io

    read = io.load(tmp_path / "out" / "orientation.ctf")
    assert read.size == 20
    assert command("export", folder, "--out", tmp_path / "no", "--format", "xls") == 2
    assert "xls" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
