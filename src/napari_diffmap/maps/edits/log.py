"""The record of all corrections: one line a step, only ever added to.

A file of JSON lines.  The first says what it is; then each line is a step: an edit with its
pixels and what they are after it, ``undo``, ``redo``, an edit switched ``on`` or ``off``, a label
map, a phase that the user added.  Each line reaches the system before the next step, so that a
program that dies loses none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, ResourceError
from napari_diffmap.maps.edits.corrections import Corrections, LabelMap
from napari_diffmap.maps.edits.edit import Edit, EditKind, now

if TYPE_CHECKING:
    from napari_diffmap.maps.phase_map import PhaseMap

#: Name of the file in a session.
FILE_NAME = "edits.jsonl"
_MARK, _VERSION = "napari-diffmap edits", 1
#: Better compression is not worth the wait of whoever paints.
_LEVEL = 1


def answer_digest(answer: PhaseMap) -> str:
    """SHA-256 of the first answers, less their scores: what a record tells another run by."""
    digest = hashlib.sha256()
    for name in answer.no_answer:
        if name != "scores":
            digest.update(np.ascontiguousarray(getattr(answer, name)[:, :, 0]).tobytes())
    return digest.hexdigest()


class EditLog:
    """Writes every step of corrections to a file.

    Parameters
    ----------
    path
        The file; steps are added to one that is there, which tells what was done so far.
    corrections
        What is recorded from now on.

    Raises
    ------
    ResourceError
        If the file cannot be written.
    """

    def __init__(self, path: Path, corrections: Corrections) -> None:
        self.path = path
        self.corrections = corrections
        #: What went wrong when a step could not be written; the next ones are not tried.
        self.error: ResourceError | None = None
        self._file: TextIO | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size:
                _mend_end(path)
            else:
                save_log(corrections, path)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise _unwritable(path, error) from error
        corrections.listen(self._on_step)

    def _on_step(self, step: str, what: Any) -> None:
        if self._file is None:
            return
        try:
            self._write(_record(step, what))
        except OSError as error:
            self.error = _unwritable(self.path, error)
            self.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(record, ensure_ascii=False) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Have the disk keep what was written, for when the computer itself dies."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Stop recording."""
        if self._file is not None:
            self._file.close()
            self._file = None


def save_log(corrections: Corrections, path: Path) -> Path:
    """Write all that is known of corrections, in one go; undone edits too."""
    from napari_diffmap.maps.atomic import atomic_path

    records = [_header(corrections)]
    records += [_record("phase", phase) for phase in corrections.grown]
    records += [_record("labels", labels) for labels in corrections.labels.values()]
    every = [*corrections.done, *reversed(corrections.undone)]
    records += [_record("edit", edit) for edit in every]
    records += [_record("off", edit) for edit in every if edit.number in corrections.off]
    records += [_record("undo", edit) for edit in corrections.undone]
    with atomic_path(path) as temporary:
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        temporary.write_text(text, encoding="utf-8")
    return path


def load_log(path: Path, answer: PhaseMap) -> tuple[Corrections, tuple[str, ...]]:
    """Corrections as a record tells them.

    Parameters
    ----------
    path
        The file.
    answer
        What was corrected, or the same scan mapped again: the edits say what their pixels are.

    Returns
    -------
    corrections
        As they were, with what can be undone and redone.
    warnings
        What the user must know: a last line that is cut, another answer.

    Raises
    ------
    BadInputError
        If it is no such file, of another map, or damaged.
    """
    records, warnings = _read(path)
    header = records[0]
    if tuple(header.get("shape", ())) != answer.shape:
        raise BadInputError(
            f"{path.name} corrects a map of {header.get('shape')} positions, not {answer.shape}"
        )
    names = [phase.name for phase in answer.phases]
    told = header.get("phases", [])
    # A map that was saved with phases of the user's knows them; its record adds them.
    if told != (names[: len(told)] if answer.grows else names):
        raise BadInputError(
            f"{path.name} corrects a map of {', '.join(told)}, not {', '.join(names)}"
        )
    if header.get("answer") != answer_digest(answer):
        if answer.numbered:
            raise BadInputError(
                f"{path.name} corrects another run, whose finds have other numbers: keep the"
                " answer of that run beside it"
            )
        warnings.append(
            f"{path.name} corrects another run of this scan: corrected pixels are as they were"
            " left, the others as mapped now"
        )
    corrections = Corrections(answer)
    for number, record in enumerate(records[1:], start=2):
        try:
            _replay(corrections, record)
        except (KeyError, ValueError, TypeError, zlib.error, BadInputError) as error:
            raise BadInputError(f"{path.name} is damaged at line {number}: {error}") from error
    return corrections, tuple(warnings)


def recorded_digest(path: Path) -> str:
    """`answer_digest` of the answer that a record corrects.

    Raises
    ------
    BadInputError
        If it is no such file.
    """
    return str(_read(path)[0][0].get("answer", ""))


def _read(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise BadInputError(f"{path}: cannot be read ({error.strerror or error})") from error
    records: list[dict[str, Any]] = []
    warnings: list[str] = []
    for number, line in enumerate(lines):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number == len(lines) - 1 and number > 0:
                warnings.append(f"{path.name} ends in the middle of an edit, which is left out")
                break
            raise BadInputError(f"{path.name} is damaged at line {number + 1}") from error
    if not records or records[0].get(_MARK) != _VERSION:
        raise BadInputError(f"{path.name} is no record of edits that this version can read")
    return records, warnings


def _mend_end(path: Path) -> None:
    """Cut off the half line that a program that died may have left."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            file.truncate(end)


def _replay(corrections: Corrections, record: Mapping[str, Any]) -> None:
    step = record["step"]
    if step in ("labels", "named"):
        names = {int(k): str(v) for k, v in record["names"].items()}
        colors = {int(k): str(v) for k, v in record["colors"].items()}
        if step == "named":
            mine = corrections.labels[record["name"]]
            mine.names, mine.colors = names, colors
            return
        base = _array(record["base"]).reshape(corrections.answer.shape)
        corrections.labels[record["name"]] = LabelMap(
            record["name"], base, names, colors, record.get("source", "")
        )
    elif step == "phase":
        told = (str(record[name]) for name in ("name", "color", "note"))
        corrections.replay(step, phase=corrections.answer.new_phase(*told))
    elif step == "edit":
        corrections.replay(step, _edit(record))
    else:
        corrections.replay(step, number=int(record["number"]))


def _header(corrections: Corrections) -> dict[str, Any]:
    answer, added = corrections.answer, {phase.name for phase in corrections.grown}
    return {
        _MARK: _VERSION,
        "shape": list(answer.shape),
        "phases": [phase.name for phase in answer.phases if phase.name not in added],
        "answer": answer_digest(answer),
    }


def _record(step: str, what: Any) -> dict[str, Any]:
    if isinstance(what, LabelMap):
        record: dict[str, Any] = {
            "step": step,
            "name": what.name,
            "names": what.names,
            "colors": what.colors,
        }
        if step == "labels":
            record |= {"source": what.source, "base": _text(what.base)}
        return record
    if step == "phase":
        return {"step": step, "name": what.name, "color": what.color, "note": what.note}
    if step != "edit":
        return {"step": step, "number": what.number, "when": now()}
    return {
        "step": step,
        "number": what.number,
        "kind": what.kind.name.lower(),
        "target": what.target,
        "who": what.who,
        "when": what.when,
        "note": what.note,
        "count": len(what.pixels),
        "before": what.before,
        "after": what.after,
        "pixels": _text(_runs(what.pixels)),
        "values": {name: _text(values) for name, values in what.values.items()},
    }


def _edit(record: Mapping[str, Any]) -> Edit:
    return Edit(
        number=int(record["number"]),
        kind=EditKind[record["kind"].upper()],
        pixels=_from_runs(_array(record["pixels"])),
        values={name: _array(text) for name, text in record["values"].items()},
        **{
            name: str(record[name]) for name in ("target", "who", "when", "before", "after", "note")
        },
    )


def _runs(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rising numbers as first and length of each run, ``(r, 2)``."""
    first = np.flatnonzero(np.diff(pixels, prepend=-2) != 1)
    lengths = np.diff(np.append(first, len(pixels)))
    return np.stack((pixels[first], lengths), axis=1)


def _from_runs(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    first, lengths = runs[:, 0], runs[:, 1]
    begins = np.repeat(first - np.cumsum(lengths) + lengths, lengths)
    return np.asarray(begins + np.arange(lengths.sum()), dtype=np.int64)


def _text(values: NDArray[Any]) -> dict[str, Any]:
    """An array as text: type, shape, and its bytes compressed."""
    values = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
    data = base64.b64encode(zlib.compress(values.tobytes(), _LEVEL)).decode("ascii")
    return {"dtype": values.dtype.str, "shape": list(values.shape), "zlib": data}


def _array(text: Mapping[str, Any]) -> NDArray[Any]:
    raw = zlib.decompress(base64.b64decode(text["zlib"]))
    return np.frombuffer(raw, dtype=np.dtype(text["dtype"])).reshape(text["shape"]).copy()


def _unwritable(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"corrections are not being recorded: {path} cannot be written"
        f" ({error.strerror or error}); save the session elsewhere"
    )
