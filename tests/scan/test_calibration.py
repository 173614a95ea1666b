"""Calibrations: what they refuse, what they do to a pattern, how they travel."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.calibration import PARTS, Calibration, undistortion_matrix
from napari_diffmap.scan.calibration_file import (
    from_record,
    load_calibration,
    merged,
    save_calibration,
    to_record,
)

FULL = (
    Calibration()
    .with_center((63.25, 64.5), "measured", "RMS 0.05 px")
    .with_descan(((0.1, -0.02), (0.03, 0.2)), "measured", "RMS 0.05 px")
    .with_pixel_size(0.0123, "measured", "median 0.3 %")
    .with_ellipse((1.021, 37.0), "measured")
    .with_rotation(-12.5, "entered", transposed=True)
    .with_voltage(200, "file")
)
calibrations = st.builds(
    lambda c, s, r, a, t, swap: (
        Calibration()
        .with_center(c, "measured", "left 0.1 px")
        .with_pixel_size(s, "entered")
        .with_ellipse((r, a), "measured")
        .with_rotation(t, "file", transposed=swap)
    ),
    st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    st.floats(1e-5, 9),
    st.floats(0.5, 2),
    st.floats(-400, 400),
    st.floats(-180, 180),
    st.booleans(),
)


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 155.0])
def test_an_ellipse_becomes_a_circle_of_its_geometric_mean(angle: float) -> None:
    long, short = 60.0 * math.sqrt(1.04), 60.0 / math.sqrt(1.04)
    t, a = np.linspace(0, 2 * np.pi, 50), math.radians(angle)
    x = long * np.cos(t) * math.cos(a) - short * np.sin(t) * math.sin(a)
    y = long * np.cos(t) * math.sin(a) + short * np.sin(t) * math.cos(a)
    round_ = np.stack((y, x), axis=1) @ undistortion_matrix(1.04, angle).T
    np.testing.assert_allclose(np.linalg.norm(round_, axis=1), 60.0, rtol=1e-12)


def test_a_transposed_detector_swaps_rows_and_columns_after_the_ellipse() -> None:
    straight = Calibration(ellipse=(1.03, 20.0)).undistortion
    swapped = Calibration(ellipse=(1.03, 20.0), rotation_deg=0.0, transposed=True).undistortion
    np.testing.assert_allclose(swapped @ (3, 4), (straight @ (3, 4))[::-1])


def test_a_short_axis_given_first_is_turned() -> None:
    assert Calibration(ellipse=(0.98, 100.0)).ellipse == pytest.approx((1 / 0.98, 10.0))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ellipse": (3.0, 0.0)}, "ellipse"),
        ({"ellipse": (1.02, math.nan)}, "ellipse"),
        ({"rotation_deg": 1e4}, "rotation"),
        ({"rotation_deg": math.nan}, "rotation"),
        ({"descan": ((0.0, 0.0),)}, "descan"),
        ({"descan": ((0.0, math.inf), (0.0, 0.0))}, "descan"),
        ({"center": (math.nan, 1.0)}, "centre"),
        ({"pixel_size": 20.0}, "pixel"),
    ],
)
def test_impossible_values_are_refused_in_one_line(values: dict[str, object], said: str) -> None:
    with pytest.raises(CalibrationError, match=said) as caught:
        Calibration(**values)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_beam_walks_about_the_middle_of_the_scan() -> None:
    plane = Calibration((60.0, 64.0), descan=((0.1, 0.0), (0.0, -0.2)))
    assert plane.centers(5, 5, (11, 11)) == pytest.approx((60.0, 64.0))
    assert plane.centers(10, 0, (11, 11)) == pytest.approx((60.5, 65.0))
    bent = Calibration((60.0, 64.0), descan=((0, 0), (0, 0), (0.01, 0), (0, 0.02), (0, 0)))
    grid = bent.centers(np.arange(11)[:, None], np.arange(11), (11, 11))
    assert grid.shape == (11, 11, 2)
    assert grid[0, 10] == pytest.approx((60.25, 63.5))


def test_parts_are_taken_out_one_by_one() -> None:
    left = FULL
    for part in PARTS:
        assert left.knows(part)
        left = left.without(part)
        assert not left.knows(part)
        assert left.origin(part) == "missing"
        assert left.residual(part) == ""
    assert left == Calibration()


def test_a_new_value_forgets_the_old_residual() -> None:
    assert FULL.residual("pixel_size") == "median 0.3 %"
    assert FULL.with_pixel_size(0.02, "entered").residual("pixel_size") == ""
    assert FULL.with_pixel_size(0.02, "entered").residual("center") == "RMS 0.05 px"


@given(calibrations)
def test_records_bring_everything_back(calibration: Calibration) -> None:
    assert from_record(json.loads(json.dumps(to_record(calibration)))) == calibration


def test_files_bring_everything_back(tmp_path: Path) -> None:
    assert load_calibration(save_calibration(FULL, tmp_path / "c.json")) == FULL


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        "no json",
        '{"napari-diffmap calibration": 1, "colour": 3}',
        '{"napari-diffmap calibration": 7}',
        '{"napari-diffmap calibration": 1, "ellipse": {"value": 3}}',
        '{"napari-diffmap calibration": 1, "center": {"value": ["a", 2]}}',
        '{"napari-diffmap calibration": 1, "pixel_size": {"value": -1}}',
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    with pytest.raises(CalibrationError) as caught:
        load_calibration(path)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="nowhere"):
        load_calibration(tmp_path / "nowhere.json")


def test_what_was_fitted_wins_over_the_file() -> None:
    filed = Calibration((1.0, 2.0), 0.5, 80.0, "file", "file", "file")
    both = merged(filed, Calibration().with_pixel_size(0.02, "measured", "left 1 %"))
    assert (both.pixel_size, both.pixel_size_origin) == (0.02, "measured")
    assert both.residual("pixel_size") == "left 1 %"
    assert (both.center, both.voltage_kv) == ((1.0, 2.0), 80.0)


def test_the_summary_names_what_is_applied() -> None:
    assert "descan of order 1 (measured)" in FULL.summary()
    assert "ellipse 1.0210 at 37° (measured)" in FULL.summary()
    assert "scan rotation -12.5°, transposed (entered)" in FULL.summary()
    assert "ellipse" not in Calibration().summary()
