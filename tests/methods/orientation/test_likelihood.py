"""The likelihood: tilts found again, what is hidden left out, the right intensities chosen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import rotation_matrices, spots
from napari_diffmap.methods.orientation.batches import evened
from napari_diffmap.methods.orientation.candidates import SearchSettings
from napari_diffmap.methods.orientation.intensities import choose_intensities
from napari_diffmap.methods.orientation.library import friedel_partners
from napari_diffmap.methods.orientation.likelihood import (
    COARSE_TILTS,
    FINE_TILTS,
    Likelihood,
    Measured,
    foremost,
    hexagon,
)
from napari_diffmap.methods.orientation.odds import IntensityModel, Rocking, rocking
from napari_diffmap.methods.orientation.places import Places
from napari_diffmap.methods.orientation.refine import Optics, turned
from napari_diffmap.methods.orientation.search import OrientationSearch
from napari_diffmap.methods.orientation.spotmap import build_spot_map
from napari_diffmap.methods.registration.spots import Detector, PeakBatch, SpotFinder
from napari_diffmap.scan.calibration import electron_wavelength

Q_MAX = 1.4
CPU = torch.device("cpu")
MODELS = (IntensityModel(), *(IntensityModel(sigma=width) for width in (0.008, 0.014, 0.025)))


def two_beam(
    phase: CrystalPhase, rotations: np.ndarray, thickness: float, dose: float = 3e4
) -> PeakBatch:
    """Spot lists by the two-beam formula, noise 12 counts, fainter ones left out."""
    found = reflections(phase, Q_MAX)
    drawn = spots(found, rotations, 200.0, 1.0)
    potential = np.sqrt(found.amplitude2) * (1 + 200 / 510.99895) / (np.pi * phase.volume)
    inverse = torch.as_tensor(electron_wavelength(200.0) * potential, dtype=torch.float32)
    root = torch.sqrt(drawn.excitation**2 + inverse**2)
    intensity = (inverse / root * torch.sin(np.pi * thickness * root)) ** 2
    q = torch.hypot(drawn.kx, drawn.ky)
    intensity = torch.where((q > 0.1) & (q < Q_MAX), intensity, 0.0)
    intensity = dose * intensity / intensity.sum(1, keepdim=True)
    top, index = torch.topk(intensity, 64, dim=1)
    top = torch.where(top > 60, top, 0.0)
    kx, ky = drawn.kx.gather(1, index), drawn.ky.gather(1, index)
    return PeakBatch(kx, ky, top, torch.ones_like(top), noise=torch.full_like(top, 12.0))


def prepared(
    phase: CrystalPhase, rotations: np.ndarray, model: IntensityModel | None = None
) -> tuple[Likelihood, Rocking]:
    """A likelihood whose library holds just these orientations."""
    found = reflections(phase, Q_MAX)
    one = rocking(phase, found, model or IntensityModel(), 200.0, 0.0, CPU)
    partner = torch.as_tensor(friedel_partners(found))
    zones = torch.as_tensor(rotations, dtype=torch.float32)
    optics = Optics(electron_wavelength(200.0), 0.1, Q_MAX)
    return Likelihood([one], [zones], [partner], optics, 3.0), one


def read(likelihood: Likelihood, peaks: PeakBatch) -> Measured:
    amplitude = (peaks.intensity > 0).float()
    spots = build_spot_map(peaks, amplitude, Q_MAX, 0.07)
    return likelihood.measured(peaks, spots, Places(0.03, 0.036, 0.0045, 0.02))


def matrices_of(rotations: np.ndarray) -> torch.Tensor:
    """``(n, 1, 3, 3)`` crystal → laboratory."""
    rotated = rotation_matrices(torch.as_tensor(rotations, dtype=torch.float32))
    return rotated.transpose(-1, -2)[:, None]


def sources(n: int) -> torch.Tensor:
    """Lists of reflections of the zones themselves, not of their mirror copies."""
    return 2 * torch.arange(n)[:, None]


def angle(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
    """Degrees between orientations."""
    trace = (one * two).sum((-1, -2))
    return torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1)))


def test_known_tilt_is_found_again(bench: Any) -> None:
    """Tilted by 1° the spots stay where they are; only their intensities tell.

    The patterns oscillate with thickness, which the model averages over.
    """
    phase, q = load_phase("LiNiO2"), bench.random_rotations(48, 5)
    likelihood, _ = prepared(phase, q)
    measured = read(likelihood, two_beam(phase, q, 280.0))
    truth = matrices_of(q)
    way = torch.as_tensor(np.random.default_rng(1).uniform(0, 2 * np.pi, len(q)))
    turn = torch.stack((torch.cos(way), torch.sin(way), 0 * way), -1)[:, None].float()
    start = turned(truth, np.deg2rad(1.0) * turn)
    source = sources(len(q))
    _, before = likelihood.climb(start, source, measured, ())
    found, after = likelihood.climb(start, source, measured, COARSE_TILTS + FINE_TILTS)
    assert (after >= before - 1e-4).all()
    # Measured: 0.67.
    assert float((angle(found, truth) < 0.5).float().mean()) > 0.6
    assert float(angle(found, truth).median()) < 0.5


def test_climb_never_loses(bench: Any) -> None:
    """From anywhere, also from orientations that are wrong."""
    phase, q = load_phase("Au"), bench.random_rotations(24, 6)
    for model in MODELS[::2]:
        likelihood, _ = prepared(phase, q, model)
        measured = read(likelihood, two_beam(phase, np.roll(q, 5, axis=0), 400.0))
        start, source = matrices_of(q), sources(len(q))
        reached = likelihood.climb(start, source, measured, ())[1]
        for stage in ((COARSE_TILTS[0],), COARSE_TILTS, COARSE_TILTS + FINE_TILTS):
            after = likelihood.climb(start, source, measured, stage)[1]
            assert (after >= reached - 1e-4).all()
            reached = after


def test_truth_is_worth_nearly_what_the_spots_allow(bench: Any) -> None:
    phase, q = load_phase("LiNiO2"), bench.random_rotations(32, 7)
    likelihood, _ = prepared(phase, q)
    measured = read(likelihood, two_beam(phase, q, 280.0))
    source, tilts = sources(len(q)), COARSE_TILTS + FINE_TILTS
    _, odds = likelihood.climb(matrices_of(q), source, measured, tilts)
    others = np.roll(np.arange(len(q)), 3)
    _, wrong = likelihood.climb(matrices_of(q)[others], source[others], measured, tilts)
    assert (odds > wrong).all()
    share = odds[:, 0] / measured.best
    assert (share < 1.02).all()
    assert float(share.median()) > 0.6
    assert float((wrong[:, 0] / measured.best).median()) < 0.35


def test_spots_taken_away_hide_what_is_there(bench: Any) -> None:
    phase, q = load_phase("LiNiO2"), bench.random_rotations(4, 8)
    likelihood, _ = prepared(phase, q)
    peaks = two_beam(phase, q, 280.0)
    gone = torch.zeros_like(peaks.intensity, dtype=torch.bool)
    gone[:, :3] = True
    rest = replace(peaks, intensity=torch.where(gone, 0.0, peaks.intensity), hidden=gone)
    measured = read(likelihood, rest)
    assert (peaks.intensity[:, :6] > 0).all()
    for shift in (0.0, 0.02):
        _, noise, _, _ = measured.at(peaks.kx[:, :3] + shift, peaks.ky[:, :3])
        assert torch.isinf(noise).all()
    _, noise, _, _ = measured.at(peaks.kx[:, :3] + 0.06, peaks.ky[:, :3])
    apart = torch.cdist(
        torch.stack((peaks.kx[:, :3] + 0.06, peaks.ky[:, :3]), -1),
        torch.stack((peaks.kx[:, :3], peaks.ky[:, :3]), -1),
    )
    assert torch.isfinite(noise[(apart > 0.04).all(-1)]).all()
    # Without saying that they are hidden, they are missing: the truth is worth less.
    source = sources(len(q))
    hidden = likelihood.climb(matrices_of(q), source, measured, ())[1]
    missing = likelihood.climb(
        matrices_of(q), source, read(likelihood, replace(rest, hidden=None)), ()
    )[1]
    assert (hidden > missing + 2).all()


def test_spots_off_their_places_count_less(bench: Any) -> None:
    phase, q = load_phase("Au"), bench.random_rotations(24, 12)
    likelihood, _ = prepared(phase, q)
    peaks = two_beam(phase, q, 280.0)
    found = []
    for shift in (0.0, 0.005, 0.01, 0.02):
        measured = read(likelihood, replace(peaks, kx=peaks.kx + shift))
        found.append(likelihood.climb(matrices_of(q), sources(len(q)), measured, ())[1])
    odds = torch.stack(found)[..., 0]
    assert (odds[1:] < odds[:-1]).all()
    # Not without end: a spot is surprising, not impossible.
    assert (odds[3] > 0).all()


def test_reflections_over_one_spot_count_once(bench: Any) -> None:
    """Zones one above the other project reflections onto the same spot; it is seen once."""
    phase, q = load_phase("Au"), bench.random_rotations(3, 13)
    likelihood, _ = prepared(phase, q)
    measured = read(likelihood, two_beam(phase, q, 280.0))
    spare = measured.significance.shape[1] - 1
    number = torch.tensor([0, 0, 1, 2, 2, spare, spare]).expand(3, 2, 7)
    odds = torch.tensor([3.0, 5.0, -2.0, 4.0, 4.0, 1.0, -1.0]).expand(3, 2, 7)
    counted = foremost(odds, number, measured)
    # The likelier of two, the first of equals, and all that meet no spot.
    expected = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    assert (counted == expected).all()


def test_seam_says_nothing(bench: Any) -> None:
    """Reflections predicted where bad pixels lie are not known to be missing."""
    phase, q = load_phase("LiNiO2"), bench.random_rotations(12, 9)
    likelihood, one = prepared(phase, q, MODELS[2])
    images = bench.counted(bench.draw(phase, q, dose=8000))
    column = 80
    images[:, :, column:] = 0
    bad = np.zeros(bench.shape, dtype=bool)
    bad[:, column:] = True
    centers = torch.tensor([bench.center] * len(q))
    found = []
    for mask in (bad, None):
        detector = Detector(bench.shape, bench.pixel, 0.1, Q_MAX, 0.95, 4.0, bad=mask, quantum=1.0)
        peaks = SpotFinder(detector).find(torch.from_numpy(images.astype(np.float32)), centers)
        measured = read(likelihood, peaks)
        found.append(likelihood.climb(matrices_of(q), sources(len(q)), measured, ())[1])
        if mask is not None:
            k = torch.matmul(one.g, matrices_of(q)[:, 0].transpose(-1, -2))
            _, noise, _, _ = measured.at(k[..., 0], k[..., 1])
            behind = k[..., 0] / bench.pixel + bench.center[1] > column + 4
            assert behind.any(dim=1).all()
            assert torch.isinf(noise[behind]).all()
    assert float((found[0] > found[1]).float().mean()) > 0.9


def search_of(phase: CrystalPhase, models: tuple[IntensityModel, ...]) -> OrientationSearch:
    settings = SearchSettings(
        voltage_kv=200.0,
        pixel_size=0.0225,
        q_min=0.1,
        q_max=Q_MAX,
        rings=32,
        angles=90,
        zone_step_deg=3.0,
        sigma=0.03,
        precession_deg=0.0,
        intensity_power=0.1,
        refine=True,
        distinct_deg=8.0,
        memory=512 << 20,
        intensities=models,
    )
    return OrientationSearch([phase], settings)


def test_intensities_are_chosen_by_the_patterns(bench: Any) -> None:
    """Thick crystals of two beams are dynamical, a narrow Gaussian excitation is kinematic."""
    phase, q = load_phase("Au"), bench.random_rotations(32, 10)
    search = search_of(phase, MODELS)
    said = choose_intensities(search, two_beam(phase, q, 350.0))
    assert {str(model) for model in MODELS} <= set(said)
    assert search.intensities.sigma is None
    thin = bench.perfect_peaks(phase, q, sigma=0.012)
    weak = thin.intensity / thin.intensity.amax(1, keepdim=True)
    peaks = replace(thin, intensity=2000 * weak**0.7, noise=torch.full_like(weak, 12.0))
    choose_intensities(search, peaks)
    # Amplitudes were drawn with |F|^1.4 and a width of 0.012 / √0.7 = 0.0143.
    assert search.intensities.sigma == pytest.approx(0.0143, rel=0.25)
    assert search.intensities.shape > 2


def test_lists_without_patterns_rank_the_truth_first(bench: Any) -> None:
    phase, q = load_phase("LiNiO2"), bench.random_rotations(48, 11)
    peaks = two_beam(phase, q, 280.0)
    assert peaks.signal is None
    answers = search_of(phase, MODELS[:1]).match(peaks, 3)
    found = answers.matrices[:, :1]
    symmetry = rotation_matrices(torch.as_tensor(phase.symmetry, dtype=torch.float32))
    alike = matrices_of(q) @ symmetry.transpose(-1, -2)
    off = angle(found, alike).amin(dim=1)
    # Measured: 0.75; near-cubic LiNiO2 has look-alikes.
    assert float((off < 2).float().mean()) > 0.7
    assert (answers.odds[:, 0] >= answers.odds[:, 1]).all()
    assert ((answers.score[:, 0] > 0) & (answers.score[:, 0] <= 1)).all()


def test_stencil_is_a_hexagon() -> None:
    for rings in (1, 2, 3):
        points = np.array(hexagon(rings, 0.3))
        assert len(points) == 3 * rings * (rings + 1)
        assert np.hypot(*points.T).max() == pytest.approx(0.3 * rings)
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
        assert gaps[gaps > 0].min() == pytest.approx(0.3)
        np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)


def test_filled_up_batches_keep_noise_signal_and_what_is_hidden(bench: Any) -> None:
    phase, q = load_phase("LiNiO2"), bench.random_rotations(3, 12)
    images = torch.from_numpy(bench.counted(bench.draw(phase, q)).astype(np.float32))
    detector = Detector(bench.shape, bench.pixel, 0.1, Q_MAX, 0.95, 4.0, quantum=1.0)
    peaks = SpotFinder(detector).find(images, torch.tensor([bench.center] * 3))
    gone = torch.zeros_like(peaks.intensity, dtype=torch.bool)
    gone[:, -1] = True
    peaks = replace(peaks, intensity=torch.where(gone, 0.0, peaks.intensity), hidden=gone)
    full = evened(peaks)
    assert full.kx.shape[0] == 8
    assert full.kx.shape[1] % 32 == 0
    assert full.noise is not None
    assert peaks.noise is not None
    assert full.signal is not None
    assert full.hidden is not None
    width = peaks.kx.shape[1]
    torch.testing.assert_close(full.noise[:3, :width], peaks.noise)
    assert full.hidden.sum() >= 3
    assert torch.equal(full.hidden[:3, :width], gone)
    assert len(full.signal.response) == 8
    assert (full.intensity[3:] == 0).all()
    torch.testing.assert_close(full.significance[:3, :width], peaks.significance)
