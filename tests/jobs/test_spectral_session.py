"""Sessions, unsaved corrections and folders of results of phase maps of spectra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.autosave import Autosave, restored, unsaved
from napari_diffmap.jobs.comparison import map_of
from napari_diffmap.jobs.corrected import export_corrected, write_corrected
from napari_diffmap.jobs.session_file import load_session, record_of, save_session
from napari_diffmap.jobs.spectral_results import export_spectral
from napari_diffmap.maps import SpectralMap
from napari_diffmap.maps.edits.corrections import Corrections, LabelMap
from napari_diffmap.maps.edits.edit import EDITED, EditKind
from napari_diffmap.maps.files.own_h5 import load_map_h5
from napari_diffmap.scan.open import open_scan
from napari_diffmap.scan.scan import Scan


@pytest.fixture
def stack(tmp_path: Path) -> Scan:
    counts = np.random.default_rng(0).poisson(50, (6, 12, 15)).astype(np.uint16)
    np.save(tmp_path / "stack.npy", counts)
    return open_scan(tmp_path / "stack.npy", kind="STXM")


@pytest.fixture
def corrected(make_spectral: Any) -> Corrections:
    mine = Corrections(make_spectral())
    values = {"phase_ids": np.full(4, 2, np.int16), "scores": np.full(4, 0.7, np.float32)}
    mine.edit(EditKind.PHASE, np.array([32, 33, 34, 40]), values, note="disk")
    mine.edit(EditKind.INVALID, np.array([50, 51]))
    mine.edit(EditKind.UNKNOWN, np.array([60]))
    mine.undo()
    mine.add_labels(LabelMap("marks", np.eye(12, 15, dtype=np.int32), {1: "line"}))
    return mine


def assert_same(a: Any, b: Any) -> None:
    assert isinstance(a, SpectralMap)
    for name in (*SpectralMap.arrays, *SpectralMap.measured):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_a_session_comes_back_with_its_corrections(
    stack: Scan, corrected: Corrections, tmp_path: Path
) -> None:
    folder = tmp_path / "particle.diffmap"
    record = record_of(stack, {"kind": "STXM"}, (), {"position": [3, 4]})
    save_session(folder, record, corrected)
    saved = load_session(folder)
    assert saved.warnings == ()
    again = saved.corrections
    assert again is not None
    assert_same(again.answer, corrected.answer)
    assert_same(again.map, corrected.map)
    np.testing.assert_array_equal(again.map.extra[EDITED], corrected.map.extra[EDITED])
    assert [edit.note for edit in again.done] == ["disk", ""]
    assert len(again.undone) == 1
    assert again.labels["marks"].names == {1: "line"}
    assert [phase.composition for phase in again.map.phases] == [1.0, 2.0, 3.0]  # type: ignore[attr-defined]
    with pytest.raises(BadInputError, match="needs orientations"):
        map_of(folder)


def test_unsaved_corrections_are_found_again(
    stack: Scan, make_spectral: Any, tmp_path: Path
) -> None:
    mine = Corrections(make_spectral())
    autosave = Autosave(mine, lambda: record_of(stack, {"kind": "STXM"}, (), {}))
    mine.edit(EditKind.INVALID, np.arange(40, 70))
    autosave.keep_answer()
    autosave.end(keep=True)
    assert stack.source is not None
    waiting = unsaved(Path(stack.source))
    assert len(waiting) == 1
    again = restored(waiting[0]).corrections
    assert again is not None
    assert_same(again.map, mine.map)


def test_a_folder_holds_what_was_corrected(corrected: Corrections, tmp_path: Path) -> None:
    written = write_corrected(corrected, tmp_path, formats=("h5", "tiff", "png", "ome-tiff", "ang"))
    names = {path.name for path in written}
    assert {"phases.h5", "answer.h5", "edits.jsonl", "phases.tif", "edited.png"} <= names
    assert {"marks.ome.tif", "phases.ome.tif", "doubt.ome.tif", "edited.ome.tif"} <= names
    assert not any(name.endswith(".ang") for name in names)
    assert_same(load_map_h5(tmp_path / "phases.h5"), corrected.map)
    assert_same(load_map_h5(tmp_path / "answer.h5"), corrected.answer)


def test_formats_of_orientations_alone_are_refused(
    corrected: Corrections, make_spectral: Any, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match="no orientations: choose from h5, tiff"):
        export_corrected(corrected, tmp_path, formats=("ang", "html"))
    with pytest.raises(BadInputError, match="no format 'gif'"):
        export_spectral(make_spectral(), tmp_path, formats=("gif",))
    assert list(tmp_path.iterdir()) == []
