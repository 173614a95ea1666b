from __future__ import annotations

import pytest
from napari.components import ViewerModel

from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.keys import POSITION_KEYS


def test_a_click_chooses_the_position(desk: Desk, viewer: ViewerModel, mouse: type) -> None:
    # row 3 at 15 nm, column 7 at 28 nm
    mouse(viewer).click((15.9, 28.4))
    assert desk.session.position == (3, 7)


def test_a_drag_goes_through_positions_and_stays_on_the_scan(
    desk: Desk, viewer: ViewerModel, mouse: type
) -> None:
    seen: list[tuple[int, int]] = []
    desk.session.position_changed.connect(lambda y, x: seen.append((y, x)))
    held = [viewer.scene.camera.mouse_pan for _ in mouse(viewer).drag((5, 4), (10, 8), (900, -900))]
    assert seen == [(1, 1), (2, 2), (11, 0)]
    assert held == [False] * 3
    assert viewer.scene.camera.mouse_pan


def test_shift_and_the_outside_are_left_to_napari(
    desk: Desk, viewer: ViewerModel, mouse: type
) -> None:
    before = desk.session.position
    mouse(viewer).click((15, 28), modifiers=("Shift",))
    mouse(viewer).click((-50, -50))
    assert desk.session.position == before


def test_a_layer_that_is_drawn_on_has_the_mouse(
    desk: Desk, viewer: ViewerModel, mouse: type
) -> None:
    before = desk.session.position
    desk.sample.start_region("rectangle")
    for _ in mouse(viewer).drag((5, 4), (30, 28)):
        pass
    assert desk.session.position == before
    assert desk.session.region is not None


@pytest.mark.parametrize("key", POSITION_KEYS)
def test_keys_step(desk: Desk, viewer: ViewerModel, key: str) -> None:
    from napari.utils.key_bindings import KeymapHandler

    desk.session.set_position(5, 5)
    handler = KeymapHandler()
    handler.keymap_providers = [viewer]
    napari_key = key.replace("Shift-", "Shift+").split("+")
    handler.press_key("+".join([*napari_key[:-1], napari_key[-1]]).replace("+", "-"))
    dy, dx = POSITION_KEYS[key]
    rows, columns = desk.session.grid
    expected = (min(max(5 + dy, 0), rows - 1), min(max(5 + dx, 0), columns - 1))
    assert desk.session.position == expected
