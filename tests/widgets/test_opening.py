"""Every way into the workspace: files, questions, errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialogButtonBox

from napari_diffmap.widgets.dialogs import ChooseDatasetDialog, DialogAsker, ShapeDialog
from napari_diffmap.widgets.workbench import Workbench

Settle = Callable[[Workbench], None]


class Answers:
    """Answers every question at once with what it was given."""

    def __init__(self, dataset: str = "", options: dict[str, Any] | None = None) -> None:
        self.dataset, self.options = dataset, options or {}
        self.asked: list[str] = []

    def choose(self, line: str, candidates: Sequence[Any], answer: Callable[[str], None]) -> None:
        self.asked.append(line)
        answer(self.dataset)

    def shape(self, line: str, *, raw: bool, answer: Callable[[dict[str, Any]], None]) -> None:
        self.asked.append(f"raw {raw}")
        answer(self.options)


@pytest.fixture
def counts(make_scan: Callable[..., Any]) -> NDArray[Any]:
    return np.asarray(make_scan().data)


def test_a_file_is_shown_with_its_image(
    bench: Workbench, settle: Settle, tmp_path: Path, counts: NDArray[Any]
) -> None:
    path = tmp_path / "scan.npy"
    np.save(path, counts)
    busy: list[Any] = []
    bench.opening.busy.connect(busy.append)
    bench.opening.open(path)
    settle(bench)
    assert busy == [path, None]
    assert bench.session.scan is not None
    assert bench.session.scan.shape == counts.shape
    assert len(bench.desk.sample.images) == 1


def test_the_dataset_is_asked_for(
    bench: Workbench, settle: Settle, tmp_path: Path, counts: NDArray[Any]
) -> None:
    path = tmp_path / "two.h5"
    with h5py.File(path, "w") as file:
        file["first/data"] = counts
        file["second/data"] = counts[:, :, ::2, ::2]
    bench.opening.asker = asker = Answers(dataset="second/data")
    bench.opening.open(path)
    settle(bench)
    assert len(asker.asked) == 1
    assert bench.session.scan is not None
    assert bench.session.scan.shape == (9, 8, 16, 16)


def test_raw_bytes_are_asked_about(
    bench: Workbench, settle: Settle, tmp_path: Path, counts: NDArray[Any]
) -> None:
    path = tmp_path / "scan.raw"
    path.write_bytes(b"\0" * 100 + counts.tobytes())
    bench.opening.asker = asker = Answers(
        options={"shape": counts.shape, "dtype": "uint16", "offset": 100}
    )
    bench.opening.open(path)
    settle(bench)
    assert asker.asked == ["raw True"]
    assert bench.session.scan is not None
    assert np.array_equal(bench.session.scan.data.compute(), counts)


def test_the_scan_shape_can_be_changed(
    bench: Workbench, settle: Settle, tmp_path: Path, counts: NDArray[Any]
) -> None:
    path = tmp_path / "flat.npy"
    np.save(path, counts.reshape(72, 32, 32))
    bench.opening.open(path, kind="pattern stack")
    settle(bench)
    assert bench.session.grid == (1, 72)
    bench.opening.reopen(kind=None, scan_shape=(9, 8))
    settle(bench)
    assert bench.session.grid == (9, 8)


@pytest.mark.parametrize("name", ["gone.h5", "text.h5", "picture.png"])
def test_a_file_that_does_not_open_is_one_line(
    bench: Workbench, settle: Settle, tmp_path: Path, notes: list[tuple[str, str]], name: str
) -> None:
    if not name.startswith("gone"):
        (tmp_path / name).write_text("no scan", encoding="utf-8")
    bench.opening.open(tmp_path / name)
    settle(bench)
    errors = [message for severity, message in notes if severity == "error"]
    assert len(errors) == 1
    assert name in errors[0]
    assert "\n" not in errors[0]
    assert bench.session.scan is None


def test_a_failed_opening_keeps_the_old_scan(
    shown: Workbench, settle: Settle, tmp_path: Path, notes: list[tuple[str, str]]
) -> None:
    before = shown.session.scan
    shown.opening.open(tmp_path / "gone.h5")
    settle(shown)
    assert shown.session.scan is before
    assert shown.desk.sample.images


# ----------------------------------------------------------------- dialogs
def test_choosing_from_the_list(qtbot: Any) -> None:
    from napari_diffmap.scan.open import Candidate

    dialog = ChooseDatasetDialog(
        "two arrays",
        [Candidate("a", (2, 2, 8, 8), "uint8", "4D-STEM"), Candidate("b/c", (9, 9), "f4", "image")],
    )
    qtbot.addWidget(dialog)
    dialog.list.setCurrentRow(1)
    assert dialog.chosen == "b/c"
    assert "2 × 2 × 8 × 8" in dialog.list.item(0).text()  # type: ignore[union-attr]


@pytest.mark.parametrize("raw", [True, False])
def test_the_shape_dialog(qtbot: Any, raw: bool) -> None:
    dialog = ShapeDialog("give the shape", raw=raw)
    qtbot.addWidget(dialog)
    dialog.scan[0].setValue(9)
    dialog.scan[1].setValue(8)
    dialog.detector[0].setValue(32)
    dialog.detector[1].setValue(30)
    dialog.offset.setValue(100)
    dialog.dtype.setCurrentText("uint16")
    expected = (
        {"shape": (9, 8, 32, 30), "dtype": "uint16", "offset": 100}
        if raw
        else {"scan_shape": (9, 8)}
    )
    assert dialog.options() == expected


def test_asking_leaves_the_window_alive_and_cancel_asks_nothing_more(qtbot: Any) -> None:
    from qtpy.QtWidgets import QWidget

    parent = QWidget()
    qtbot.addWidget(parent)
    parent.show()
    asker, answers = DialogAsker(parent), []
    asker.shape("rows?", raw=False, answer=answers.append)
    assert asker.dialog is not None
    assert asker.dialog.isVisible()
    asker.dialog.reject()
    assert not answers
    asker.shape("rows?", raw=False, answer=answers.append)
    box = asker.dialog.findChild(QDialogButtonBox)
    qtbot.mouseClick(box.button(QDialogButtonBox.StandardButton.Open), Qt.MouseButton.LeftButton)
    assert answers == [{"scan_shape": (1, 1)}]
