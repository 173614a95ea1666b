"""Pixel size and ellipse from spots on known shells; what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_diffmap.errors import CalibrationError
from napari_diffmap.scan.calibration import Calibration, undistortion_matrix
from napari_diffmap.scan.known_phase import KnownPhaseFit, fit_known_phase
from napari_diffmap.scan.shell_model import Shells, SpotList

PIXEL = 0.02


def cubic(a: float, allowed: str, reach: float = 6.0) -> Shells:
    """Shells of a cubic lattice, weighted as a powder."""
    n = int(reach * a) + 1
    hkl = np.array(list(np.ndindex(2 * n + 1, 2 * n + 1, 2 * n + 1))) - n
    odd = hkl % 2
    face = (odd.sum(axis=1) % 3) == 0
    if allowed == "diamond":
        total = hkl.sum(axis=1)
        face &= ~((odd.sum(axis=1) == 0) & (total % 4 == 2))
    if allowed == "body":
        face = hkl.sum(axis=1) % 2 == 0
    square = (hkl[face] ** 2).sum(axis=1)
    square = square[(square > 0) & (square < (reach * a) ** 2)]
    unique, count = np.unique(square, return_counts=True)
    length = np.sqrt(unique) / a
    return Shells(length, count / length * np.exp(-length))


FACE, DIAMOND, BODY = cubic(4.08, "face"), cubic(5.43, "diamond"), cubic(2.87, "body")


def spots(
    shells: Shells,
    *,
    patterns: int = 40,
    ellipse: tuple[float, float] = (1.02, 35.0),
    shift: tuple[float, float] = (0.0, 0.0),
    noise: float = 0.3,
    spurious: float = 0.0,
    seed: int = 0,
    directions: float = 2 * np.pi,
) -> SpotList:
    """Random spots of a powder, seen through an ellipse."""
    rng = np.random.default_rng(seed)
    inside = (shells.lengths < 1.3) & (shells.lengths > 0.15)
    weight = shells.weight[inside] / shells.weight[inside].sum()
    count = 15 * patterns
    q = rng.choice(shells.lengths[inside], count, p=weight)
    angle = rng.uniform(0, directions, count)
    flat = q[:, None] / PIXEL * np.stack((np.sin(angle), np.cos(angle)), axis=1)
    places = flat @ np.linalg.inv(undistortion_matrix(*ellipse)).T + shift
    places += rng.normal(0, noise, places.shape)
    wrong = rng.random(count) < spurious
    radius, turn = 65 * np.sqrt(rng.uniform(0.03, 1, count)), rng.uniform(0, 2 * np.pi, count)
    random = radius[:, None] * np.stack((np.sin(turn), np.cos(turn)), axis=1)
    places[wrong] = random[wrong]
    return SpotList(places, np.repeat(np.arange(patterns), 15), np.ones(count))


def shear(ellipse: tuple[float, float]) -> complex:
    return complex(math.log(ellipse[0]) * np.exp(2j * math.radians(ellipse[1])))


def good(fit: KnownPhaseFit, ellipse: tuple[float, float] = (1.02, 35.0)) -> None:
    assert not fit.problem
    assert not fit.ellipse_problem
    assert fit.pixel_size == pytest.approx(PIXEL, rel=0.002)
    assert abs(shear(fit.ellipse) - shear(ellipse)) < 0.003
    assert abs(fit.pixel_size - PIXEL) < 4 * fit.pixel_size_error


@pytest.mark.parametrize("wrong", [0.52, 0.67, 1.0, 1.5, 1.9])
@pytest.mark.parametrize("shells", [FACE, DIAMOND], ids=["face", "diamond"])
def test_a_stated_pixel_size_may_be_wrong_by_two(shells: Shells, wrong: float) -> None:
    good(fit_known_phase(spots(shells), shells, PIXEL * wrong))


@pytest.mark.parametrize("ellipse", [(1.0, 0.0), (1.03, 0.0), (1.03, 45.0), (1.05, 120.0)])
def test_ellipses_in_every_direction(ellipse: tuple[float, float]) -> None:
    good(fit_known_phase(spots(FACE, ellipse=ellipse), FACE, 1.3 * PIXEL), ellipse)


def test_spurious_spots_and_a_shifted_centre_cost_nothing() -> None:
    fit = fit_known_phase(spots(FACE, spurious=0.4, shift=(1.2, -0.8)), FACE, 0.8 * PIXEL)
    good(fit)
    assert fit.shift == pytest.approx((1.2, -0.8), abs=0.2)
    # Some of the spurious ones lie on a shell by chance.
    assert 0.55 < fit.explained < 0.8


def test_few_patterns_are_enough_when_they_decide() -> None:
    fit = fit_known_phase(spots(DIAMOND, patterns=5), DIAMOND, 1.4 * PIXEL)
    assert not fit.problem
    assert abs(fit.pixel_size - PIXEL) < 4 * fit.pixel_size_error
    assert fit.pixel_size == pytest.approx(PIXEL, rel=0.006)


def test_no_stated_pixel_size_is_needed() -> None:
    good(fit_known_phase(spots(DIAMOND), DIAMOND))


@pytest.mark.parametrize(
    ("truth", "taken_for"), [(DIAMOND, FACE), (FACE, DIAMOND), (BODY, FACE), (FACE, BODY)]
)
def test_a_wrong_phase_is_refused_at_any_scale(truth: Shells, taken_for: Shells) -> None:
    fit = fit_known_phase(spots(truth), taken_for, PIXEL)
    assert fit.problem
    with pytest.raises(CalibrationError):
        fit.applied_to(Calibration())


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_no_phase(seed: int) -> None:
    assert fit_known_phase(spots(FACE, spurious=1.0, seed=seed), FACE, PIXEL).problem


def test_spots_in_one_direction_tell_no_ellipse() -> None:
    fit = fit_known_phase(spots(FACE, patterns=8, directions=0.05, ellipse=(1.0, 0.0)), FACE, PIXEL)
    assert fit.problem or fit.ellipse_problem


def test_one_pattern_seen_many_times_is_no_more_certain() -> None:
    """A single zone axis fits several scales with an ellipse: none of them may win."""
    axis = np.array([(h, k) for h in range(-4, 5) for k in range(-4, 5) if (h or k)])
    flat = axis[(axis % 2 == 0).all(axis=1)] / 4.08 / PIXEL  # [001] of the face-centred lattice
    places = np.tile(flat, (60, 1)) + np.random.default_rng(0).normal(0, 0.2, (60 * len(flat), 2))
    many = SpotList(places, np.repeat(np.arange(60), len(flat)), np.ones(len(places)))
    fit = fit_known_phase(many, FACE, 1.2 * PIXEL)
    assert fit.problem or fit.pixel_size == pytest.approx(PIXEL, rel=0.004)
    assert len(fit.candidates) > 1


def test_too_little_is_refused() -> None:
    few = SpotList(np.full((3, 2), 30.0), np.arange(3), np.ones(3))
    with pytest.raises(CalibrationError, match="too few"):
        fit_known_phase(few, FACE, PIXEL)
    with pytest.raises(CalibrationError, match="too few reflections"):
        fit_known_phase(spots(FACE), Shells(np.array([1.0]), np.ones(1)), PIXEL)
    with pytest.raises(CalibrationError, match="search factor"):
        fit_known_phase(spots(FACE), FACE, PIXEL, 1.0)


def test_a_fit_can_be_stopped() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_known_phase(spots(FACE), FACE, PIXEL, check=stop)


def test_what_is_applied_carries_its_residual() -> None:
    fit = fit_known_phase(spots(FACE), FACE, PIXEL)
    found = fit.applied_to(Calibration(pixel_size=0.5, pixel_size_origin="file"))
    assert found.pixel_size_origin == found.ellipse_origin == "measured"
    assert "median |Δq|/q" in found.residual("pixel_size")
    assert fit.residual_percent < fit.before_percent
    only = fit.applied_to(Calibration(), pixel_size=False)
    assert only.pixel_size is None
    assert only.ellipse is not None
