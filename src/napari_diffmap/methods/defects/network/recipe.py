"""What the training of a network for defects needs to know; a YAML file repeats it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.monolayers import MONOLAYERS
from napari_diffmap.models.recipe_file import checked_recipe, read_yaml
from napari_diffmap.models.training import Plan

#: Family of the networks, as their cards name it.
UNET: Final = "unet"


class DefectRecipe(BaseModel):
    """How a model that finds defects was, or shall be, made.

    Attributes carry their own description (with unit) and bounds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Literal["defects"] = Field(default="defects", description="What the model answers.")
    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=80)] = (
        Field(description="What the model will be called: small letters, digits, dots, dashes.")
    )
    title: str = Field(default="", description="The same for people.")
    materials: tuple[str, ...] = Field(
        default=tuple(MONOLAYERS), min_length=1, description="Monolayers to simulate."
    )
    width: int = Field(default=12, ge=4, le=64, description="Maps of the finest level.")
    levels: int = Field(default=3, ge=2, le=5, description="Resolutions.")
    members: int = Field(
        default=3, ge=1, le=10, description="Networks that learn apart and answer together."
    )
    scene: int = Field(default=128, ge=64, le=1024, description="Side of a simulated image, px.")
    patch: int = Field(default=64, ge=32, le=256, description="Side of what is learnt at once, px.")
    pool: int = Field(
        default=512, ge=2, description="Simulated images held ready to be drawn from."
    )
    held_out: int = Field(
        default=96, ge=4, description="Simulated images kept apart to judge by, never learnt from."
    )
    start: str = Field(
        default="", description="Model to go on from (name or file), of the same build."
    )
    plan: Plan = Field(default=Plan(), description="How long and how fast it learns.")
    limits: tuple[str, ...] = Field(default=(), description="What it cannot do, for its card.")

    def build(self) -> dict[str, int]:
        """What the network is built of."""
        return {"members": self.members, "width": self.width, "levels": self.levels}


def defect_recipe(record: Mapping[str, Any]) -> DefectRecipe:
    """A recipe from its fields.

    Raises
    ------
    BadInputError
        With the first thing that is wrong, in one line.
    """
    recipe = checked_recipe(DefectRecipe, record)
    strange = [name for name in recipe.materials if name not in MONOLAYERS]
    if strange:
        raise BadInputError(
            f"materials: {', '.join(strange)} cannot be simulated; give some of"
            f" {', '.join(MONOLAYERS)}"
        )
    if recipe.patch > recipe.scene or recipe.patch % (1 << (recipe.levels - 1)):
        raise BadInputError(
            f"patch: give a multiple of {1 << (recipe.levels - 1)} up to {recipe.scene} (the scene)"
        )
    return recipe


def load_defect_recipe(path: str | Path) -> DefectRecipe:
    """Read a recipe.

    Raises
    ------
    BadInputError
        If it is no YAML file or not such a recipe.
    """
    path = Path(path).expanduser()
    record = read_yaml(path, "a training recipe")
    if not isinstance(record, dict) or record.get("task") != "defects":
        raise BadInputError(f"{path.name} is no recipe for defects: it lacks 'task: defects'")
    try:
        return defect_recipe(record)
    except BadInputError as error:
        raise BadInputError(f"{path.name}: {error}") from error
