from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.quaternion import Orientation
from orix.vector import Miller, Vector3d

from napari_diffmap.crystal.phases import load_phase, load_phases
from napari_diffmap.maps import OrientationMap
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.answers import (
    answers_at,
    doubt_line,
    measured_spots,
    nearest_zone,
    simulated_spots,
    with_structure,
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


@pytest.mark.parametrize(
    "euler", [(0.0, 0.0, 0.0), (30.0, 54.7, 45.0), (211.0, 90.0, 12.5), (10.0, 5.0, 300.0)]
)
def test_angles_are_orixs(euler: tuple[float, float, float]) -> None:
    orientation = Orientation.from_euler(np.deg2rad(euler))
    (answer,) = answers_at(one_pixel(orientation.data[0]), 0, 0)
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
    (answer,) = answers_at(one_pixel(orientation.data[0]), 0, 0)
    found = np.array([int(i) for i in answer.zone.strip("[]").split()])
    assert answer.zone_off < 0.1
    assert np.array_equal(np.abs(found), np.abs(uvw))


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000))
def test_the_named_zone_is_as_far_off_as_it_says(seed: int) -> None:
    phase = load_phase("LiNiO2")
    beam = np.random.default_rng(seed).normal(size=3)
    text, off = nearest_zone(beam, phase.base)
    direction = np.array([int(i) for i in text.strip("[]").split()]) @ phase.base
    cosine = abs(direction @ beam) / np.linalg.norm(direction) / np.linalg.norm(beam)
    assert np.rad2deg(np.arccos(min(cosine, 1))) == pytest.approx(off, abs=1e-3)
    assert off < 12


def test_simulated_spots_lie_where_the_frame_says() -> None:
    """Silicon seen along [0 0 1]: (2 2 0) at 45° from the axes, at 1/1.92 Å."""
    phase = load_phase("Si")
    pixels, labels = simulated_spots(empty_scan(), phase, np.array([1.0, 0, 0, 0]), CENTER)
    found = dict(zip(labels, pixels, strict=True))
    length = np.sqrt(8) / phase.cell[0] / PIXEL
    # x right along columns, y down along rows: (kx, ky) is g for the identity.
    side = length / np.sqrt(2)
    assert found["2 2 0"] == pytest.approx((CENTER[0] + side, CENTER[1] + side), abs=1e-3)
    assert found["2 -2 0"] == pytest.approx((CENTER[0] - side, CENTER[1] + side), abs=1e-3)
    assert "2 0 0" not in found


def test_spots_turn_with_the_crystal() -> None:
    phase = load_phase("Si")
    start, _ = simulated_spots(empty_scan(), phase, np.array([1.0, 0, 0, 0]), CENTER)
    quarter = Orientation.from_axes_angles([0, 0, 1], np.pi / 2).data[0]
    turned, _ = simulated_spots(empty_scan(), phase, quarter, CENTER)
    away = start - CENTER
    # The pattern has a four-fold axis, so a quarter turn brings it to itself.
    assert np.allclose(
        np.sort(np.hypot(*away.T)), np.sort(np.hypot(*(turned - CENTER).T)), atol=1e-3
    )


def test_no_calibration_no_spots() -> None:
    scan = empty_scan().with_calibration(Calibration())
    pixels, labels = simulated_spots(scan, load_phase("Si"), np.array([1.0, 0, 0, 0]), CENTER)
    assert not len(pixels)
    assert not labels


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
    # Every ring is drawn around a local maximum of the measured counts.
    smooth = counts[1, 2].astype(float)
    background = np.median(smooth)
    peak = [
        smooth[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3].max()
        for r, c in np.rint(spots).astype(int)
    ]
    assert np.min(peak) > background + 2


def test_doubt_in_words() -> None:
    found = one_pixel(np.array([1.0, 0, 0, 0]))
    assert doubt_line(found, 0, 0) == "reliability 83 % · in doubt: twin or coincidence"
    settled = one_pixel(
        np.array([1.0, 0, 0, 0]),
        ambiguity=np.zeros((1, 1), dtype=np.uint8),
        reliability=np.full((1, 1), np.nan, dtype=np.float32),
    )
    assert doubt_line(settled, 0, 0) == ""


def test_a_loaded_map_borrows_the_structure_by_name() -> None:
    silicon = load_phase("Si")

    class Bare:
        name = "Si"

    assert with_structure(silicon, ()) is silicon
    assert with_structure(Bare(), (silicon,)) is silicon
    assert with_structure(Bare(), ()) is None
