"""The models there are: those that come with the package, and those a user added."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path

from napari_diffmap.errors import ModelError
from napari_diffmap.models.card import ModelCard, Task
from napari_diffmap.models.weights import SUFFIX, looks_like_file, place, read_card, verified

#: Where models that a user adds are kept, instead of the user's own place.
FOLDER_VARIABLE = "DIFFMAP_MODELS"


@dataclass(frozen=True)
class ModelEntry:
    """A model file.

    Attributes
    ----------
    path
        The file.
    shipped
        Whether it comes with the package.
    card
        None where it cannot be read.
    problem
        Why it cannot be used, in a line; empty where it can.
    """

    path: Path
    shipped: bool = False
    card: ModelCard | None = None
    problem: str = ""

    @property
    def name(self) -> str:
        """What a user types; a file that cannot be used goes by its own name."""
        return self.path.stem if self.card is None or self.problem else self.card.name

    @property
    def nbytes(self) -> int:
        """Size of the file; 0 where it is gone."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


def shipped_folder() -> Path:
    """Where the models of the package lie; it need not be there."""
    return Path(str(files("napari_diffmap.models"))) / "weights"


def user_folder() -> Path:
    """Where added models are kept: ``DIFFMAP_MODELS``, or the user's data folder."""
    said = os.environ.get(FOLDER_VARIABLE, "").strip()
    if said:
        return Path(said).expanduser()
    import platformdirs

    return Path(platformdirs.user_data_path("napari-diffmap", appauthor=False)) / "models"


def models() -> tuple[ModelEntry, ...]:
    """All model files by name; of each only the header is read.

    One whose name is taken, by a shipped model or an earlier file, has a `problem`.
    """
    found: dict[str, ModelEntry] = {}
    useless: list[ModelEntry] = []
    for entry in _entries():
        if entry.problem:
            useless.append(entry)
        elif entry.name in found:
            taken = found[entry.name]
            problem = f"{entry.path.name} has the name of {_whose(taken)}, {entry.name}: delete one"
            useless.append(replace(entry, problem=problem))
        else:
            found[entry.name] = entry
    return tuple(sorted((*found.values(), *useless), key=lambda e: (e.name, bool(e.problem))))


def find(name: str | Path, task: Task | None = None) -> ModelEntry:
    """A model that can be used.

    Parameters
    ----------
    name
        Of a model, or the path of a ``.safetensors`` file.
    task
        What it shall answer.

    Raises
    ------
    ModelError
        If there is none of that name, it is damaged, or it answers something else.
    """
    if isinstance(name, Path) or looks_like_file(name):
        path = Path(name).expanduser()
        entry = ModelEntry(path, card=read_card(path))
    else:
        named = [entry for entry in models() if entry.name == name]
        if not named:
            raise ModelError(f"there is no model {name!r}: {_choice(task)}")
        entry = named[0]
    if entry.card is None or entry.problem:
        raise ModelError(entry.problem)
    if task is not None and entry.card.task != task:
        raise ModelError(f"model {entry.name!r} is for {entry.card.task}: {_choice(task)}")
    return entry


def add(path: str | Path) -> ModelEntry:
    """Keep a copy of a model file in the user's folder; every byte of it is checked.

    Parameters
    ----------
    path
        ``.safetensors`` that `write_model` wrote.  The same model again makes no second copy; one
        with the same weights and another card takes the old one's place.

    Raises
    ------
    ModelError
        If it is no model or damaged, or another one has its name.
    ResourceError
        If the disk is full.
    """
    card, content = verified(path)
    target = user_folder() / f"{card.name}{SUFFIX}"
    for entry in models():
        if entry.card is None or entry.problem or entry.name != card.name:
            continue
        if entry.card == card:
            return entry
        if entry.shipped or entry.card.checksum != card.checksum:
            mend = "it needs another name" if entry.shipped else "remove that one first"
            raise ModelError(f"there is {_whose(entry)} named {card.name!r} already: {mend}")
        target = entry.path
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"cannot make the folder {target.parent}: {(error.strerror or str(error)).lower()};"
            f" name another one in {FOLDER_VARIABLE}"
        ) from error
    place(target, content)
    return ModelEntry(target, card=card)


def remove(name: str) -> ModelEntry:
    """Delete a model that the user added.

    Parameters
    ----------
    name
        As `models` has it.

    Returns
    -------
    ModelEntry
        What was deleted.

    Raises
    ------
    ModelError
        If there is none of that name, or it comes with the package.
    """
    named = [entry for entry in models() if entry.name == name]
    added = [entry for entry in named if not entry.shipped]
    if not named:
        raise ModelError(f"there is no model {name!r}: {_choice(None)}")
    if not added:
        raise ModelError(f"{name!r} comes with napari-diffmap: only added models can be removed")
    try:
        added[0].path.unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(
            f"cannot delete {added[0].path}: {(error.strerror or str(error)).lower()}; delete it by"
            " hand"
        ) from error
    return added[0]


def _entries() -> Iterator[ModelEntry]:
    for folder, shipped in ((shipped_folder(), True), (user_folder(), False)):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            entry = partial(ModelEntry, path, shipped)
            try:
                yield entry(card=read_card(path))
            except ModelError as error:
                yield entry(problem=str(error))


def _whose(entry: ModelEntry) -> str:
    return "a model that comes with napari-diffmap" if entry.shipped else "an added model"


def _choice(task: Task | None) -> str:
    """What to give instead."""
    names = [
        entry.name
        for entry in models()
        if entry.card and not entry.problem and task in (None, entry.card.task)
    ]
    what = "no model" if task is None else f"no model for {task}"
    return f"give one of {', '.join(names)}" if names else f"there is {what} yet, add a file first"
