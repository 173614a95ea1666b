"""A model goes on learning from a map that was corrected by hand: the recipe of that."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import BadInputError

if TYPE_CHECKING:
    from napari_diffmap.models.card import ModelCard

#: A few more steps, at a fraction of the rate: what it knows is kept.
STEPS, SLOWER = 600, 5.0
_EVERY = 50


def adapted_record(
    card: ModelCard, session: Path, trainings: Path, taken: Collection[str] = ()
) -> dict[str, Any]:
    """Fields of the recipe that goes on from a model with the map of a saved session.

    Parameters
    ----------
    card
        Of the model.
    session
        ``NAME.diffmap``; its corrected and its reliable answers are learnt, split by grain.
    trainings
        Folder of trainings: that of this one gets CIFs that are nowhere else.
    taken
        Names of models that there are.

    Raises
    ------
    BadInputError
        If the card holds no recipe.
    """
    import yaml

    found = yaml.safe_load(card.recipe) if card.recipe else None
    if not isinstance(found, dict) or "phases" not in found:
        raise BadInputError(f"{card.name} holds no recipe to go on with: train one of your own")
    plan = dict(found.get("plan", {}))
    plan |= {"steps": STEPS, "rate": plan.get("rate", 2e-3) / SLOWER, "validate_every": _EVERY}
    name = free_name(f"{card.name}-adapted", taken)
    return {
        **found,
        "name": name,
        "title": f"{card.title}, adapted to {session.stem}",
        "phases": _phases(card, found["phases"], trainings / name),
        "plan": plan,
        "start": card.name,
        "labelled": [str(session)],
        "limits": [*card.limits, f"learnt from {session.stem}: not to be judged on that scan"],
    }


def free_name(name: str, taken: Collection[str]) -> str:
    """A name that no model has."""
    names = (name, *(f"{name}-{i}" for i in range(2, len(taken) + 3)))
    return next(one for one in names if one not in taken)


def _phases(card: ModelCard, named: list[str], folder: Path) -> list[str]:
    """Where the crystals of a card are read from: bundled ones by name, others by their CIF."""
    from napari_diffmap.crystal.phases import bundled_phases

    bundled, places = bundled_phases(), []
    for note, name in zip(card.phases, named, strict=True):
        if name in bundled:
            places.append(name)
            continue
        path = folder / "phases" / f"{note.name}.cif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(note.cif, encoding="utf-8")
        places.append(str(path))
    return places
