"""A model goes on learning from a session: the recipe of that keeps what the model is."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_diffmap.crystal.phases import load_phase
from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.networks.recipe import training_recipe
from napari_diffmap.models.weights import read_card
from napari_diffmap.viewer.adapting import STEPS, adapted_record, free_name


def test_the_recipe_goes_on_from_the_model(tiny_model: Path, tmp_path: Path) -> None:
    card = read_card(tiny_model)
    before = training_recipe({"name": "tiny", "phases": ["LiNiO2", "NiO"]})
    session = tmp_path / "my scan.diffmap"
    recipe = training_recipe(adapted_record(card, session, tmp_path, {"tiny-adapted"}))
    assert recipe.name == "tiny-adapted-2"
    assert recipe.start == "tiny"
    assert recipe.labelled == (str(session),)
    assert recipe.phases == ("LiNiO2", "NiO")
    assert recipe.options == {"width": 16, "depth": 1}
    assert recipe.plan.steps == STEPS
    assert recipe.plan.rate < before.plan.rate
    assert recipe.limits[-1] == "learnt from my scan: not to be judged on that scan"
    assert not list(tmp_path.iterdir())


def test_a_crystal_that_is_nowhere_else_comes_from_the_card(
    tiny_model: Path, tmp_path: Path
) -> None:
    card = read_card(tiny_model)
    text = card.recipe.replace("- NiO", "- /gone/NiO.cif")
    card = card.model_copy(update={"recipe": text})
    record = adapted_record(card, tmp_path / "s.diffmap", tmp_path)
    assert record["phases"][0] == "LiNiO2"
    assert Path(record["phases"][1]).parent == tmp_path / "tiny-adapted" / "phases"
    assert load_phase(record["phases"][1]).space_group == load_phase("NiO").space_group


def test_without_a_recipe_it_says_so(tiny_model: Path, tmp_path: Path) -> None:
    card = read_card(tiny_model).model_copy(update={"recipe": ""})
    with pytest.raises(BadInputError, match="holds no recipe"):
        adapted_record(card, tmp_path / "s.diffmap", tmp_path)


def test_a_free_name() -> None:
    assert free_name("a", ()) == "a"
    assert free_name("a", {"a", "a-2", "b"}) == "a-3"
