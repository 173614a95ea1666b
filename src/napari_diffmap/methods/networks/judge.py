"""The templates judge a sample of what a network answered: where they differ is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.maps.comparison import AGREE_DEG
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation.method import OrientationMethod
from napari_diffmap.scan.tiles import Tile

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_diffmap.methods.networks.method import NetworkMethod
    from napari_diffmap.scan.scan import Scan

#: Patterns judged of a map.
JUDGED = 144
#: What the map ``judged`` holds.
NOT, AGREES, HALF_TURN, DIFFERS = range(4)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the templates say of a sample of a map.

    Attributes
    ----------
    verdict
        ``(y, x)`` uint8: not judged, agrees, agrees up to half a turn about the beam, differs.
    better
        ``(y, x)`` bool: they differ, and the templates' answer is the likelier by its log odds.
    """

    verdict: NDArray[np.uint8]
    better: NDArray[np.bool_]

    @property
    def summary(self) -> dict[str, Any]:
        """For ``summary.json``: patterns judged, and shares of them."""
        n = int((self.verdict != NOT).sum())
        if not n:
            return {"patterns": 0}
        agree, turned, differ = (
            float((self.verdict == code).sum() / n) for code in (AGREES, HALF_TURN, DIFFERS)
        )
        return {
            "patterns": n,
            "agree": agree,
            "agree_up_to_half_turn": agree + turned,
            "differ": differ,
            "templates_likelier": float(self.better.sum() / n),
        }

    def line(self) -> str:
        """The same for people."""
        s = self.summary
        if not s["patterns"]:
            return "the templates had nothing to judge"
        return (
            f"templates agree in {100 * s['agree']:.0f} % of {s['patterns']} sampled patterns"
            f" ({100 * s['agree_up_to_half_turn']:.0f} % up to half a turn), their answer is the"
            f" likelier in {100 * s['templates_likelier']:.0f} %"
        )


def judge(
    scan: Scan,
    method: NetworkMethod,
    arrays: Mapping[str, NDArray[Any]],
    *,
    count: int = JUDGED,
    check: Callable[[], object] = lambda: None,
) -> Judgement:
    """Match a sample of the patterns with templates and compare.

    Parameters
    ----------
    scan
        What was mapped.
    method
        Prepared on it.
    arrays
        The maps of the run.
    count
        Patterns judged, spread evenly over those with an answer.
    check
        Called before every row of patterns; may raise to stop.
    """
    shape = arrays["phase_ids"].shape[:2]
    answered = np.flatnonzero(arrays["phase_ids"][..., 0].reshape(-1) >= 0)
    if len(answered) > count:
        answered = answered[np.linspace(0, len(answered) - 1, count).round().astype(int)]
    verdict = np.zeros(shape, dtype=np.uint8)
    better = np.zeros(shape, dtype=bool)
    referee = method.referee()
    rows, columns = np.unravel_index(answered, shape)
    for y in np.unique(rows):
        check()
        xs = columns[rows == y]
        frames = np.asarray(scan.data[int(y)][xs].compute())
        for x, frame in zip(xs, frames, strict=True):
            here = (slice(y, y + 1), slice(x, x + 1))
            tile = Tile(*here, frame[None, None], np.zeros((1, 1), dtype=bool))
            verdict[y, x], better[y, x] = _compared(referee, method, tile, arrays, (y, x))
    return Judgement(verdict, better)


def _compared(
    referee: OrientationMethod,
    method: NetworkMethod,
    tile: Tile,
    arrays: Mapping[str, NDArray[Any]],
    at: tuple[int, int],
) -> tuple[int, bool]:
    found = referee.run(tile)
    phase, theirs = int(found["phase_ids"][0, 0, 0]), int(arrays["phase_ids"][at][0])
    q, own = found["rotations"][0, 0, 0], arrays["rotations"][at][0]
    code = DIFFERS
    if phase == theirs:
        symmetry = method.phases[phase].symmetry
        if disorientation(q[None], own[None], symmetry)[0] < AGREE_DEG:
            code = AGREES
        elif disorientation(q[None], own[None], symmetry, half_turn=True)[0] < AGREE_DEG:
            code = HALF_TURN
    if code == AGREES:
        return code, False
    peaks, _ = method.find_spots(tile)
    first, other = (m.search.match(peaks, 1).odds[0, 0] for m in (method, referee))
    return code, bool(other > first + 1.0)
