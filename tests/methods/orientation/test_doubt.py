"""Every cause of doubt arises where its truth is simulated; probabilities are probabilities."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.crystal.phases import CrystalPhase, load_phase
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import Spots, render, spots
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation.doubt import (
    FACTORS,
    FEW_SPOTS,
    FEWEST_SPOTS,
    LEAST_ODDS,
    NO_DATA,
    NONE,
    OUTSIDE,
    OVERLAP,
    PHASE,
    TWIN,
    Evidence,
    ReliabilityModel,
    causes,
    reliability_model,
)

Found = dict[str, np.ndarray]


def share(found: Found, *codes: int) -> float:
    return float(np.isin(found["ambiguity"], codes).mean())


def run_cases(bench: Any, library: list[str], cases: dict[str, np.ndarray]) -> dict[str, Found]:
    """Expected counts of several cases measured and mapped as one scan; the maps of each."""
    images = bench.counted(np.concatenate(list(cases.values())))
    _, found = bench.run(bench.as_scan(images), [load_phase(name) for name in library])
    cuts = np.cumsum([len(images) for images in cases.values()])[:-1]
    split = {name: np.split(values, cuts) for name, values in found.items()}
    return {case: {name: split[name][i] for name in split} for i, case in enumerate(cases)}


# ------------------------------------------------------- causes, simulated

TURNS = np.linspace(0.1, 6, 8)
ONE, TWO = 3, 4  # seeds of the crystals that are superposed


def few_spots(bench: Any, phase: CrystalPhase, q: np.ndarray, keep: int) -> np.ndarray:
    """Patterns of the strongest `keep` spots of each orientation, all equally strong."""
    found = spots(reflections(phase, 1.42), q, 200.0, 0.012)
    radius = torch.hypot(found.kx, found.ky)
    inside = torch.where((radius > 0.15) & (radius < 1.3), found.intensity, 0.0)
    top = torch.topk(inside, keep, dim=1).indices
    level = torch.zeros_like(inside).scatter(1, top, 300.0)
    drawn = Spots(found.kx, found.ky, found.excitation, level)
    return render(drawn, bench.shape, bench.center, bench.pixel, 0.95).numpy()


def strewn(bench: Any, n: int) -> np.ndarray:
    """Spots at random places."""
    k = torch.as_tensor(np.random.default_rng(0).uniform(-1.2, 1.2, (2, n, 24)))
    level = torch.full((n, 24), 150.0, dtype=torch.float64)
    drawn = Spots(k[0], k[1], level, level)
    return render(drawn, bench.shape, bench.center, bench.pixel, 0.95).numpy()


def halo(bench: Any, height: float, n: int) -> np.ndarray:
    """Rings of amorphous carbon."""
    y, x = (np.arange(size) - c for size, c in zip(bench.shape, bench.center, strict=True))
    q = np.hypot(y[:, None], x) * bench.pixel
    rings = np.exp(-0.5 * ((q - 0.48) / 0.06) ** 2) + 0.4 * np.exp(-0.5 * ((q - 0.85) / 0.08) ** 2)
    return np.repeat(height * rings[None], n, axis=0)


@pytest.fixture(scope="module")
def layered(bench: Any) -> dict[str, Found]:
    """LiNiO2 alone in the library."""
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(24, 6)
    one, two = (bench.draw(phase, bench.random_rotations(32, seed)) for seed in (ONE, TWO))
    return run_cases(
        bench,
        ["LiNiO2"],
        {
            "0 0 1": bench.draw(phase, bench.along(phase, (0, 0, 1), TURNS)),
            "half and half": 0.5 * one + 0.5 * two,
            "a third": 0.7 * one + 0.3 * two,
            "single": one,
            "1 spots": few_spots(bench, phase, q, 1),
            "3 spots": few_spots(bench, phase, q, 3),
            "4 spots": few_spots(bench, phase, q, 4),
            "silicon": bench.draw(load_phase("Si"), bench.random_rotations(24, 7)),
            "strewn": strewn(bench, 16),
            "thin carbon": halo(bench, 0.35, 8),
            "thick carbon": halo(bench, 20.0, 8),
        },
    )


@pytest.fixture(scope="module")
def cubic(bench: Any) -> dict[str, Found]:
    """NiO alone in the library."""
    phase = load_phase("NiO")
    zones = ((1, 1, 1), (1, 2, 3), (0, 0, 1), (0, 1, 1))
    cases = {f"{u} {v} {w}": bench.along(phase, (u, v, w), TURNS) for u, v, w in zones}
    images = {name: bench.draw(phase, q) for name, q in cases.items()}
    images["LiNiO2"] = bench.draw(load_phase("LiNiO2"), bench.random_rotations(24, 7))
    return run_cases(bench, ["NiO"], images)


@pytest.fixture(scope="module")
def both(bench: Any) -> dict[str, Found]:
    """LiNiO2 and NiO in the library."""
    phases = [load_phase("LiNiO2"), load_phase("NiO")]
    one, two = bench.random_rotations(24, 13), bench.random_rotations(24, 14)
    return run_cases(
        bench,
        ["LiNiO2", "NiO"],
        {
            "superposed": 0.55 * bench.draw(phases[0], one) + 0.45 * bench.draw(phases[1], two),
            "WS2": bench.draw(load_phase("WS2"), bench.random_rotations(24, 7)),
            "carbon": halo(bench, 2.0, 8),
        },
    )


@pytest.mark.parametrize(
    ("name", "zone"), [("NiO", (1, 1, 1)), ("NiO", (1, 2, 3)), ("LiNiO2", (0, 0, 1))]
)
def test_pattern_equal_under_half_a_turn_is_a_coincidence(
    bench: Any,
    layered: dict[str, Found],
    cubic: dict[str, Found],
    name: str,
    zone: tuple[int, int, int],
) -> None:
    """Along these zones the half turn about the beam is no symmetry, but draws the same spots."""
    phase = load_phase(name)
    found = {"NiO": cubic, "LiNiO2": layered}[name]["{} {} {}".format(*zone)]
    q = bench.along(phase, zone, TURNS)
    assert disorientation(q, q, phase.symmetry, half_turn=True).min() > 30
    assert share(found, TWIN) == 1
    assert (found["margin"] < 0.5).all()
    assert found["reliability"].max() < 0.5
    # Both of the two are among the answers.
    first, second = bench.off(found, q, phase), bench.off(found, q, phase, 1)
    assert (np.minimum(first, second) < 1).all()
    assert (np.maximum(first, second) > 30).all()


@pytest.mark.parametrize("zone", [(0, 0, 1), (0, 1, 1)])
def test_half_turn_that_is_a_symmetry_is_no_doubt(
    bench: Any, cubic: dict[str, Found], zone: tuple[int, int, int]
) -> None:
    phase = load_phase("NiO")
    found = cubic["{} {} {}".format(*zone)]
    assert share(found, NONE) == 1
    assert found["reliability"].min() > 0.9
    assert bench.off(found, bench.along(phase, zone, TURNS), phase).max() < 0.6


def test_phases_nearly_alike_compete(bench: Any, tmp_path: Path) -> None:
    """A cell larger by half a thousandth cannot be told at this resolution."""
    phase = load_phase("NiO")
    assert phase.source is not None
    text = phase.source.read_text(encoding="utf-8")
    path = tmp_path / "double.cif"
    path.write_text(text.replace("4.178", "4.180"), encoding="utf-8")
    # Zones without a coincidence of their own.
    q = np.concatenate([bench.along(phase, zone, TURNS) for zone in ((0, 0, 1), (0, 1, 1))])
    scan = bench.as_scan(bench.counted(bench.draw(phase, q)))
    _, found = bench.run(scan, [phase, load_phase(path)])
    assert share(found, PHASE) == 1
    assert bench.off(found, q, phase).max() < 1
    # Both phases are among the answers, in the same orientation.
    assert (np.sort(found["phase_ids"][:, :2], axis=1) == (0, 1)).all()
    assert bench.off(found, q, phase, 1).max() < 1
    _, told = bench.run(scan, [phase, load_phase("Al")])
    assert share(told, NONE) == 1
    assert (told["phase_ids"][:, 0] == 0).all()


@pytest.mark.parametrize("case", ["half and half", "a third"])
def test_two_crystals_superposed_are_both_found(
    bench: Any, layered: dict[str, Found], case: str
) -> None:
    phase, found = load_phase("LiNiO2"), layered[case]
    assert share(found, OVERLAP) > 0.95
    near = [
        [bench.off(found, bench.random_rotations(32, seed), phase, place) < 3 for place in (0, 1)]
        for seed in (ONE, TWO)
    ]
    right = (near[0][0] & near[1][1]) | (near[0][1] & near[1][0])
    # Measured: 0.94 and 0.91.
    assert right.mean() > 0.84


def test_single_crystal_is_not_taken_for_two(layered: dict[str, Found]) -> None:
    assert share(layered["single"], OVERLAP) == 0


def test_crystals_of_two_phases_superposed_are_named(both: dict[str, Found]) -> None:
    found = both["superposed"]
    assert share(found, OVERLAP) > 0.85
    named = (np.sort(found["phase_ids"][:, :2], axis=1) == (0, 1)).all(axis=1)
    assert named.mean() > 0.75


def test_fewer_spots_than_fix_an_orientation_give_none(layered: dict[str, Found]) -> None:
    found = layered["1 spots"]
    assert (found["spots"] == 1).all()
    assert share(found, FEW_SPOTS) == 1
    assert (found["phase_ids"] == -1).all()
    assert (found["reliability"] == 0).all()
    assert np.isnan(found["scores"]).all()
    assert (found["rotations"] == (1, 0, 0, 0)).all()


def test_three_spots_may_have_an_answer_but_a_doubted_one(layered: dict[str, Found]) -> None:
    found = layered["3 spots"]
    assert (found["spots"] == 3).all()
    assert share(found, FEW_SPOTS) == 1
    assert found["reliability"].max() < 0.5


def test_few_spots_are_doubted_for_that(layered: dict[str, Found]) -> None:
    """With few spots doubt is put down to their number."""
    found = layered["4 spots"]
    assert (found["phase_ids"][:, 0] == 0).all()
    assert set(found["ambiguity"]) == {NONE, FEW_SPOTS}
    np.testing.assert_array_equal(found["reliability"] < 0.5, found["ambiguity"] == FEW_SPOTS)


@pytest.mark.parametrize("stranger", ["Si", "LiNiO2", "WS2"])
def test_phase_that_is_not_in_the_library_is_outside(
    layered: dict[str, Found], cubic: dict[str, Found], both: dict[str, Found], stranger: str
) -> None:
    found = {"Si": layered["silicon"], "LiNiO2": cubic["LiNiO2"], "WS2": both["WS2"]}[stranger]
    assert share(found, OUTSIDE) > 0.8
    assert share(found, NONE) < 0.07
    assert np.median(found["reliability"]) < 0.2


def test_spots_strewn_at_random_are_outside(layered: dict[str, Found]) -> None:
    assert share(layered["strewn"], OUTSIDE) == 1


def test_amorphous_carbon_has_no_answer(layered: dict[str, Found], both: dict[str, Found]) -> None:
    for found in (layered["thin carbon"], layered["thick carbon"], both["carbon"]):
        assert share(found, FEW_SPOTS, OUTSIDE) == 1
        assert found["reliability"].max() < 0.1


def test_frames_without_data_say_so(bench: Any) -> None:
    """Empty, saturated and missing frames, among good ones."""
    phase = load_phase("LiNiO2")
    q = bench.random_rotations(8, 9)
    images = bench.counted(bench.draw(phase, q))
    images[1] = 0
    images[4] = 65535
    missing = np.zeros((1, 8), dtype=bool)
    missing[0, 6] = True
    _, found = bench.run(bench.as_scan(images, missing=missing), [phase])
    void = np.isin(np.arange(8), (1, 4, 6))
    np.testing.assert_array_equal(found["ambiguity"] == NO_DATA, void)
    assert np.isnan(found["reliability"][void]).all()
    assert (found["phase_ids"][void] == -1).all()
    assert np.isnan(found["scores"][void]).all()
    assert (bench.off(found, q, phase)[~void] < 3).all()


# -------------------------------------------------------------- the model


def evidence(n: int, **columns: Any) -> Evidence:
    plain = {
        "score": 0.9,
        "odds": 120.0,
        "rival": 30.0,
        "rival_phase": 30.0,
        "explained": 0.95,
        "found": 0.9,
        "spots": 20,
        "second": 0.0,
        "second_share": 0.0,
        "empty": False,
    }
    return Evidence(**{name: np.full(n, columns.get(name, value)) for name, value in plain.items()})


def test_what_a_network_does_not_know_is_outside_the_model() -> None:
    sure = evidence(3)
    said = replace(sure, known=np.array([0.6, 0.2, 0.02], dtype=np.float32))
    model = reliability_model()
    before, after = model.probability(sure), model.probability(said)
    np.testing.assert_allclose(after, before * [1.0, 0.4, 0.04], rtol=1e-5)
    assert (causes(sure, before, 0.5) == NONE).all()
    np.testing.assert_array_equal(causes(said, after, 0.5), [NONE, OUTSIDE, OUTSIDE])


def test_package_model_was_fitted_on_these_features() -> None:
    model = reliability_model()
    assert set(model.factors) == set(FACTORS)
    for name, factor in model.factors.items():
        assert factor.mean.shape == factor.scale.shape == factor.weights.shape
        assert len(factor.weights) == len(FACTORS[name])
        assert (factor.scale > 0).all()


def test_model_survives_its_file() -> None:
    model = reliability_model()
    again = ReliabilityModel.from_json(model.to_json())
    assert again.to_json() == model.to_json()
    some = evidence(5, score=np.linspace(0, 1, 5), rival=np.linspace(0, 100, 5))
    np.testing.assert_array_equal(again.probability(some), model.probability(some))


def test_file_of_other_features_is_refused() -> None:
    raw = json.loads(reliability_model().to_json())
    raw["factors"]["rival"]["features"][0] = "margin"
    with pytest.raises(ValueError, match="fit it again"):
        ReliabilityModel.from_json(json.dumps(raw))


def test_held_out_diagram_is_calibrated() -> None:
    """The file's own record: what was said against what came true."""
    held = reliability_model().provenance["held_out"]
    rows = held["diagram"]
    said, was, patterns = (
        np.array([row[key] for row in rows]) for key in ("said", "was", "patterns")
    )
    assert patterns.sum() == held["patterns"] > 1000
    error = (patterns * np.abs(said - was)).sum() / patterns.sum()
    assert error == pytest.approx(held["expected_calibration_error"], abs=1e-3)
    assert error < 0.03
    # A bin of n patterns is known to about 1 / sqrt(4 n).
    assert (np.abs(said - was) < 3 * np.sqrt(0.25 / patterns) + 0.02).all()
    assert (np.diff(said) > 0).all()
    assert held["area_under_roc"] > 0.8
    assert held["brier"] < 0.16


unit = st.floats(0, 1, width=32)
odds = st.floats(0, 500, width=32)


@settings(max_examples=150, deadline=None)
@given(unit, odds, odds, odds, unit, unit, st.integers(0, 400))
def test_probabilities_lie_between_0_and_1(
    score: float,
    best: float,
    rival: float,
    rival_phase: float,
    explained: float,
    found: float,
    spots: int,
) -> None:
    some = evidence(
        1,
        score=score,
        odds=best,
        rival=rival,
        rival_phase=rival_phase,
        explained=explained,
        found=found,
        spots=spots,
    )
    model = reliability_model()
    for part in model.parts(some).values():
        assert 0 <= part[0] <= 1
    probability = model.probability(some)
    assert probability.dtype == np.float32
    assert 0 <= probability[0] <= min(p[0] for p in model.parts(some).values()) + 1e-6


@pytest.mark.parametrize("name", ["rival", "phase"])
def test_larger_margin_never_lowers_its_factor(name: str) -> None:
    margin = np.linspace(0, 120, 4001)
    column = {"rival": "rival", "phase": "rival_phase"}[name]
    some = replace(evidence(len(margin)), **{column: 120 - margin})
    factor = reliability_model().parts(some)[name]
    assert np.diff(factor).min() >= 0
    # It does tell: nothing between the two is a doubt, a wide margin none.
    assert factor[0] < 0.5
    assert factor[-1] > 0.98


@pytest.mark.parametrize("column", ["score", "explained", "found"])
@pytest.mark.parametrize("spots", [8, 12, 30, 90])
def test_better_match_never_lowers_the_model_factor(column: str, spots: int) -> None:
    values = np.linspace(0, 1, 101)
    some = replace(evidence(len(values), spots=spots), **{column: values})
    assert np.diff(reliability_model().parts(some)["model"]).min() >= 0


def test_a_rival_ahead_counts_as_one_level() -> None:
    """Polishing may leave a rival a hair in front."""
    model = reliability_model()
    ahead, level = evidence(1, rival=125.0), evidence(1, rival=120.0)
    np.testing.assert_array_equal(model.probability(ahead), model.probability(level))


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({}, NONE),
        ({"rival": 120.0}, TWIN),
        ({"rival_phase": 120.0}, PHASE),
        ({"score": 0.1, "explained": 0.2, "found": 0.2, "rival": 0.0, "rival_phase": 0.0}, OUTSIDE),
        ({"rival": 120.0, "spots": FEWEST_SPOTS + 1}, FEW_SPOTS),
        ({"spots": FEWEST_SPOTS - 1}, FEW_SPOTS),
        ({"odds": LEAST_ODDS - 1, "rival": 0.0, "rival_phase": 0.0}, OUTSIDE),
        ({"odds": LEAST_ODDS - 1, "rival": 0.0, "rival_phase": 0.0, "spots": 4}, FEW_SPOTS),
        ({"second": 0.7}, OVERLAP),
        ({"second": 0.7, "rival": 120.0}, OVERLAP),
        ({"second": 0.7, "spots": FEWEST_SPOTS - 1}, FEW_SPOTS),
        ({"empty": True, "second": 0.7}, NO_DATA),
    ],
)
def test_least_factor_names_the_cause(columns: dict[str, Any], code: int) -> None:
    some = evidence(1, **columns)
    reliability = reliability_model().probability(some)
    assert causes(some, reliability, 0.5).tolist() == [code]


def test_threshold_decides_what_is_doubtful() -> None:
    some = evidence(1, rival=119.0)
    reliability = reliability_model().probability(some)
    assert 0.1 < reliability[0] < 0.95
    assert causes(some, reliability, float(reliability[0]) - 0.01).tolist() == [NONE]
    assert causes(some, reliability, float(reliability[0]) + 0.01).tolist() == [TWIN]
