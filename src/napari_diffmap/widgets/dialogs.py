"""Questions to the user: where files are, and how they are to be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from napari_diffmap.scan.open import Candidate

#: What detectors write, most frequent first.
RAW_TYPES = ("uint8", "uint16", "uint32", "float32", "int16", "int32", "float64", ">u2", ">u4")


#: Gets the path that is chosen, or a list of them where several may be.
Then = Callable[..., object]


def folder_dialog(parent: QWidget, title: str, then: Then, folder: str = "") -> QFileDialog:
    """Ask for a folder; the window is alive meanwhile."""
    dialog = QFileDialog(parent, title, folder)
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    return _asked(dialog, dialog.fileSelected, then)


def file_dialog(
    parent: QWidget,
    title: str,
    then: Then,
    kinds: str = "",
    folder: str = "",
    *,
    several: bool = False,
) -> QFileDialog:
    """Ask for a file of some kinds, or for several at once."""
    dialog = QFileDialog(parent, title, folder, kinds)
    modes = QFileDialog.FileMode
    dialog.setFileMode(modes.ExistingFiles if several else modes.ExistingFile)
    return _asked(dialog, dialog.filesSelected if several else dialog.fileSelected, then)


def save_dialog(
    parent: QWidget, title: str, then: Then, kinds: str, *, suffix: str = "", name: str = ""
) -> QFileDialog:
    """Ask what to save to: `name` is proposed, and a name without a suffix gets `suffix`."""
    dialog = QFileDialog(parent, title, "", kinds)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(suffix)
    if name:
        dialog.selectFile(name)
    return _asked(dialog, dialog.fileSelected, then)


def _asked(dialog: QFileDialog, chosen: Any, then: Then) -> QFileDialog:
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    chosen.connect(then)
    dialog.open()
    return dialog


class ChooseDatasetDialog(QDialog):
    """A list of the arrays of a file; one is opened."""

    def __init__(
        self, line: str, candidates: Sequence[Candidate], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Choose a dataset")
        self.setMinimumWidth(520)
        layout = QVBoxLayout(self)
        text = QLabel(line)
        text.setWordWrap(True)
        layout.addWidget(text)
        self.list = QListWidget()
        self.list.setToolTip("Arrays of this file that can be a scan")
        for candidate in candidates:
            shape = " × ".join(str(n) for n in candidate.shape)
            item = QListWidgetItem(
                f"{candidate.path}    {shape}    {candidate.dtype}    {candidate.kind}"
            )
            item.setData(Qt.ItemDataRole.UserRole, candidate.path)
            self.list.addItem(item)
        self.list.setCurrentRow(0)
        self.list.itemDoubleClicked.connect(lambda _item: self.accept())
        layout.addWidget(self.list)
        layout.addWidget(_buttons(self))

    @property
    def chosen(self) -> str:
        """Path of the chosen array inside the file."""
        return str(self.list.currentItem().data(Qt.ItemDataRole.UserRole))


class ShapeDialog(QDialog):
    """Scan shape of a flat stack; for plain bytes also how they are to be read."""

    def __init__(self, line: str, *, raw: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.raw = raw
        self.setWindowTitle("Shape of the scan")
        self.setMinimumWidth(420)
        layout = QVBoxLayout(self)
        text = QLabel(line)
        text.setWordWrap(True)
        layout.addWidget(text)
        form = QFormLayout()
        layout.addLayout(form)
        self.scan = (_count("Scan positions down"), _count("Scan positions across"))
        form.addRow("Scan (rows × columns)", _pair(*self.scan))
        self.detector = (_count("Detector pixels down", 256), _count("Detector pixels across", 256))
        self.dtype = QComboBox()
        self.dtype.addItems(RAW_TYPES)
        self.dtype.setToolTip("How one detector pixel is stored")
        self.offset = QSpinBox()
        self.offset.setRange(0, 2**31 - 1)
        self.offset.setSuffix(" bytes")
        self.offset.setToolTip("Bytes of header before the first pattern")
        if raw:
            form.addRow("Pattern (rows × columns)", _pair(*self.detector))
            form.addRow("Stored as", self.dtype)
            form.addRow("Header", self.offset)
        self.growing = QCheckBox("Still being recorded")
        self.growing.setToolTip("Fewer frames may be there than positions; new ones are followed")
        form.addRow("", self.growing)
        layout.addWidget(_buttons(self))

    def options(self) -> dict[str, Any]:
        """The answers as keyword arguments of ``open_scan``."""
        scan = tuple(box.value() for box in self.scan)
        more = {"growing": True} if self.growing.isChecked() else {}
        if not self.raw:
            return {"scan_shape": scan, **more}
        return {
            **more,
            "shape": (*scan, *(box.value() for box in self.detector)),
            "dtype": self.dtype.currentText(),
            "offset": self.offset.value(),
        }


class DialogAsker:
    """Asks with dialogs that leave the window alive; `parent` keeps them on top of it."""

    def __init__(self, parent: QWidget) -> None:
        self._parent = parent
        self.dialog: QDialog | None = None

    def choose(
        self, line: str, candidates: Sequence[Candidate], answer: Callable[[str], None]
    ) -> None:
        """Which dataset of a file."""
        dialog = ChooseDatasetDialog(line, candidates, self._parent)
        dialog.accepted.connect(lambda: answer(dialog.chosen))
        self._open(dialog)

    def shape(self, line: str, *, raw: bool, answer: Callable[[dict[str, Any]], None]) -> None:
        """Scan shape and, for plain bytes, how to read them."""
        dialog = ShapeDialog(line, raw=raw, parent=self._parent)
        dialog.accepted.connect(lambda: answer(dialog.options()))
        self._open(dialog)

    def _open(self, dialog: QDialog) -> None:
        self.dialog = dialog
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.finished.connect(self._forget)
        dialog.open()

    def _forget(self, _result: int) -> None:
        self.dialog = None


def _buttons(dialog: QDialog) -> QDialogButtonBox:
    buttons = QDialogButtonBox(
        QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
    )
    buttons.accepted.connect(dialog.accept)
    buttons.rejected.connect(dialog.reject)
    return buttons


def _count(tip: str, value: int = 1) -> QSpinBox:
    box = QSpinBox()
    box.setRange(1, 100_000)
    box.setValue(value)
    box.setToolTip(tip)
    return box


def _pair(first: QWidget, second: QWidget) -> QWidget:
    widget = QWidget()
    row = QHBoxLayout(widget)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(first)
    row.addWidget(QLabel("×"))
    row.addWidget(second)
    row.addStretch()
    return widget
