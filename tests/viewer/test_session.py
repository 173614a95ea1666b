from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps import OrientationMap, Provenance
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.detectors import Detector, Disk
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.reopen import calibration_of
from napari_diffmap.viewer.session import Session, per_viewer, unwrap


@pytest.fixture
def session(scan: Scan) -> Session:
    session = Session()
    session.set_scan(scan)
    return session


def test_starts_in_the_middle(session: Session) -> None:
    assert session.position == (6, 5)
    assert session.grid == (12, 10)


@pytest.mark.parametrize(
    ("asked", "got"), [((3, 4), (3, 4)), ((-5, 4), (0, 4)), ((99, 99), (11, 9))]
)
def test_positions_stay_on_the_scan(
    session: Session, asked: tuple[int, int], got: tuple[int, int]
) -> None:
    seen: list[tuple[int, int]] = []
    session.position_changed.connect(lambda y, x: seen.append((y, x)))
    session.set_position(*asked)
    assert session.position == got
    assert seen == [got]


def test_no_signal_for_the_same_position(session: Session) -> None:
    seen: list[tuple[int, int]] = []
    session.position_changed.connect(lambda y, x: seen.append((y, x)))
    session.set_position(*session.position)
    assert not seen


def test_choosing_a_position_ends_the_region(session: Session) -> None:
    mask = np.zeros(session.grid, dtype=bool)
    mask[2:4] = True
    session.set_region(mask)
    session.set_position(*session.position)
    assert session.region is None


def test_a_region_of_another_scan_is_refused(session: Session) -> None:
    with pytest.raises(BadInputError, match="does not fit"):
        session.set_region(np.ones((2, 2), dtype=bool))


def test_names_are_unique_and_keys_stay(session: Session) -> None:
    keys = session.add_detectors([Detector("BF", Disk(1, 1, 1)), Detector("BF", Disk(2, 2, 1))])
    assert [item.detector.name for item in session.detectors] == ["BF", "BF 2"]
    item = session.listed(keys[1])
    assert item is not None
    session.change_detector(keys[1], replace(item.detector, name="BF"))
    assert [item.detector.name for item in session.detectors] == ["BF", "BF 2"]
    session.remove_detector(keys[0])
    assert [item.key for item in session.detectors] == [keys[1]]


def test_moving_tells_the_image_renaming_does_not(session: Session) -> None:
    (key,) = session.add_detectors([Detector("BF", Disk(1, 1, 1))])
    moved: list[int] = []
    session.detector_moved.connect(moved.append)
    item = session.listed(key)
    assert item is not None
    session.change_detector(key, replace(item.detector, name="dark"))
    assert not moved
    session.change_detector(key, replace(item.detector, shape=Disk(2, 2, 1)))
    assert moved == [key]


def test_another_scan_forgets_the_old_one(session: Session, scan: Scan) -> None:
    session.add_detectors([Detector("BF", Disk(1, 1, 1))])
    session.set_region(np.ones(session.grid, dtype=bool))
    session.set_scan(replace(scan, name="next"))
    assert not session.detectors
    assert session.region is None
    assert session.map is None


def test_calibration_reaches_the_axes(session: Session) -> None:
    session.set_calibration(session.calibration.with_pixel_size(0.05, "entered"))
    assert session.patterns is not None
    assert session.patterns.axes[2].scale == 0.05
    assert session.calibration.pixel_size_origin == "entered"


def test_one_session_a_viewer() -> None:
    viewer, other = ViewerModel(), ViewerModel()
    made = per_viewer(viewer, lambda _: Session())
    assert per_viewer(viewer, lambda _: Session()) is made
    assert per_viewer(other, lambda _: Session()) is not made
    assert unwrap(viewer) is viewer


def a_map(rows: int, columns: int, used: dict[str, Any] | None = None) -> OrientationMap:
    return OrientationMap(
        rotations=np.tile([1.0, 0, 0, 0], (rows, columns, 1, 1)),
        scores=np.ones((rows, columns, 1)),
        phase_ids=np.zeros((rows, columns, 1)),
        reliability=np.ones((rows, columns)),
        ambiguity=np.zeros((rows, columns)),
        phases=load_phases(["Si"]),
        provenance=Provenance.collect(
            inputs=[], method="test", parameters={"used": used} if used else {}
        ),
    )


def test_a_map_of_another_scan_is_refused(session: Session) -> None:
    with pytest.raises(BadInputError, match=r"open the scan with scan shape 6,20"):
        session.set_map(a_map(6, 20))
    assert session.map is None
    session.set_map(a_map(*session.grid))
    assert session.map is not None


def test_a_map_brings_the_calibration_it_was_made_with() -> None:
    plane = [[20.0, 30.0], [0.1, 0.0], [0.0, -0.2]]
    used = {"voltage_kv": 120.0, "pixel_size": 0.02, "beam_plane": plane}
    opened = Calibration(None, 0.05, None, "missing", "file", "missing")
    found = calibration_of(a_map(5, 11, used), opened)
    # The beam in the middle of the scan, row 2, column 5.
    assert found.center == pytest.approx((20.2, 29.0))
    assert (found.pixel_size, found.pixel_size_origin) == (0.02, "entered")
    assert (found.voltage_kv, found.voltage_origin) == (120.0, "entered")
    assert calibration_of(a_map(5, 11), opened) == opened
    same = calibration_of(a_map(5, 11, {"pixel_size": 0.05}), opened)
    assert same.pixel_size_origin == "file"
