"""A scan that is still being recorded: opened again when there is more of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.door import open_scan
from napari_diffmap.scan.open.frames import frame_files
from napari_diffmap.scan.scan import Scan


class Follower:
    """Watches a file or folder that grows.

    Parameters
    ----------
    path
        The file, or the folder of frames.
    options
        Keywords of `open_scan`.  Where the file does not say how many frames there will be,
        ``scan_shape`` must.

    Attributes
    ----------
    scan
        What there is so far, with the frames to come marked missing.

    Raises
    ------
    ScanFileError
        If there is no scan yet, or none with patterns on scan positions.
    """

    def __init__(self, path: str | Path, **options: Any) -> None:
        self._path = Path(path).expanduser()
        self._options = options
        self._state: object = None
        self.scan = self._opened()

    def _opened(self) -> Scan:
        self._state = _state(self._path)
        scan = open_scan(self._path, growing=True, **self._options)
        if not scan.has_patterns:
            raise ScanFileError(
                f"{self._path.name}: give the scan shape (rows, columns) that is being recorded"
            )
        return scan

    @property
    def there(self) -> NDArray[np.bool_]:
        """``(y, x)``: positions whose frame has been recorded."""
        missing = self.scan.missing
        return np.ones(self.scan.shape[:2], dtype=bool) if missing is None else ~missing

    @property
    def complete(self) -> bool:
        """Whether every frame is there."""
        return bool(self.there.all())

    def poll(self) -> NDArray[np.bool_] | None:
        """Look whether there is more.

        Returns
        -------
        ndarray or None
            ``(y, x)``: positions that are new; None where nothing has come.  `scan` has them.

        Raises
        ------
        ScanFileError
            If the file is gone, or became another scan.
        """
        if _state(self._path) == self._state:
            return None
        before, there = self.scan, self.there
        scan = self._opened()
        if scan.shape != before.shape or scan.dtype != before.dtype:
            raise ScanFileError(
                f"{self._path.name}: became another scan while it was followed: open it again"
            )
        self.scan = scan.with_calibration(before.calibration)
        new = self.there & ~there
        return new if new.any() else None


def _state(path: Path) -> object:
    """Something that changes when a file or folder grows."""
    try:
        if path.is_dir():
            files = frame_files(path)
            newest = files[-1].stat() if files else None
            return len(files), newest and (newest.st_size, newest.st_mtime_ns)
        beside = [path.stat(), *(p.stat() for p in (path.with_suffix(".mib"),) if p.exists())]
    except OSError as error:
        raise ScanFileError(f"{path.name}: is gone ({error.strerror})") from error
    return [(stat.st_size, stat.st_mtime_ns) for stat in beside]
