"""From what is filled in to a recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from napari_diffmap.crystal.phases import CrystalPhase, load_phases
from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.networks.recipe import TrainingRecipe, training_recipe
from napari_diffmap.scan.scan import Scan
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.train_draft import (
    POLAR,
    TrainingDraft,
    options_of,
    options_text,
    outer_limit,
    suggested_name,
)

DEFAULTS = TrainingRecipe(name="x", phases=("x",)).model_dump(mode="json")


@pytest.fixture(scope="module")
def phases() -> tuple[CrystalPhase, ...]:
    return load_phases(["LiNiO2", "NiO"])


@pytest.fixture
def draft(phases: tuple[CrystalPhase, ...]) -> TrainingDraft:
    return TrainingDraft("both", phases, 300.0, 1.2, like=DEFAULTS)


def test_a_draft_is_a_recipe(draft: TrainingDraft) -> None:
    recipe = training_recipe(
        replace(
            draft, steps=160, seed=7, options="width: 32, depth: 2", domain={"two_grains": 0.5}
        ).record()
    )
    assert recipe.name == "both"
    assert recipe.phases == ("LiNiO2", "NiO")
    assert recipe.family == POLAR
    assert recipe.options == {"width": 32, "depth": 2}
    assert (recipe.plan.steps, recipe.plan.seed, recipe.plan.validate_every) == (160, 7, 10)
    assert recipe.domain.voltage_kv == 300
    assert recipe.domain.two_grains == 0.5
    # The default limits, 1.1 to 1.5, in proportion.
    assert recipe.domain.q_max == (pytest.approx(1.2 * 1.1 / 1.5, abs=1e-4), 1.2)


def test_what_a_recipe_gives_stays_but_not_its_words(draft: TrainingDraft) -> None:
    like = {**DEFAULTS, "title": "Other", "limits": ["only gold"], "zone_step_deg": 5.0}
    recipe = training_recipe(replace(draft, like=like).record())
    assert recipe.zone_step_deg == 5
    assert recipe.title == ""
    assert recipe.limits == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phases": ()}, "Tick the phases"),
        ({"family": "cnn"}, "A cnn network learns one phase"),
        ({"name": ""}, "Name the model"),
        ({"name": "Größe 1"}, "Name the model"),
        ({"voltage_kv": None}, "Enter the voltage in kV"),
        ({"voltage_kv": 5.0}, "Enter the voltage in kV"),
        ({"q_max": None}, "Enter the outer limit"),
        ({"options": "width"}, "as width: 128"),
    ],
)
def test_what_is_missing_is_one_line(
    draft: TrainingDraft, changes: dict[str, Any], said: str
) -> None:
    assert draft.missing() == ""
    lacking = replace(draft, **changes)
    assert said in lacking.missing()
    assert "\n" not in lacking.missing()
    with pytest.raises(BadInputError, match=said):
        lacking.record()


def test_a_phase_without_a_file_cannot_be_learnt(
    draft: TrainingDraft, phases: tuple[CrystalPhase, ...]
) -> None:
    lost = replace(phases[1], source=None)
    assert "NiO comes from no CIF" in replace(draft, phases=(phases[0], lost)).missing()


def test_an_impossible_condition_is_told_by_the_recipe(draft: TrainingDraft) -> None:
    wrong = replace(draft, domain={"thickness_nm": (70, 8)})
    with pytest.raises(BadInputError, match=r"domain\.thickness_nm: the range 70 to 8 runs back"):
        training_recipe(wrong.record())


def test_options_come_back_as_they_were() -> None:
    options = {"width": 128, "rate": 0.5, "deep": True}
    assert options_of(options_text(options)) == options
    assert options_of("") == {}


def test_names_are_typed_easily_and_free(phases: tuple[CrystalPhase, ...]) -> None:
    assert suggested_name(phases, 200, POLAR) == "linio2-nio-200kv-polar"
    assert suggested_name((), 200, POLAR) == ""
    taken = ("nio-80.5kv-cnn", "nio-80.5kv-cnn-2")
    assert suggested_name(phases[1:], 80.5, "cnn", taken) == "nio-80.5kv-cnn-3"


def test_the_outer_limit_is_the_largest_circle_on_the_detector(
    make_scan: Callable[..., Scan],
) -> None:
    session = Session()
    assert outer_limit(session) is None
    scan = make_scan()
    session.set_scan(scan.with_calibration(scan.calibration.with_center((12.0, 20.0), "entered")))
    assert outer_limit(session) == pytest.approx(12 * 0.025)
