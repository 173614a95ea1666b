"""``--set NAME=VALUE``: the matcher's parameters from the command line, and their table."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from napari_diffmap.errors import BadInputError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from napari_diffmap.methods.orientation import OrientationParameters

#: Options that give what `parameters.GIVEN_ELSEWHERE` lists.
OWN_OPTIONS = {
    "phases": "--phase",
    "voltage_kv": "--voltage",
    "pixel_size": "--pixel-size",
    "center": "--center",
}


def parse_settings(settings: tuple[str, ...]) -> OrientationParameters:
    """``NAME=VALUE`` pairs as the matcher's parameters.

    Parameters
    ----------
    settings
        Values are read as JSON, else as text.

    Raises
    ------
    BadInputError
        If a name is unknown or has an option of its own, or a value cannot be.
    """
    from pydantic import ValidationError

    from napari_diffmap.methods.orientation import OrientationParameters

    fields = dict(settable())
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if name in OWN_OPTIONS:
            raise BadInputError(f"--set {setting}: give it with {OWN_OPTIONS[name]}")
        if not equals or name not in fields:
            raise BadInputError(
                f"--set {setting}: give NAME=VALUE with a NAME of {', '.join(fields)}"
            )
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    try:
        return OrientationParameters(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first.get("ctx", {}).get("error")  # of our own validators
        said = str(reason) if reason else f"give {wanted(fields[name])}, not {values[name]}"
        raise BadInputError(f"--set {name}: {said}") from error


def settable() -> Iterator[tuple[str, FieldInfo]]:
    """Names and fields that ``--set`` takes."""
    from napari_diffmap.methods.orientation.parameters import (
        GIVEN_ELSEWHERE,
        OrientationParameters,
    )

    for name, field in OrientationParameters.model_fields.items():
        if name not in GIVEN_ELSEWHERE:
            yield name, field


def wanted(field: FieldInfo) -> str:
    """What a value must be, e.g. ``a number from 0.5 to 10 degree``."""
    values, optional = _type_of(field)
    if values is bool:
        return "true or false"
    if get_origin(values) is Literal:
        return f"one of {', '.join(map(str, get_args(values)))}"
    number = "a whole number" if values is int else "a number"
    words = " ".join(part for part in (number, allowed(field), unit(field)) if part)
    return f"{words}, or null for automatic" if optional else words


def allowed(field: FieldInfo) -> str:
    """The range or the choices of a parameter, e.g. ``from 0.5 to 10``."""
    values, _ = _type_of(field)
    if values is bool:
        return "true, false"
    if get_origin(values) is Literal:
        return ", ".join(map(str, get_args(values)))
    bound = {
        name: getattr(item, name)
        for item in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(item, name)
    }
    if "ge" in bound and "le" in bound:
        return f"from {bound['ge']:g} to {bound['le']:g}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(f"{words[name]} {value:g}" for name, value in bound.items())


def unit(field: FieldInfo) -> str:
    """The unit of a parameter; empty without one."""
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def parameter_table() -> str:
    """Markdown table of everything ``--set`` takes, as the documentation shows it."""
    rows = ["| name | in the window | default | values | unit |", "| --- | --- | --- | --- | --- |"]
    for name, field in settable():
        default = field.default
        if default is None:
            default = "automatic"
        elif isinstance(default, bool):
            default = str(default).lower()
        elif isinstance(default, float):
            default = f"{default:g}"
        cells = (f"`{name}`", str(field.title), str(default), allowed(field), unit(field))
        rows.append("| " + " | ".join(cell or "–" for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _type_of(field: FieldInfo) -> tuple[Any, bool]:
    """The type of the values, and whether there may be none."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        (values,) = (part for part in get_args(annotation) if part is not type(None))
        return values, True
    return annotation, False
