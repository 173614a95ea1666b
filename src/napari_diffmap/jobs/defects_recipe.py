"""A recipe of defects: all that repeats them, without a window; a YAML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from napari_diffmap.jobs.defects_frames import calibrated
from napari_diffmap.jobs.recipe import RecipeEdits, Strict, as_options, checked, opened
from napari_diffmap.methods.defects.parameters import DefectParameters
from napari_diffmap.scan.scan import Scan

__all__ = ["DefectsRecipe", "prepared_defects", "recipe_of_defects"]


class DefectsRecipe(Strict):
    """What was searched, and how.

    Attributes
    ----------
    file, options
        The image or movie, and how it was opened (keywords of `open_scan`).
    pixel_size_nm, frame_time_s
        The user's; none where the file's hold.
    parameters
        Of finding, sorting and following.
    edits
        Corrections that come on top; none where left out.
    """

    version: Literal[1] = Field(default=1, alias="napari-diffmap recipe")
    method: Literal["defects"] = "defects"
    file: str
    options: dict[str, Any] = Field(default_factory=dict)
    pixel_size_nm: float | None = None
    frame_time_s: float | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    edits: RecipeEdits | None = None


def recipe_of_defects(
    scan: Scan,
    parameters: DefectParameters,
    *,
    options: Mapping[str, Any],
    pixel_size_nm: float | None = None,
    frame_time_s: float | None = None,
) -> DefectsRecipe | None:
    """The recipe of a run; None for a scan that comes from no file.

    Parameters
    ----------
    scan, parameters
        See `map_defects`.
    options
        Keywords that the scan was opened with.
    pixel_size_nm, frame_time_s
        What the user gave.
    """
    if scan.source is None:
        return None
    known = parameters.model_dump(mode="json")
    model = Path(parameters.find.model).expanduser()
    if model.is_file():
        known["find"]["model"] = str(model.resolve())
    return DefectsRecipe(
        file=str(Path(scan.source).resolve()),
        options=as_options(options),
        pixel_size_nm=pixel_size_nm,
        frame_time_s=frame_time_s,
        parameters=known,
    )


def prepared_defects(
    recipe: DefectsRecipe, beside: Path | None = None
) -> tuple[Scan, DefectParameters]:
    """The calibrated scan and the parameters of a recipe.

    Parameters
    ----------
    recipe
        What to repeat.
    beside
        Folder in which the file is sought where it is no longer at its place.

    Raises
    ------
    BadInputError
        If the file is not there, or a value cannot be.
    """
    scan = calibrated(opened(recipe, beside), recipe.pixel_size_nm, recipe.frame_time_s)
    return scan, checked(DefectParameters, recipe.parameters)
