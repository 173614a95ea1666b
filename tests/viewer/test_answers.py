from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from orix.quaternion import Orientation
from orix.vector import Miller, Vector3d

from napari_diffmap.crystal.phases import load_phase, load_phases
from napari_diffmap.maps import MapPhase, OrientationMap
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.answers import (
    PixelAnswers,
    describe,
    doubt_line,
    landscapes,
    matcher_of,
    measured_spots,
    unmatched,
)

PIXEL, CENTER = 0.02, (60.0, 66.0)


def one_pixel(rotation: np.ndarray, **changes: Any) -> OrientationMap:
    options: dict[str, Any] = {
        "rotations": rotation.reshape(1, 1, 1, 4).astype(np.float32),
        "scores": np.full((1, 1, 1), 0.9, dtype=np.float32),
        "phase_ids": np.zeros((1, 1, 1), dtype=np.int16),
        "reliability": np.full((1, 1), 0.83, dtype=np.float32),
        "ambiguity": np.ones((1, 1), dtype=np.uint8),
        "phases": load_phases(["Si"]),
    }
    return OrientationMap(**{**options, **changes})


def empty_scan() -> Scan:
    axes = (
        Axis("y", 1),
        Axis("x", 1),
        Axis("ky", 128, PIXEL, 0, "1/Å"),
        Axis("kx", 128, PIXEL, 0, "1/Å"),
    )
    calibration = Calibration(CENTER, PIXEL, 200.0, "entered", "file", "file")
    return Scan(da.zeros((1, 1, 128, 128)), axes, "4D-STEM", "empty", calibration=calibration)


def described(rotation: np.ndarray, scan: Scan | None = None, **options: Any) -> PixelAnswers:
    return describe(scan or empty_scan(), one_pixel(rotation), 0, 0, **options)


@pytest.mark.parametrize(
    "euler", [(0.0, 0.0, 0.0), (30.0, 54.7, 45.0), (211.0, 90.0, 12.5), (10.0, 5.0, 300.0)]
)
def test_angles_are_orixs(euler: tuple[float, float, float]) -> None:
    orientation = Orientation.from_euler(np.deg2rad(euler))
    (answer,) = described(orientation.data[0]).answers
    again = Orientation.from_euler(np.deg2rad(answer.euler))
    assert np.rad2deg(orientation.angle_with(again)[0]) == pytest.approx(0, abs=0.01)
    assert answer.phase == "Si"
    assert answer.score == pytest.approx(0.9)


@pytest.mark.parametrize("uvw", [(0, 0, 1), (1, 0, 1), (1, 1, 1), (1, 1, 2), (3, 1, 0)])
def test_the_zone_axis_is_the_crystal_direction_along_the_beam(uvw: tuple[int, ...]) -> None:
    phase = load_phase("Si")
    along = Miller(uvw=uvw, phase=phase.orix).unit
    # An orientation takes the laboratory's z to the crystal direction.
    orientation = Orientation.from_align_vectors(along, Vector3d.zvector())
    (answer,) = described(orientation.data[0]).answers
    found = np.array([int(i) for i in answer.zone.strip("[]").split()])
    assert answer.zone_off < 0.1
    assert np.array_equal(np.abs(found), np.abs(uvw))


def test_simulated_spots_lie_where_the_frame_says() -> None:
    """Silicon seen along [0 0 1]: (2 2 0) at 45° from the axes, at 1/1.92 Å."""
    pixel = described(np.array([1.0, 0, 0, 0]))
    assert pixel.simulated is not None
    found = dict(zip(pixel.hkl, pixel.simulated, strict=True))
    length = np.sqrt(8) / load_phase("Si").cell[0] / PIXEL
    # x right along columns, y down along rows: (kx, ky) is g for the identity.
    side = length / np.sqrt(2)
    assert found["2 2 0"] == pytest.approx((CENTER[0] + side, CENTER[1] + side), abs=1e-2)
    assert found["2 -2 0"] == pytest.approx((CENTER[0] - side, CENTER[1] + side), abs=1e-2)
    assert "2 0 0" not in found


def test_spots_stay_on_the_detector() -> None:
    scan = empty_scan()
    edge = scan.with_calibration(scan.calibration.with_center((40.0, 90.0), "entered"))
    pixel = described(np.array([1.0, 0, 0, 0]), edge)
    assert pixel.simulated is not None
    assert len(pixel.simulated) == len(pixel.hkl)
    assert pixel.simulated.min(initial=0) >= -0.5
    assert pixel.simulated.max(initial=0) <= 127.5


def test_no_calibration_is_said_and_angles_stay() -> None:
    scan = empty_scan().with_calibration(Calibration())
    pixel = described(np.array([1.0, 0, 0, 0]), scan)
    assert pixel.simulated is None
    assert "kV" in pixel.note
    assert pixel.answers[0].euler == pytest.approx((0, 0, 0), abs=1e-6)


def test_a_loaded_map_without_atoms_asks_for_its_phase() -> None:
    from napari_diffmap.maps.phases import MapPhase

    silicon = load_phase("Si")
    bare = MapPhase("Si", "#E69F00", silicon.orix)
    found = one_pixel(np.array([1.0, 0, 0, 0]), phases=(bare,))
    pixel = describe(empty_scan(), found, 0, 0)
    assert pixel.simulated is None
    assert "add Si" in pixel.note
    again = describe(empty_scan(), found, 0, 0, phases=(silicon,))
    assert again.simulated is not None
    assert not again.note


def test_a_map_of_a_network_that_is_gone_still_shows_its_spots() -> None:
    from napari_diffmap.maps import Provenance

    made = Provenance.collect(method="orientation/gone", parameters={"engine": "gone", "n_best": 2})
    found = one_pixel(np.array([1.0, 0, 0, 0]), provenance=made)
    pixel = describe(empty_scan(), found, 0, 0)
    assert pixel.simulated is not None
    assert not pixel.note
    # A recipe of this map still says what made it.
    matcher = matcher_of(found, load_phases(["Si"]))
    assert matcher is not None
    assert (matcher.parameters.engine, matcher.parameters.n_best) == ("gone", 2)


def test_nothing_mapped_is_said() -> None:
    rotation = np.array([1.0, 0, 0, 0])
    found = one_pixel(
        rotation,
        phase_ids=np.full((1, 1, 1), -1, dtype=np.int16),
        ambiguity=np.full((1, 1), 6, dtype=np.uint8),
        reliability=np.full((1, 1), np.nan, dtype=np.float32),
    )
    pixel = describe(empty_scan(), found, 0, 0)
    assert not pixel.answers
    assert "no data" in pixel.doubt
    assert "in doubt" not in pixel.doubt


def test_measured_spots_of_a_peak_list() -> None:
    from dataclasses import replace

    from napari_diffmap.scan.peaks import PeakTable

    peaks = PeakTable(
        (1, 1),
        np.array([0, 2]),
        np.array([0.1, -0.2], dtype=np.float32),
        np.array([0.0, 0.3], dtype=np.float32),
        np.ones(2, dtype=np.float32),
    )
    scan = replace(empty_scan(), peaks=peaks)
    found = measured_spots(scan, None, 0, 0)
    assert found is not None
    assert np.allclose(found, [[65, 66], [50, 81]], atol=1e-4)
    assert measured_spots(empty_scan(), None, 0, 0) is None


def test_measured_spots_are_those_the_matcher_found() -> None:
    from napari_diffmap.crystal.sample import build_truth, simulate_rows
    from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters

    counts = simulate_rows(build_truth(), slice(22, 24))[:, 20:24]
    y, x, ky, kx = counts.shape
    axes = (
        Axis("y", y, 4.0, 0, "nm"),
        Axis("x", x, 4.0, 0, "nm"),
        Axis("ky", ky, 0.0225, 0, "1/Å"),
        Axis("kx", kx, 0.0225, 0, "1/Å"),
    )
    calibration = Calibration((63.2, 64.1), 0.0225, 200.0, "file", "file", "file")
    scan = Scan(da.from_array(counts), axes, "4D-STEM", "rows", calibration=calibration)
    method = OrientationMethod(OrientationParameters(zone_step_deg=10), load_phases(["LiNiO2"]))
    method.prepare(scan)
    spots = measured_spots(scan, method, 1, 2)
    assert spots is not None
    assert len(spots) > 5
    # Rings are drawn around counts, not beside them; the faintest may be noise.
    smooth = counts[1, 2].astype(float)
    background = np.median(smooth)
    peak = [
        smooth[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3].max()
        for r, c in np.rint(spots).astype(int)
    ]
    assert np.mean(np.array(peak) > background + 3) > 0.7


def test_doubt_in_words() -> None:
    found = one_pixel(np.array([1.0, 0, 0, 0]))
    assert doubt_line(found, 0, 0) == "reliability 83 % · in doubt: twin or coincidence"
    settled = one_pixel(
        np.array([1.0, 0, 0, 0]),
        ambiguity=np.zeros((1, 1), dtype=np.uint8),
        reliability=np.full((1, 1), np.nan, dtype=np.float32),
    )
    assert doubt_line(settled, 0, 0) == ""


@pytest.mark.parametrize(
    ("crystals", "roles"),
    [
        (None, ["best answer", "competing answer", "competing answer"]),
        (1, ["best answer", "competing answer", "competing answer"]),
        (2, ["first crystal", "second crystal", "competing answer"]),
        (3, ["first crystal", "second crystal", "third crystal"]),
    ],
)
def test_each_answer_says_which_crystal_it_is(crystals: int | None, roles: list[str]) -> None:
    turns = np.deg2rad(np.array([0.0, 20, 40])) / 2
    rotations = np.stack((np.cos(turns), np.sin(turns), 0 * turns, 0 * turns), axis=1)
    extra = {} if crystals is None else {"crystals": np.full((1, 1), crystals, dtype=np.uint8)}
    found = one_pixel(
        rotations[0],
        rotations=rotations.reshape(1, 1, 3, 4).astype(np.float32),
        scores=np.float32([0.9, 0.8, 0.7]).reshape(1, 1, 3),
        phase_ids=np.zeros((1, 1, 3), dtype=np.int16),
        extra=extra,
    )
    assert [answer.role for answer in describe(empty_scan(), found, 0, 0).answers] == roles
    # Also where the phase's atoms are not known.
    bare = found.replaced(phases=tuple(MapPhase.from_orix(p.orix) for p in found.phases))
    assert [answer.role for answer in describe(empty_scan(), bare, 0, 0).answers] == roles


def test_a_choice_of_the_neighbours_is_said() -> None:
    found = one_pixel(np.array([1.0, 0, 0, 0]), extra={"resolved": np.ones((1, 1), dtype=bool)})
    assert "chosen by its neighbours" in doubt_line(found, 0, 0)
    none = one_pixel(np.array([1.0, 0, 0, 0]), extra={"resolved": np.zeros((1, 1), dtype=bool)})
    assert "neighbours" not in doubt_line(none, 0, 0)


def test_unmatched_spots_are_told_as_the_matcher_counts() -> None:
    points = np.array([[10.0, 10], [20, 20], [30, 30]])
    others = np.array([[10.0, 11.2], [20, 22], [90, 90]])
    # 0.03 1/Å are 1.5 pixels here, and never less than 1.3.
    assert unmatched(points, others, 0.02).tolist() == [False, True, True]
    assert unmatched(points, others, 0.2).tolist() == [False, True, True]
    assert unmatched(points, others, 0.01).tolist() == [False, False, True]
    assert unmatched(points, others[:0], 0.02).all()
    assert unmatched(points[:0], others, 0.02).shape == (0,)


def test_another_answer_is_shown_and_further_crystals_explain() -> None:
    turn = np.deg2rad(17) / 2
    rotations = np.array([[1.0, 0, 0, 0], [np.cos(turn), 0, 0, np.sin(turn)]])

    def found(crystals: int) -> OrientationMap:
        return one_pixel(
            rotations[0],
            rotations=rotations.reshape(1, 1, 2, 4).astype(np.float32),
            scores=np.float32([0.9, 0.8]).reshape(1, 1, 2),
            phase_ids=np.zeros((1, 1, 2), dtype=np.int16),
            extra={"crystals": np.full((1, 1), crystals, dtype=np.uint8)},
        )

    first, second = (describe(empty_scan(), found(1), 0, 0, shown=i) for i in (0, 1))
    assert first.simulated is not None
    assert second.simulated is not None
    assert unmatched(first.simulated, second.simulated, PIXEL).any()
    # What competes explains only what it predicts itself; a further crystal is there besides.
    assert unmatched(second.simulated, first.crystals, PIXEL).any()  # type: ignore[arg-type]
    both = describe(empty_scan(), found(2), 0, 0)
    for pixels in (first.simulated, second.simulated):
        assert not unmatched(pixels, both.crystals, PIXEL).any()  # type: ignore[arg-type]
    # Fewer answers than asked for: the last one.
    last = describe(empty_scan(), found(1), 0, 0, shown=7)
    np.testing.assert_array_equal(last.simulated, second.simulated)


def test_the_landscape_has_a_picture_a_phase() -> None:
    from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters

    phases = load_phases(["Si", "LiNiO2"])
    counts = np.random.default_rng(0).poisson(3.0, (1, 1, 128, 128)).astype(np.uint16)
    for y, x in ((60, 66), (40, 66), (80, 66), (60, 46), (60, 86)):
        counts[0, 0, y - 1 : y + 2, x - 1 : x + 2] += 400
    scan = empty_scan()
    scan = Scan(da.from_array(counts), scan.axes, "4D-STEM", "five", calibration=scan.calibration)
    method = OrientationMethod(OrientationParameters(zone_step_deg=6), phases)
    found = one_pixel(np.array([1.0, 0, 0, 0]), phases=phases)
    assert landscapes(scan, found, method, 0, 0) == (
        [],
        "map the scan here to see the scores of every zone axis",
    )
    method.prepare(scan)
    pictures, note = landscapes(scan, found, method, 0, 0, size_px=120)
    assert note == ""
    assert [title.partition(":")[0] for title, _ in pictures] == ["Si", "LiNiO2"]
    assert all(picture.shape == (120, 120, 4) for _, picture in pictures)
