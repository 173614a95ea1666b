"""What a training needs to know: network, crystals, conditions, plan; a YAML file repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.networks.domain import Domain
from napari_diffmap.models.families import FAMILIES, POLAR
from napari_diffmap.models.recipe_file import checked_recipe, read_yaml
from napari_diffmap.models.training import Plan


class TrainingRecipe(BaseModel):
    """How a model was, or shall be, made.

    Attributes carry their own description (with unit) and bounds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)] = (
        Field(description="What the model will be called: small letters, digits, dots, dashes.")
    )
    title: str = Field(default="", description="The same for people.")
    phases: tuple[str, ...] = Field(
        min_length=1, description="Crystals: CIF files or names of bundled phases."
    )
    family: str = Field(default=POLAR, description=f"Which network: one of {', '.join(FAMILIES)}.")
    options: dict[str, int | float | bool | str | tuple[int, ...]] = Field(
        default_factory=dict, description="What the family's builder is given."
    )
    zone_step_deg: float = Field(
        default=4.0, ge=2, le=10, description="Distance of the beam directions told apart, degrees."
    )
    angles: int = Field(
        default=36, ge=12, le=180, description="In-plane angles told apart in a full turn."
    )
    pool: int = Field(
        default=8192, ge=256, description="Orientations of each phase held ready to be drawn."
    )
    start: str = Field(
        default="", description="Model to go on from (name or file), of the same crystals."
    )
    labelled: tuple[str, ...] = Field(
        default=(),
        description="Saved sessions whose maps are learnt from too: what was corrected by hand and"
        " what is reliable, split by grain.",
    )
    labelled_share: float = Field(
        default=0.5, gt=0, lt=1, description="Share of each batch that comes from the sessions."
    )
    held_out: int = Field(
        default=1024, ge=64, description="Patterns kept apart to judge by, never learnt from."
    )
    domain: Domain = Field(default=Domain(), description="Conditions of the simulated patterns.")
    plan: Plan = Field(default=Plan(), description="How long and how fast it learns.")
    limits: tuple[str, ...] = Field(default=(), description="What it cannot do, for its card.")


def training_recipe(record: Mapping[str, Any]) -> TrainingRecipe:
    """A recipe from its fields.

    Raises
    ------
    BadInputError
        With the first thing that is wrong, in one line.
    """
    return checked_recipe(TrainingRecipe, record)


def load_training_recipe(path: str | Path) -> TrainingRecipe:
    """Read a recipe; CIF files are sought beside it too.

    Raises
    ------
    BadInputError
        If it is no YAML file or not such a recipe.
    """
    path = Path(path).expanduser()
    record = read_yaml(path, "a training recipe")
    if not isinstance(record, dict) or "phases" not in record:
        raise BadInputError(f"{path.name} is no training recipe: it names no phases to learn")
    try:
        recipe = training_recipe(record)
    except BadInputError as error:
        raise BadInputError(f"{path.name}: {error}") from error
    beside = [
        str(path.parent / phase) if (path.parent / phase).is_file() else phase
        for phase in recipe.phases
    ]
    return recipe.model_copy(update={"phases": tuple(beside)})
