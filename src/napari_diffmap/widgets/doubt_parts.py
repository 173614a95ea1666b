"""What is the same where maps are doubted and where defects are: causes, scopes, answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QPushButton

from napari_diffmap.maps.ambiguity import NO_DATA, NO_DOUBT, AmbiguityCause
from napari_diffmap.widgets.parts import tool_button

_TIP = Qt.ItemDataRole.ToolTipRole


def fill_causes(box: QComboBox, causes: Sequence[AmbiguityCause]) -> None:
    """Offer the causes of doubt, each with its code; None is any cause."""
    box.blockSignals(True)
    box.clear()
    box.addItem("any cause", None)
    for cause in causes:
        if cause.code not in (NO_DOUBT, NO_DATA):
            box.addItem(cause.name, int(cause.code))
            box.setItemData(box.count() - 1, cause.description, _TIP)
    box.blockSignals(False)


def scope_box(names: Sequence[str], tips: Mapping[str, str]) -> QComboBox:
    """A choice of what the next correction is for."""
    box = QComboBox()
    for i, name in enumerate(names):
        box.addItem(name)
        box.setItemData(i, tips[name], _TIP)
    box.setToolTip(
        "What the next correction is for:\n"
        + "\n".join(f"{name}: {tip}" for name, tip in tips.items())
    )
    return box


def answer_buttons(
    count: int, width: int, accept: Callable[[int], Callable[..., None]]
) -> list[QPushButton]:
    """Buttons that accept the best answers.

    Parameters
    ----------
    count
        How many answers have one.
    width
        Least width of each, pixels.
    accept
        Slot of the button of a rank, from 0.
    """
    buttons = []
    for rank in range(count):
        button = tool_button(str(rank + 1), f"Accept answer {rank + 1} (key {rank + 1})")
        button.setMinimumWidth(width)
        button.clicked.connect(accept(rank))
        buttons.append(button)
    return buttons


def tell_answer(button: QPushButton, rank: int, answer: str) -> None:
    """Say in the tip of a button which answer it accepts."""
    what = "Confirm the first answer" if rank == 0 else f"Accept answer {rank + 1}"
    button.setToolTip(f"{what} (key {rank + 1}): {answer}")
