"""Recipes of phase maps: what they say, what they find again, what they refuse."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.phases import map_phases
from napari_diffmap.jobs.phases_recipe import (
    PhasesRecipe,
    prepared_phases,
    recipe_of_phases,
)
from napari_diffmap.jobs.recipe import load_recipe, save_recipe
from napari_diffmap.methods.spectra.incident import Incident
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.references import parse_references
from napari_diffmap.methods.spectra.simulated import (
    simulated_energies,
    simulated_references,
    simulated_scan,
)
from napari_diffmap.scan.open import open_scan

ENERGIES = tuple(simulated_energies(8)[[0, 2, 4, 6]].tolist())
PARAMETERS = SpectralParameters(method="nnls", energies=ENERGIES, smallest=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A stack with its list of energies, two references, an I0 and a mask."""
    scan, _ = simulated_scan(8, 500, (24, 24))
    place = tmp_path / "here"
    place.mkdir()
    np.save(place / "stack.npy", scan.data.compute().astype(np.uint16))
    np.savetxt(place / "stack_energies.txt", scan.axes[0].coordinates)
    for reference, name in zip(simulated_references()[::4], ("Na3", "Na0"), strict=True):
        np.savetxt(place / f"{name}.txt", np.stack((reference.energies, reference.values), 1))
    np.savetxt(place / "i0.txt", [[500.0, 500.0], [560.0, 480.0]])
    mask = np.zeros((24, 24), dtype=np.uint8)
    mask[10:12, 10:14] = 1
    np.save(place / "mask.npy", mask)
    return place


def recipe_in(folder: Path, **changes: Any) -> PhasesRecipe | None:
    scan = open_scan(folder / "stack.npy", kind="STXM")
    given: dict[str, Any] = {
        "references": parse_references([f"Na3:3={folder}/Na3.txt", f"Na0:0={folder}/Na0.txt"]),
        "incident": Incident(file=folder / "i0.txt"),
        "mask": folder / "mask.npy",
        **changes,
    }
    return recipe_of_phases(
        scan, given["references"], PARAMETERS, given["incident"], given["mask"],
        options={"kind": "STXM"},
    )  # fmt: skip


def test_a_recipe_comes_back_from_its_file(folder: Path) -> None:
    recipe = recipe_in(folder)
    assert recipe is not None
    again = load_recipe(save_recipe(recipe, folder / "recipe.yaml"))
    assert isinstance(again, PhasesRecipe)
    assert again == recipe
    ready = prepared_phases(again)
    assert ready.parameters == PARAMETERS
    assert [r.name for r in ready.references] == ["Na3", "Na0"]
    assert [r.composition for r in ready.references] == [3.0, 0.0]
    assert ready.incident.file == folder / "i0.txt"
    assert ready.masked is not None
    assert ready.masked.sum() == 8
    run = map_phases(
        ready.scan, ready.references, ready.parameters, incident=ready.incident,
        masked=ready.masked, device="cpu",
    )  # fmt: skip
    assert len(run.answer.energies) == 4


def test_files_that_moved_along_are_found_beside(folder: Path, tmp_path: Path) -> None:
    recipe = recipe_in(folder)
    assert recipe is not None
    there = tmp_path / "there"
    shutil.move(folder, there)
    ready = prepared_phases(recipe, there)
    assert Path(str(ready.scan.source)).parent == there
    assert ready.incident.file == there / "i0.txt"
    with pytest.raises(BadInputError):
        prepared_phases(recipe, tmp_path)


def test_a_changed_reference_is_refused(folder: Path) -> None:
    recipe = recipe_in(folder)
    assert recipe is not None
    with (folder / "Na0.txt").open("a") as file:
        file.write("560 0.2\n")
    with pytest.raises(BadInputError, match="is not what it was when the recipe was written"):
        prepared_phases(recipe)


def test_what_comes_from_no_file_has_no_recipe(folder: Path) -> None:
    drawn = Incident(mask=np.ones((24, 24), dtype=bool))
    assert recipe_in(folder, incident=drawn) is None
    assert recipe_in(folder, references=simulated_references()) is None
    scan, _ = simulated_scan(8, 500, (24, 24))
    found = recipe_of_phases(scan, (), PARAMETERS, Incident(), options={})
    assert found is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parameters": {"certainty": 2}}, "the recipe's parameters: certainty"),
        ({"mask": "/nowhere/mask.npy"}, "mask"),
        ({"file": "/nowhere/stack.npy"}, "stack.npy"),
    ],
)
def test_a_wrong_recipe_is_one_line(folder: Path, change: dict[str, Any], told: str) -> None:
    recipe = recipe_in(folder)
    assert recipe is not None
    with pytest.raises(BadInputError, match=told) as caught:
        prepared_phases(recipe.model_copy(update=change))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("region", [None, (0, 0, 3, 24)])
def test_the_incident_spectrum_is_kept(folder: Path, region: Any) -> None:
    recipe = recipe_in(folder, incident=Incident(region=region), mask=None)
    assert recipe is not None
    ready = prepared_phases(load_recipe(save_recipe(recipe, folder / "recipe.yaml")))  # type: ignore[arg-type]
    assert ready.incident.region == region
    assert ready.incident.file is None
    assert ready.masked is None
