"""Each cause of doubt on a case made up for it, and none where there is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_diffmap.maps.spectral_doubt import SpectralDoubt as Cause
from napari_diffmap.methods.spectra.doubt import doubts, too_thin
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.telling import Spectra, Told, spectra_of, tell


def halves(size: int = 16) -> np.ndarray:
    labels = np.zeros((size, size), dtype=int)
    labels[:, size // 2 :] = 1
    return labels


def told_as(labels: np.ndarray, m: int, mixed: np.ndarray | None = None) -> Told:
    """An answer as a method without doubt would give it."""
    inside = labels >= 0
    support = np.eye(m)[labels[inside]]
    extra = {} if mixed is None else {"mixed": mixed[inside].astype(float)}
    n = int(inside.sum())
    return Told(support, np.ones(n), np.zeros(n, dtype=bool), extra)


def causes(
    one: Spectra,
    said: np.ndarray,
    *,
    parameters: SpectralParameters | None = None,
    unsure: np.ndarray | bool = False,
    saturated: np.ndarray | bool = False,
    composition: Any = None,
    mixed: np.ndarray | None = None,
) -> np.ndarray:
    """Causes ``(Y, X)`` of the answers `said`; -1 beside the sample."""
    answer = told_as(said, len(one.curves), mixed)
    inside = said >= 0
    flags = [np.broadcast_to(flag, said.shape)[inside] for flag in (unsure, saturated)]
    codes = doubts(
        one, answer, answer, answer.labels, *flags, composition, parameters or SpectralParameters()
    )
    plane = np.full(said.shape, -1)
    plane[inside] = codes
    return plane


def test_two_clear_phases_raise_no_doubt(bench: Any) -> None:
    labels = halves()
    one = bench.spectra(labels, bench.peaks(708, 718))
    assert (causes(one, labels) == Cause.NONE).all()


def test_references_that_are_alike_are_ambiguous(bench: Any) -> None:
    labels = halves()
    one = bench.spectra(labels, bench.peaks(712.0, 712.05), incident=300)
    told = tell("posterior", one, SpectralParameters())
    assert told.unsure.mean() > 0.9
    found = causes(one, labels, unsure=told.unsure.reshape(labels.shape))
    assert (found == Cause.AMBIGUITY).mean() > 0.9
    clear = tell("posterior", bench.spectra(labels, bench.peaks(708, 718)), SpectralParameters())
    assert clear.unsure.mean() < 0.02


@pytest.mark.parametrize("method", ["pearson", "nnls", "two-energy"])
def test_other_methods_have_a_test_of_their_own(bench: Any, method: Any) -> None:
    labels = halves()
    alike = bench.spectra(labels, bench.peaks(712.0, 712.05), incident=300)
    clear = bench.spectra(labels, bench.peaks(708, 718), incident=20000)
    assert tell(method, alike, SpectralParameters()).unsure.mean() > 0.8
    assert tell(method, clear, SpectralParameters()).unsure.mean() < 0.05


def test_saturated_comes_before_everything(bench: Any) -> None:
    labels = halves()
    one = bench.spectra(labels, bench.peaks(708, 718))
    some = np.zeros(labels.shape, dtype=bool)
    some[4:6, 4:6] = True
    found = causes(one, labels, unsure=True, saturated=some)
    assert (found[some] == Cause.SATURATED).all()
    assert (found[~some] == Cause.AMBIGUITY).all()


def test_where_little_absorbs_it_is_too_thin(bench: Any) -> None:
    labels = halves()
    thickness = np.ones(labels.shape)
    thickness[:4] = 0.03
    one = bench.spectra(labels, bench.peaks(712, 713), thickness=thickness, incident=500)
    found = causes(one, labels, unsure=True)
    assert (found[:4] == Cause.THIN).mean() > 0.9
    assert (found[4:] == Cause.AMBIGUITY).mean() > 0.95
    thin = too_thin(one, labels.ravel())
    assert thin.reshape(labels.shape)[:4].mean() > 0.9


def test_sure_pixels_are_too_thin_only_where_nothing_absorbs(bench: Any) -> None:
    labels = halves()
    thickness = np.ones(labels.shape)
    thickness[:4], thickness[4:8] = 0, 0.2
    one = bench.spectra(labels, bench.peaks(712, 712.3), thickness=thickness, incident=2000)
    assert too_thin(one, labels.ravel()).reshape(labels.shape)[4:8].mean() > 0.9
    found = causes(one, labels)
    assert (found[:4] == Cause.THIN).mean() > 0.95
    assert not (found[4:] == Cause.THIN).any()


def test_a_thin_map_of_phases_far_apart_is_not_too_thin(bench: Any) -> None:
    labels = halves()
    thickness = np.where(np.arange(16)[:, None] < 4, 0.3, 1.0) * np.ones(labels.shape)
    one = bench.spectra(labels, bench.peaks(706, 722), thickness=thickness, incident=50000)
    assert not too_thin(one, labels.ravel()).any()


def test_small_regions_within_another_are_false(bench: Any) -> None:
    labels = halves()
    one = bench.spectra(labels, bench.peaks(712.0, 712.01))  # the spectra do not object
    said = labels.copy()
    said[5, 3], said[6, 4] = 1, 1  # two that touch at a corner
    said[10:12, 3:5] = 1  # four
    found = causes(one, said, parameters=SpectralParameters(significance=1e-12))
    assert np.argwhere(found == Cause.FALSE_ASSIGNMENT).tolist() == [[5, 3], [6, 4]]
    more = SpectralParameters(significance=1e-12, smallest=5)
    assert (causes(one, said, parameters=more) == Cause.FALSE_ASSIGNMENT).sum() == 6


def test_a_small_particle_by_itself_is_no_outlier(bench: Any) -> None:
    labels = np.full((16, 16), -1)
    labels[2:10, 2:10] = 0
    labels[13, 13:15] = 1
    one = bench.spectra(labels, bench.peaks(708, 718))
    assert (causes(one, labels)[labels >= 0] == Cause.NONE).all()


def test_another_reference_that_fits_clearly_better(bench: Any) -> None:
    labels = np.zeros((12, 12), dtype=int)
    one = bench.spectra(labels, bench.peaks(708, 718))
    assert (causes(one, labels + 1) == Cause.FALSE_ASSIGNMENT).all()
    assert (causes(one, labels) == Cause.NONE).all()


def test_a_spectrum_that_no_reference_explains(bench: Any) -> None:
    labels = np.zeros((12, 12), dtype=int)
    labels[:, 8:] = 1
    curves = bench.peaks(708, 718, 728)
    strange = np.eye(3)[labels]
    strange[3:7, 2:6] = [0, 0, 1]
    full = bench.spectra(labels, curves, fractions=strange, incident=3000)
    one = bench.spectra(labels, curves[:2], incident=3000)
    mine = spectra_of(
        full.od,
        full.weights,
        one.mask,
        curves[:2],
        one.energies,
        SpectralParameters(),
        counting=True,
    )
    found = causes(mine, labels)
    assert (found[3:7, 2:6] == Cause.FALSE_ASSIGNMENT).all()
    assert (found == Cause.FALSE_ASSIGNMENT).sum() == 16


def test_a_composition_that_cannot_be(bench: Any) -> None:
    labels = halves(8)
    one = bench.spectra(labels, bench.peaks(708, 718))
    value = np.where(labels == 0, 2.9, 0.8).ravel()
    parameters = SpectralParameters(composition_range=(1.0, 3.0))
    for error, wrong in ((0.01, True), (0.1, False)):
        composition = (value, np.full(64, error))
        found = causes(one, labels, composition=composition, parameters=parameters)
        assert ((found == Cause.FALSE_ASSIGNMENT) == ((labels == 1) & wrong)).all()
    free = causes(one, labels, composition=(value, np.full(64, 0.01)))
    assert (free == Cause.NONE).all()


def test_where_two_phases_meet_and_mix(bench: Any) -> None:
    labels = halves()
    fractions = np.eye(2)[labels]
    fractions[:, 7:9] = [0.5, 0.5]
    fractions[8, 2] = [0.5, 0.5]  # far from the border
    one = bench.spectra(labels, bench.peaks(708, 718), fractions=fractions, incident=3000)
    found = causes(one, labels)
    assert (found[:, 7:9] == Cause.TRANSITION).mean() > 0.95
    away = np.ones(labels.shape, dtype=bool)
    away[:, 5:11] = False
    assert not (found[away] == Cause.TRANSITION).any()
    # One in twenty pure pixels beside the border gains so much by noise.
    assert (found[:, [6, 9]] == Cause.TRANSITION).mean() < 0.15


def test_the_neighbours_may_say_that_a_pixel_is_mixed(bench: Any) -> None:
    labels = halves()
    one = bench.spectra(labels, bench.peaks(708, 718))
    mixed = np.zeros(labels.shape)
    mixed[3, [7, 2]] = 0.9
    found = causes(one, labels, mixed=mixed)
    assert found[3, 7] == Cause.TRANSITION
    assert found[3, 2] == Cause.NONE, "no border is near"
    wide = causes(one, labels, mixed=mixed, parameters=SpectralParameters(boundary=6))
    assert wide[3, 2] == Cause.TRANSITION
