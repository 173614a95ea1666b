"""A recipe of a phase map: all that repeats it, without a window; a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.recipe import (
    FILE_NAME,
    RecipeEdits,
    Strict,
    as_options,
    checked,
    digest,
    found_file,
    opened,
    refuse_changed,
)
from napari_diffmap.methods.spectra.incident import Incident, read_mask
from napari_diffmap.methods.spectra.parameters import SpectralParameters
from napari_diffmap.methods.spectra.references import Reference, colored, read_reference
from napari_diffmap.scan.scan import Scan

__all__ = ["FILE_NAME", "PhasesRecipe", "prepared_phases", "recipe_of_phases"]


class RecipeReference(Strict):
    """A reference by its file and what was in it."""

    name: str
    file: str
    sha256: str
    composition: float | None = None


class RecipeIncident(Strict):
    """Where I0 comes from; the histogram without any of these."""

    file: str | None = None
    region: tuple[int, int, int, int] | None = None
    already_density: bool = False


class PhasesRecipe(Strict):
    """What was mapped, and how.

    Attributes
    ----------
    file, options
        The stack, and how it was opened (keywords of `open_scan`).
    references, incident, mask
        Files of the references, where I0 comes from, file of the pixels taken out.
    parameters
        Of the map.
    edits
        Corrections that come on top; none where left out.
    """

    version: Literal[1] = Field(default=1, alias="napari-diffmap recipe")
    method: Literal["phases"] = "phases"
    file: str
    options: dict[str, Any] = Field(default_factory=dict)
    references: list[RecipeReference]
    incident: RecipeIncident = Field(default_factory=RecipeIncident)
    mask: str | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    edits: RecipeEdits | None = None


@dataclass(frozen=True, eq=False)
class PreparedPhases:
    """What `map_phases` takes."""

    scan: Scan
    references: tuple[Reference, ...]
    parameters: SpectralParameters
    incident: Incident
    masked: NDArray[np.bool_] | None


def recipe_of_phases(
    scan: Scan,
    references: Sequence[Reference],
    parameters: SpectralParameters,
    incident: Incident,
    mask: str | Path | None = None,
    *,
    options: Mapping[str, Any],
) -> PhasesRecipe | None:
    """The recipe of a run; None where a part of it comes from no file.

    Parameters
    ----------
    scan, references, parameters, incident
        See `map_phases`.
    mask
        File of the pixels taken out.
    options
        Keywords that the scan was opened with.
    """
    if scan.source is None or incident.mask is not None:
        return None
    named = []
    for reference in references:
        path = Path(reference.source)
        if not reference.source or not path.is_file():
            return None
        path = path.resolve()
        named.append(
            RecipeReference(
                name=reference.name,
                file=str(path),
                sha256=digest(path),
                composition=reference.composition,
            )
        )
    return PhasesRecipe(
        file=str(Path(scan.source).resolve()),
        options=as_options(options),
        references=named,
        incident=RecipeIncident(
            file=None if incident.file is None else str(Path(incident.file).resolve()),
            region=incident.region,
            already_density=incident.already_density,
        ),
        mask=None if mask is None else str(Path(mask).expanduser().resolve()),
        parameters=parameters.model_dump(mode="json"),
    )


def prepared_phases(recipe: PhasesRecipe, beside: Path | None = None) -> PreparedPhases:
    """The stack, the references and the parameters of a recipe.

    Parameters
    ----------
    recipe
        What to repeat.
    beside
        Folder in which files are sought that are no longer at their place.

    Raises
    ------
    BadInputError
        If a file is not there, a reference has changed, or a value cannot be.
    """
    scan = opened(recipe, beside)
    references = []
    for said in recipe.references:
        path = found_file(said.file, beside)
        if not path.is_file():
            raise BadInputError(f"{path}: the reference of {said.name} is not there")
        refuse_changed(path, said.sha256, "map it anew with phases")
        references.append(read_reference(path, said.name, said.composition))
    parameters = checked(SpectralParameters, recipe.parameters)
    file = recipe.incident.file
    incident = Incident(
        region=recipe.incident.region,
        file=None if file is None else found_file(file, beside),
        already_density=recipe.incident.already_density,
    )
    masked = None
    if recipe.mask is not None:
        masked = read_mask(found_file(recipe.mask, beside), scan.shape[1:])
    return PreparedPhases(scan, colored(references), parameters, incident, masked)
