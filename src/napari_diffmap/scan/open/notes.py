"""Everything a reader mutters is caught and becomes a line for the user."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

#: Longest line shown to the user.
MAX_LINE = 290
#: Loggers of the readers used.
_LOGGERS = ("rsciio", "tifffile")
#: Of no interest to someone who opened a file.
_SILENT = (
    ResourceWarning,
    DeprecationWarning,
    PendingDeprecationWarning,
    FutureWarning,
    ImportWarning,
)


def one_line(text: object, limit: int = MAX_LINE) -> str:
    """Text on one line of at most `limit` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def shape_text(shape: Sequence[int]) -> str:
    """``2 x 2 x 256 x 256``."""
    return " x ".join(str(int(n)) for n in shape)


class _Collector(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message."""
        self._lines.append(one_line(record.getMessage()))


@contextmanager
def caught() -> Iterator[list[str]]:
    """Collect Python warnings and the readers' logs instead of printing them.

    Yields
    ------
    list of str
        Filled when the block ends; one line each, no duplicates.
    """
    lines: list[str] = []
    logged: list[str] = []
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers[:] = [_Collector(logged)]
        logger.propagate = False
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            yield lines
        for warning in seen:
            if not issubclass(warning.category, _SILENT):
                lines.append(one_line(warning.message))
        lines.extend(logged)
        lines[:] = list(dict.fromkeys(lines))
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.propagate = propagate
