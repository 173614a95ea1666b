"""Where a map came from: inputs, parameters, versions, device, time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_diffmap import __version__
from napari_diffmap.errors import BadInputError

#: Packages whose version can change a result.
RELEVANT_PACKAGES = (
    "numpy",
    "scipy",
    "dask",
    "rosettasciio",
    "orix",
    "diffpy.structure",
    "diffsims",
    "scikit-image",
    "torch",
)
_BLOCK = 1 << 20


def content_signature(path: Path) -> str:
    """A fast signature of a file of any size.

    SHA-256 of the length and of the first, middle and last MiB, so that a
    terabyte scan costs 3 MiB of reading.  It tells files apart; it does not
    prove that two files are equal.

    Parameters
    ----------
    path
        An existing file.

    Returns
    -------
    str
        ``sha256-3MiB:`` and 32 hexadecimal digits.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        for start in sorted({0, max(0, size // 2 - _BLOCK // 2), max(0, size - _BLOCK)}):
            stream.seek(start)
            digest.update(stream.read(_BLOCK))
    return f"sha256-3MiB:{digest.hexdigest()[:32]}"


class InputFile(BaseModel):
    """One file that went into a map.

    Attributes
    ----------
    path
        As the user gave it.
    format
        The reader that opened it.
    shape
        Array shape, empty when it is no array.
    size
        Bytes.
    modified
        UTC, ISO 8601.
    signature
        See `content_signature`; empty for a folder.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    format: str = ""
    shape: tuple[int, ...] = ()
    size: int | None = None
    modified: str = ""
    signature: str = ""

    @classmethod
    def from_path(
        cls,
        path: str | Path,
        *,
        format: str = "",  # noqa: A002 (the field's own word)
        shape: Iterable[int] = (),
    ) -> InputFile:
        """Look at a file; one that has gone meanwhile is recorded by name alone."""
        place = Path(path)
        known: dict[str, Any] = {"path": str(path), "format": format, "shape": tuple(shape)}
        try:
            stat = place.stat()
            known["modified"] = datetime.fromtimestamp(stat.st_mtime, UTC).isoformat("T", "seconds")
            if place.is_file():
                known["size"] = stat.st_size
                known["signature"] = content_signature(place)
        except OSError:
            pass
        return cls(**known)


class Provenance(BaseModel):
    """Everything needed to say how a map was made; embedded in every file written.

    Attributes
    ----------
    inputs
        Files that went in: the scan, the CIFs, the network.
    method
        Name of the method, e.g. ``orientation/templates``.
    parameters
        All parameters of the run, as plain JSON values.
    versions
        Package → version.
    device
        Where it was computed, e.g. ``cpu`` or ``cuda:0 NVIDIA H100``.
    project_version
        Version of this package.
    created
        UTC, ISO 8601.
    notes
        What the user must know: warnings on opening, corrections made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: tuple[InputFile, ...] = ()
    method: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    device: str = ""
    project_version: str = ""
    created: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def collect(
        cls,
        *,
        inputs: Iterable[InputFile] = (),
        method: str = "",
        parameters: Mapping[str, Any] | None = None,
        device: str = "cpu",
        notes: Iterable[str] = (),
        packages: Iterable[str] = RELEVANT_PACKAGES,
    ) -> Provenance:
        """Gather versions and the time now.

        Parameters
        ----------
        inputs, method, device, notes
            See the class.
        parameters
            Any mapping; numpy values, paths and models become plain JSON values.
        packages
            Distributions whose version is recorded when they are installed.
        """
        return cls(
            inputs=tuple(inputs),
            method=method,
            parameters=plain(dict(parameters or {})),
            versions=_versions(packages),
            device=device,
            project_version=__version__,
            created=datetime.now(UTC).isoformat("T", "seconds"),
            notes=tuple(notes),
        )

    def with_note(self, note: str) -> Provenance:
        """The same record with one more line."""
        return self.model_copy(update={"notes": (*self.notes, note)})

    def to_json(self, *, indent: int | None = None) -> str:
        """ASCII JSON, so that every file format can carry it."""
        return json.dumps(self.model_dump(mode="json"), indent=indent, ensure_ascii=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> Provenance:
        """Read what `to_json` wrote.

        Raises
        ------
        BadInputError
            If the text is not a provenance record.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise BadInputError(
                f"the provenance record is damaged ({error.error_count()} errors): "
                "write the file again from the original map"
            ) from error

    def summary(self) -> str:
        """One line for a picture's caption."""
        names = ", ".join(Path(item.path).name for item in self.inputs[:2])
        if len(self.inputs) > 2:
            names += f" and {len(self.inputs) - 2} more"
        parts = (names, self.method, f"napari-diffmap {self.project_version or '?'}", self.created)
        return " · ".join(part for part in parts if part)


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: numpy, paths, models and sets made plain.

    Non-finite numbers become the strings ``nan``, ``inf`` and ``-inf``, which
    every JSON reader accepts.
    """
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)
