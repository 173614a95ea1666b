"""Lines of the Doubt dock that come and go, and its buttons to save a session."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QHBoxLayout, QWidget

from napari_diffmap.viewer.correcting import Offer
from napari_diffmap.viewer.doubting import Doubting
from napari_diffmap.widgets.bridge import report, try_to
from napari_diffmap.widgets.dialogs import save_dialog
from napari_diffmap.widgets.parts import Links, one_line_label, tool_button

if TYPE_CHECKING:
    from napari_diffmap.widgets.workbench import Workbench


class OfferBar(QWidget):
    """Asks whether a correction holds in other pixels of the same kind; hidden without one.

    Parameters
    ----------
    doubting
        Who offers.
    """

    def __init__(self, doubting: Doubting) -> None:
        super().__init__()
        correcting = doubting.correcting
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.line = one_line_label("The same two answers compete in these pixels")
        self.take = tool_button("Accept there too", "Accept the same answer in these pixels (Y)")
        self.take.clicked.connect(lambda: doubting.try_to(correcting.accept_offer))
        self.refuse = tool_button("Leave", "Leave these pixels as they are (Shift + Y)")
        self.refuse.clicked.connect(lambda: correcting.refuse_offer())
        row.addWidget(self.line, 1)
        row.addWidget(self.take)
        row.addWidget(self.refuse)
        self.hide()
        self._links = Links(self, [(correcting.offered, self._on_offered)])

    def _on_offered(self, offer: Offer | None) -> None:
        self.setVisible(offer is not None)
        if offer is not None:
            count = len(offer.pixels)
            self.line.setText(f"The same two answers compete in {count} more pixels (marked)")


class UnsavedBar(QWidget):
    """Asks what is to become of corrections that a program left that ended; hidden without any.

    Parameters
    ----------
    bench
        Of the window.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.line = one_line_label("The program ended before they were saved")
        self.restore = tool_button("Restore", "Show the map with these corrections")
        self.restore.clicked.connect(lambda: bench.keeper.restore())
        self.drop = tool_button("Delete", "Delete these corrections for good")
        self.drop.clicked.connect(lambda: bench.keeper.drop())
        row.addWidget(self.line, 1)
        row.addWidget(self.restore)
        row.addWidget(self.drop)
        self.hide()
        self._links = Links(self, [(bench.keeper.found, self._on_found)])

    def _on_found(self, folder: Path | None) -> None:
        self.setVisible(folder is not None)
        if folder is not None:
            self.line.setText(f"Corrections of this scan were not saved ({folder.name})")


class SavingButtons(QWidget):
    """*Copy as recipe* and *Save session…*.

    Parameters
    ----------
    bench
        Of the window.
    """

    def __init__(self, bench: Workbench) -> None:
        super().__init__()
        self.keeper = bench.keeper
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        self.recipe = tool_button(
            "Copy as recipe",
            "Copy a recipe (YAML) that napari-diffmap run repeats without a window, corrections"
            " included; save the session first",
        )
        self.recipe.clicked.connect(self.copy_recipe)
        self.button = tool_button(
            "Save session…",
            "Save scan reference, calibration, phases, map, corrections and view to NAME.diffmap;"
            " open it again like a scan",
        )
        self.button.clicked.connect(self.ask_folder)
        row.addWidget(self.recipe)
        row.addWidget(self.button)

    def copy_recipe(self, *_: object) -> None:
        """Put the recipe on the clipboard, or say why there is none."""
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        if try_to(lambda: clipboard.setText(self.keeper.recipe_text())):
            report("the recipe is on the clipboard")

    def ask_folder(self, *_: object) -> None:
        """Choose where to save the session."""
        kinds = "Sessions (*.diffmap)"
        self.dialog = save_dialog(self, "Save the session", self.save, kinds)

    def save(self, folder: str | Path) -> None:
        """Save the session to a folder."""
        try_to(lambda: self.keeper.save(folder))
