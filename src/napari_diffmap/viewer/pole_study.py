"""What a pole figure or an inverse pole figure of the measured grains shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.maps.color_key import color_key
from napari_diffmap.maps.colors import DIRECTIONS, Direction
from napari_diffmap.maps.figures.ipf_key import corner_labels
from napari_diffmap.maps.texture.pole_figure import (
    Density,
    inverse_pole_figure,
    pole_figure,
    sector_border,
    sector_box,
)
from napari_diffmap.maps.texture.poles import (
    Projection,
    Region,
    crystal_directions,
    crystal_poles,
    directions_inside,
    lab_poles,
    poles_inside,
    project,
    sector_points,
    upwards,
    usual_poles,
)
from napari_diffmap.viewer.grain_study import GrainStudy
from napari_diffmap.viewer.runner import Runner

if TYPE_CHECKING:
    from napari_diffmap.jobs.grains import GrainRun
    from napari_diffmap.maps.phases import PhaseLike

Kind = Literal["pole figure", "IPF"]
#: More points than these are a blot.
MOST_POINTS = 20_000
SIZE = 256


@dataclass(frozen=True)
class PoleSettings:
    """How a figure is drawn.

    Attributes
    ----------
    phase
        Index into the map's phases; None: the one that most pixels of what is drawn have.
    poles
        Planes or directions of a pole figure, see `maps.texture.poles.read_indices`; empty: the
        first of the usual ones.
    direction
        Laboratory direction of an inverse pole figure.
    projection
        See `maps.texture.poles`.
    half_width
        Of the smoothing, degrees.
    selection
        Draw the selected grains only.
    points
        Draw points in place of the density.
    """

    phase: int | None = None
    poles: str = ""
    direction: Direction = "z"
    projection: Projection = "stereographic"
    half_width: float = 7.5
    selection: bool = False
    points: bool = False


@dataclass(frozen=True, eq=False)
class PolePicture:
    """A figure that is ready to be drawn; places are plot coordinates.

    Attributes
    ----------
    kind, settings
        What it is.
    title, told
        One line, and more of it.
    box
        Left and upper edge and side of what is shown.
    border
        ``(n, 2)`` its outline.
    marks
        Places of axes or corners, and what is written there.
    density, rgba
        The density and its colours; None where points are drawn.
    points
        ``(k, 2)``; empty where the density is drawn.
    """

    kind: Kind
    settings: PoleSettings
    title: str
    told: str
    box: tuple[float, float, float]
    border: NDArray[np.float64]
    marks: tuple[tuple[tuple[float, float], str], ...]
    density: Density | None
    rgba: NDArray[np.uint8] | None
    points: NDArray[np.float64]


class PoleStudy:
    """A figure of the measured grains, drawn beside the window while it is looked at.

    Parameters
    ----------
    study, runner
        Whose grains are drawn, and where.
    kind
        Pole figure, or inverse pole figure (IPF).

    Signals
    -------
    drawn(picture)
        A `PolePicture`, or None when there is nothing to draw.
    failed(line)
        Why there is none.
    """

    drawn = Signal(object)
    failed = Signal(str)

    def __init__(self, study: GrainStudy, runner: Runner, kind: Kind) -> None:
        self.study = study
        self.runner = runner
        self.kind = kind
        self.settings = PoleSettings()
        self.picture: PolePicture | None = None
        self.region: Region | None = None
        self._looked_at = False
        self._due = True
        study.measured.connect(self._on_measured)
        study.selected.connect(self._on_selected)

    def look(self, on: bool) -> None:
        """Draw from now on, or rest: nobody looks."""
        self._looked_at = on
        if on and self._due:
            self.draw()

    def change(self, **settings: Any) -> None:
        """Draw otherwise."""
        changed = replace(self.settings, **settings)
        if changed != self.settings:
            self.settings = changed
            self.region = None
            self.draw()

    def _on_measured(self, _run: GrainRun | None) -> None:
        self.region = None
        self.draw()

    def _on_selected(self, _labels: tuple[int, ...]) -> None:
        if self.study.pixels is None:
            self.region = None
        if self.settings.selection:
            self.draw()

    @property
    def phase(self) -> int | None:
        """Index of the phase that is drawn; None without grains."""
        run = self.study.run
        if run is None:
            return None
        asked = self.settings.phase
        if asked is not None and asked < len(run.found.phases):
            return asked
        ids, sizes = run.grains.phase_ids, run.grains.sizes
        if self.settings.selection and self.study.labels:
            rows = np.array(self.study.labels) - 1
            ids, sizes = ids[rows], sizes[rows]
        return int(np.bincount(ids, sizes).argmax())

    def choices(self) -> tuple[str, ...]:
        """Poles that are usual for the phase."""
        run, phase = self.study.run, self.phase
        return () if run is None or phase is None else usual_poles(run.found.phases[phase])

    def draw(self) -> None:
        """Make the picture anew, as soon as somebody looks."""
        self._due = True
        if not self._looked_at:
            return
        self._due = False
        run, phase = self.study.run, self.phase
        if run is None or phase is None:
            self.picture = None
            self.drawn.emit(None)
            return
        mask = self.study.mask() if self.settings.selection else None
        settings = replace(self.settings, phase=phase)
        work = partial(_picture, self.kind, run, settings, mask)

        def done(picture: PolePicture) -> None:
            if self.study.run is run:
                self.picture = picture
                self.drawn.emit(picture)

        def failed(error: Exception) -> None:
            self.picture = None
            self.drawn.emit(None)
            self.failed.emit(str(error) if isinstance(error, DiffmapError) else repr(error))

        self.runner.latest(self.kind, lambda _token: work(), done, failed=failed)

    # -------------------------------------------------------------- regions
    def select(self, region: Region | None) -> None:
        """Select what lies in a region of the figure; None: nothing."""
        run, picture = self.study.run, self.picture
        self.region = region
        if region is None or run is None or picture is None:
            self.study.select(())
            return
        settings = picture.settings

        def done(mask: NDArray[np.bool_]) -> None:
            if self.study.run is run and self.region is region:
                self.study.select_pixels(mask)

        self.runner.latest(
            "grains in region", lambda _t: _mask(self.kind, run, settings, region), done
        )


def _chosen(run: GrainRun, phase: int, mask: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Pixels of the grains of a phase."""
    chosen = (run.grains.labels > 0) & run.found.phase_mask(phase)
    return chosen if mask is None else chosen & mask


def _poles(phase: PhaseLike, settings: PoleSettings) -> tuple[str, NDArray[np.float64]]:
    text = settings.poles or usual_poles(phase)[0]
    return text, crystal_poles(phase, text)


def _mask(kind: Kind, run: GrainRun, settings: PoleSettings, region: Region) -> NDArray[np.bool_]:
    """Pixels ``(Y, X)`` of the phase whose poles lie in a region."""
    assert settings.phase is not None
    phase = run.found.phases[settings.phase]
    chosen = _chosen(run, settings.phase, None)
    rotations = run.found.best_rotations[chosen]
    if kind == "pole figure":
        poles = _poles(phase, settings)[1]
        inside = poles_inside(rotations, poles, region, settings.projection)
    else:
        crystal = crystal_directions(rotations, DIRECTIONS[settings.direction])
        key = color_key(phase.point_group)
        inside = directions_inside(crystal, key, region, settings.projection)
    out = np.zeros(run.found.shape, dtype=bool)
    out[chosen] = inside
    return out


def _picture(
    kind: Kind, run: GrainRun, settings: PoleSettings, mask: NDArray[np.bool_] | None
) -> PolePicture:
    assert settings.phase is not None
    phase = run.found.phases[settings.phase]
    rotations = run.found.best_rotations[_chosen(run, settings.phase, mask)]
    if not len(rotations):
        raise BadInputError(
            f"no selected grain is {phase.name}"
            if mask is not None
            else f"no grain is {phase.name}"
        )
    whose = f"{len(rotations)} pixels of {'the selected' if mask is not None else 'all'} grains"
    if kind == "pole figure":
        return _pole_picture(phase, settings, rotations, whose)
    return _inverse_picture(phase, settings, rotations, whose)


def _pole_picture(
    phase: PhaseLike, settings: PoleSettings, rotations: NDArray[np.float32], whose: str
) -> PolePicture:
    text, poles = _poles(phase, settings)
    angle = np.linspace(0, 2 * np.pi, 361)
    density, points = None, np.zeros((0, 2))
    if settings.points:
        shown = _thinned(rotations, max(1, MOST_POINTS // len(poles)))
        parts = [project(v.reshape(-1, 3), settings.projection) for _, v in lab_poles(shown, poles)]
        points, told = np.concatenate(parts).astype(np.float64), _drawn(len(shown), len(rotations))
    else:
        density = pole_figure(
            rotations,
            poles,
            projection=settings.projection,
            half_width=settings.half_width,
            size=SIZE,
        )
        told = _smoothed(density)
    return PolePicture(
        "pole figure",
        settings,
        f"{text} {phase.name}, {len(rotations)} pixels",
        f"{whose}, {told}",
        (-1.0, -1.0, 2.0),
        np.stack((np.cos(angle), np.sin(angle)), axis=1),
        (((1.0, 0.0), "X"), ((0.0, 1.0), "Y")),
        density,
        None if density is None else colored(density),
        points,
    )


def _inverse_picture(
    phase: PhaseLike, settings: PoleSettings, rotations: NDArray[np.float32], whose: str
) -> PolePicture:
    key, projection = color_key(phase.point_group), settings.projection
    direction = DIRECTIONS[settings.direction]
    density, points = None, np.zeros((0, 2))
    if settings.points:
        shown = _thinned(rotations, MOST_POINTS)
        points = sector_points(crystal_directions(shown, direction), key, projection)
        points, told = points.astype(np.float64), _drawn(len(shown), len(rotations))
    else:
        density = inverse_pole_figure(
            rotations,
            phase,
            direction,
            projection=projection,
            half_width=settings.half_width,
            size=SIZE,
        )
        told = _smoothed(density)
    marks = []
    for corner, text in corner_labels(phase, key):
        x, y = project(upwards(key.frame @ corner), projection)
        marks.append(((float(x), -float(y)), text))
    return PolePicture(
        "IPF",
        settings,
        f"∥ {settings.direction.upper()} {phase.name}, {len(rotations)} pixels",
        f"{whose}, {told}",
        sector_box(key, projection),
        sector_border(key, projection),
        tuple(marks),
        density,
        None if density is None else colored(density),
        points,
    )


def _smoothed(density: Density) -> str:
    return (
        f"half width {density.half_width:g}°, {density.lowest:.2g} to {density.highest:.3g} times"
        " a random distribution"
    )


def _drawn(shown: int, all_of: int) -> str:
    return f"{shown} drawn" if shown < all_of else "all drawn"


def _thinned(rotations: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most so many of them, the same ones every time."""
    if len(rotations) <= most:
        return rotations
    return rotations[np.random.default_rng(0).choice(len(rotations), most, replace=False)]


def colored(density: Density) -> NDArray[np.uint8]:
    """``(size, size, 4)`` RGBA of a density from 0 to its highest value."""
    from matplotlib import colormaps

    table = np.asarray(colormaps["viridis"](np.arange(256), bytes=True))
    known = np.isfinite(density.picture)
    share = np.where(known, density.picture, 0) / max(density.highest, 1e-9)
    rgba: NDArray[np.uint8] = table[np.rint(255 * share.clip(0, 1)).astype(np.intp)]
    rgba[~known] = 0
    return rgba
