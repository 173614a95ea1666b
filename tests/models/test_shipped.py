"""Models that come with the package: whole, small, made by a recipe that is there, of use."""

from __future__ import annotations

import pytest

from napari_diffmap.crystal.phases import load_phases
from napari_diffmap.jobs.train import shipped_recipes
from napari_diffmap.methods.networks.model import load_proposer
from napari_diffmap.methods.networks.recipe import load_training_recipe, training_recipe
from napari_diffmap.models.registry import ModelEntry, models, shipped_folder
from napari_diffmap.models.weights import read_model

ALL = [entry for entry in models() if entry.shipped]
SHIPPED = [entry for entry in ALL if entry.card is None or entry.card.task == "orientation"]


def test_the_default_is_there() -> None:
    assert "cathode-polar" in {entry.name for entry in SHIPPED}
    assert len(ALL) == len(list(shipped_folder().glob("*")))


@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
class TestShipped:
    """Of each model."""

    def test_it_is_whole_small_and_has_figures(self, entry: ModelEntry) -> None:
        assert not entry.problem
        assert entry.nbytes <= 20e6
        card, _ = read_model(entry.path)
        assert card.limits
        assert card.trained_seconds > 0
        assert any(one.within_3deg is not None for one in card.accuracy)

    def test_it_was_made_by_its_recipe(self, entry: ModelEntry) -> None:
        import yaml

        card, _ = read_model(entry.path)
        said = training_recipe(yaml.safe_load(card.recipe))
        assert said == load_training_recipe(shipped_recipes()[entry.name])
        assert card.patterns_seen == said.plan.steps * said.plan.batch

    def test_it_proposes_for_its_crystals(self, entry: ModelEntry) -> None:
        card, state = read_model(entry.path)
        phases = load_phases([phase.name for phase in card.phases])
        assert load_proposer(card, state, phases) is not None
