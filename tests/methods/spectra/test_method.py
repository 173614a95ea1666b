"""The phase map as a whole: energies, masks, doubts, table, invariances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError, CancelledError
from napari_diffmap.maps.spectral_doubt import SpectralDoubt
from napari_diffmap.methods.spectra.density import optical_density
from napari_diffmap.methods.spectra.method import QUICK, PhaseAnswer, SpectralMethod
from napari_diffmap.methods.spectra.parameters import METHODS, SpectralParameters


@pytest.fixture(scope="module")
def one(bench: Any) -> Any:
    return bench.simulated(12, 2000, 1, (40, 40))


@pytest.fixture(scope="module")
def answer(one: Any) -> PhaseAnswer:
    return SpectralMethod(None, one.references).answer(one.density)


def test_the_answer_has_all_maps_where_the_sample_is(one: Any, answer: PhaseAnswer) -> None:
    inside = one.mask
    assert answer.phase_ids.shape == (40, 40, 3)
    assert (answer.phase_ids[~inside] == -1).all()
    assert ((answer.phase_ids[inside] >= 0) & (answer.phase_ids[inside] < 5)).all()
    best = np.sort(answer.phase_ids[inside], axis=1)
    assert (np.diff(best, axis=1) > 0).all(), "three different ones"
    assert (answer.doubt[~inside] == SpectralDoubt.NO_DATA).all()
    assert (answer.doubt[inside] != SpectralDoubt.NO_DATA).all()
    for plane in (answer.reliability, answer.scores, answer.fractions, answer.errors):
        assert np.isnan(plane[~inside]).all()
        assert np.isfinite(plane[inside]).all()
    np.testing.assert_allclose(answer.fractions[inside].sum(axis=1), 1, atol=1e-5)
    assert (answer.phase_ids[inside, 0] == one.labels)[one.pure].mean() > 0.98
    assert answer.scale == pytest.approx(1, abs=0.2)


def test_the_second_answers_are_by_correlation(one: Any, answer: PhaseAnswer) -> None:
    for y, x in np.argwhere(one.mask)[::30]:
        od = one.density.od[:, y, x]
        r = [np.corrcoef(od, reference.at(one.energies))[0, 1] for reference in one.references]
        ids = answer.phase_ids[y, x]
        np.testing.assert_allclose(answer.scores[y, x], [r[i] for i in ids], atol=1e-4)
        rest = [i for i in np.argsort(r)[::-1] if i != ids[0]]
        assert list(ids[1:]) == rest[:2]


def test_the_composition_is_near_the_truth(one: Any, answer: PhaseAnswer) -> None:
    inside = one.mask
    x = answer.fractions[inside] @ np.array([r.composition for r in one.references])
    true, error = one.truth.composition[inside], answer.extra["composition_error"][inside]
    assert np.abs(x - true).mean() < 0.1
    free = error > 0  # one reference alone has no error: its share is at the bound
    assert free.mean() > 0.5
    # Half of normal deviates lie within 0.67.
    assert 0.4 < np.median(np.abs(x - true)[free] / error[free]) < 1.2


def test_every_quick_method_has_a_row(one: Any, answer: PhaseAnswer) -> None:
    assert [row.name for row in answer.table] == list(QUICK)
    assert set(QUICK) == set(METHODS) - {"gmvae"}
    assert answer.table[0].agreement == 1
    for row in answer.table:
        assert 0 <= row.unsure <= 1
        assert 0.5 < row.agreement <= 1
        assert sum(row.shares) == pytest.approx(1)
        assert (row.clusters is not None) == (row.name == "pca-gmm")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_map(one: Any, method: Any) -> None:
    p = SpectralParameters(method=method, compare=False, seeds=2, epochs=6)
    found = SpectralMethod(p, one.references).answer(one.density)
    assert [row.name for row in found.table][-1] == method
    right = (found.phase_ids[one.mask, 0] == one.labels)[one.pure].mean()
    # One step of 0.1 above guessing would be 0.3; the two-energy way tells five only roughly.
    assert right > (0.4 if method in ("two-energy", "gmvae") else 0.8)
    assert (found.clusters is not None) == (method in ("pca-gmm", "gmvae"))
    assert (found.stable is not None) == (method == "gmvae")
    assert np.isfinite(found.reliability[one.mask]).all()


def test_references_in_another_order_give_the_same_map(one: Any, answer: PhaseAnswer) -> None:
    order = [2, 4, 0, 3, 1]
    p = SpectralParameters(compare=False)
    other = SpectralMethod(p, [one.references[i] for i in order]).answer(one.density)
    same = np.array(order)[other.phase_ids[one.mask, 0]] == answer.phase_ids[one.mask, 0]
    assert same.mean() > 0.998
    np.testing.assert_allclose(
        other.fractions[one.mask], answer.fractions[one.mask][:, order], atol=1e-3
    )


def test_some_energies_are_those_nearest(one: Any) -> None:
    near = tuple(float(e) + 0.05 for e in one.energies[[1, 4, 7, 9]])
    p = SpectralParameters(energies=near, compare=False, calibrate=False)
    some = SpectralMethod(p, one.references).answer(one.density)
    np.testing.assert_allclose(some.energies, one.energies[[1, 4, 7, 9]])
    part = one.density.at_energies(np.array([1, 4, 7, 9]))
    plain = SpectralParameters(compare=False, calibrate=False)
    whole = SpectralMethod(plain, one.references).answer(part)
    np.testing.assert_array_equal(some.phase_ids, whole.phase_ids)
    np.testing.assert_array_equal(some.doubt, whole.doubt)


def test_energies_beyond_a_reference_are_left_out_with_a_word(one: Any, bench: Any) -> None:
    from dataclasses import replace

    cut = [replace(r, energies=r.energies[:260], values=r.values[:260]) for r in one.references]
    found = SpectralMethod(SpectralParameters(compare=False), cut).answer(one.density)
    covered = int((one.energies < cut[0].energies[-1]).sum())
    assert len(found.energies) == covered < 12
    assert found.warnings == (
        f"{12 - covered} of 12 energies lie outside a reference and are not used",
    )


def test_what_does_not_fit_is_refused(one: Any, bench: Any) -> None:
    with pytest.raises(BadInputError, match="two references at least"):
        SpectralMethod(None, one.references[:1])
    far = SpectralMethod(SpectralParameters(energies=(515, 700)), one.references)
    with pytest.raises(BadInputError, match="energies 700 eV were not measured"):
        far.answer(one.density)
    iron = bench.references(708, 712)
    with pytest.raises(BadInputError, match="'A' covers"):
        SpectralMethod(None, iron).answer(one.density)
    empty = optical_density(one.stack, one.energies, one.density.incident, threshold=9.0)
    with pytest.raises(BadInputError, match="no pixel belongs to the sample"):
        SpectralMethod(None, one.references).answer(empty)


def test_progress_and_a_stop(one: Any) -> None:
    method = SpectralMethod(SpectralParameters(compare=False), one.references)
    said: list[tuple[int, str]] = []
    method.answer(one.density, progress=lambda done, _, what: said.append((done, what)))
    assert [done for done, _ in said] == [0, 1, 2, 3, 4]
    assert all(what for _, what in said)

    def stop() -> None:
        raise CancelledError("stopped")

    with pytest.raises(CancelledError):
        method.answer(one.density, check=stop)


def test_saturated_and_dark_pixels(one: Any) -> None:
    stack = one.stack.astype(np.float32)
    y, x = np.argwhere(one.mask)[len(one.labels) // 2]
    stack[:, y, x] = np.nan
    stack[3, y, x + 1] = 2000 * np.exp(-2.6)
    density = optical_density(stack, one.energies, one.density.incident)
    p = SpectralParameters(compare=False, calibrate=False)
    found = SpectralMethod(p, one.references).answer(density)
    assert found.doubt[y, x] == SpectralDoubt.NO_DATA
    assert found.doubt[y, x + 1] == SpectralDoubt.SATURATED
