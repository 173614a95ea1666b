"""A recipe: all that repeats a run, without a window, here or on a cluster; a YAML file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_diffmap.errors import BadInputError
from napari_diffmap.models.recipe_file import read_yaml

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.jobs.defects_recipe import DefectsRecipe
    from napari_diffmap.jobs.phases_recipe import PhasesRecipe
    from napari_diffmap.methods.orientation import OrientationMethod
    from napari_diffmap.scan.scan import Scan

Parameters = TypeVar("Parameters", bound=BaseModel)
AnyRecipe = TypeVar("AnyRecipe", bound="Recipe | PhasesRecipe | DefectsRecipe")
#: A recipe of any method.
AnyKind: TypeAlias = "Recipe | PhasesRecipe | DefectsRecipe"
#: Name of the recipe that a map leaves beside its results.
FILE_NAME = "recipe.yaml"


class Strict(BaseModel):
    """A part of a recipe; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class RecipePhase(Strict):
    """A phase by the name of a bundled one, or by its CIF and what was in it."""

    source: str
    sha256: str | None = None


class RecipeEdits(Strict):
    """The corrections made by hand: a record of edits, and what was in it."""

    file: str
    sha256: str


class Recipe(Strict):
    """What was mapped, and how.

    Attributes
    ----------
    file, options
        The scan, and how it was opened (keywords of `open_scan`).
    calibration
        As in a calibration file; see `scan.calibration_file`.
    phases, parameters
        Of the matcher.
    edits
        Corrections that come on top; none where left out.
    """

    version: Literal[1] = Field(default=1, alias="napari-diffmap recipe")
    method: Literal["orientation"] = "orientation"
    file: str
    options: dict[str, Any] = Field(default_factory=dict)
    calibration: dict[str, Any]
    phases: list[RecipePhase]
    parameters: dict[str, Any] = Field(default_factory=dict)
    edits: RecipeEdits | None = None


def recipe_of(scan: Scan, method: OrientationMethod, options: Mapping[str, Any]) -> Recipe | None:
    """The recipe of a run.

    Parameters
    ----------
    scan
        Calibrated as it is mapped.
    method
        With its phases and parameters.
    options
        Keywords that the scan was opened with.

    Returns
    -------
    Recipe or None
        None for a scan or a phase that comes from no file.
    """
    from napari_diffmap.scan.calibration_file import to_record

    if scan.source is None:
        return None
    phases = phases_of(method.phases)
    if phases is None:
        return None
    parameters = method.parameters.model_dump(mode="json", exclude={"phases"})
    return Recipe(
        file=str(Path(scan.source).resolve()),
        options=as_options(options),
        calibration=to_record(scan.calibration),
        phases=phases,
        parameters=parameters,
    )


def phases_of(phases: Sequence[CrystalPhase]) -> list[RecipePhase] | None:
    """Phases by name or CIF; None where one comes from no file."""
    from napari_diffmap.crystal.phases import bundled_name

    found = []
    for phase in phases:
        bundled = bundled_name(phase)
        if bundled is not None:
            found.append(RecipePhase(source=bundled))
        elif phase.source is None:
            return None
        else:
            cif = Path(phase.source).resolve()
            found.append(RecipePhase(source=str(cif), sha256=digest(cif)))
    return found


def with_edits(recipe: AnyRecipe, record: Path) -> AnyRecipe:
    """The recipe with corrections on top, by their record (``edits.jsonl``)."""
    edits = RecipeEdits(file=str(record.resolve()), sha256=digest(record))
    return cast("AnyRecipe", recipe.model_copy(update={"edits": edits}))


def edits_file(recipe: AnyKind, beside: Path | None = None) -> Path | None:
    """The record of a recipe's corrections; None without any.

    Raises
    ------
    BadInputError
        If it is not there, or has changed.
    """
    if recipe.edits is None:
        return None
    path = found_file(recipe.edits.file, beside)
    if not path.is_file():
        raise BadInputError(f"{path}: the corrections of the recipe are not there")
    refuse_changed(path, recipe.edits.sha256, "write the recipe anew")
    return path


def save_recipe(recipe: AnyKind, path: Path) -> Path:
    """Write a recipe as YAML."""
    from napari_diffmap.maps.atomic import atomic_path

    with atomic_path(path) as temporary:
        temporary.write_text(recipe_text(recipe), encoding="utf-8")
    return path


def recipe_text(recipe: AnyKind) -> str:
    """A recipe as YAML."""
    import yaml

    record = recipe.model_dump(by_alias=True)
    if recipe.edits is None:
        del record["edits"]
    return str(yaml.safe_dump(record, sort_keys=False, allow_unicode=True))


def load_recipe(path: str | Path) -> AnyKind:
    """Read a recipe of an orientation map, of a phase map or of defects.

    Raises
    ------
    BadInputError
        If it is no recipe, or one of another version.
    """
    path = Path(path).expanduser()
    record = read_yaml(path, "a recipe")
    if not isinstance(record, dict) or "napari-diffmap recipe" not in record:
        raise BadInputError(f"{path.name} is no recipe: one that orient wrote has its name in it")
    try:
        if record.get("method") == "phases":
            from napari_diffmap.jobs.phases_recipe import PhasesRecipe

            return PhasesRecipe(**record)
        if record.get("method") == "defects":
            from napari_diffmap.jobs.defects_recipe import DefectsRecipe

            return DefectsRecipe(**record)
        return Recipe(**record)
    except ValidationError as error:
        raise BadInputError(f"{path.name}: {first_fault(error)}") from error


def prepared(recipe: Recipe, beside: Path | None = None) -> tuple[Scan, OrientationMethod]:
    """The scan and the matcher of a recipe.

    Parameters
    ----------
    recipe
        What to repeat.
    beside
        Folder in which files are sought that are no longer at their place.

    Raises
    ------
    BadInputError
        If a file is not there, a CIF has changed, or a value cannot be.
    """
    from napari_diffmap.jobs.orient import make_method
    from napari_diffmap.methods.orientation import OrientationParameters
    from napari_diffmap.scan.calibration_file import from_record

    scan = opened(recipe, beside)
    scan = scan.with_calibration(from_record(recipe.calibration, "the recipe's calibration"))
    parameters = checked(OrientationParameters, recipe.parameters)
    return scan, make_method(sources_of(recipe.phases, beside), parameters)


def opened(recipe: AnyKind, beside: Path | None) -> Scan:
    """The scan of a recipe as the file has it, opened as it was then.

    Raises
    ------
    BadInputError
        If the file is not there.
    """
    from napari_diffmap.scan.open import open_scan

    return open_scan(found_file(recipe.file, beside), **as_keywords(recipe.options))


def checked(model: type[Parameters], values: Mapping[str, Any]) -> Parameters:
    """Parameters of a recipe.

    Raises
    ------
    BadInputError
        If a name is unknown or a value cannot be.
    """
    try:
        return model(**values)
    except ValidationError as error:
        raise BadInputError(f"the recipe's parameters: {first_fault(error)}") from error


def first_fault(error: ValidationError) -> str:
    """The first thing that is wrong with a record, and where in it."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg'].lower()}"


def as_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of `open_scan` as a recipe keeps them."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}


def as_keywords(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a recipe as `open_scan` takes them."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}


def sources_of(phases: Sequence[RecipePhase], beside: Path | None) -> list[str]:
    """What `load_phases` takes.

    Raises
    ------
    BadInputError
        If a CIF has changed.
    """
    sources = []
    for phase in phases:
        if phase.sha256 is None:
            sources.append(phase.source)
            continue
        path = found_file(phase.source, beside)
        refuse_changed(path, phase.sha256, "map it anew with orient")
        sources.append(str(path))
    return sources


def found_file(file: str, beside: Path | None) -> Path:
    """A file at its place, or beside the recipe."""
    path = Path(file)
    if path.exists() or beside is None or not (beside / path.name).exists():
        return path
    return beside / path.name


def refuse_changed(path: Path, sha256: str, advice: str) -> None:
    """Refuse a file that is not what a recipe says; `advice` tells what to do then.

    Raises
    ------
    BadInputError
        If its content has changed.
    """
    if digest(path) != sha256:
        raise BadInputError(f"{path} is not what it was when the recipe was written: {advice}")


def digest(path: Path | str) -> str:
    """SHA-256 of what is in a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
