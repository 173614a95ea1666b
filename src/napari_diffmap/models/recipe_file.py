"""Recipes as YAML files: read, checked and written, with errors in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from napari_diffmap.errors import BadInputError

Recipe = TypeVar("Recipe", bound=BaseModel)


def read_yaml(path: Path, words: str) -> Any:
    """What a YAML file holds.

    Parameters
    ----------
    path
        The file.
    words
        What it should be, with its article, for the error.

    Raises
    ------
    BadInputError
        If it cannot be read or is no YAML file.
    """
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or "it is no YAML file"
        raise BadInputError(f"{path}: cannot be read as {words} ({reason})") from error


def checked_recipe(kind: type[Recipe], record: Mapping[str, Any]) -> Recipe:
    """The recipe of a training from its fields.

    Raises
    ------
    BadInputError
        With the first thing that is wrong, in one line.
    """
    try:
        return kind(**record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        words = str(first["msg"]).removeprefix("Value error, ").lower()
        raise BadInputError(f"{where}: {words}") from error


def recipe_yaml(recipe: BaseModel) -> str:
    """The recipe of a training as YAML, everything it leaves open filled in."""
    import yaml

    return str(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
