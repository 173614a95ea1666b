"""Corrections that are not saved yet, kept where a program that dies leaves them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import DiffmapError
from napari_diffmap.jobs.session_file import (
    ANSWER,
    SUFFIX,
    SavedSession,
    SessionRecord,
    load_record,
    load_session,
    save_record,
)
from napari_diffmap.maps.edits.log import FILE_NAME as EDITS
from napari_diffmap.maps.edits.log import EditLog

if TYPE_CHECKING:
    from napari_diffmap.maps.edits.corrections import Corrections

#: Where unsaved corrections are kept, instead of the user's own place.
STATE_VARIABLE = "DIFFMAP_STATE"
#: The process that writes here; while it lives its corrections are not offered to others.
_OWNER = "owner.json"


def state_folder() -> Path:
    """Where unsaved corrections are kept: ``DIFFMAP_STATE``, or the user's state folder."""
    said = os.environ.get(STATE_VARIABLE, "").strip()
    if said:
        return Path(said).expanduser()
    import platformdirs

    return Path(platformdirs.user_state_path("napari-diffmap", appauthor=False))


class Autosave:
    """Records the steps of corrections from the first one on.

    Parameters
    ----------
    corrections
        What is recorded.
    record
        Asked for the session when the first step is made; None when it comes from no file.
    """

    def __init__(
        self, corrections: Corrections, record: Callable[[], SessionRecord | None]
    ) -> None:
        self.corrections = corrections
        self.folder: Path | None = None
        self.log: EditLog | None = None
        #: What went wrong; told once.
        self.error: DiffmapError | OSError | None = None
        self._record = record
        self._ended = False
        corrections.listen(self._on_step)

    def _on_step(self, _step: str, _what: Any) -> None:
        if self._ended:
            return
        if self.log is None and self.error is None:
            self.begin()
        elif self.log is not None and self.log.error is not None:
            self.error = self.log.error

    def begin(self) -> None:
        """Record now, not only from the next step on."""
        if self.log is not None or self._ended:
            return
        try:
            record = self._record()
            if record is None:
                return
            stamp = time.strftime("%Y%m%d-%H%M%S")
            name = f"{Path(record.file).stem}-{stamp}-{os.getpid()}-{id(self):x}{SUFFIX}"
            folder = state_folder() / "unsaved" / name
            folder.mkdir(parents=True)
            (folder / _OWNER).write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
            save_record(record, folder)
            # It holds all that was done so far, this step too.
            self.log = EditLog(folder / EDITS, self.corrections)
            self.folder = folder
        except (OSError, DiffmapError) as error:
            self.error = error

    def keep_answer(self) -> None:
        """Write what was corrected, if that is not done; takes seconds for a large map.

        Raises
        ------
        DiffmapError
            If it cannot be written.
        """
        from napari_diffmap.maps.files.own_h5 import save_map_h5

        if self.folder is not None and not (self.folder / ANSWER).exists():
            save_map_h5(self.corrections.answer, self.folder / ANSWER)

    @property
    def waits_for_answer(self) -> bool:
        """Whether `keep_answer` has something to do."""
        return self.folder is not None and not (self.folder / ANSWER).exists()

    def end(self, *, keep: bool) -> None:
        """Stop recording.

        Parameters
        ----------
        keep
            Leave what was recorded, to be offered when the scan is opened again.
        """
        self._ended = True
        if self.log is not None:
            self.log.close()
        folder, self.log, self.folder = self.folder, None, None
        if folder is not None and keep:
            (folder / _OWNER).unlink(missing_ok=True)
        elif folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def unsaved(file: Path) -> list[Path]:
    """Unsaved corrections of a scan whose program is gone, the newest first."""
    root = state_folder() / "unsaved"
    if not root.is_dir():
        return []
    found = []
    wanted = str(file.resolve())
    for folder in root.glob(f"*{SUFFIX}"):
        try:
            right = load_record(folder).file == wanted and (folder / ANSWER).is_file()
        except DiffmapError:
            continue
        if right and not _owned(folder):
            found.append(folder)
    return sorted(found, key=lambda folder: (folder / EDITS).stat().st_mtime, reverse=True)


def restored(folder: Path) -> SavedSession:
    """Unsaved corrections, read back."""
    return load_session(folder)


def discard(folder: Path) -> None:
    """Delete unsaved corrections."""
    shutil.rmtree(folder, ignore_errors=True)


def _owned(folder: Path) -> bool:
    """Whether the program that writes here still runs."""
    try:
        pid = int(json.loads((folder / _OWNER).read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return _alive(pid)


def _alive(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid)) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
