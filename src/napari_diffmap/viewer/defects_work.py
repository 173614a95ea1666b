"""What runs of defects do beside the window: training first, adapting, opening results."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import BadInputError
from napari_diffmap.jobs.control import JobControl

if TYPE_CHECKING:
    from napari_diffmap.jobs.defects import DefectsRun
    from napari_diffmap.maps.edits.corrections import Corrections

#: Finds are drawn at most this often while it is searched, s.
_DRAW_SECONDS = 0.5
#: The window is told of a step of a training at most this often, s.
_STEP_SECONDS = 0.3


class Steps:
    """Hands on the steps of a training, and stops it."""

    def __init__(self, tell: Callable[[Any], None], control: JobControl) -> None:
        self.tell, self.control = tell, control
        self._sent = 0.0

    def __call__(self, step: Any) -> None:
        """One more step: told a few times a second, and every validation."""
        if step.figures or time.perf_counter() - self._sent > _STEP_SECONDS:
            self._sent = time.perf_counter()
            self.tell(step)

    def stopped(self) -> bool:
        """Whether the user wants it to end."""
        return self.control.stopped


def adapted_model(
    base: str, run: DefectsRun, corrections: Corrections, device: str, steps: Steps
) -> str:
    """Let a network learn what is known of a run, keep it among the models; its name."""
    import tempfile

    from napari_diffmap.methods.defects.network.model import DefectNetwork
    from napari_diffmap.methods.defects.network.training import adapt
    from napari_diffmap.models.registry import add, models
    from napari_diffmap.viewer.adapting import free_name
    from napari_diffmap.viewer.defects_learning import corrected_frames

    network = DefectNetwork.load(base, device)
    name = free_name(f"{base}-adapted", {entry.name for entry in models()})
    learnt = adapt(
        network, corrected_frames(run, corrections), name=name, on_step=steps,
        stopped=steps.stopped,
    )  # fmt: skip
    steps.control.check()
    with tempfile.TemporaryDirectory() as folder:
        return add(learnt.save(Path(folder))).name


def on_pixels(said: Any, shape: tuple[int, int]) -> Any:
    """What a network says of lacking and excess intensity, as one picture ``(Y, X)``."""
    import numpy as np
    from scipy.ndimage import map_coordinates

    if said is None:
        return None
    said = np.asarray(said)
    most = said if said.ndim == 2 else said.max(axis=0)
    axes = [np.arange(n) * (m / n) for n, m in zip(shape, most.shape, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    return map_coordinates(most, grid, order=1, mode="nearest").astype(np.float32)


class FindsMail:
    """Hands on what was found, a few times a second: the marks of all frames so far."""

    def __init__(self, tell: Callable[[Any], None]) -> None:
        self._tell = tell
        self._parts: list[Any] = []
        self._sent = 0.0

    def __call__(self, _number: int, answer: Any) -> None:
        """One more frame."""
        from napari_diffmap.methods.defects.finds import Finds

        self._parts.append(answer.finds)
        if time.perf_counter() - self._sent > _DRAW_SECONDS:
            self._tell(Finds.joined(self._parts))
            self._sent = time.perf_counter()


def carried_on(
    run: DefectsRun, before: Corrections | None
) -> tuple[Corrections | None, tuple[str, ...]]:
    """Corrections of the finds before, made again on the new ones."""
    from napari_diffmap.maps.edits.carried import carried

    if before is None or not before.done:
        return None, ()
    try:
        mine, told = carried(before, run.map)
    except BadInputError as error:
        return None, (str(error),)
    edits = len(mine.done)
    plural = "" if edits == 1 else "s"
    return mine, (f"{edits} correction{plural} of the run before made again", *told)
