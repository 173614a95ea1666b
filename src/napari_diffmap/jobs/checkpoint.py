"""What a long run has mapped so far, on disk: a stopped or killed run goes on from there.

Beside the results lies a folder with what the run is (``run.json``) and parts,
each a few seconds of work, written once and put in place by a rename: a part is
there whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_diffmap import __version__
from napari_diffmap.errors import BadInputError, DiffmapError, ResourceError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.scan.calibration_file import to_record

if TYPE_CHECKING:
    from napari_diffmap.jobs.pipeline import RunResult
    from napari_diffmap.methods.orientation import OrientationMethod
    from napari_diffmap.scan.scan import Scan

#: Name of the folder beside the results.
FOLDER = "unfinished"
_LAYOUT = 1
#: A part is written after so many seconds, or this share of the time so far.
_SECONDS, _SHARE = 10.0, 0.01
_DAMAGED = (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError)


class Checkpoint:
    """Parts of a run in a folder.

    Parameters
    ----------
    out
        The folder of the results.
    identity
        What the run is; see `identity_of`.
    resume
        Go on with the run that is there.

    Raises
    ------
    BadInputError
        If there is an unfinished run and `resume` is not asked for, or there is
        none and it is, or the one there is another.
    """

    def __init__(self, out: Path, identity: dict[str, Any], *, resume: bool = False) -> None:
        self.folder = out / FOLDER
        self._identity = identity
        self._index: list[NDArray[np.int64]] = []
        self._values: dict[str, list[NDArray[Any]]] = {}
        self._last = self._begun = time.perf_counter()
        self._seconds = 0.0
        record = self.folder / "run.json"
        there = record.exists()
        # The folder is made with the first part: a run that is refused leaves none.
        if there and not resume:
            raise BadInputError(
                f"{out} holds an unfinished run: go on with it (--resume), or delete"
                f" {self.folder} to begin anew"
            )
        if resume and not there:
            raise BadInputError(f"{out} holds no unfinished run: leave out --resume")
        if there:
            self._compare(record)
        self._parts = sorted(self.folder.glob("part-*.npz"))

    def _compare(self, record: Path) -> None:
        try:
            there = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInputError(
                f"{record} is damaged: delete {self.folder} to begin anew"
            ) from error
        mine = json.loads(json.dumps(self._identity))
        for name in (*mine, *there):
            if there.get(name) != mine.get(name):
                differs = _difference(name, there.get(name), mine.get(name))
                raise BadInputError(
                    f"the unfinished run in {self.folder.parent} had another {differs}: give the"
                    " same to go on, or another folder"
                )

    def restore(self, result: RunResult) -> None:
        """Put what was mapped before into a result.

        Raises
        ------
        BadInputError
            If a part is damaged.
        """
        flat = result.done.reshape(-1)
        for path in self._parts:
            try:
                with np.load(path) as part:
                    index = part["index"]
                    for name, values in result.maps.items():
                        values.reshape(-1, *values.shape[2:])[index] = part[name]
                    flat[index] = True
                    result.seconds += float(part["seconds"])
            except _DAMAGED as error:
                raise BadInputError(
                    f"{path} is damaged: delete it to map its part again"
                ) from error
        self._seconds = result.seconds

    def add(self, where: tuple[slice, slice], result: RunResult) -> None:
        """Note that a piece is mapped; written with others after a while.

        Raises
        ------
        ResourceError
            If the part cannot be written.
        """
        rows, columns = where
        number = np.arange(result.done.size).reshape(result.done.shape)[rows, columns]
        self._index.append(number.reshape(-1))
        now = time.perf_counter()
        if now - self._last >= max(_SECONDS, _SHARE * (now - self._begun)):
            self.flush(result)

    def flush(self, result: RunResult) -> None:
        """Write what was noted since the last part.

        Raises
        ------
        ResourceError
            If it cannot be written; nothing that was written before is lost.
        """
        if not self._index:
            return
        index = np.concatenate(self._index)
        arrays = {
            name: values.reshape(-1, *values.shape[2:])[index]
            for name, values in result.maps.items()
        }
        number = int(self._parts[-1].stem.split("-")[1]) + 1 if self._parts else 0
        path = self.folder / f"part-{number:06d}.npz"
        arrays |= {"index": index, "seconds": np.array(result.seconds - self._seconds)}
        record = self.folder / "run.json"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not record.exists():
                with atomic_path(record) as temporary:
                    temporary.write_text(json.dumps(self._identity, indent=1), encoding="utf-8")
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **cast("dict[str, Any]", arrays))
        except (OSError, DiffmapError) as error:
            raise _unwritable(self.folder, error) from error
        self._parts.append(path)
        self._index.clear()
        self._seconds = result.seconds
        self._last = time.perf_counter()


def discard(out: Path) -> None:
    """Delete what was kept in a folder: the run is finished and its results are written."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def _unwritable(folder: Path, error: Exception) -> ResourceError:
    reason = getattr(error, "strerror", None) or str(error)
    return ResourceError(
        f"cannot write to {folder} ({reason}): free some space there and go on with --resume,"
        " or choose another folder"
    )


def _difference(name: str, there: Any, mine: Any) -> str:
    """In words, e.g. ``zone_step_deg (3.0 there, 2.0 now)``."""
    if isinstance(there, dict) and isinstance(mine, dict):
        for key in (*mine, *there):
            if there.get(key) != mine.get(key):
                return _difference(key, there.get(key), mine.get(key))
    words = f"{there} there, {mine} now"
    return name if len(words) > 60 else f"{name} ({words})"


def identity_of(scan: Scan, method: OrientationMethod, device: str) -> dict[str, Any]:
    """What must be the same for a run to go on: scan, calibration, phases, parameters, device.

    Parameters
    ----------
    scan
        Calibrated as it is mapped.
    method
        With its phases.
    device
        Torch device; how many threads or which of several GPUs makes no difference.
    """
    return {
        "layout": _LAYOUT,
        "version": __version__,
        "device": device.partition(":")[0],
        "scan": {
            "shape": list(scan.shape),
            "dtype": str(scan.dtype),
            "content": _fingerprint(scan),
        },
        "calibration": {
            part: entry["value"]
            for part, entry in to_record(scan.calibration).items()
            if isinstance(entry, dict)
        },
        "list of phases": ", ".join(phase.name for phase in method.phases),
        "structure": {phase.name: _phase_print(phase) for phase in method.phases},
        "parameters": {
            name: value
            for name, value in method.parameters.model_dump(mode="json").items()
            if name != "phases"
        },
        "maps": {spec.name: [spec.dtype, *spec.shape] for spec in method.maps()},
    }


def _fingerprint(scan: Scan) -> str:
    """A hash of three patterns: the same file at another place is the same scan."""
    digest = hashlib.sha256()
    ny, nx = scan.shape[:2]
    for y, x in ((0, 0), (ny // 2, nx // 2), (ny - 1, nx - 1)):
        frame = np.asarray(scan.data[y, x].compute(scheduler="synchronous"))
        digest.update(np.ascontiguousarray(frame).tobytes())
    return digest.hexdigest()[:16]


def _phase_print(phase: Any) -> str:
    """A hash of cell, symmetry and atoms."""
    digest = hashlib.sha256(repr((phase.elements, phase.space_group)).encode())
    for values in (phase.base, phase.xyz, phase.occupancy, phase.b_iso, phase.symmetry):
        digest.update(np.round(np.asarray(values, dtype=np.float64), 6).tobytes())
    return digest.hexdigest()[:16]
