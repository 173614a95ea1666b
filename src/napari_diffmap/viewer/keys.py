"""Keys of the window, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from napari.utils.key_bindings import coerce_keybinding

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_diffmap.viewer.session import Session

#: In both canvases: step the position (rows, columns).
POSITION_KEYS: dict[str, tuple[int, int]] = {
    "Up": (-1, 0),
    "Down": (1, 0),
    "Left": (0, -1),
    "Right": (0, 1),
    "Shift-Up": (-10, 0),
    "Shift-Down": (10, 0),
    "Shift-Left": (0, -10),
    "Shift-Right": (0, 10),
}
#: On the pattern: move the detector in hand (rows, columns of the detector).
NUDGE_KEYS: dict[str, tuple[int, int]] = {
    "Control-Up": (-1, 0),
    "Control-Down": (1, 0),
    "Control-Left": (0, -1),
    "Control-Right": (0, 1),
}
#: On the pattern: drop a detector that is being drawn.
CANCEL_KEY = "Escape"

#: In the sample of an image series: the next frame, and the one before.
NEXT_FRAME_KEY, LAST_FRAME_KEY = "PageDown", "PageUp"

#: In both canvases, while a map is corrected.
NEXT_KEY, BACK_KEY = "N", "Shift-N"
INVALID_KEY, UNKNOWN_KEY, TURN_KEY, REFINE_KEY = "X", "U", "T", "R"
OFFER_KEY, REFUSE_KEY = "Y", "Shift-Y"
UNDO_KEY, REDO_KEY = "Control-Z", "Control-Shift-Z"
#: Accept the answer of that number.
ACCEPT_KEYS = tuple("123456789")

#: While defects are corrected: add one, give the next class, or the class of that number.
ADD_KEY, CLASS_KEY = "A", "C"
CLASS_KEYS = tuple(f"Alt-{number}" for number in "123456789")

#: What the keys do, for the help of the window: keys, where, what.
HELP: tuple[tuple[str, str, str], ...] = (
    ("Arrows", "both canvases", "step to the next position"),
    ("Shift + arrows", "both canvases", "step by ten positions"),
    ("Ctrl + arrows", "pattern", "move the detector in hand by one pixel"),
    ("Esc", "pattern", "drop the detector that is being drawn"),
    ("Shift + drag", "sample", "pan; the wheel zooms"),
    ("1 … 9", "both canvases", "accept that answer of the map; 1 confirms the first"),
    ("X", "both canvases", "mark invalid: the answer is wrong"),
    ("U", "both canvases", "mark unknown: nobody can tell"),
    ("T", "both canvases", "turn the crystal by 180° about the beam"),
    ("R", "both canvases", "refine the first answer again"),
    ("N, Shift + N", "both canvases", "next zone in doubt, and back"),
    ("Y, Shift + Y", "both canvases", "accept, or refuse, the same correction elsewhere"),
    ("Ctrl + Z, Ctrl + Shift + Z", "both canvases", "undo and redo a correction"),
    ("Page down, Page up", "sample", "next frame of a movie, and the one before"),
    ("A", "sample", "add a defect at the position"),
    ("C; Alt + 1 … 9", "sample", "give the selected defect the next class; the class so numbered"),
)


def help_text() -> str:
    """The table as lines of text."""
    return "\n".join(f"{keys} ({where}): {what}" for keys, where, what in HELP)


def bind_position_keys(session: Session, viewer: ViewerModel) -> None:
    """Arrow keys step the position, with Shift by ten."""
    for key, (dy, dx) in POSITION_KEYS.items():
        viewer.bind_key(key, _step(session, dy, dx), overwrite=True)


def bind_on_active(viewer: ViewerModel, bindings: Mapping[str, Callable[[Any], None]]) -> None:
    """Bind keys in a canvas, also where napari gives them to the active layer.

    A layer that is painted or drawn on keeps napari's keys: there they choose the tool.

    Parameters
    ----------
    viewer
        The canvas.
    bindings
        What each key does; called with the viewer or the layer.
    """
    for key, act in bindings.items():
        viewer.bind_key(key, act, overwrite=True)
    known: WeakSet[Any] = WeakSet()

    def fit(layer: Any) -> None:
        drawn = str(getattr(layer, "mode", "pan_zoom")) not in ("pan_zoom", "transform")
        for key, act in bindings.items():
            there = layer.keymap.get(coerce_keybinding(key))
            if drawn and there is act:
                layer.bind_key(key, None)
            elif not drawn and there is None:
                layer.bind_key(key, act)

    def on_active(*_: object) -> None:
        layer = viewer.layers.selection.active
        if layer is None:
            return
        if layer not in known:
            known.add(layer)
            if hasattr(layer.events, "mode"):
                layer.events.mode.connect(lambda event: fit(event.source))
        fit(layer)

    viewer.layers.selection.events.active.connect(on_active)
    on_active()


def _step(session: Session, dy: int, dx: int) -> Callable[[Any], None]:
    def step(_viewer: Any) -> None:
        session.move(dy, dx)

    step.__doc__ = f"Move the position by {dy} rows and {dx} columns"
    return step
