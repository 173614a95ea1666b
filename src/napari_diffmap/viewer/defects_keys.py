"""Keys that correct defects: the same as of other maps where the meaning is the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from napari_diffmap.viewer import keys
from napari_diffmap.viewer.defects import Defects


def correcting_acts(defects: Defects) -> Mapping[str, Callable[[], object]]:
    """What the keys of corrections do to defects."""
    acts: dict[str, Callable[[], object]] = {
        keys.NEXT_KEY: defects.queue.next,
        keys.BACK_KEY: defects.queue.back,
        keys.INVALID_KEY: defects.discard,
        keys.UNKNOWN_KEY: partial(defects.discard, unknown=True),
        keys.UNDO_KEY: defects.undo,
        keys.REDO_KEY: defects.redo,
    }
    for rank, key in enumerate(keys.ACCEPT_KEYS):
        acts[key] = partial(defects.accept, rank)
    return acts


def take_keys(defects: Defects) -> Callable[[str], bool]:
    """What takes a key of corrections where the scan is an image; see `Doubting.elsewhere`."""
    acts = correcting_acts(defects)

    def pressed(key: str) -> bool:
        if not defects.active:
            return False
        act = acts.get(key)
        if act is not None and defects.map is not None:
            defects.try_to(act)
        return True

    return pressed


def own_bindings(defects: Defects) -> Mapping[str, Callable[[Any], None]]:
    """Keys that other maps do not have: add, next class, class of a number."""
    acts: dict[str, tuple[Callable[[], object], str]] = {
        keys.ADD_KEY: (defects.add, "Add a defect at the position"),
        keys.CLASS_KEY: (defects.next_class, "Give the selected defect the next class"),
    }
    for number, key in enumerate(keys.CLASS_KEYS):
        acts[key] = (partial(_give, defects, number), f"Give class {number + 1} of the list")

    def bound(act: Callable[[], object], what: str) -> Callable[[Any], None]:
        def pressed(_target: Any) -> None:
            if defects.map is not None:
                defects.try_to(act)

        pressed.__doc__ = what
        return pressed

    return {key: bound(*pair) for key, pair in acts.items()}


def _give(defects: Defects, number: int) -> None:
    classes = defects.shown_classes()
    if number < len(classes):
        defects.set_class(classes[number])
