"""What a user reads of an answer: angles against orix, zone axes and spots by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orix.quaternion import Orientation, Rotation
from orix.vector import Miller, Vector3d

from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import spots
from napari_diffmap.errors import CalibrationError, PhaseError
from napari_diffmap.maps import AMBIGUITY_TABLE, Ambiguity
from napari_diffmap.maps.quaternions import multiply
from napari_diffmap.methods.orientation import (
    OrientationMethod,
    OrientationParameters,
    describe_pixel,
    doubt,
)
from napari_diffmap.methods.orientation.describe import nearest_zone_axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

LINIO2 = OrientationParameters(phases=("LiNiO2",))


@pytest.fixture(scope="module")
def scan(bench: Any) -> Scan:
    q = bench.random_rotations(6, 3)
    images = bench.counted(bench.draw(load_phase("LiNiO2"), q, dose=20_000))
    return bench.as_scan(images.reshape(2, 3, *bench.shape))


def one(scan: Scan, q: Any, parameters: OrientationParameters = LINIO2, **more: Any) -> Any:
    (answer,) = describe_pixel(scan, parameters, q, [0], **more)
    return answer


# --------------------------------------------------------------- Euler angles


def euler_of(scan: Scan, q: Any) -> np.ndarray:
    return np.array(one(scan, q).euler_deg)


def test_euler_angles_are_orixs(bench: Any, scan: Scan) -> None:
    for q in bench.random_rotations(12, 5):
        theirs = np.rad2deg(Orientation(q).to_euler())[0]
        np.testing.assert_allclose(euler_of(scan, q), theirs, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(0, 359), st.sampled_from([0.0, 1e-7, 1e-3, 40.0, 179.999, 180.0]), st.floats(0, 359)
)
def test_euler_angles_lead_back(scan: Scan, first: float, tilt: float, second: float) -> None:
    """Also where only φ1 ± φ2 is defined."""
    q = Rotation.from_euler(np.deg2rad([first, tilt, second])).data[0]
    euler = euler_of(scan, q)
    back = Rotation.from_euler(np.deg2rad(euler)).data[0]
    assert abs(back @ q) > 1 - 1e-9
    assert 0 <= euler[0] < 360 + 1e-9
    assert 0 <= euler[1] <= 180 + 1e-9
    assert 0 <= euler[2] < 360 + 1e-9


def test_plain_turn_reads_plainly(scan: Scan) -> None:
    np.testing.assert_allclose(euler_of(scan, (1.0, 0, 0, 0)), (0, 0, 0), atol=1e-9)
    # A turn about z, then half a turn about the turned x: half a turn about what halves φ1.
    euler = euler_of(scan, (0.0, 0.6, 0.8, 0))
    np.testing.assert_allclose(euler, (2 * np.rad2deg(np.arctan2(0.8, 0.6)), 180, 0))


# ------------------------------------------------------------------ zone axis


@pytest.mark.parametrize("name", ["LiNiO2", "WS2", "Si"])
@pytest.mark.parametrize(
    "uvw", [(0, 0, 1), (1, 0, 0), (1, 1, 0), (0, -1, 2), (-1, 2, 3), (2, -1, -4), (0, 0, -1)]
)
def test_beam_along_a_lattice_direction_is_named(
    bench: Any, name: str, uvw: tuple[int, int, int]
) -> None:
    phase = load_phase(name)
    for q in bench.along(phase, uvw, [0.0, 1.1, 4.0]):
        zone, offset = nearest_zone_axis(phase, q)
        assert zone == uvw
        assert offset < 1e-4


def by_hand(phase: CrystalPhase, q: np.ndarray) -> list[tuple[float, tuple[int, ...]]]:
    """Angle of every direction to the beam with its indices, by orix."""
    beam = Rotation(q) * Vector3d.zvector()
    grid = [v for v in product(range(-6, 7), repeat=3) if any(v) and gcd(*v) == 1]
    directions = Miller(uvw=np.array(grid, dtype=float), phase=phase.orix)
    angles = np.rad2deg(np.asarray(Vector3d(directions.data).angle_with(beam)))
    return list(zip(angles.ravel().tolist(), grid, strict=True))


@pytest.mark.parametrize("name", ["LiNiO2", "WS2"])
def test_nearest_zone_axis_is_that_of_a_search_by_hand(bench: Any, name: str) -> None:
    """A simple direction wins by 0.7° for each step of its largest index."""
    phase = load_phase(name)
    for q in bench.random_rotations(6, 8):
        every = by_hand(phase, q)
        zone, offset = nearest_zone_axis(phase, q)
        best = min(angle + 0.7 * max(map(abs, v)) for angle, v in every)
        own = {v: angle for angle, v in every}[zone]
        assert own == pytest.approx(offset, abs=1e-3)
        assert own + 0.7 * max(map(abs, zone)) == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("tilt", [0.3, 1.0, 1.5])
def test_offset_is_the_tilt(bench: Any, tilt: float) -> None:
    phase = load_phase("LiNiO2")
    q = bench.along(phase, (0, 0, 1), [0.7])
    half = np.deg2rad(tilt) / 2
    about_x = np.array([[np.cos(half), np.sin(half), 0, 0]])
    zone, offset = nearest_zone_axis(phase, multiply(q, about_x)[0])
    assert zone == (0, 0, 1)
    assert offset == pytest.approx(tilt, abs=1e-6)


# ---------------------------------------------------------------------- spots


@pytest.mark.parametrize("precession", [0.0, 1.0])
def test_spots_are_the_simulators(bench: Any, scan: Scan, precession: float) -> None:
    parameters = LINIO2.model_copy(update={"precession_deg": precession, "q_max": 1.2})
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(1, 6)
    drawn = one(scan, q, parameters).spots
    found = reflections(phase, 1.2)
    simulated = spots(found, q, 200.0, parameters.sigma_excitation, precession_deg=precession)
    kx, ky, intensity = (getattr(simulated, name)[0].numpy() for name in ("kx", "ky", "intensity"))
    radius = np.hypot(kx, ky)
    inside = (radius >= 0.1) & (radius <= 1.2)
    seen = inside & (intensity > 0.02 * intensity[inside].max())
    assert len(drawn) == seen.sum() > 8
    row = {tuple(hkl): i for i, hkl in enumerate(found.hkl.tolist())}
    index = [row[tuple(hkl)] for hkl in drawn.hkl.tolist()]
    assert set(index) == set(np.flatnonzero(seen))
    np.testing.assert_allclose(drawn.ky, bench.center[0] + ky[index] / bench.pixel, atol=1e-3)
    np.testing.assert_allclose(drawn.kx, bench.center[1] + kx[index] / bench.pixel, atol=1e-3)
    np.testing.assert_allclose(
        drawn.intensity, intensity[index] / intensity[inside].max(), rtol=1e-4
    )
    assert drawn.intensity[0] == pytest.approx(1)
    assert (np.diff(drawn.intensity) <= 0).all()


def test_spots_lie_where_g_is_turned_to(bench: Any, scan: Scan) -> None:
    """(kx, ky) = (Oᵀ g)_{x,y}, with orix alone."""
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(1, 6)
    drawn = one(scan, q).spots
    g = Miller(hkl=drawn.hkl.astype(float), phase=phase.orix)
    k = ~Rotation(q) * Vector3d(g.data)
    np.testing.assert_allclose(drawn.kx, bench.center[1] + k.x / bench.pixel, atol=1e-2)
    np.testing.assert_allclose(drawn.ky, bench.center[0] + k.y / bench.pixel, atol=1e-2)


def test_measured_pattern_is_bright_where_spots_are_drawn(bench: Any, scan: Scan) -> None:
    images = scan.data.compute().reshape(6, *bench.shape).astype(float)
    for i, q in enumerate(bench.random_rotations(6, 3)):
        drawn = one(
            scan, q, OrientationParameters(phases=("LiNiO2",), sigma_excitation=0.012)
        ).spots
        rows, columns = np.rint(drawn.ky[:10]).astype(int), np.rint(drawn.kx[:10]).astype(int)
        assert np.median(images[i, rows, columns]) > 30 * np.median(images[i])
        # Not so with rows and columns exchanged.
        assert np.median(images[i, columns, rows]) < 10


def test_spots_follow_the_drifting_beam(bench: Any) -> None:
    """A prepared method knows where the beam is at each position."""
    q = np.repeat(bench.random_rotations(1, 3), 24, axis=0)
    images = bench.counted(bench.draw(load_phase("LiNiO2"), q)).reshape(4, 6, *bench.shape)
    for y, x in product(range(4), range(6)):
        images[y, x] = np.roll(images[y, x], (y, -x), axis=(0, 1))
    drifting = bench.as_scan(images)
    method = OrientationMethod(LINIO2)
    method.prepare(drifting)
    first, last = (
        describe_pixel(drifting, method, q[0], [0], position=position)[0].spots
        for position in ((0, 0), (3, 5))
    )
    shared = min(len(first), len(last))
    assert shared > 8
    np.testing.assert_allclose(last.ky[:shared] - first.ky[:shared], 3, atol=0.2)
    np.testing.assert_allclose(last.kx[:shared] - first.kx[:shared], -5, atol=0.2)


# -------------------------------------------------------------- which answers


def test_answers_come_in_order_without_those_that_are_none(bench: Any, scan: Scan) -> None:
    parameters = OrientationParameters(phases=("LiNiO2", "NiO"))
    q = bench.random_rotations(3, 9)
    found = describe_pixel(scan, parameters, q * 1.7, [1, -1, 0], [0.9, np.nan, 0.4])
    assert [a.phase.name for a in found] == ["NiO", "LiNiO2"]
    assert [a.phase_id for a in found] == [1, 0]
    assert [a.score for a in found] == pytest.approx([0.9, 0.4])
    np.testing.assert_allclose(found[1].rotation, q[2])
    assert describe_pixel(scan, parameters, q, [-1, -1, -1]) == ()
    assert np.isnan(one(scan, q[0]).score)


def test_centre_that_nobody_gave_is_measured(bench: Any, scan: Scan) -> None:
    q = bench.random_rotations(1, 6)
    bare = scan.with_calibration(replace(scan.calibration, center=None))
    given_, measured = one(scan, q).spots, one(bare, q).spots
    shared = min(len(given_), len(measured))
    np.testing.assert_allclose(measured.ky[:shared], given_.ky[:shared], atol=0.3)
    entered = LINIO2.model_copy(update={"center": (60.0, 70.0)})
    moved = one(scan, q, entered).spots
    np.testing.assert_allclose(moved.ky[0] - given_.ky[0], 60.0 - bench.center[0], atol=1e-3)
    np.testing.assert_allclose(moved.kx[0] - given_.kx[0], 70.0 - bench.center[1], atol=1e-3)


@pytest.mark.parametrize(
    "calibration", [Calibration(pixel_size=0.02), Calibration(voltage_kv=200), Calibration()]
)
def test_nothing_is_drawn_without_calibration(scan: Scan, calibration: Calibration) -> None:
    with pytest.raises(CalibrationError, match=r"voltage .* and pixel size") as caught:
        one(scan.with_calibration(calibration), (1.0, 0, 0, 0))
    assert "\n" not in str(caught.value)
    entered = LINIO2.model_copy(update={"voltage_kv": 200.0, "pixel_size": 0.0225})
    assert len(one(scan.with_calibration(calibration), (1.0, 0, 0, 0), entered).spots)


def test_phase_that_is_gone_is_said(scan: Scan, tmp_path: Path) -> None:
    gone = OrientationParameters(phases=(str(tmp_path / "gone.cif"),))
    with pytest.raises(PhaseError, match="does not exist"):
        describe_pixel(scan, gone, (1.0, 0, 0, 0), [0])


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (doubt.NONE, "none"),
        (doubt.TWIN, "twin or coincidence"),
        (doubt.PHASE, "competing phase"),
        (doubt.OVERLAP, "overlap"),
        (doubt.FEW_SPOTS, "too few spots"),
        (doubt.OUTSIDE, "outside the model"),
        (doubt.NO_DATA, "no data"),
    ],
)
def test_code_of_the_matcher_reads_as_its_cause(code: int, name: str) -> None:
    """Matcher and legend number the causes alike, each with a sentence of its own."""
    cause = AMBIGUITY_TABLE[code]
    assert (cause.name, cause.code) == (name, Ambiguity(code))
    assert cause.description.endswith(".")
    assert sum(other.description == cause.description for other in AMBIGUITY_TABLE) == 1
