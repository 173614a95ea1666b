"""Calibrations as plain values and as JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from napari_diffmap.errors import BadInputError, CalibrationError
from napari_diffmap.scan.calibration import PARTS, Calibration, Origin

#: Marks a file as ours and counts changes of its form.
_MARK = "napari-diffmap calibration"
_VERSION = 1


def to_record(calibration: Calibration) -> dict[str, Any]:
    """A calibration as plain JSON values: one entry a known part.

    Parameters
    ----------
    calibration
        Any calibration.

    Returns
    -------
    dict
        Each part holds ``value``, ``origin`` and, where it was fitted, ``residual``;
        the rotation also ``transposed``.
    """
    record: dict[str, Any] = {_MARK: _VERSION}
    for part, (value, unit) in _values(calibration).items():
        if value is None:
            continue
        entry = {"value": value, "unit": unit, "origin": calibration.origin(part)}
        if part == "rotation":
            entry["transposed"] = calibration.transposed
        if calibration.residual(part):
            entry["residual"] = calibration.residual(part)
        record[part] = entry
    return record


def _values(c: Calibration) -> dict[str, tuple[Any, str]]:
    return {
        "center": (None if c.center is None else [float(v) for v in c.center], "pixel"),
        "descan": (
            None if c.descan is None else [[float(v) for v in row] for row in c.descan],
            "pixel per position",
        ),
        "pixel_size": (c.pixel_size, "1/Å"),
        "ellipse": (None if c.ellipse is None else list(c.ellipse), "ratio, degree"),
        "rotation": (c.rotation_deg, "degree"),
        "voltage": (c.voltage_kv, "kV"),
    }


def from_record(record: Mapping[str, Any], where: str = "the calibration") -> Calibration:
    """The calibration of a record that `to_record` made.

    Parameters
    ----------
    record
        See `to_record`; unknown keys are refused, missing parts stay missing.
    where
        What the complaint names.

    Raises
    ------
    CalibrationError
        If a part is not what it should be.
    """
    unknown = [key for key in record if key not in (*PARTS, _MARK)]
    if unknown:
        raise CalibrationError(
            f"{where} has an unknown entry {unknown[0]!r}: give {', '.join(PARTS)}"
        )
    if record.get(_MARK, _VERSION) != _VERSION:
        raise CalibrationError(
            f"{where} is of version {record[_MARK]!r}, this program reads {_VERSION}: update it"
        )
    calibration = Calibration()
    for part in PARTS:
        if part in record:
            calibration = _read_part(calibration, part, record[part], where)
    return calibration


def _read_part(calibration: Calibration, part: str, entry: Any, where: str) -> Calibration:
    """One part of a record; a bare value counts as entered."""
    fields = entry if isinstance(entry, Mapping) else {"value": entry}
    origin, residual = fields.get("origin", "entered"), str(fields.get("residual", ""))
    if origin not in get_args(Origin):
        origin = "entered"
    try:
        value = fields["value"]
        if part == "center":
            y, x = value
            return calibration.with_center((float(y), float(x)), origin, residual)
        if part == "descan":
            rows = tuple((float(y), float(x)) for y, x in value)
            return calibration.with_descan(rows, origin, residual)
        if part == "ellipse":
            ratio, angle = value
            return calibration.with_ellipse((float(ratio), float(angle)), origin, residual)
        if part == "rotation":
            swapped = bool(fields.get("transposed", False))
            return calibration.with_rotation(float(value), origin, residual, transposed=swapped)
        if part == "pixel_size":
            return calibration.with_pixel_size(float(value), origin, residual)
        return calibration.with_voltage(float(value), origin, residual)
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"{where}: {part} cannot be read: write the file again with calibrate"
        ) from error


def save_calibration(calibration: Calibration, path: str | Path) -> Path:
    """Write a calibration as JSON.

    Raises
    ------
    BadInputError
        If the file cannot be written.
    """
    target = Path(path)
    text = json.dumps(to_record(calibration), indent=1, ensure_ascii=False)
    try:
        target.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadInputError(
            f"cannot write {target} ({error.strerror}): choose another place"
        ) from error
    return target


def load_calibration(path: str | Path) -> Calibration:
    """Read what `save_calibration` wrote.

    Raises
    ------
    CalibrationError
        If the file cannot be read or is no calibration.
    """
    source = Path(path)
    try:
        record = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise CalibrationError(f"cannot read {source} ({error.strerror})") from error
    except ValueError as error:
        raise CalibrationError(
            f"{source.name} is no calibration: give the JSON file that calibrate wrote"
        ) from error
    if not isinstance(record, dict) or _MARK not in record:
        raise CalibrationError(
            f"{source.name} is no calibration: give the JSON file that calibrate wrote"
        )
    return from_record(record, source.name)


def merged(under: Calibration, over: Calibration) -> Calibration:
    """A calibration with every part that another one knows taken from that one.

    Parameters
    ----------
    under
        E.g. what the scan's file says.
    over
        E.g. what was fitted.
    """
    result = under
    for part in PARTS:
        if over.knows(part):
            result = result.with_part(part, over)
    return result
