"""How a training goes, as lines of a plot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

#: More points of the running loss than this are thinned out.
_MOST_POINTS = 2000
#: Shares shown, with name, Okabe–Ito colour and dash pattern (in line widths; empty: solid).
_SHARES: tuple[tuple[str, str, str, tuple[float, ...]], ...] = (
    ("right", "first answer", "#56B4E9", ()),
    ("right_up_to_half_turn", "or its half turn", "#E69F00", (5, 3)),
    ("among_proposals", "any answer", "#009E73", (1.5, 2)),
    ("phase", "phase", "#CC79A7", (7, 2, 1.5, 2)),
)


class Step(Protocol):
    """Where a training stands; see `models.training.Progress`."""

    @property
    def step(self) -> int:
        """Batches done."""
        ...

    @property
    def loss(self) -> float:
        """Running mean of the training loss."""
        ...

    @property
    def figures(self) -> Mapping[str, float]:
        """The last validation."""
        ...


@dataclass(frozen=True)
class PlotLine:
    """A line of a plot, told from others by its dashes as well as by its colour.

    Attributes
    ----------
    name, color
        For the legend.
    x, y
        Points.
    dashes
        Lengths of strokes and gaps in line widths; empty: solid.
    dots
        Whether points are marked.
    """

    name: str
    color: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dashes: tuple[float, ...] = ()
    dots: bool = False


class TrainingCurves:
    """Loss of what is trained on and of what is held out, and shares that are right."""

    def __init__(self, history: Iterable[Step] = ()) -> None:
        self._loss: list[tuple[int, float]] = []
        self._checked: list[tuple[int, dict[str, float]]] = []
        self._seen = ""
        for step in history:
            self.add(step)

    def add(self, step: Step) -> None:
        """One more step; a validation that was told before is not told again."""
        self._loss.append((step.step, step.loss))
        if len(self._loss) > _MOST_POINTS:
            self._loss = [*self._loss[:-1:2], self._loss[-1]]
        # As text: a share of nothing is NaN, which differs from itself.
        told = repr(sorted(step.figures.items()))
        if step.figures and told != self._seen:
            self._seen = told
            self._checked.append((step.step, dict(step.figures)))

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self._loss

    def losses(self) -> tuple[PlotLine, ...]:
        """Loss over steps."""
        x, y = _split(self._loss)
        lines = [PlotLine("trained on", "#56B4E9", x, y)]
        if self._checked:
            held = [(step, figures["loss"]) for step, figures in self._checked]
            lines.append(PlotLine("held out", "#E69F00", *_split(held), (5, 3), dots=True))
        return tuple(lines)

    def shares(self) -> tuple[PlotLine, ...]:
        """Shares of the held-out patterns that are right, in per cent over steps."""
        return tuple(
            PlotLine(name, color, *_split(points), dashes, dots=True)
            for key, name, color, dashes in _SHARES
            if (points := [(s, 100 * f[key]) for s, f in self._checked if key in f])
        )


def _split(points: Iterable[tuple[float, float]]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    pairs = tuple(points)
    return tuple(float(x) for x, _ in pairs), tuple(float(y) for _, y in pairs)
