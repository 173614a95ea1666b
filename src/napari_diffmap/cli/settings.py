"""``--set NAME=VALUE``: parameters of a model from the command line, and their table."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from napari_diffmap.errors import BadInputError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from napari_diffmap.methods.orientation import OrientationParameters

#: Options that give what `parameters.GIVEN_ELSEWHERE` lists.
OWN_OPTIONS = {
    "phases": "--phase",
    "engine": "--engine",
    "voltage_kv": "--voltage",
    "pixel_size": "--pixel-size",
    "center": "--center",
}


@dataclass(frozen=True)
class Settings:
    """What ``--set`` of one command takes.

    Attributes
    ----------
    load
        Imports the parameter model; a help text must not wait for that.
    own
        Fields that have options of their own.
    """

    load: Callable[[], type[BaseModel]]
    own: Mapping[str, str]


def _orientation() -> type[BaseModel]:
    from napari_diffmap.methods.orientation.parameters import OrientationParameters

    return OrientationParameters


def _calibration() -> type[BaseModel]:
    from napari_diffmap.methods.calibration.parameters import CalibrationParameters

    return CalibrationParameters


def _registration() -> type[BaseModel]:
    from napari_diffmap.methods.registration.parameters import RegistrationParameters

    return RegistrationParameters


def _spectra() -> type[BaseModel]:
    from napari_diffmap.methods.spectra.parameters import SpectralParameters

    return SpectralParameters


def _finding() -> type[BaseModel]:
    from napari_diffmap.methods.defects.parameters import FindParameters

    return FindParameters


def _sorting() -> type[BaseModel]:
    from napari_diffmap.methods.defects.parameters import SortParameters

    return SortParameters


def _following() -> type[BaseModel]:
    from napari_diffmap.methods.defects.parameters import FollowParameters

    return FollowParameters


ORIENT = Settings(_orientation, OWN_OPTIONS)
CALIBRATE = Settings(_calibration, {"phase": "--phase"})
PHASES = Settings(_spectra, {"method": "--method", "energies": "--energies"})
FIND = Settings(
    _finding,
    {
        "model": "--model", "train": "--train", "threshold": "--threshold",
        "material": "--material",
    },
)  # fmt: skip
SORT = Settings(_sorting, {"by": "--by"})
FOLLOW = Settings(_following, {})
REGISTER = Settings(_registration, {"false_spots": "--false-spots", "preset": "--preset"})


def parse_settings(settings: tuple[str, ...], **given: Any) -> OrientationParameters:
    """``NAME=VALUE`` pairs as the matcher's parameters; see `parse_model`."""
    return parse_model(settings, ORIENT, **given)  # type: ignore[no-any-return]


def parse_model(settings: tuple[str, ...], target: Settings, **given: Any) -> Any:
    """``NAME=VALUE`` pairs as a parameter model.

    Parameters
    ----------
    settings
        Values are read as JSON, else as text.
    target
        Which model.
    given
        Fields from options of their own.

    Raises
    ------
    BadInputError
        If a name is unknown or has an option of its own, or a value cannot be.
    """
    from pydantic import ValidationError

    fields = dict(settable(target))
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = (part.strip() for part in setting.partition("="))
        if name in target.own:
            raise BadInputError(f"--set {setting}: give it with {target.own[name]}")
        if not equals or name not in fields:
            raise BadInputError(
                f"--set {setting}: give NAME=VALUE with a NAME of {', '.join(fields)}"
            )
        values[name] = _read(text, fields[name])
    try:
        return target.load()(**values, **given)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first.get("ctx", {}).get("error")  # of our own validators
        field, value = target.load().model_fields[name], {**values, **given}.get(name)
        said = str(reason) if reason else f"give {wanted(field)}, not {value}"
        option = target.own.get(name, f"--set {name}")
        raise BadInputError(f"{option}: {said}") from error


def _read(text: str, field: FieldInfo) -> Any:
    """A value: one of the field's words, else JSON, else text."""
    values, _ = _type_of(field)
    if get_origin(values) is Literal and text in get_args(values):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def settable(target: Settings = ORIENT) -> Iterator[tuple[str, FieldInfo]]:
    """Names and fields that ``--set`` takes."""
    for name, field in target.load().model_fields.items():
        if name not in target.own:
            yield name, field


def wanted(field: FieldInfo) -> str:
    """What a value must be, e.g. ``a number from 0.5 to 10 degree``."""
    values, optional = _type_of(field)
    if values is bool:
        return "true or false"
    if get_origin(values) is Literal:
        return f"one of {', '.join(map(str, get_args(values)))}"
    if get_origin(values) is tuple:
        return f"numbers between brackets {unit(field)}".rstrip() + (
            ", or null" if optional else ""
        )
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
    if get_origin(values) is tuple:
        return "[a, b]"
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


def parameter_table(target: Settings = ORIENT) -> str:
    """Markdown table of everything ``--set`` takes, as the documentation shows it."""
    rows = ["| name | in the window | default | values | unit |", "| --- | --- | --- | --- | --- |"]
    for name, field in settable(target):
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
