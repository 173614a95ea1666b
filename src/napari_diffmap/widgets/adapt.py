"""A model goes on learning from the session in the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_diffmap.errors import BadInputError
from napari_diffmap.models.registry import user_folder
from napari_diffmap.viewer.adapting import adapted_record
from napari_diffmap.widgets.train_form import TRAININGS
from napari_diffmap.widgets.train_run import TrainRun, folder_state

if TYPE_CHECKING:
    from napari_diffmap.models.card import ModelCard
    from napari_diffmap.widgets.keeping import SessionKeeper


def adapt(run: TrainRun, keeping: SessionKeeper, card: ModelCard) -> None:
    """Train a copy of a model with the map and the corrections of the saved session.

    Raises
    ------
    BadInputError
        If there is no saved session with a map, or a training runs already.
    """
    if keeping.session.map is None:
        raise BadInputError("map the scan, correct and save it first: that is learnt from")
    if keeping.folder is None or keeping.dirty:
        raise BadInputError("save the session in the Doubt dock first: what is saved is learnt")
    if run.running:
        raise BadInputError("a network is being trained: stop it first")
    taken = {entry.name for entry in run.engines.entries}
    trainings = user_folder() / TRAININGS
    if trainings.is_dir():
        taken |= {path.name for path in trainings.iterdir() if folder_state(path) != "free"}
    record = adapted_record(card, keeping.folder, trainings, taken)
    run.start_record(record, trainings / record["name"])
