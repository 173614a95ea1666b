"""Numbers in text files, with errors that name the line."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

_DECIMAL_COMMA = re.compile(r"\d,\d|(?:^|\s),\d")


def read_text(path: Path) -> str:
    """A text file of any encoding the field uses.

    Raises
    ------
    BadInputError
        If it cannot be read, is empty, or is not text.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot read {path.name}: {(error.strerror or '').lower()}") from error
    if not data.strip():
        raise BadInputError(f"{path.name} is empty: export the map again")
    if b"\0" in data[:4096]:
        raise BadInputError(f"{path.name} is not a text file: the suffix is wrong or it is damaged")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def number(text: str) -> float:
    """A number with a decimal point or a decimal comma.

    Raises
    ------
    ValueError
        If it is none.
    """
    return float(text.strip().replace(",", "."))


def read_table(path: Path, body: str, first_line: int, n_columns: int) -> NDArray[np.float64]:
    """Rows of numbers separated by blanks or tabs.

    Parameters
    ----------
    path
        For messages.
    body
        The rows; empty lines and lines from ``#`` on do not count.  Decimal
        commas are understood.
    first_line
        Line number of the first row in the file, from 1.
    n_columns
        Fewest columns the format has.

    Returns
    -------
    ndarray
        ``(rows, columns)``.

    Raises
    ------
    BadInputError
        If there is no row, or a row is cut or holds a word; names the line.
    """
    if not re.search(r"\S", body):
        raise BadInputError(f"{path.name} has a header but no rows: export the map again")
    if _DECIMAL_COMMA.search(body[:4096]):
        body = body.replace(",", ".")
    try:
        table = np.loadtxt(io.StringIO(body), comments="#", ndmin=2)
    except ValueError as error:
        raise BadInputError(_first_fault(path, body, first_line)) from error
    if table.shape[1] < n_columns:
        raise BadInputError(
            f"{path.name} has {table.shape[1]} columns, at least {n_columns} are needed:"
            " export it again with all columns"
        )
    return table


def _first_fault(path: Path, body: str, first_line: int) -> str:
    """What is wrong with the first row that differs from the others."""
    expected = 0
    for i, line in enumerate(body.splitlines()):
        words = line.split("#")[0].split()
        if not words:
            continue
        expected = expected or len(words)
        place = f"{path.name}, line {first_line + i}"
        if len(words) != expected:
            return (
                f"{place} has {len(words)} of {expected} columns: the file was cut or damaged;"
                " copy or export it again"
            )
        for word in words:
            try:
                float(word)
            except ValueError:
                return f"{place} holds {word[:20]!r} where a number belongs: export it again"
    return f"{path.name} cannot be read as a table of numbers: export it again"
