"""Matching anew what a correction needs: refined from a start, or with one phase alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.maps.boundaries.twin_laws import TwinLaw, distinct_turns
from napari_diffmap.maps.edits import selection
from napari_diffmap.maps.quaternions import laue_operators, multiply, nearest_variant
from napari_diffmap.viewer.answers import matcher_of
from napari_diffmap.viewer.runner import Token
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.maps import OrientationMap, PhaseMap
    from napari_diffmap.maps.edits.selection import Pixels
    from napari_diffmap.methods.orientation import OrientationMethod

#: Phases, scores and, of orientations, rotations of some pixels, as `maps.edits.edit.Edit.values`.
Values = dict[str, NDArray[Any]]


class Rematching:
    """The matcher of the session's map, asked again at some pixels; called in threads.

    Parameters
    ----------
    session
        Scan, phases and map.
    matcher
        Asked for the matcher of the last run; None when there was none.
    """

    def __init__(self, session: Session, matcher: Callable[[], OrientationMethod | None]) -> None:
        self.session = session
        self._matcher = matcher
        self.refining = True

    def nearest(
        self,
        token: Token,
        found: PhaseMap,
        pixels: Pixels,
        rotation: NDArray[np.float32] | None,
        phase: int,
    ) -> tuple[Values, str]:
        """At each pixel the kept answer nearest to one, or that one refined.

        Of a map without orientations: the phase, kept or not.
        """
        places = selection.nearest_kept(found, pixels, rotation, phase)
        values = ranked(found, pixels, np.maximum(places, 0))
        new = np.flatnonzero(places < 0)
        values["phase_ids"][new], values["scores"][new] = phase, np.nan
        if rotation is None:
            return values, ""
        values["rotations"][new] = rotation
        return values, self.refined(token, pixels, values, new)

    def refined(self, token: Token, pixels: Pixels, values: Values, rows: NDArray[Any]) -> str:
        """Refine some rows of values in place; says why where that cannot be."""
        if not len(rows) or not self.refining:
            return ""
        try:
            method = self.prepared(token)
        except DiffmapError as error:
            return f"orientations are not refined: {error}"
        from napari_diffmap.methods.orientation.again import refine_at

        scan = self.session.patterns
        assert scan is not None
        again = self.on_device(
            lambda: refine_at(
                scan, method, pixels[rows], values["rotations"][rows], values["phase_ids"][rows],
                cancelled=token.cancelled, progress=progress_of(token, "refining"),
            )
        )  # fmt: skip
        for name in values:
            values[name][rows] = getattr(again, name)
        return ""

    def of_phase(
        self,
        token: Token,
        found: PhaseMap,
        pixels: Pixels,
        phase: int,
    ) -> tuple[Pixels, Values, str]:
        """Each pixel's best kept answer of a phase, or the pattern matched with it alone.

        Of a map without orientations the phase is taken everywhere; where it was not kept, no
        score of it is known.

        Returns
        -------
        pixels, values
            Those that have one.
        told
            How many have none, in words; empty when all have.
        """
        places = selection.best_of_phase(found, pixels, phase)
        values = ranked(found, pixels, np.maximum(places, 0))
        if not found.has_orientations:
            values["scores"][places < 0], values["phase_ids"][:] = np.nan, phase
            return pixels, values, ""
        name = found.phases[phase].name
        new, told = np.flatnonzero(places < 0), ""
        if len(new):
            from napari_diffmap.methods.orientation.again import match_at

            try:
                method = self.prepared(token)
            except DiffmapError as error:
                told = f"{name} was not matched at {len(new)} pixels, left as they were: {error}"
            else:
                scan = self.session.patterns
                assert scan is not None
                again = self.on_device(
                    lambda: match_at(
                        scan, method, pixels[new], phase,
                        cancelled=token.cancelled, progress=progress_of(token, f"matching {name}"),
                    )
                )  # fmt: skip
                for key in values:
                    values[key][new] = getattr(again, key)
                places[new[again.phase_ids >= 0]] = 0
                none = int((again.phase_ids < 0).sum())
                told = f"{none} pixels show nothing of {name}: left as they were" if none else ""
        kept = places >= 0
        return pixels[kept], {k: v[kept] for k, v in values.items()}, told

    def twinned(
        self, token: Token, found: OrientationMap, pixels: Pixels, here: int, law: TwinLaw
    ) -> Values:
        """First answers turned by a law: by the variant that fits the pattern of one pixel best.

        Raises
        ------
        DiffmapError
            If no matcher can be made to tell which.
        """
        from napari_diffmap.methods.orientation.again import refine_at

        method, scan = self.prepared(token), self.session.patterns
        assert scan is not None
        one = ranked(found, np.array([here]), np.zeros(1, np.int64))
        phase = found.phases[int(one["phase_ids"][0])]
        turns = distinct_turns(law, phase)

        def tried(turn: NDArray[np.float64]) -> float:
            start, ids = multiply(turn, one["rotations"]), one["phase_ids"]
            again = refine_at(scan, method, np.array([here]), start, ids, cancelled=token.cancelled)
            return float(again.scores[0])

        scores = self.on_device(lambda: [tried(turn) for turn in turns])
        values = ranked(found, pixels, np.zeros(len(pixels), np.int64))
        same = np.broadcast_to(one["rotations"], (len(pixels), 4))
        near = nearest_variant(values["rotations"], same, laue_operators(phase))
        turned = multiply(turns[int(np.argmax(scores))], near)
        values["rotations"] = turned.astype(np.float32)
        self.refined(token, pixels, values, np.arange(len(pixels)))
        return values

    def prepared(self, token: Token) -> OrientationMethod:
        """The matcher of the map, made ready on its scan.

        Raises
        ------
        DiffmapError
            If its phases' atoms or the scan's calibration are not known.
        """
        session = self.session
        scan, found = session.patterns, session.map
        if scan is None or found is None:
            raise BadInputError("open the scan that was mapped")
        method = self._matcher() or matcher_of(found, tuple(session.phases))
        if method is None:
            raise BadInputError("add the phases of the map in the Map dock")
        if method.geometry is None:
            from napari_diffmap.jobs.orient import calibrated
            from napari_diffmap.models.device import resolve_device

            token.report("preparing the matcher …")
            device = resolve_device("auto")
            self.on_device(lambda: method.prepare(calibrated(scan), device))
        return method

    @staticmethod
    def on_device(work: Callable[[], Any]) -> Any:
        """One job a device: a running map goes first."""
        from napari_diffmap.jobs.queue import submit
        from napari_diffmap.models.device import resolve_device

        return submit(resolve_device("auto"), work).result()


def progress_of(token: Token, what: str) -> Callable[[int, int], None]:
    """Tells how far a matching is, as a line."""

    def tell(done: int, total: int) -> None:
        if total > 1:
            token.report(f"{what}: {done} of {total} pixels")

    return tell


def ranked(found: PhaseMap, pixels: Pixels, places: NDArray[np.integer]) -> Values:
    """Copies of one kept answer of each pixel."""
    kept = {name: getattr(found, name) for name in found.no_answer}
    return {name: a.reshape(-1, *a.shape[2:])[pixels, places] for name, a in kept.items()}
