"""Finding defects: probabilities of sites, the finder, what it refuses and what it says."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import cKDTree

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.find import (
    Finder,
    FrameAnswer,
    best_threshold,
    guess_material,
)
from napari_diffmap.methods.defects.lattice import find_lattice
from napari_diffmap.methods.defects.parameters import FindParameters
from napari_diffmap.methods.defects.simulated import Simulated, simulate
from napari_diffmap.methods.defects.simulated_movie import movie
from napari_diffmap.methods.defects.site_answer import SiteAnswer
from napari_diffmap.methods.defects.sites import site_model


@cache
def scene(peak: float = 100.0, seed: int = 3) -> Simulated:
    return simulate(np.random.default_rng(seed), "WS2", peak=peak)


@cache
def answered(peak: float = 100.0, seed: int = 3) -> SiteAnswer:
    image = scene(peak, seed).image
    return site_model(image, find_lattice(image))


def found(image: np.ndarray, model: str = "sites", **given: object) -> FrameAnswer:
    finder = Finder(FindParameters.model_validate({"model": model, "material": "WS2"} | given))
    finder.prepare([image], 0.03)
    return finder.frame(image, 0)


def f1(answer: FrameAnswer, some: Simulated, threshold: float = 0.5) -> float:
    finds = answer.finds.take(answer.finds.probability >= threshold)
    gap, nearest = cKDTree(finds.places).query(some.truth.places)
    hits = len(set(nearest[gap < 4]))
    return 2 * hits / (len(finds) + len(some.truth.places))


# ------------------------------------------------------------------------ site model
def test_the_noise_of_counts_is_measured() -> None:
    for peak in (30.0, 400.0):
        assert answered(peak).gain == pytest.approx(1, abs=0.06)


def test_units_do_not_matter_to_probabilities() -> None:
    image = scene().image
    scaled = site_model(image * 0.013 + 7, find_lattice(image * 0.013 + 7))
    assert np.abs(scaled.probability - answered().probability).max() < 0.05
    assert scaled.gain == pytest.approx(0.013, rel=0.1)


def test_ratios_are_those_of_the_atoms() -> None:
    answer, truth = answered(400.0), scene(400.0).truth
    nearest = cKDTree(answer.sites.places).query(truth.places)[1]
    for name, ratio, share in (("S vacancy", 0.5, 0.1), ("Mo on W", (42 / 74) ** 1.7, 0.05)):
        mine = np.array([said == name for said in truth.names])
        assert np.median(answer.ratio[nearest][mine]) == pytest.approx(ratio, abs=share)


def test_probabilities_are_as_often_right_as_they_say() -> None:
    said, right = [], []
    for seed in range(3, 7):
        answer = answered(100.0, seed)
        gap = cKDTree(scene(100.0, seed).truth.places).query(answer.sites.places)[0]
        inner = ((answer.sites.places > 8) & (answer.sites.places < 503)).all(axis=1)
        said.append(answer.probability[inner])
        right.append(gap[inner] < 3)
    p, hit = np.concatenate(said), np.concatenate(right)
    unsure = (p > 0.1) & (p < 0.9)
    assert unsure.sum() > 40
    assert p[unsure].mean() == pytest.approx(hit[unsure].mean(), abs=0.12)
    assert hit[p > 0.9].mean() > 0.95
    assert p.sum() == pytest.approx(hit.sum(), rel=0.1)


def test_a_slipped_lattice_is_not_believed() -> None:
    """Half of an image moved by a third of a cell: there the lattice is none."""
    image = scene(400.0).image.copy()
    image[:, 256:] = np.roll(image, (3, 3), (0, 1))[:, 256:]
    answer = site_model(image, find_lattice(scene(400.0).image))
    left = answer.sites.places[:, 1] < 200
    right = answer.sites.places[:, 1] > 310
    assert answer.fitted[left].mean() > 0.99
    assert answer.fitted[right].mean() < 0.2


# ---------------------------------------------------------------------------- finder
@pytest.mark.parametrize(("peak", "least"), [(100.0, 0.9), (400.0, 0.98)])
@pytest.mark.parametrize("model", ["sites", "monolayer"])
def test_planted_defects_are_found(model: str, peak: float, least: float) -> None:
    assert f1(found(scene(peak).image, model), scene(peak)) >= least


def test_a_boundary_is_no_field_of_defects() -> None:
    """Two grains: few finds in the grain whose lattice is not the one that was fitted."""
    one, two = scene(400.0, 3).image, scene(400.0, 9).image
    image = np.hstack((one[:, :320], two[:, 320:]))
    answer = found(image, "monolayer")
    on_sites = answer.finds.take(answer.finds.sublattice >= 0)
    assert (on_sites.places[:, 1] > 340).sum() < 40


def test_frames_do_not_depend_on_each_other() -> None:
    shown = movie(1, frames=3, size=192)
    finder = Finder(FindParameters(model="sites", material="WS2"))
    finder.prepare(shown.frames, 0.03)
    forth = [finder.frame(shown.frames[t], t).finds for t in (0, 1, 2)]
    back = [finder.frame(shown.frames[t], t).finds for t in (2, 1, 0)][::-1]
    for one, two in zip(forth, back, strict=True):
        assert np.array_equal(one.places, two.places)
        assert np.array_equal(one.probability, two.probability)


@pytest.mark.parametrize("pixel_nm", [0.05, 0.042])
def test_a_wrong_pixel_size_is_told(pixel_nm: float) -> None:
    """At 0.05 nm every third site would make a lattice of the expected size."""
    image = scene(400.0).image
    finder = Finder(FindParameters(model="sites", material="WS2"))
    finder.prepare([image], pixel_nm)
    assert "not 0.315: check the pixel size" in finder.note
    assert finder.spacing == pytest.approx(scene(400.0).spacing, rel=0.01)


def test_without_lattice_and_scale_nothing_is_guessed() -> None:
    noise = np.random.default_rng(0).poisson(5, (128, 128)).astype(np.float32)
    with pytest.raises(BadInputError, match="give the pixel size and the material"):
        Finder(FindParameters(model="sites")).prepare([noise], None)


def test_a_frame_that_is_none_is_refused() -> None:
    with pytest.raises(BadInputError, match="all its values are the same"):
        Finder(FindParameters(model="sites")).prepare([np.ones((64, 64))], 0.03)
    with pytest.raises(BadInputError, match="is no image"):
        Finder(FindParameters(model="sites")).prepare([np.ones((8, 64))], 0.03)


def test_the_material_is_guessed_from_spacing_and_contrast() -> None:
    assert guess_material(0.316, np.array([1.0, 0.15]), True) == "WS2"
    assert guess_material(0.316, np.array([1.0, 0.4]), True) == "MoS2"
    assert guess_material(0.245, np.array([1.0, 0.95]), True) == "graphene"
    assert guess_material(0.5, np.array([1.0, 0.5]), True) == "other"
    assert guess_material(None, np.array([1.0, 0.5]), True) == "other"


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 60), elements=st.floats(0.1, 0.9)))
def test_the_threshold_has_the_greatest_expected_f1(p: np.ndarray) -> None:
    def expected(threshold: float) -> float:
        kept = p >= threshold
        return float(2 * p[kept].sum() / (kept.sum() + p.sum()))

    best = best_threshold(p)
    assert expected(best) >= max(expected(t) for t in p) - 1e-9


# --------------------------------------------------------------------- measured data
def test_silicon_in_measured_graphene(shared_data: Path) -> None:
    """Labels are (column, row, element); nothing of these images was learnt from."""
    import h5py

    files = sorted((shared_data / "graphene_silicon").glob("*/*.hdf5"))[::12]
    if not files:
        pytest.skip("graphene_silicon is absent")
    total = hits = 0
    for path in files:
        with h5py.File(path) as file:
            image = file["nn_input"][0, ..., 0]
            pixel = float(file["nn_input"].attrs["scan size"]) / 1000 / len(image)
            rows = [r for name in file if name.startswith("defect_coord") for r in file[name][()]]
        truth = np.array([(float(r[1]), float(r[0])) for r in rows if r[2] == b"Si"])
        finder = Finder(FindParameters(material="graphene"))
        finder.prepare([image], pixel)
        finds = finder.frame(image, 0).finds
        bright = finds.take((finds.probability >= 0.5) & finds.excess)
        total += len(truth)
        if len(bright):
            hits += int((cKDTree(bright.places).query(truth)[0] * pixel < 0.1).sum())
    assert hits >= 0.9 * total
