"""A form made from a pydantic model: titles, units, bounds and tooltips come from its fields."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Collection, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_diffmap.errors import BadInputError

#: Least width of each box of a range, pixels.
_RANGE_WIDTH = 60


class RangeBox(QWidget):
    """Lowest and highest value side by side.

    Signals
    -------
    changed()
        One of them was changed.
    """

    changed = Signal()

    def __init__(self, low: QDoubleSpinBox, high: QDoubleSpinBox) -> None:
        super().__init__()
        self.low, self.high = low, high
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(2)
        for box in (low, QLabel("–"), high):
            row.addWidget(box, int(box is low or box is high))
        for box in (low, high):
            box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
            box.valueChanged.connect(lambda _v: self.changed.emit())

    def setToolTip(self, tip: str | None) -> None:
        """Say what it is over both boxes."""
        super().setToolTip(tip)
        self.low.setToolTip(f"Lowest. {tip}")
        self.high.setToolTip(f"Highest. {tip}")

    def value(self) -> tuple[float, float]:
        """Lowest and highest."""
        return self.low.value(), self.high.value()

    def setValue(self, value: Sequence[float]) -> None:
        """Show another range."""
        self.low.setValue(value[0])
        self.high.setValue(value[1])


class NumbersEdit(QLineEdit):
    """A few numbers in a line, parted by blanks, commas or semicolons; empty: None."""

    def __init__(self, empty: str) -> None:
        super().__init__()
        self.setPlaceholderText(empty)

    def value(self) -> tuple[float | str, ...] | None:
        """The numbers; a word that is none stays a word, for the model to complain about."""
        words = [word for word in re.split(r"[\s,;]+", self.text()) if word]
        found: list[float | str] = []
        for word in words:
            try:
                found.append(float(word))
            except ValueError:
                found.append(word)
        return tuple(found) or None

    def setValue(self, value: Sequence[float] | None) -> None:
        """Show other numbers."""
        self.setText("" if value is None else " ".join(f"{number:.10g}" for number in value))
        self.setCursorPosition(0)


class ParameterForm(QWidget):
    """Controls for the fields of a parameter model.

    Parameters
    ----------
    model
        The model class; a field's title is the label, its description the
        tooltip, ``json_schema_extra["unit"]`` the suffix; ``"advanced"`` folds it.
    skip
        Fields that another dock asks for.
    columns
        Fields side by side.

    Signals
    -------
    changed()
        A value was changed.
    """

    changed = Signal()

    def __init__(
        self, model: type[BaseModel], *, skip: Collection[str] = (), columns: int = 2
    ) -> None:
        super().__init__()
        self.model = model
        self.controls: dict[str, QWidget] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        shown = {n: f for n, f in model.model_fields.items() if n not in skip}
        basic = {n: f for n, f in shown.items() if not _extra(f).get("advanced")}
        advanced = {n: f for n, f in shown.items() if n not in basic}
        layout.addWidget(self._grid(basic, columns))
        self.more = QToolButton()
        self.folded = self._grid(advanced, columns)
        if advanced:
            self.more.setText("▸ More settings")
            self.more.setCheckable(True)
            self.more.setToolTip("Settings that rarely need a change")
            self.more.toggled.connect(self._fold)
            layout.addWidget(self.more)
            layout.addWidget(self.folded)
        self.folded.hide()

    def _fold(self, opened: bool) -> None:
        self.folded.setVisible(opened)
        self.more.setText("▾ More settings" if opened else "▸ More settings")

    def _grid(self, fields: dict[str, FieldInfo], columns: int) -> QWidget:
        widget = QWidget()
        grid = QGridLayout(widget)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        rows = math.ceil(len(fields) / columns)
        for i, (name, field) in enumerate(fields.items()):
            column, row = divmod(i, max(rows, 1))
            control = _control(field)
            tip = f"{field.description or ''}\nName in recipes and on the command line: {name}"
            label = QLabel(field.title or name)
            label.setToolTip(tip)
            control.setToolTip(tip)
            self.controls[name] = control
            self._listen(control)
            grid.addWidget(label, row, 2 * column)
            grid.addWidget(control, row, 2 * column + 1)
        return widget

    def _listen(self, control: QWidget) -> None:
        if isinstance(control, QCheckBox):
            control.toggled.connect(lambda _on: self.changed.emit())
        elif isinstance(control, QComboBox):
            control.currentIndexChanged.connect(lambda _i: self.changed.emit())
        elif isinstance(control, QSpinBox | QDoubleSpinBox):
            control.valueChanged.connect(lambda _v: self.changed.emit())
        elif isinstance(control, RangeBox):
            control.changed.connect(self.changed.emit)
        elif isinstance(control, NumbersEdit):
            control.editingFinished.connect(self.changed.emit)

    def values(self) -> dict[str, Any]:
        """Values of the controls by field name; None where a box says *auto*."""
        return {name: _value(control) for name, control in self.controls.items()}

    def parameters(self, **more: Any) -> BaseModel:
        """The validated model.

        Raises
        ------
        BadInputError
            With the first complaint in one line.
        """
        try:
            return self.model(**self.values(), **more)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            words = str(first["msg"]).removeprefix("Value error, ")
            raise BadInputError(f"{where}: {words}" if where else words) from error

    def set_values(self, values: dict[str, Any]) -> None:
        """Put values into the controls (a recipe, a test)."""
        for name, value in values.items():
            control = self.controls.get(name)
            if isinstance(control, QCheckBox):
                control.setChecked(bool(value))
            elif isinstance(control, QComboBox):
                control.setCurrentText(str(value))
            elif isinstance(control, QSpinBox | QDoubleSpinBox):
                control.setValue(control.minimum() if value is None else value)
            elif isinstance(control, RangeBox | NumbersEdit):
                control.setValue(value)


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def _suffix(field: FieldInfo) -> str:
    unit = _extra(field).get("unit", "")
    return {"degree": "°", "pixel": " px"}.get(unit, f" {unit}" if unit else "")


def _bounds(metadata: Sequence[Any]) -> tuple[float, float, bool]:
    """Lowest, highest, and whether the lowest itself is excluded."""
    low, high, open_low = -1e9, 1e9, False
    for item in metadata:
        for name in ("ge", "gt"):
            if getattr(item, name, None) is not None:
                low, open_low = float(getattr(item, name)), name == "gt"
        for name in ("le", "lt"):
            if getattr(item, name, None) is not None:
                high = float(getattr(item, name))
    return low, high, open_low


def _control(field: FieldInfo) -> QWidget:
    kind, optional = _unwrapped(field.annotation)
    default = field.get_default()
    if kind is bool:
        box = QCheckBox()
        box.setChecked(bool(default))
        return box
    if get_origin(kind) is Literal:
        combo = QComboBox()
        combo.addItems([str(choice) for choice in get_args(kind)])
        combo.setCurrentText(str(default))
        return combo
    if get_origin(kind) is tuple and (optional or get_args(kind)[-1] is Ellipsis):
        return NumbersEdit(_empty(field))
    if get_origin(kind) is tuple and len(get_args(kind)) == 2:
        return _range(field, kind, default)
    if kind not in (int, float):
        raise TypeError(f"no control for a field of type {field.annotation}")
    low, high, open_low = _bounds(field.metadata)
    suffix = _suffix(field)
    spin: QSpinBox | QDoubleSpinBox
    if kind is int:
        spin = QSpinBox()
        least = int(low) - 1 if optional else int(low)
        spin.setRange(max(least, -(2**31)), min(int(high), 2**31 - 1))
        spin.setValue(least if default is None else int(default))
        if optional:
            spin.setSpecialValueText("auto")
    else:
        spin = QDoubleSpinBox()
        spin.setDecimals(_decimals(default, low))
        step = 10.0 ** -min(spin.decimals(), 2)
        spin.setSingleStep(step)
        floor = low
        if optional:
            # The lowest value of the box stands for None.
            floor = low - step if not open_low else low
            spin.setSpecialValueText("auto")
        elif open_low:
            floor = low + 10.0 ** -spin.decimals()
        spin.setRange(floor, high)
        spin.setValue(floor if default is None else float(default))
    spin.setSuffix(suffix)
    spin.setKeyboardTracking(False)
    spin.setProperty("optional", optional)
    return spin


def _empty(field: FieldInfo) -> str:
    """What no number means, out of the description: ``… empty: all.`` says all."""
    match = re.search(r"[Ee]mpty: ([^.]*)", field.description or "")
    return match[1] if match else "none"


def _range(field: FieldInfo, kind: Any, default: tuple[float, float]) -> RangeBox:
    """Boxes of a range; each element of its type may have bounds."""
    decimals = max(_decimals(value, -1e9) for value in default)
    boxes = []
    for element, value in zip(get_args(kind), default, strict=True):
        low, high, open_low = _bounds(getattr(element, "__metadata__", ()))
        box = QDoubleSpinBox()
        box.setDecimals(decimals)
        box.setRange(low + 10.0**-decimals if open_low else low, high)
        box.setValue(value)
        box.setKeyboardTracking(False)
        # Its own hint is as wide as its largest number could be.
        box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        box.setStyleSheet(f"min-width: {_RANGE_WIDTH}px; padding: 1px 5px;")
        boxes.append(box)
    boxes[1].setSuffix(_suffix(field))
    return RangeBox(*boxes)


def _decimals(default: Any, low: float) -> int:
    """Enough digits for the default and for the smallest value allowed."""
    values = (default, low if abs(low) < 1e8 else None)
    digits = (f"{float(v):.6f}".rstrip("0").split(".")[1] for v in values if v)
    return max(2, *(len(text) for text in digits), 0)


def _unwrapped(annotation: Any) -> tuple[Any, bool]:
    """The type without None, and whether None was among its choices."""
    if get_origin(annotation) in (Union, types.UnionType):
        rest = [a for a in get_args(annotation) if a is not type(None)]
        if len(rest) == 1:
            return rest[0], True
    return annotation, False


def _value(control: QWidget) -> Any:
    if isinstance(control, QCheckBox):
        return control.isChecked()
    if isinstance(control, QComboBox):
        return control.currentText()
    if isinstance(control, RangeBox | NumbersEdit):
        return control.value()
    assert isinstance(control, QSpinBox | QDoubleSpinBox)
    if control.property("optional") and control.value() <= control.minimum():
        return None
    return control.value()
