"""Keys of the window, in one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

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

#: What the keys do, for the help of the window: keys, where, what.
HELP: tuple[tuple[str, str, str], ...] = (
    ("Arrows", "both canvases", "step to the next position"),
    ("Shift + arrows", "both canvases", "step by ten positions"),
    ("Ctrl + arrows", "pattern", "move the detector in hand by one pixel"),
    ("Esc", "pattern", "drop the detector that is being drawn"),
    ("Shift + drag", "sample", "pan; the wheel zooms"),
)


def help_text() -> str:
    """The table as lines of text."""
    return "\n".join(f"{keys} ({where}): {what}" for keys, where, what in HELP)


def bind_position_keys(session: Session, viewer: ViewerModel) -> None:
    """Arrow keys step the position, with Shift by ten."""
    for key, (dy, dx) in POSITION_KEYS.items():
        viewer.bind_key(key, _step(session, dy, dx), overwrite=True)


def _step(session: Session, dy: int, dx: int) -> Callable[[Any], None]:
    def step(_viewer: Any) -> None:
        session.move(dy, dx)

    step.__doc__ = f"Move the position by {dy} rows and {dx} columns"
    return step
