"""A whole session in a folder: scan, calibration, phases, map, corrections, what was looked at.

``NAME.diffmap`` holds ``session.yaml``, ``answer.h5`` (the map as it was found), ``edits.jsonl``
(every correction) and ``recipe.yaml``, which repeats all of it without a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_diffmap.errors import BadInputError, DiffmapError, ResourceError
from napari_diffmap.jobs.recipe import (
    RecipePhase,
    as_keywords,
    as_options,
    first_fault,
    phases_of,
    sources_of,
)
from napari_diffmap.maps.edits.log import FILE_NAME as EDITS
from napari_diffmap.maps.edits.log import load_log, save_log

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.jobs.recipe import AnyKind
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.scan.calibration import Calibration
    from napari_diffmap.scan.scan import Scan

SUFFIX = ".diffmap"
RECORD, ANSWER = "session.yaml", "answer.h5"


class SessionRecord(BaseModel):
    """What ``session.yaml`` holds.

    Attributes
    ----------
    file, options, signature
        The scan, how it was opened, and what tells whether it is still the same.
    calibration
        As in a calibration file.
    phases
        What the sample may be.
    view
        What was looked at; see `viewer.session_view`.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = Field(default=1, alias="napari-diffmap session")
    file: str
    options: dict[str, Any] = Field(default_factory=dict)
    signature: str = ""
    calibration: dict[str, Any] = Field(default_factory=dict)
    phases: list[RecipePhase] = Field(default_factory=list)
    view: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class SavedSession:
    """A session read back; the scan is opened by whoever shows it.

    Attributes
    ----------
    folder
        Where it was read.
    record
        See `SessionRecord`.
    file
        The scan, sought beside the folder where it is not at its place.
    calibration
        Of the scan.
    phases
        Read again; none where a CIF is gone.
    corrections
        The map with its edits; None without a map.
    warnings
        What the user must know.
    """

    folder: Path
    record: SessionRecord
    file: Path
    calibration: Calibration
    phases: tuple[CrystalPhase, ...]
    corrections: Corrections | None
    warnings: tuple[str, ...]


def is_session(path: Path) -> bool:
    """Whether a path is the folder of a session."""
    return path.is_dir() and (path / RECORD).is_file()


def record_of(
    scan: Scan,
    options: Mapping[str, Any],
    phases: Sequence[CrystalPhase],
    view: Mapping[str, Any],
) -> SessionRecord:
    """What is known of a session.

    Raises
    ------
    BadInputError
        If the scan comes from no file.
    """
    from napari_diffmap.maps.provenance import content_signature
    from napari_diffmap.scan.calibration_file import to_record

    if scan.source is None:
        raise BadInputError(
            f"{scan.name} comes from no file: save it first (Convert… in the Scan dock)"
        )
    source = Path(scan.source).resolve()
    known = phases_of(phases)
    return SessionRecord(
        file=str(source),
        options=as_options(options),
        signature=content_signature(source) if source.is_file() else "",
        calibration=to_record(scan.calibration),
        phases=[] if known is None else known,
        view=dict(view),
    )


def save_record(record: SessionRecord, folder: Path) -> Path:
    """Write ``session.yaml``."""
    import yaml

    from napari_diffmap.maps.atomic import atomic_path

    path = folder / RECORD
    with atomic_path(path) as temporary:
        text = yaml.safe_dump(record.model_dump(by_alias=True), sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
    return path


def save_session(
    folder: Path,
    record: SessionRecord,
    corrections: Corrections | None,
    recipe: AnyKind | None = None,
) -> list[Path]:
    """Write a session.

    Parameters
    ----------
    folder
        ``NAME.diffmap``; one that is there is written anew.
    record, corrections
        See `SavedSession`.
    recipe
        Of the run that made the map.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    BadInputError
        If the folder is there and holds something else.
    ResourceError
        If it cannot be written.
    """
    from napari_diffmap.jobs.recipe import FILE_NAME, save_recipe, with_edits
    from napari_diffmap.maps.files.own_h5 import save_map_h5

    if folder.exists() and not is_session(folder) and (folder.is_file() or any(folder.iterdir())):
        raise BadInputError(f"{folder} is there and no session: choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = [save_record(record, folder)]
        if corrections is not None:
            written.append(save_map_h5(corrections.answer, folder / ANSWER))
            written.append(save_log(corrections, folder / EDITS))
            if recipe is not None:
                whole = with_edits(recipe, folder / EDITS)
                written.append(save_recipe(whole, folder / FILE_NAME))
    except OSError as error:
        raise ResourceError(
            f"cannot write to {folder} ({error.strerror or error}): free some space there or choose"
            " another folder"
        ) from error
    return written


def load_record(folder: Path) -> SessionRecord:
    """Read ``session.yaml``.

    Raises
    ------
    BadInputError
        If it is none, or one of another version.
    """
    import yaml

    path = folder / RECORD
    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
        return SessionRecord(**record)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError) as error:
        raise BadInputError(f"{folder} is no session that can be read") from error
    except ValidationError as error:
        raise BadInputError(f"{path}: {first_fault(error)}") from error


def load_session(folder: Path) -> SavedSession:
    """Read a session, its map and its corrections.

    Raises
    ------
    BadInputError
        If it is none, or a file in it is damaged.
    """
    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.maps.provenance import content_signature
    from napari_diffmap.scan.calibration_file import from_record

    record = load_record(folder)
    warnings: list[str] = []
    file = Path(record.file)
    if not file.exists():
        file = next(
            (p for p in (folder / file.name, folder.parent / file.name) if p.exists()), file
        )
    if not file.exists():
        raise BadInputError(
            f"{record.file} is no longer there: put {file.name} beside {folder.name} and open it"
        )
    if record.signature and file.is_file() and content_signature(file) != record.signature:
        warnings.append(f"{file.name} has changed since the session was saved")
    phases: tuple[CrystalPhase, ...] = ()
    if record.phases:
        try:
            phases = load_phases(sources_of(record.phases, folder))
        except DiffmapError as error:
            warnings.append(f"the phases are not loaded: {error}")
    corrections = None
    if (folder / ANSWER).is_file():
        corrections, more = load_corrections(folder)
        warnings += more
    calibration = from_record(record.calibration, "the session's calibration")
    return SavedSession(folder, record, file, calibration, phases, corrections, tuple(warnings))


def load_corrections(folder: Path) -> tuple[Corrections, tuple[str, ...]]:
    """The map of a session with its corrections, and what the user must know; no scan is needed.

    Raises
    ------
    BadInputError
        If it holds no map, or a file in it is damaged.
    """
    from napari_diffmap.maps.edits.corrections import Corrections
    from napari_diffmap.maps.files.own_h5 import load_map_h5

    if not (folder / ANSWER).is_file():
        raise BadInputError(f"{folder.name} holds no map: map its scan first")
    answer = load_map_h5(folder / ANSWER)
    if (folder / EDITS).is_file():
        return load_log(folder / EDITS, answer)
    return Corrections(answer), ()


def options_of(record: SessionRecord) -> dict[str, Any]:
    """Keywords of `open_scan`."""
    return as_keywords(record.options)
