"""Opening a scan from anywhere: button, drop, menu, sample or command line end here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from psygnal import Signal

from napari_diffmap.errors import BadInputError, ChooseDatasetError, NeedsShapeError
from napari_diffmap.jobs.session_file import is_session
from napari_diffmap.viewer.desk import Desk
from napari_diffmap.widgets.bridge import one_line, report_error

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_diffmap.scan.open import Candidate
    from napari_diffmap.scan.scan import Scan

#: Files of plain bytes: shape and dtype must come from the user.
RAW_SUFFIXES = frozenset({".raw", ".bin", ".dat"})


@dataclass(frozen=True)
class OpenRequest:
    """A file and what the user said about it so far.

    Attributes
    ----------
    path
        The file or folder.
    options
        Keyword arguments of ``open_scan``.
    adopt
        A layer that napari's reader added for this file.
    """

    path: Path
    options: dict[str, Any] = field(default_factory=dict)
    adopt: Image | None = None

    def with_options(self, **options: Any) -> OpenRequest:
        """The same file, with further answers."""
        return replace(self, options={**self.options, **options})

    @property
    def raw(self) -> bool:
        """Whether the file is plain bytes."""
        return self.path.suffix.lower() in RAW_SUFFIXES


class Asker(Protocol):
    """Asks the user; answers arrive by callback so that the window stays alive."""

    def choose(
        self, line: str, candidates: Sequence[Candidate], answer: Callable[[str], None]
    ) -> None:
        """Which dataset of a file."""

    def shape(self, line: str, *, raw: bool, answer: Callable[[dict[str, Any]], None]) -> None:
        """Scan shape; for plain bytes also pattern shape, dtype and offset."""


class Opening:
    """Opens scans beside the window and asks what is missing.

    Signals
    -------
    busy(path)
        A file is being opened; None when done.
    opened(scan)
        A scan was opened and is shown.
    failed(error)
        A file could not be opened as it was asked for.
    session_asked(path)
        The folder is that of a saved session.
    """

    busy = Signal(object)
    opened = Signal(object)
    failed = Signal(object)
    session_asked = Signal(object)

    def __init__(self, desk: Desk, asker: Asker | None = None) -> None:
        self.desk = desk
        self.asker = asker
        self.last: OpenRequest | None = None

    def open(self, path: str | Path, *, adopt: Image | None = None, **options: Any) -> None:
        """Open a file, a folder or a saved session; everything else follows by itself."""
        if is_session(Path(path)):
            self.session_asked.emit(Path(path))
            return
        self._open(OpenRequest(Path(path), options, adopt))

    def reopen(self, **options: Any) -> None:
        """Open the last file again with other answers, e.g. another scan shape."""
        if self.last is None:
            raise BadInputError("open a scan first")
        self._open(replace(self.last, adopt=None).with_options(**options))

    def show(self, scan: Scan, adopt: Image | None = None) -> None:
        """Show a scan that is open already (a sample, a notebook's)."""
        if scan.source is not None:
            self.last = OpenRequest(scan.source)
        self.desk.show_scan(scan, adopt)
        self.opened.emit(scan)

    def _open(self, request: OpenRequest) -> None:
        self.busy.emit(request.path)

        def work(_token: object) -> Scan:
            from napari_diffmap.scan.open import open_scan

            scan = open_scan(request.path, **request.options)
            prepare_for(scan)
            return scan

        def done(scan: Scan) -> None:
            self.busy.emit(None)
            self.last = request
            self.desk.show_scan(scan, request.adopt)
            self.opened.emit(scan)

        def failed(error: Exception) -> None:
            self.busy.emit(None)
            self.failed.emit(error)
            self._ask(request, error)

        self.desk.runner.latest("open", work, done, failed=failed)

    def _ask(self, request: OpenRequest, error: Exception) -> None:
        asker = self.asker
        if asker is not None and isinstance(error, ChooseDatasetError):
            asker.choose(
                one_line(error),
                error.candidates,
                lambda name: self._open(request.with_options(dataset=name)),
            )
        elif asker is not None and isinstance(error, NeedsShapeError):
            asker.shape(
                one_line(error),
                raw=request.raw,
                answer=lambda options: self._open(request.with_options(**options)),
            )
        else:
            report_error(error)
            self._drop_placeholder(request)

    @staticmethod
    def _drop_placeholder(request: OpenRequest) -> None:
        """A file that could not be opened leaves no empty layer."""
        if request.adopt is not None:
            request.adopt.visible = False


def prepare_for(scan: Scan) -> None:
    """Import what the docks need for a scan, beside the window: a plot takes most of a second."""
    if scan.kind == "STXM":
        import napari_diffmap.widgets.spectrum  # noqa: F401
