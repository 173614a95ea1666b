"""Proposing, showing, applying and removing a calibration, without a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.methods.calibration.measure import shells_of
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.calibrating import Calibrating, rings
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.viewer.ring_layers import RingLayers
from napari_diffmap.viewer.runner import ImmediateRunner, Token
from napari_diffmap.viewer.session import Session

TRUE = Calibration((46.0, 49.5), 0.024, 200.0, ellipse=(1.03, 30.0))
STATED = Calibration(None, 0.035, 200.0, "missing", "file", "file")


def spotty(side: int = 8, size: int = 96) -> Scan:
    """Random spots on the rings of gold, seen through an ellipse."""
    rng = np.random.default_rng(1)
    shells = shells_of(load_phase("Au"), 1.0)
    y, x = np.mgrid[:size, :size]
    back = np.linalg.inv(TRUE.undistortion).T
    frames = np.empty((side * side, size, size), np.uint16)
    for frame in frames:
        q = rng.choice(shells.lengths, 10, p=shells.weight / shells.weight.sum())
        turn = rng.uniform(0, 2 * np.pi, 10)
        place = q[:, None] / 0.024 * np.stack((np.sin(turn), np.cos(turn)), axis=1) @ back
        image = 0.5 + 3000 * np.exp(-0.5 * ((y - 46.0) ** 2 + (x - 49.5) ** 2) / 4)
        for cy, cx in place + TRUE.center:
            image += 60 * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / 1.3)
        frame[:] = rng.poisson(image)
    axes = (Axis("y", side), Axis("x", side), Axis("ky", size), Axis("kx", size))
    data = da.from_array(frames.reshape(side, side, size, size))
    return Scan(data, axes, "4D-STEM", "spotty", calibration=STATED)


@pytest.fixture(scope="module")
def gold() -> Any:
    return load_phase("Au")


@pytest.fixture
def session() -> Session:
    session = Session()
    session.set_scan(spotty())
    return session


def test_a_fit_is_proposed_applied_and_removed(session: Session, gold: Any) -> None:
    fits, told = Calibrating(session, ImmediateRunner()), []
    fits.changed.connect(lambda: told.append((fits.running, fits.doing)))
    fits.fit(["center", "pixel-size", "ellipse"], phase=gold)
    assert (("center", "pixel-size", "ellipse"), "reading patterns") in told
    assert any(doing == "spots" for _, doing in told)
    assert fits.running == ()
    assert fits.can_apply
    assert session.calibration == STATED, "nothing is used before it is applied"
    assert len(fits.lines()) == 3
    assert "before: 0.035 1/Å" in fits.lines()[1]
    fits.apply()
    found = session.calibration
    assert found.pixel_size == pytest.approx(0.024, rel=0.003)
    assert found.center == pytest.approx(TRUE.center, abs=0.1)
    assert found.ellipse is not None
    assert found.ellipse[0] == pytest.approx(1.03, abs=0.005)
    assert "median" in found.residual("pixel_size")
    assert not fits.lines()
    fits.remove("pixel-size")
    assert (session.calibration.pixel_size, session.calibration.pixel_size_origin) == (
        0.035,
        "file",
    )
    fits.remove("pixel-size")
    assert session.calibration.pixel_size is None
    fits.remove("ellipse")
    fits.remove("center")
    fits.remove("voltage")
    assert session.calibration == Calibration()


def test_a_row_sets_its_own_value_alone(session: Session, gold: Any) -> None:
    fits = Calibrating(session, ImmediateRunner())
    fits.fit(["ellipse"], phase=gold)
    fits.apply()
    assert session.calibration.ellipse_origin == "measured"
    assert session.calibration.pixel_size == 0.035
    assert session.calibration.center is None


def test_a_refused_fit_cannot_be_applied(session: Session) -> None:
    fits = Calibrating(session, ImmediateRunner())
    fits.fit(["pixel-size"], phase=load_phase("Si"))
    assert not fits.can_apply
    assert "pixel size: " in fits.lines()[0]
    fits.apply()
    assert session.calibration == STATED


def test_what_is_missing_is_said(session: Session) -> None:
    fits = Calibrating(session, ImmediateRunner())
    with pytest.raises(BadInputError, match="known phase"):
        fits.fit(["pixel-size"])
    session.set_scan(None)
    with pytest.raises(BadInputError, match="open a scan"):
        fits.fit(["center"])


def test_an_error_is_one_line_and_ends_the_fit(session: Session) -> None:
    session.set_scan(Scan(da.zeros((3, 3, 16, 16)), tuple(
        Axis(n, s) for n, s in zip(("y", "x", "ky", "kx"), (3, 3, 16, 16), strict=True)
    ), "4D-STEM", "empty"))  # fmt: skip
    fits, said = Calibrating(session, ImmediateRunner()), []
    session.message.connect(said.append)
    fits.fit(["center"])
    assert fits.running == ()
    assert said
    assert "\n" not in said[0]


class Held:
    """A runner that runs when told."""

    def __init__(self) -> None:
        self.token = Token()
        self.asked: list[tuple[Any, Any, Any]] = []

    def latest(self, slot: str, work: Any, done: Any, *, failed: Any, partial: Any) -> None:
        self.token = Token(partial)
        self.asked.append((work, done, failed))

    def cancel(self, slot: str) -> None:
        self.token.cancel()

    def one_by_one(self, steps: Any) -> None:
        """Not asked here."""


@pytest.mark.parametrize("end", ["stop", "scan", "again"])
def test_a_stopped_fit_proposes_nothing(session: Session, end: str) -> None:
    held = Held()
    fits = Calibrating(session, held)
    fits.fit(["center"])
    work, done, _ = held.asked[0]
    found = work(Token())
    ends: dict[str, Callable[[], None]] = {
        "stop": fits.stop,
        "scan": lambda: session.set_scan(None),
        "again": lambda: fits.fit(["center"]),
    }
    ends[end]()
    done(found)  # too late
    assert fits.proposal is None
    assert bool(fits.running) is (end == "again")


def test_a_running_fit_stops_at_its_next_look(session: Session) -> None:
    held = Held()
    fits = Calibrating(session, held)
    fits.fit(["center"])
    token = Token()
    token.cancel()
    with pytest.raises(Exception, match="stopped"):
        held.asked[0][0](token)


def test_rings_lie_on_the_spots(session: Session, gold: Any) -> None:
    drawn = rings(gold, TRUE, (96, 96))
    assert drawn
    lengths = [np.linalg.norm((ring - TRUE.center) @ TRUE.undistortion.T, axis=1) for ring in drawn]
    for radius in lengths:
        np.testing.assert_allclose(radius, radius[0])
    nearest = np.abs(shells_of(gold, 1.3).lengths[:, None] / 0.024 - [r[0] for r in lengths])
    assert nearest.min(axis=0).max() < 0.1
    assert rings(gold, Calibration(), (96, 96)) == ()


def test_the_preview_is_drawn_and_taken_away(desk: Desk, gold: Any) -> None:
    desk.show_scan(spotty())
    fits, layers = Calibrating(desk.session, ImmediateRunner()), RingLayers(desk.pattern)
    fits.fit(["pixel-size"], phase=gold)
    preview = fits.preview()
    assert preview is not None
    assert preview.before
    assert preview.after
    before = list(desk.pattern.model.layers)
    layers.show(preview)
    names = {layer.name for layer in desk.pattern.model.layers} - {one.name for one in before}
    assert names == {"brightest of all patterns", "rings before the fit", "rings after the fit"}
    layers.show(None)
    assert list(desk.pattern.model.layers) == before
    fits.dismiss()
    assert fits.preview() is None


def test_no_impossible_value_reaches_the_session(session: Session) -> None:
    with pytest.raises(CalibrationError):
        session.set_calibration(session.calibration.with_ellipse((9.0, 0.0), "entered"))
