"""Errors a user can act on.

Every message is one line that says what is wrong and what to do about it.
The command line prints it on stderr and exits with ``exit_status``; the window
shows it as a notification.  Anything else that reaches the user is a bug.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_diffmap.scan.open import Candidate


class DiffmapError(Exception):
    """Base of every error shown to the user; ``exit_status`` is the shell's."""

    exit_status = 1


class BadInputError(DiffmapError):
    """The user can mend it: a wrong file, option or value."""

    exit_status = 2


class ScanFileError(BadInputError):
    """A file cannot be opened as a scan, or would open with wrong data."""


class ChooseDatasetError(ScanFileError):
    """A file holds several arrays that can be a scan; the user must choose one.

    Attributes
    ----------
    candidates
        The arrays found, with name, shape and dtype.
    in_full
        The message with every array named, however long that is.
    """

    def __init__(
        self, message: str, candidates: Sequence[Candidate], in_full: str | None = None
    ) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)
        self.in_full = message if in_full is None else in_full


class NeedsShapeError(ScanFileError):
    """Raw bytes or a flat stack need a shape from the user."""


class PhaseError(BadInputError):
    """A CIF cannot be read, or reads as a crystal that cannot exist."""


class CalibrationError(BadInputError):
    """A result needs a calibration that is missing or impossible."""


class ModelError(BadInputError):
    """A model is unknown, or its file is damaged or none at all."""


class RunError(DiffmapError):
    """A run failed part way; what was done is kept."""


class ResourceError(RunError):
    """Not enough memory or disk."""


class CancelledError(RunError):
    """The user stopped the run; what was done is kept."""
